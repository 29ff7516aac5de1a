"""What can go wrong with a lab: each error says what was tried, what the kernel said, why, and what to do."""

from __future__ import annotations

from .findings import LASTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .refusals import Refusal
    from .transcript import Transcript


class _Told:
    """An error whose message says it all: IPython shows that alone, and not the lines of labkit."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class LabError(_Told, Exception):
    """Something about a lab did not work; a wrong argument is a ValueError or KeyError as anywhere."""


class LabRefused(LabError):
    """This system refused a step of the way into the lab: the steps `begun`, the last of them the refused `step`; the
    `errno`; what was `said`; and the `refusal`, its cause and its mend.
    """

    def __init__(self, begun: Sequence[str], errno: int, said: str, refusal: Refusal) -> None:
        self.begun, self.step, self.errno, self.said, self.refusal = begun, begun[-1], errno, said, refusal
        lines = [f"The lab could not {self.step}.", f"The kernel said: {said}", f"Why: {refusal.cause}"]
        lines.append(f"What to do: {refusal.mend}")
        if lasts := LASTS[refusal.lasts]:
            lines.append(f"Does that last over a reboot? {lasts}")
        lines.append("`labkit doctor` looks at all that a lab needs.")
        super().__init__("\n".join(lines))


class LabEnded(LabError):
    """The lab is closed, or its PID 1 was killed."""


class TerminalEnded(LabError):
    """The shell of the terminal has ended: no command can be typed until it is opened again."""


class CommandTimeout(LabError):
    """A command did not end in time. `transcript` holds what it printed so far."""

    def __init__(self, message: str, transcript: Transcript) -> None:
        self.transcript = transcript
        super().__init__(message)


class Unfinished(LabError):
    """The shell waits for the rest of a command (an open quote or here-document), and there is no more to type."""


class Interrupted(_Told, KeyboardInterrupt):
    """Ctrl-C in the notebook while a command ran: the terminal got it too. `transcript` holds what was printed so
    far.
    """

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        super().__init__(f"`{transcript.command}` was interrupted")
