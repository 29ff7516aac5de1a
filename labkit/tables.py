"""What the terminals see, as pandas tables. Every function takes what was read already and asks the kernel nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import pandas
from pandas import DataFrame as DataFrame

from . import comparison
from .calls import Call
from .comparison import Views, order
from .linux.mountinfo import Mount

COLUMNS = (
    "mount_point", "source", "fstype", "options", "super_options", "propagation",
    "peer_group", "master", "mount_id", "parent_id", "root",
)  # fmt: skip
NUMBERS = ("peer_group", "master", "mount_id", "parent_id")
PER_COPY = (
    "options",
    "super_options",
    "propagation",
    "peer_group",
    "master",
)  # may differ between a mount's copies


def show_whole() -> None:
    """Let pandas show every column and every cell whole."""
    pandas.set_option("display.max_columns", None, "display.max_colwidth", None, "display.width", 1000)
    pandas.set_option("display.html.use_mathjax", False)  # a mount point may hold $


def mounts(table: Iterable[Mount]) -> DataFrame:
    """One row a mount, in the kernel's order; the columns are `COLUMNS`."""
    rows = [{column: _cell(getattr(mount, column)) for column in COLUMNS} for mount in table]
    return _frame(rows, COLUMNS)


def compare(views: Views) -> DataFrame:
    """One row a mount of any namespace: who sees it, one boolean column a terminal, and what it is."""
    rows = []
    for key, by_terminal in comparison.copies(views).items():
        mount = next(iter(by_terminal.values()))
        row: dict[str, object] = {"mount_point": _cell(key.mount_point)}
        row |= {terminal: terminal in by_terminal for terminal in views}
        row |= {column: _cell(getattr(mount, column)) for column in ("source", "fstype", "root")}
        row |= {column: _merged(column, by_terminal, views) for column in PER_COPY}
        rows.append(row)
    shown = [column for column in COLUMNS if column not in ("mount_point", "mount_id", "parent_id")]
    return _frame(rows, ("mount_point", *views, *shown)).astype(dict.fromkeys(views, bool))


def differences(views: Views) -> DataFrame:
    """The rows of `compare` that not all terminals see."""
    table = compare(views)
    return table[~table[list(views)].all(axis="columns")].reset_index(drop=True)


def visible(path: str, views: Views) -> DataFrame:
    """One row a terminal: the label of its namespace, is a mount at `path` in its table, which, and why."""
    if not path.startswith("/"):
        raise ValueError(f"a mount point is an absolute path: {path!r} does not begin with /")
    place = "/" + os.path.normpath(path).lstrip("/")
    found = {terminal: [m for m in table if m.mount_point == place] for terminal, (_, table) in views.items()}
    owners = sorted({label for terminal, (label, _) in views.items() if found[terminal]}, key=order)
    rows = []
    for terminal, (label, _) in views.items():
        here = found[terminal]
        top = _reached(place, views[terminal][1])
        rows.append(
            {
                "namespace": label,
                "visible": bool(here),
                "mounted": _cell(f"{top.source} ({top.fstype})") if top in here else "covered" if here else "",
                "why": _why(label, bool(here), owners),
            }
        )
    return DataFrame(rows, index=pandas.Index(views, name="terminal"))


def syscalls(calls: Sequence[Call]) -> DataFrame:
    """One row a system call, in the order in which they began; with the process where there are several."""
    rows = [
        {
            "process": call.pid,
            "call": call.name,
            "arguments": ", ".join(call.arguments),
            "result": call.result,
            "in words": call.words,
        }
        for call in calls
    ]
    table = _frame(rows, ("process", "call", "arguments", "result", "in words"))
    return table if len({call.pid for call in calls}) > 1 else table.drop(columns="process")


def _reached(path: str, table: list[Mount]) -> Mount | None:
    """The mount that a path leads to: mounts may cover each other, and with one all that is below it."""
    ids = {mount.mount_id for mount in table}
    reached = next((mount for mount in table if mount.parent_id not in ids), None)
    while reached:
        here = reached.mount_id
        on_the_way = [m for m in table if m.parent_id == here != m.mount_id and _leads(m.mount_point, path)]
        if not on_the_way:
            break
        reached = min(on_the_way, key=lambda mount: len(mount.mount_point))
    return reached


def _leads(mount_point: str, path: str) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip("/") + "/")


def _why(label: str, visible: bool, owners: list[str]) -> str:
    if visible:
        return f"it is in the mount table of namespace {label}"
    if label in owners:
        return f"it is in the table of {label}, but not below this process's root directory (chroot)"
    if owners:
        return f"it is in the table of {' and '.join(owners)}, and {label} has a table of its own"
    return "nothing is mounted there in any terminal's namespace"


def namespaces(members: Iterable[tuple[str, int, str, int]], terminals: dict[str, str]) -> DataFrame:
    """One row a namespace. `members`: label, inode, name and pid of each process; `terminals`: the label of each."""
    rows: dict[str, dict[str, object]] = {}
    processes: dict[str, list[str]] = {}
    for label, inode, name, pid in sorted(members, key=lambda member: (order(member[0]), member[3])):
        processes.setdefault(label, []).append(f"{_cell(name)} {pid}")
        those = ", ".join(terminal for terminal, where in terminals.items() if where == label)
        rows[label] = {"terminals": those, "processes": ", ".join(processes[label]), "inode": inode}
    columns = ("terminals", "processes", "inode")
    return DataFrame(rows.values(), index=pandas.Index(rows, name="namespace"), columns=columns)


def _merged(column: str, by_terminal: dict[str, Mount], views: Views) -> object:
    """The value that all copies of a mount agree on; where they differ, each namespace's own, or none of a number."""
    by_label = {views[terminal][0]: getattr(mount, column) for terminal, mount in by_terminal.items()}
    if column in NUMBERS:
        return _cell(next(iter(by_label.values()))) if len(set(by_label.values())) == 1 else pandas.NA
    return comparison.merged(by_label)


def _frame(rows: list[dict[str, object]], columns: Iterable[str]) -> DataFrame:
    frame = DataFrame(rows, columns=list(columns))
    return frame.astype({column: "Int64" for column in NUMBERS if column in frame})


def _cell(value: object) -> object:
    if value is None:
        return pandas.NA
    return comparison.printable(value) if isinstance(value, str) else value
