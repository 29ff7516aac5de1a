"""What can go wrong with a lab: each error says what was tried, what the kernel said, why, and what to do."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .transcript import Transcript


class _Told:
    """An error whose message says it all: IPython shows that alone, and not the lines of labkit."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class LabError(_Told, Exception):
    """Something about a lab did not work; a wrong argument is a ValueError or KeyError as anywhere."""


class LabRefused(LabError):
    """This system refused a step of the way into the lab: `step`, `errno`, the `cause` found and the `mend` for it."""

    def __init__(self, step: str, errno: int, said: str, cause: str, mend: str) -> None:
        self.step, self.errno, self.said, self.cause, self.mend = step, errno, said, cause, mend
        super().__init__(f"The lab could not {step}.\nThe kernel said: {said}\nWhy: {cause}\nWhat to do: {mend}")


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
