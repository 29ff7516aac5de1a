"""The namespaces of a lab as an SVG: boxes with their mount trees, what they share, and what one alone sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from . import comparison
from .linux.mountinfo import Mount
from .transcript import colour

# A card of its own, light and with dark text: it is read in a dark theme too, where the page lends it no colour.
BACK, INK, DIM, LINE, STRONG = "#ffffff", "#1a1a1a", "#4d5560", "#b3bac2", "#7a1f00"
WIDTH, STEP, HEAD, MARGIN, INDENT = 380, 22, 40, 16, 16  # of a box, a line, a box's head …, in pixels
BESIDE = 2  # boxes: more would not fit beside each other in a notebook
LONGEST = 36  # characters of a title that fit
FONT = "font-family='ui-monospace,Menlo,Consolas,monospace' font-size='12'"


class Line(NamedTuple):
    """A mount in the tree of a namespace: `depth` below its root, `note` what is worth knowing of it."""

    depth: int
    name: str
    fstype: str
    only: str  # "" where every namespace sees it
    group: str  # "peer group 1", "slave of 2", …


class Picture:
    """`views`: for each namespace's label that label and its mount table; `titles`: who is in it."""

    def __init__(self, views: comparison.Views, titles: Mapping[str, str]) -> None:
        self._titles = titles
        groups: dict[int, int] = {}  # the kernel's numbers, in order of appearance
        self.groups: dict[int, tuple[list[str], list[str]]] = {}  # members and slaves: namespace and mount point
        seen = {
            id(mount): tuple(by_label) for by_label in comparison.copies(views).values() for mount in by_label.values()
        }
        self.boxes: dict[str, list[Line]] = {}
        for label, (_, table) in views.items():
            self.boxes[label] = [
                Line(
                    depth,
                    comparison.printable(mount.mount_point),
                    comparison.printable(mount.fstype),
                    "" if len(seen[id(mount)]) == len(views) else f"only in {' and '.join(seen[id(mount)])}",
                    _group(mount, groups),
                )
                for depth, mount in _tree(table)
            ]
        for label, (_, table) in views.items():
            for _, mount in _tree(table):
                for role, group in enumerate((mount.peer_group, mount.master)):
                    if group is not None:
                        both = self.groups.setdefault(groups[group], ([], []))
                        both[role].append(f"{label}:{comparison.printable(mount.mount_point)}")

    def __str__(self) -> str:
        parts = []
        for label, lines in self.boxes.items():
            parts.append(f"namespace {label}: {self._titles.get(label, '')}".rstrip(": "))
            for line in lines:
                notes = [line.fstype, *filter(None, (line.group, line.only))]
                parts.append(f"  {'  ' * line.depth}{line.name}  ({', '.join(notes)})")
        return "\n".join([*parts, *self._legend]) or "no namespace"

    __repr__ = __str__

    @property
    def _legend(self) -> list[str]:
        """Who is in each peer group and who follows it, resolved to namespace and path."""
        return [
            f"peer group {number}: {', '.join(members) or 'nobody here'}"
            + (f"; its slaves: {', '.join(slaves)}" if slaves else "")
            for number, (members, slaves) in sorted(self.groups.items())
        ]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": str(self)}

    @property
    def svg(self) -> str:
        labels = list(self.boxes)
        width = MARGIN + min(BESIDE, len(labels) or 1) * (WIDTH + MARGIN)
        drawn, bottom = "", MARGIN
        for first in range(0, len(labels), BESIDE):
            row = labels[first : first + BESIDE]
            drawn += "".join(self._box(MARGIN + n * (WIDTH + MARGIN), bottom, label) for n, label in enumerate(row))
            bottom += HEAD + max(len(self.boxes[label]) for label in row) * STEP + MARGIN
        height = bottom + len(self._legend) * STEP
        drawn += "".join(
            f"<text x='{MARGIN}' y='{bottom + number * STEP + 8}' {FONT} fill='{DIM}'>"
            f"<title>{escape(text)}</title>{escape(_shortened(text, (width - 2 * MARGIN) // 8))}</text>"
            for number, text in enumerate(self._legend)
        )
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' role='img' "
            f"style='max-width:100%;height:auto'><title>The mount namespaces of the lab</title>"
            f"<desc>{escape(str(self))}</desc>"
            f"<rect width='{width}' height='{height}' rx='8' fill='{BACK}' stroke='{LINE}'/>{drawn}</svg>"
        )

    def _box(self, x: int, y: int, label: str) -> str:
        lines = self.boxes[label]
        height = HEAD + len(lines) * STEP
        title = _shortened(self._titles.get(label, ""), LONGEST)
        parts = [
            f"<g transform='translate({x} {y})'><rect width='{WIDTH}' height='{height}' rx='6' fill='none' "
            f"stroke='{colour(label)}' stroke-width='2'/><rect x='10' y='8' width='{14 + 9 * len(label)}' height='20' "
            f"rx='4' fill='{colour(label)}'/><text x='{17 + 4.5 * len(label)}' y='23' text-anchor='middle' {FONT} "
            f"font-weight='bold' fill='#ffffff'>{label}</text>"
            f"<text x='{34 + 9 * len(label)}' y='23' {FONT} font-weight='bold' fill='{INK}'>{escape(title)}</text>"
        ]
        ends: dict[int, int] = {}  # for each depth, the height of its last mount
        for row, line in enumerate(lines):
            middle = HEAD + row * STEP + 12
            left = 14 + line.depth * INDENT
            if line.depth:
                top = ends.get(line.depth - 1, middle) + 5
                parts.append(f"<path d='M{left - 10} {top}V{middle - 4}h7' fill='none' stroke='{LINE}'/>")
            ends[line.depth] = middle
            parts.append(_text(line, left, middle))
        return "".join([*parts, "</g>"])


def _text(line: Line, left: int, y: int) -> str:
    note = " ".join(filter(None, (line.only, line.group)))
    room = (WIDTH - left - 12) // 7.3 - len(note) - (2 if note else 0)
    name = _shortened(line.name, max(8, int(room) - len(line.fstype) - 1))
    weight, ink = (" font-weight='bold'", STRONG) if line.only else ("", INK)
    full = quoteattr(f"{line.name} ({line.fstype}) {note}".strip())
    return (
        f"<g role='listitem' aria-label={full}><title>{escape(line.name)}</title>"
        f"<text x='{left}' y='{y}' {FONT} fill='{ink}'{weight}>{escape(name)} "
        f"<tspan fill='{DIM}' font-weight='normal'>{escape(line.fstype)}</tspan></text>"
        f"<text x='{WIDTH - 10}' y='{y}' text-anchor='end' {FONT} fill='{STRONG if line.only else DIM}'>"
        f"{escape(note)}</text></g>"
    )


def _tree(table: list[Mount]) -> Iterator[tuple[int, Mount]]:
    """Each mount after its parent, with its depth; one whose parent is not in the table is a root."""
    ids = {mount.mount_id for mount in table}
    below: dict[int, list[Mount]] = {}
    todo = []
    for mount in table:
        if mount.parent_id in ids and mount.parent_id != mount.mount_id:
            below.setdefault(mount.parent_id, []).append(mount)
        else:
            todo.append((0, mount))
    todo.reverse()
    while todo:
        depth, mount = todo.pop()
        yield depth, mount
        todo += [(depth + 1, each) for each in reversed(below.get(mount.mount_id, []))]


def _group(mount: Mount, groups: dict[int, int]) -> str:
    def number(group: int) -> int:
        return groups.setdefault(group, len(groups) + 1)

    said = [] if mount.peer_group is None else [f"peer group {number(mount.peer_group)}"]
    said += [] if mount.master is None else [f"slave of {number(mount.master)}"]
    return ", ".join([*said, *(["unbindable"] if mount.unbindable else [])])


def _shortened(text: str, most: int) -> str:
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
