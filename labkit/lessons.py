"""The lessons that come with the kit, and the copy of them that a learner works in."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
RECORD = ".lessons.json"  # in the copy: the digest of each lesson as it was copied


@dataclass
class News:
    """What `bring` did, by the names of the lessons. `first`: none was there. `kept`: the learner's own, where the
    kit's is another one.
    """

    directory: Path
    first: bool = False
    added: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.first:
            return f"The lessons were copied to {self.directory}."
        lines = [f"The lessons are in {self.directory}."]
        if self.added:
            lines.append(f"Copied, since they were not there: {', '.join(self.added)}.")
        if self.renewed:
            lines.append(
                f"Renewed, since the kit has newer ones and you had not changed them: {', '.join(self.renewed)}."
            )
        if self.kept:
            lines.append(
                f"Kept as they are, though the kit has newer ones: {', '.join(self.kept)}. "
                "Rename yours and start again: then the newer one is copied beside it."
            )
        return "\n".join(lines)


def source() -> Path:
    """The directory of the kit's own lessons: the clone's, or the one inside the installed package."""
    clone = PACKAGE.parent / "notebooks"
    return clone if clone.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file() else PACKAGE / "notebooks"


def bring(directory: Path) -> News:
    """Copy to `directory` the lessons that it lacks, and renew those that are as they were copied.

    What a learner changed is never written over, and a file is there whole or not at all. Errors: OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    news = News(directory.resolve())
    if directory.samefile(source()):
        return news
    record = _recorded(directory)
    kit = sorted(source().glob("*.ipynb"))
    for lesson in kit:
        name, ours = lesson.name, lesson.read_bytes()
        path = directory / name
        theirs = _content(path)
        if theirs not in (None, ours) and (path.is_symlink() or _digest(theirs) != record.get(name)):
            if record.get(name) != _digest(ours):
                news.kept.append(name)
            continue
        if theirs != ours:
            _write(path, ours)
            (news.added if theirs is None else news.renewed).append(name)
        if record.get(name) != _digest(ours):
            record[name] = _digest(ours)  # at once: what comes of the next one, this one is known as the kit's
            _write(directory / RECORD, json.dumps(record, indent=1).encode())
    news.first = len(news.added) == len(kit)
    return news


def _recorded(directory: Path) -> dict[str, str]:
    """Without a record, or with one that somebody spoilt, whatever differs from the kit's counts as the learner's."""
    try:
        record = json.loads(_content(directory / RECORD) or b"{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write beside it first: where the disk is full, what was there is still there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # of this process alone: another one may copy, too
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
