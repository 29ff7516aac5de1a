"""OSC 133 marks in what a terminal prints: where a prompt, its input, a command's output and its end begin.

The marks are those of FinalTerm, as kitty, WezTerm and iTerm2 know them: `ESC ] 133 ; LETTER ; key=value … ST`. Only
marks that carry the lab's own `aid` count: a file that holds marks can be printed in a terminal without harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

START = b"\x1b]133;"
END = b"\x1b\\"
LONGEST = 256  # bytes between START and END; whatever is longer is output that looks like a mark


@dataclass(frozen=True, slots=True)
class Mark:
    """`letter`: A prompt, B input, C output, D end of a command. `status`: that command's exit status (D only)."""

    letter: str
    status: int | None = None
    shell: int | None = None  # pid of the shell that ended a command, in that shell's PID namespace (D only)
    secondary: bool = False  # the prompt for the rest of an unfinished command ($PS2; A only)


class MarkParser:
    """Cuts a stream of bytes into pieces of output and marks; a mark may arrive in several reads."""

    def __init__(self, aid: str) -> None:
        self._aid = f"aid={aid}"
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes | Mark]:
        data = self._rest + data
        self._rest = b""
        begin = 0
        while (found := data.find(b"\x1b", begin)) >= 0:
            if not data.startswith(START, found):
                if START.startswith(data[found:]):
                    break  # perhaps the beginning of a mark: wait for the rest
                text, begin = data[begin : found + 1], found + 1
                yield text
                continue
            end = data.find(END, found, found + LONGEST)
            if end < 0 and len(data) - found < LONGEST:
                break
            mark = self._mark(data[found + len(START) : end]) if end >= 0 else None
            after = end + len(END) if mark else found + 1
            if text := data[begin : found if mark else after]:
                yield text
            if mark:
                yield mark
            begin = after
        else:
            found = len(data)
        self._rest = data[found:]
        if text := data[begin:found]:
            yield text

    def _mark(self, body: bytes) -> Mark | None:
        letter, *fields = body.decode("utf-8", "replace").split(";")
        if letter not in ("A", "B", "C", "D") or self._aid not in fields:
            return None
        options = dict(field.split("=", 1) for field in fields if "=" in field)
        return Mark(
            letter,
            status=_number(fields[0]) if letter == "D" else None,
            shell=_number(options.get("pid", "")),
            secondary=options.get("k") == "s",
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
