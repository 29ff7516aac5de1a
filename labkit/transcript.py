"""What a terminal showed for a command: prompt, command, output, exit status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

from .linux.namespaces import Namespace

LINES_SHOWN = 200  # of one command's output: a notebook is no pager

# The theme's own colours where there is one (JupyterLab), plain ones on a static page.
BLOCK = (
    "margin:0;padding:6px 10px;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.4;"
    "font-family:var(--jp-code-font-family,monospace);"
    "background:var(--jp-layout-color2,#eeeeee);color:var(--jp-content-font-color1,#111111)"
)
STYLE = {"command": "font-weight:bold", "output": "", "note": "font-style:italic"}
BADGE = "padding:0 5px;margin-right:1px;border-radius:3px;font-size:85%;color:#ffffff;background:"
COLOURS = ("#0b5cad", "#a33f00", "#7b3fb5", "#1b6e35", "#8a1c4a", "#4d5761")  # white on each: contrast above 4.5


class Piece(NamedTuple):
    """Lines of what was shown. `kind`: command (after its `prompt`, in the namespace `label`), output or note."""

    kind: str
    text: str
    prompt: str = ""
    label: str = ""


@dataclass(frozen=True)
class Transcript:
    """`status` is None where the command has not ended: it started another shell, or was given up. `namespace` is the
    one it was typed in, `label` that one's short name.
    """

    terminal: str
    label: str
    namespace: Namespace
    command: str
    output: str
    status: int | None
    shown: tuple[Piece, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        terminal: str,
        label: str,
        namespace: Namespace,
        prompt: str,
        lines: Iterable[str],
        output: str,
        status: int | None,
        note: str = "",
    ) -> Transcript:
        first, *more = lines
        shown = [Piece("command", first, prompt, label), *(Piece("command", line, "> ") for line in more)]
        if output:
            shown.append(Piece("output", _shortened(output)))
        if status:
            shown.append(Piece("note", f"[exit status {status}]"))
        if note:
            shown.append(Piece("note", f"[{note}]"))
        return cls(terminal, label, namespace, "\n".join([first, *more]), output, status, tuple(shown))

    @classmethod
    def joined(cls, transcripts: list[Transcript]) -> Transcript:
        """Several commands, as one terminal showed them; the status is that of the last."""
        first, last = transcripts[0], transcripts[-1]
        command = "\n".join(transcript.command for transcript in transcripts)
        output = "\n".join(transcript.output for transcript in transcripts if transcript.output)
        shown = tuple(piece for transcript in transcripts for piece in transcript.shown)
        return cls(first.terminal, first.label, first.namespace, command, output, last.status, shown)

    def __str__(self) -> str:
        return "\n".join(piece.prompt + piece.text for piece in self.shown)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        lines = "\n".join(map(_html, self.shown))
        return f'<pre aria-label="terminal {escape(self.terminal)}" style="{BLOCK}">{lines}</pre>'


def colour(label: str) -> str:
    """Of a namespace: a background for white text. The same label has the same everywhere."""
    return COLOURS[(ord(label[-1]) - ord("A")) % len(COLOURS)]


def badge(label: str) -> str:
    """A namespace's label, in HTML."""
    return f'<span title="namespace {label}" style="{BADGE}{colour(label)}">{label}</span>'


def _html(piece: Piece) -> str:
    text = f'{escape(piece.prompt)}<span style="{STYLE[piece.kind]}">{escape(piece.text)}</span>'
    if not piece.label:
        return text
    return f"{badge(piece.label)} {text}"


def _shortened(output: str) -> str:
    lines = output.split("\n")
    if len(lines) <= LINES_SHOWN:
        return output
    half = LINES_SHOWN // 2
    return "\n".join(
        [
            *lines[:half],
            f"[… {len(lines) - 2 * half} more lines: they are all in .output of what run() gives …]",
            *lines[-half:],
        ]
    )
