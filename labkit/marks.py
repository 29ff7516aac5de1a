"""OSC 133 marks in what a terminal prints: where a prompt, its input, a command's output and its end begin.

The marks are those of FinalTerm, as kitty, WezTerm and iTerm2 know them: `ESC ] 133 ; LETTER ; key=value … BEL`. Only
marks that carry the lab's own `aid` and a shell's pid count: a file that holds marks can be printed without harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

START = b"\x1b]133;"
END = b"\x07"
LETTERS = ("A", "B", "C", "D")
BODY = re.compile(rb"[ -~]*")
LONGEST = 256  # bytes of a mark; whatever is longer is output that looks like one


@dataclass(frozen=True, slots=True)
class Mark:
    """`letter`: A prompt, B input, C output, D end of a command. `shell`: the pid of who says so, to itself. `moment`:
    when the prompt was made; one that is drawn again has the same, and one of sh none.
    """

    letter: str
    shell: int
    status: int | None = None  # of the command that has ended (D only)
    secondary: bool = False  # the prompt for the rest of an unfinished command ($PS2; A only)
    moment: str = ""


class MarkParser:
    """Cuts a stream of bytes into pieces of output and marks; a mark may arrive in several reads."""

    def __init__(self, aid: str) -> None:
        self._aid = aid
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes | Mark]:
        data = self._rest + data
        begin = 0
        while (found := data.find(START, begin)) >= 0:
            body = BODY.match(data, found + len(START))
            end = body.end() if body else found
            if end == len(data) and end < found + LONGEST:
                break  # the rest of it is still to come
            whole = data.startswith(END, end) and end < found + LONGEST
            mark = self._mark(body[0]) if body and whole else None
            after = end + len(END) if mark else found + len(START)
            if text := data[begin : found if mark else after]:
                yield text
            if mark:
                yield mark
            begin = after
        else:
            found = len(data) - _overlap(data)
        self._rest = data[found:]
        if text := data[begin:found]:
            yield text

    def _mark(self, body: bytes) -> Mark | None:
        letter, *fields = body.decode("utf-8", "replace").split(";")
        options = dict(field.split("=", 1) for field in fields if "=" in field)
        shell = _number(options.get("pid", ""))
        status = _number(fields[0]) if letter == "D" and fields else None
        if (
            letter not in LETTERS
            or options.get("aid") != self._aid
            or shell is None
            or (letter == "D" and status is None)
        ):
            return None
        return Mark(letter, shell, status, options.get("k") == "s", options.get("t", ""))


def _overlap(data: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of a mark."""
    return next((n for n in range(len(START) - 1, 0, -1) if data.endswith(START[:n])), 0)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
