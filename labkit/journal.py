"""What was done in a lab's terminals, by cells and by hand, in the order of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

from . import emulator
from .linux.namespaces import Namespace
from .stream import READLINE, ByHand
from .transcript import Transcript

MOST = 1000  # commands that are remembered: the last ones
COLUMNS = "display:grid;grid-auto-flow:row;gap:4px 8px;align-items:start;grid-template-columns:repeat({},minmax(0,1fr))"
HEAD = "font-weight:bold;grid-row:1;grid-column:"


class _Typed(NamedTuple):
    terminal: str
    label: str
    namespace: Namespace
    command: ByHand

    def transcript(self) -> Transcript | None:
        """As a cell's command is shown; None for an empty line."""
        command, size = self.command, self.command.size
        prompt = emulator.text(command.prompt, *size)
        drawn = emulator.text(command.prompt + command.line, *size)
        drawn = drawn.removeprefix(prompt) if drawn.startswith(prompt) else ""  # an empty line: its space is trimmed
        lines = [""]
        for line in drawn.split("\n"):
            if line.startswith("> ") and lines[0]:
                lines.append(line.removeprefix("> "))
            else:
                lines[-1] += line  # the terminal's width broke it
        if not lines[0].strip():
            return None
        output = emulator.text(command.output.removesuffix(READLINE), *size)
        note = f"{command.dropped} bytes before this output are not kept" if command.dropped else ""
        return Transcript.of(self.terminal, self.label, self.namespace, prompt, lines, output, command.status, note)


class Journal:
    """Kept as it comes; what was typed by hand is made readable when somebody reads it."""

    def __init__(self) -> None:
        self._entries: deque[Transcript | _Typed] = deque(maxlen=MOST)  # append is atomic: every terminal's thread does

    def note(self, transcript: Transcript) -> None:
        self._entries.append(replace(transcript, output=""))  # what is shown of it, without the megabytes

    def note_by_hand(self, terminal: str, label: str, namespace: Namespace, command: ByHand) -> None:
        self._entries.append(_Typed(terminal, label, namespace, command))

    def session(self, terminals: Iterable[str], last: int | None = None) -> Session:
        """The last commands, or all; one column for each of `terminals`."""
        read = (each if isinstance(each, Transcript) else each.transcript() for each in tuple(self._entries))
        commands = [each for each in read if each]
        if last is not None:
            commands = commands[-last:] if last > 0 else []
        return Session(tuple(terminals), tuple(commands))


@dataclass(frozen=True)
class Session:
    """The commands of several terminals, side by side."""

    terminals: tuple[str, ...]
    commands: tuple[Transcript, ...]

    def __str__(self) -> str:
        if not self.commands:
            return "nothing was done in the terminals yet"
        heads = [f"{each.terminal} {each.label}" for each in self.commands]
        width = max(map(len, heads))
        return "\n".join(
            f"{'' if number else head:{width}} | {line}".rstrip()
            for head, each in zip(heads, self.commands, strict=True)
            for number, line in enumerate(str(each).split("\n"))
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        if not self.commands:
            return f"<em>{escape(str(self))}</em>"
        heads = "".join(
            f'<div style="{HEAD}{column}">{escape(name)}</div>' for column, name in enumerate(self.terminals, 1)
        )
        cells = "".join(
            f'<div style="grid-row:{row};grid-column:{self.terminals.index(each.terminal) + 1}">'
            f"{each._repr_html_()}</div>"
            for row, each in enumerate(self.commands, 2)
        )
        return f'<div style="{COLUMNS.format(len(self.terminals))}">{heads}{cells}</div>'
