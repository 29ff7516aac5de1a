"""Bytes that a terminal was sent, as the text that a person reads there."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from unicodedata import combining

import pyte
from wcwidth import wcwidth

CONTROLS = frozenset(range(32)) - frozenset(b"\t\n") | {127}  # all that does more than move on to the next cell or line
PIECES = re.compile(rb"(?=\x1b)")
MOST = 1 << 20  # bytes that are emulated: pyte needs about a second for each megabyte


def text(data: bytes, columns: int = 80, rows: int = 24) -> str:
    """What stands on the screen and in its scrollback after `data`, without blank lines at the end.

    Data with no control but tab and newline is read as it is, at any size and with its long lines whole. All else
    goes through a terminal emulator (pyte), the last megabyte of it, and wraps at `columns` as in the terminal
    itself.
    """
    plain = data.replace(b"\r\n", b"\n")
    if CONTROLS.isdisjoint(plain) and (plain.isascii() or b"\t" not in plain):  # a tab stop is a matter of cells
        return plain.decode("utf-8", "replace").expandtabs().rstrip("\n")
    left_out = max(0, len(data) - MOST)
    screen = _Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    for piece in PIECES.split(data[left_out:]):
        try:
            stream.feed(piece)
        except ValueError:  # a number of more than 4300 digits: nothing that a terminal would heed
            stream = pyte.ByteStream(screen)
    note = f"[{left_out} bytes before this are not shown]\n" if left_out else ""
    return note + screen.text()


def _lenient(handler: Callable[..., None]) -> Callable[..., None]:
    """Ignores a sequence whose parameters pyte's handler does not take (vim sends some), as terminals do; pyte would
    raise.
    """

    def handle(*parameters: int, **options: bool) -> None:
        with suppress(TypeError, UnboundLocalError):  # the second: erase_in_line(3)
            handler(*parameters, **options)

    return handle


class _Screen(pyte.Screen):
    """A screen that keeps the lines which scroll out of its top."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__(columns, lines)
        self._scrollback: list[str] = []
        for name in set(pyte.Stream.csi.values()):
            setattr(self, name, _lenient(getattr(self, name)))

    def draw(self, data: str) -> None:
        """pyte drops the rest of a line after a character of no width, unless that one belongs to the one before it."""
        super().draw("".join(each for each in data if wcwidth(each) > 0 or combining(each)))

    def index(self) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if top == 0 and self.cursor.y == bottom:
            self._scrollback.append(self._line(0))
        super().index()

    def _line(self, y: int) -> str:
        """A line as far as something stands on it, and as far as the cursor has come on its own."""
        line = self.buffer[y]
        shown = "".join(line[x].data for x in range(max(line, default=-1) + 1)).rstrip()
        return shown.ljust(self.cursor.x) if y == self.cursor.y else shown

    def text(self) -> str:
        return "\n".join([*self._scrollback, *map(self._line, range(self.lines))]).rstrip("\n")
