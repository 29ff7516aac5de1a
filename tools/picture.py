"""Draw docs/two-terminals.svg, the README's picture: the tutorial's steps, as a lab shows them just now."""

from html import escape
from pathlib import Path

from labkit import Lab, Terminal
from labkit.transcript import COLOURS, Piece

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "two-terminals.svg"
LEFT = """
mkdir /tmp/mount_ns
unshare -m /bin/bash
readlink /proc/$$/ns/mnt
mount -n -t tmpfs tmpfs /tmp/mount_ns
df -h | grep mount_ns
"""
RIGHT = """
readlink /proc/$$/ns/mnt
df -h | grep mount_ns
cat /proc/mounts | grep mount_ns
"""
CHARACTER, LINE, WIDTH, GAP = 8.43, 22, 500, 20  # pixels; a character of DejaVu Sans Mono at 14
PAPER, BAR, TEXT, FAINT = "#1d1f21", "#34373b", "#f2f2f2", "#b8bcc2"


def main() -> None:
    """Run the steps and draw them."""
    with Lab() as lab:
        panes = [shown(lab.left, LEFT), shown(lab.right, RIGHT)]
        seen = lab.visible("/tmp/mount_ns")["visible"]
    height = 40 + LINE * max(map(len, panes)) + 16
    body = pane(panes[0], "left", 0, height) + pane(panes[1], "right", WIDTH + GAP, height)
    caption = escape(f"/tmp/mount_ns is visible in: {', '.join(seen.index[seen])}")
    PICTURE.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH + GAP} {height}" role="img" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14"><title>{caption}</title>'
        f"{body}</svg>\n"
    )


def shown(terminal: Terminal, commands: str) -> list[Piece]:
    """Return what the terminal shows, line by line."""
    pieces = (piece for transcript in terminal.each(commands) for piece in transcript.shown)
    return [piece._replace(text=line) for piece in pieces for line in piece.text.split("\n")]


def pane(lines: list[Piece], title: str, x: int, height: int) -> str:
    """Return one terminal's window, its badge that of the namespace in which its last command ran."""
    drawn = [
        f'<g transform="translate({x})"><rect width="{WIDTH}" height="{height}" rx="8" fill="{PAPER}"/>'
        f'<path d="M0 30V8a8 8 0 0 1 8-8h{WIDTH - 16}a8 8 0 0 1 8 8v22z" fill="{BAR}"/>'
        f'<text x="14" y="20" fill="{TEXT}" font-weight="bold">{title}</text>'
    ]
    for number, piece in enumerate(lines):
        y = 54 + LINE * number
        at = 14.0
        if piece.label:
            colour = COLOURS[ord(piece.label) - ord("A")]
            drawn.append(f'<rect x="12" y="{y - 14}" width="17" height="18" rx="3" fill="{colour}"/>')
            drawn.append(f'<text x="16" y="{y}" fill="#ffffff">{piece.label}</text>')
        if piece.prompt:
            at = 36
            drawn.append(f'<text x="{at}" y="{y}" fill="{FAINT}">{escape(piece.prompt.rstrip())}</text>')
            at += CHARACTER * len(piece.prompt)
        style = {"command": ' font-weight="bold"', "note": ' font-style="italic"'}.get(piece.kind, "")
        drawn.append(
            f'<text x="{at:.0f}" y="{y}" fill="{TEXT}" xml:space="preserve"{style}>{escape(piece.text)}</text>'
        )
    return "".join([*drawn, "</g>"])


if __name__ == "__main__":
    main()
