"""The lessons that come with the kit, and the copy of them that a learner works in.

The kit's are stored with what they print, to be read and verified. A copy comes without: it would give the answer below
each question. Two notebooks count as the same where their cells do: what cells print, and what JupyterLab notes of a
notebook as soon as it is opened, is no change of a learner's.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
RECORD = ".lessons.json"  # in the copy: the digest of each lesson's cells as they were copied


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
    """Copy to `directory` the lessons that it lacks, and renew those whose cells are as they were copied.

    What a learner wrote is never written over, and a file is there whole or not at all. Errors: OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    news = News(directory.resolve())
    if directory.samefile(source()):
        return news
    record = _recorded(directory)
    kit = sorted(source().glob("*.ipynb"))
    for lesson in kit:
        name, path, content = lesson.name, directory / lesson.name, lesson.read_bytes()
        ours, theirs = _digest(content), _digest(_content(path))
        if theirs not in ("", ours) and (path.is_symlink() or theirs != record.get(name)):
            if record.get(name) != ours:
                news.kept.append(name)
            continue
        if theirs != ours:
            _write(path, _without_outputs(content))
            (news.renewed if theirs else news.added).append(name)
        if record.get(name) != ours:
            record[name] = ours  # at once: what comes of the next one, this one is known as the kit's
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


def _digest(content: bytes | None) -> str:
    """Of the cells, or of all that is in a file that is no notebook; "" where there is none."""
    if content is None:
        return ""
    with suppress(ValueError, KeyError, TypeError):
        written = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(content)["cells"]]
        content = json.dumps(written).encode()
    return hashlib.sha256(content).hexdigest()


def _without_outputs(content: bytes) -> bytes:
    """As JupyterLab writes a notebook that was never run."""
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(execution_count=None, outputs=[])
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    """Write beside it first: where the disk is full, what was there is still there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # of this process alone: another one may copy, too
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
