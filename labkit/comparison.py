"""Several views of the mounts merged into one: which mount is seen by whom, and where its copies differ."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from .linux.mountinfo import Mount

Views = Mapping[str, tuple[str, list[Mount]]]  # for each viewer: its namespace's label, its mount table


class Key(NamedTuple):
    """What a mount and its copies in other namespaces have in common."""

    mount_point: str
    root: str
    source: str
    fstype: str
    major: int
    minor: int
    nth: int  # the same mount twice at one place is two mounts


class Row(NamedTuple):
    """`seen`: its viewers. The texts can be shown, and say what all copies agree on; where they differ, each
    namespace's own ("A: shared, B: private").
    """

    key: Key
    seen: tuple[str, ...]
    options: str
    propagation: str
    peer_group: str


def copies(views: Views) -> dict[Key, dict[str, Mount]]:
    """Each mount with its copy for each viewer that has one, in the kernel's order."""
    found: dict[Key, dict[str, Mount]] = {}
    for viewer, (_, table) in views.items():
        for mount in table:
            nth = 1
            place = mount.mount_point, mount.root, mount.source, mount.fstype, mount.major, mount.minor
            while viewer in (there := found.setdefault(Key(*place, nth), {})):
                nth += 1
            there[viewer] = mount
    return found


def rows(views: Views) -> list[Row]:
    labels = {viewer: label for viewer, (label, _) in views.items()}
    found = []
    for key, by_viewer in copies(views).items():
        texts: list[str] = []
        for says in (_options, _propagation, _peer_group):
            said = {labels[viewer]: says(mount) for viewer, mount in by_viewer.items()}
            texts.append(merged(said))
        found.append(Row(key, tuple(by_viewer), *texts))
    return found


def _options(mount: Mount) -> str:
    return mount.options


def _propagation(mount: Mount) -> str:
    return mount.propagation


def _peer_group(mount: Mount) -> str:
    parts = [] if mount.peer_group is None else [str(mount.peer_group)]
    return ", ".join([*parts, *([f"master {mount.master}"] if mount.master is not None else [])])


def merged(by_label: Mapping[str, str]) -> str:
    """One text where all say the same, else who says what."""
    if len(set(by_label.values())) == 1:
        return printable(next(iter(by_label.values())))
    return printable(", ".join(f"{label}: {by_label[label] or 'none'}" for label in sorted(by_label, key=order)))


def order(label: str) -> tuple[int, str]:
    """Z comes before AA."""
    return len(label), label


def printable(text: str) -> str:
    r"""What is no printable character is written as the kernel writes it in mountinfo (\012)."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        character
        if character.isprintable() and character != "\\"
        else "".join(f"\\{b:03o}" for b in os.fsencode(character))
        for character in text
    )


def identity(mount: Mount) -> tuple[str, int, int, str]:
    """What a mount and its copies in other namespaces have in common; their mount_id differs."""
    return mount.mount_point, mount.major, mount.minor, mount.root


def without_kit(table: list[Mount], kit: Counter[tuple[str, int, int, str]]) -> list[Mount]:
    """The mounts that are the learner's, or that any server has."""
    seen: Counter[tuple[str, int, int, str]] = Counter()
    shown = []
    for mount in table:
        seen[identity(mount)] += 1
        if seen[identity(mount)] > kit[identity(mount)]:  # a second one is the learner's
            shown.append(mount)
    return shown
