"""labkit.tables: of mount tables written by hand, and of real ones, beside findmnt(8) and the kernel's own answer."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

import labkit
from labkit import tables
from labkit.linux.mountinfo import Mount, parse
from labkit.tables import COLUMNS, NUMBERS

HOME = str(Path(labkit.__file__).parents[1])
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]

HERE = parse(
    """\
20 1 0:30 / / rw,relatime - tmpfs tmpfs rw,size=256m
21 20 8:1 /usr /usr ro,nosuid - ext4 /dev/sda1 rw
22 20 0:31 / /proc rw,nosuid,nodev,noexec - proc proc rw
"""
)


def mount(line: str) -> Mount:
    (one,) = parse(line)
    return one


TMP = mount("23 20 0:32 / /tmp/mount_ns rw,relatime - tmpfs tmpfs rw")
A, B = "A", "B"


def records(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries; pandas' NA is None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


# --- mounts


def test_mounts_are_rows_in_the_kernels_order() -> None:
    """Every field of proc_pid_mountinfo(5) that is a column; what an optional field does not say is NA."""
    line = mount("36 35 98:0 /mnt1 /mnt2 rw,noatime shared:7 master:2 - ext3 /dev/root rw,errors=continue")
    frame = tables.mounts([*HERE, line])
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["mount_point"]) == ["/", "/usr", "/proc", "/mnt2"]
    assert records(frame)[-1] == {
        "mount_point": "/mnt2", "source": "/dev/root", "fstype": "ext3", "options": "rw,noatime",
        "super_options": "rw,errors=continue", "propagation": "shared, slave", "peer_group": 7, "master": 2,
        "mount_id": 36, "parent_id": 35, "root": "/mnt1",
    }  # fmt: skip
    assert records(frame)[0]["peer_group"] is None


@pytest.mark.parametrize("table", [HERE, []], ids=["some", "none"])
def test_numbers_are_whole_numbers(table: list[Mount]) -> None:
    """A float would show peer group 7 as 7.0 in a column that has an NA."""
    frame = tables.mounts(table)
    assert {column: str(frame[column].dtype) for column in NUMBERS} == dict.fromkeys(NUMBERS, "Int64")
    assert tuple(frame.columns) == COLUMNS


CHILD = r"""
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from labkit.linux import *
os.chdir(sys.argv[2])
mount("base", sys.argv[2], "tmpfs")
os.chdir(sys.argv[2])
for name in (b"a b", b"<b>&amp;", b"back\\slash", b"new\nline", b"\xff", b"under", b"over", b"moved"):
    os.mkdir(name)
    mount(b"of " + name, name, "tmpfs")
mount("second", "over", "tmpfs")
mount("a b", "moved", None, MS_MOVE)  # an older mount on top of a newer one
for source in ("covered", "seen"):  # the second pair covers the first
    os.makedirs("stack", exist_ok=True)
    mount(source, "stack", "tmpfs")
    os.mkdir("stack/at")
    mount(source, "stack/at", "tmpfs")
def top(path):
    "Which mount a path leads to: mnt_id in proc_pid_fdinfo(5)."
    fd = os.open(path, os.O_PATH)
    return next(int(line.split()[1]) for line in open(f"/proc/self/fdinfo/{fd}") if line.startswith("mnt_id"))
said = dict(
    mountinfo=os.fsdecode(open("/proc/self/mountinfo", "rb").read()),
    findmnt=json.loads(subprocess.check_output(["findmnt", "--json", "--list", "-o", "TARGET,SOURCE,FSTYPE,ID,PARENT,PROPAGATION,VFS-OPTIONS,FS-OPTIONS"],
                       errors="replace")),
    tops={name: top(name) for name in ("over", "moved", "under", "stack/at", "stack")},
)
print(json.dumps(said))
"""  # noqa: E501


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    base = str(tmp_path_factory.mktemp("tables").resolve())
    command = [*UNSHARE, sys.executable, "-I", "-c", CHILD, HOME, base]
    said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {"base": base, "table": parse(said["mountinfo"]), **said}


def test_mounts_says_what_findmnt_says(real: dict[str, Any]) -> None:
    """Of every mount whose names are plain: findmnt(8) writes others in its own way."""
    ours = {row["mount_id"]: row for row in records(tables.mounts(real["table"]))}
    theirs = {row["id"]: row for row in real["findmnt"]["filesystems"]}
    assert ours.keys() == theirs.keys()
    compared = 0
    for mount_id, row in theirs.items():
        mine = ours[mount_id]
        assert (mine["parent_id"], mine["fstype"]) == (row["parent"], row["fstype"])
        assert mine["options"] == row["vfs-options"]
        assert set(mine["propagation"].split(", ")) == set(row["propagation"].replace("private,", "").split(","))
        if re.fullmatch(r"[/\w.:-]+", f"{row['target']}{row['source']}") and mine["root"] == "/":
            assert (mine["mount_point"], mine["source"]) == (row["target"], row["source"])
            compared += 1
    assert compared >= 5


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>&amp;", "<b>&amp;"),
        ("back\\slash", "back\\134slash"),
        ("new\nline", "new\\012line"),
        (os.fsdecode(b"\xff"), "\\377"),
    ],
    ids=ascii,
)
def test_a_name_that_can_not_be_shown_is_written_as_the_kernel_writes_it(
    real: dict[str, Any], name: str, shown: str
) -> None:
    """The table can be printed, on a line of its own; in HTML a name is text."""
    point = f"{real['base']}/{shown}"
    for frame in (tables.mounts(real["table"]), tables.compare({"left": (A, real["table"])})):
        (row,) = [row for row in records(frame) if row["mount_point"] == point]
        assert row["source"] == f"of {shown}"
        frame.to_string().encode()
        with pandas.option_context("display.max_colwidth", None, "display.max_rows", None):
            page = frame.to_html()
        page.encode()
        assert f"<td>{html.escape(point, quote=False)}</td>" in page
        assert "<b>&amp;<" not in page


@pytest.mark.parametrize("name", ["over", "moved", "under", "stack/at", "stack"])
def test_visible_shows_the_mount_that_is_on_top(real: dict[str, Any], name: str) -> None:
    """Two mounts at one place: a path leads to the upper one. A mount that was moved is the older and the upper one;
    one below a mount that is covered is covered with it.
    """
    at = f"{real['base']}/{name}"
    (on_top,) = [each for each in real["table"] if each.mount_id == real["tops"][name]]
    (row,) = records(tables.visible(at, {"left": (A, real["table"])}))
    assert row["visible"] is True
    assert row["mounted"] == f"{on_top.source} (tmpfs)"


# --- compare, differences


def test_compare_has_one_row_for_a_mount_and_its_copies() -> None:
    """A copy has another mount_id: unshare(2) copies the table."""
    copied = [each._replace(mount_id=each.mount_id + 100, parent_id=each.parent_id + 100) for each in HERE]
    frame = tables.compare({"left": (B, [*copied, TMP]), "right": (A, HERE)})
    assert list(frame["mount_point"]) == ["/", "/usr", "/proc", "/tmp/mount_ns"]
    assert list(frame["left"]) == [True, True, True, True]
    assert list(frame["right"]) == [True, True, True, False]
    assert list(frame.columns) == [
        "mount_point", "left", "right", "source", "fstype", "options", "super_options", "propagation", "peer_group",
        "master", "root",
    ]  # fmt: skip
    assert frame[["left", "right"]].dtypes.tolist() == [bool, bool]


def test_differences_are_the_rows_that_not_all_see() -> None:
    other = TMP._replace(mount_point="/mnt")
    views = {"left": (B, [*HERE, TMP]), "right": (A, [*HERE, other]), "third": (A, [*HERE, other])}
    rows = records(tables.differences(views))
    assert [(row["mount_point"], row["left"], row["right"], row["third"]) for row in rows] == [
        ("/tmp/mount_ns", True, False, False),
        ("/mnt", False, True, True),
    ]
    assert list(tables.differences(views).index) == [0, 1]


def test_no_differences() -> None:
    """The table is empty and says what its columns would be."""
    views = {"left": (A, HERE), "right": (A, HERE)}
    frame = tables.differences(views)
    assert len(frame) == 0
    assert list(frame.columns) == list(tables.compare(views).columns)
    assert frame[["left", "right"]].dtypes.tolist() == [bool, bool]


def test_tables_without_mounts() -> None:
    """Of processes that have just ended; the columns have their types all the same."""
    for function in (tables.compare, tables.differences):
        frame = function({"left": (A, []), "right": (B, [])})
        assert len(frame) == 0
        assert list(frame.columns)[:3] == ["mount_point", "left", "right"]
        assert str(frame["peer_group"].dtype) == "Int64"
        assert frame[["left", "right"]].dtypes.tolist() == [bool, bool]


def test_the_same_mount_twice_at_one_place_is_two() -> None:
    twice = [*HERE, TMP, TMP._replace(mount_id=24, parent_id=23)]
    frame = tables.compare({"left": (B, twice), "right": (A, [*HERE, TMP])})
    assert list(frame["mount_point"]).count("/tmp/mount_ns") == 2
    assert list(frame["right"]) == [True, True, True, True, False]
    assert len(tables.differences({"left": (B, twice), "right": (A, twice)})) == 0


@pytest.mark.parametrize("field", ["mount_point", "root", "source", "fstype", "major", "minor"])
def test_what_makes_two_mounts_of_them(field: str) -> None:
    other = TMP._replace(**{field: 99 if field in ("major", "minor") else "/other"})
    assert len(tables.compare({"left": (A, [TMP]), "right": (B, [other])})) == 2


def test_a_mount_whose_copies_differ_says_who_has_what() -> None:
    """Made read-only, or shared, in one namespace: the other's copy is as it was. A number is then NA."""
    shared = TMP._replace(options="ro,relatime", optional_fields=("shared:5",))
    (row,) = records(tables.compare({"right": (B, [shared]), "left": (A, [TMP])}))
    assert row["options"] == "A: rw,relatime, B: ro,relatime"
    assert row["propagation"] == "A: private, B: shared"
    assert (row["peer_group"], row["super_options"], row["left"], row["right"]) == (None, "rw", True, True)
    (row,) = records(tables.compare({"right": (B, [shared]), "left": (A, [shared])}))
    assert (row["propagation"], row["peer_group"]) == ("shared", 5)


def test_who_has_what_is_in_the_order_of_the_labels() -> None:
    """A, B … Z, AA: as everywhere."""
    views = {
        "one": ("AA", [TMP._replace(options="ro")]),
        "two": ("B", [TMP._replace(options="rw")]),
        "three": ("A", [TMP._replace(options="rw,noexec")]),
    }
    (row,) = records(tables.compare(views))
    assert row["options"] == "A: rw,noexec, B: rw, AA: ro"


def test_two_terminals_in_one_namespace_say_it_once() -> None:
    shared = TMP._replace(options="ro")
    views = {"left": (A, [TMP]), "right": (A, [TMP]), "third": (B, [shared])}
    (row,) = records(tables.compare(views))
    assert row["options"] == "A: rw,relatime, B: ro"


# --- visible


def test_visible_says_who_sees_it_what_and_why() -> None:
    frame = tables.visible("/tmp/mount_ns", {"left": (B, [*HERE, TMP]), "right": (A, HERE)})
    assert frame.index.name == "terminal"
    assert list(frame.index) == ["left", "right"]
    other = "it is in the table of B, and A has a table of its own"
    assert records(frame) == [
        {"namespace": B, "visible": True, "mounted": "tmpfs (tmpfs)", "why": "it is in the mount table of namespace B"},
        {"namespace": A, "visible": False, "mounted": "", "why": other},
    ]  # fmt: skip
    assert frame["visible"].dtype == bool


def test_visible_nowhere() -> None:
    frame = tables.visible("/tmp/mount_ns", {"left": (B, HERE), "right": (A, HERE)})
    assert list(frame["visible"]) == [False, False]
    assert set(frame["why"]) == {"nothing is mounted there in any terminal's namespace"}


def test_visible_in_several() -> None:
    views = {"left": (B, [TMP]), "right": (A, HERE), "third": ("AA", [TMP])}
    assert tables.visible("/tmp/mount_ns", views)["why"]["right"] == (
        "it is in the table of B and AA, and A has a table of its own"
    )


def test_a_terminal_that_does_not_see_it_is_not_told_that_it_does() -> None:
    """A chroot hides mounts: its mountinfo is shorter, in the same namespace (proc_pid_mountinfo(5))."""
    frame = tables.visible("/tmp/mount_ns", {"left": (A, HERE[:1]), "right": (A, [*HERE, TMP])})
    assert list(frame["visible"]) == [False, True]
    assert frame["why"]["left"] != frame["why"]["right"]


@pytest.mark.parametrize(
    "path",
    ["/tmp/mount_ns/", "/tmp//mount_ns", "/tmp/./mount_ns", "/tmp/x/../mount_ns", "//tmp/mount_ns", "///tmp/mount_ns"],
)
def test_a_path_may_be_written_in_many_ways(path: str) -> None:
    assert list(tables.visible(path, {"left": (A, [TMP])})["visible"]) == [True]


def test_the_root_is_a_mount_point() -> None:
    assert list(tables.visible("/", {"left": (A, HERE)})["mounted"]) == ["tmpfs (tmpfs)"]


@pytest.mark.parametrize("path", ["tmp/mount_ns", "", ".", "~/x"])
def test_a_relative_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        tables.visible(path, {"left": (A, HERE)})


def test_a_directory_in_a_mount_is_no_mount() -> None:
    assert list(tables.visible("/tmp", {"left": (A, [TMP])})["visible"]) == [False]


# --- namespaces

MEMBERS = [
    ("A", 11, "agent", 1),
    ("B", 22, "bash", 9),
    ("A", 11, "bash", 3),
    ("AA", 33, "cat", 4),
    ("A", 11, "bash", 2),
]


def test_namespaces_in_the_order_of_their_labels_processes_in_that_of_their_pids() -> None:
    frame = tables.namespaces(MEMBERS, {"left": "B", "right": "A", "third": "A"})
    assert frame.index.name == "namespace"
    assert list(frame.index) == ["A", "B", "AA"]
    assert frame.to_dict("list") == {
        "terminals": ["right, third", "left", ""],
        "processes": ["agent 1, bash 2, bash 3", "bash 9", "cat 4"],
        "inode": [11, 22, 33],
    }


def test_a_terminal_whose_process_has_just_ended_is_left_out() -> None:
    assert list(tables.namespaces(MEMBERS, {"left": "C"})["terminals"]) == ["", "", ""]


def test_no_namespaces() -> None:
    frame = tables.namespaces([], {})
    assert (len(frame), list(frame.columns)) == (0, ["terminals", "processes", "inode"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"),
        (os.fsdecode(b"\xff"), "\\377"),
        ("a\tb", "a\\011b"),
        ("<b>", "<b>"),
        (", x", ", x"),
        ("", ""),
    ],
    ids=ascii,
)
def test_a_process_may_have_any_name(name: str, shown: str) -> None:
    """Its first 15 bytes are the name of the program's file, prctl(2) sets others: what is no text must not stop the
    table.
    """
    frame = tables.namespaces([("A", 11, name, 1), ("A", 11, "bash", 2)], {})
    assert frame["processes"]["A"] == f"{shown} 1, bash 2"
    frame.to_string().encode()
    page = frame.to_html()
    page.encode()
    assert "<b>" not in page


# --- how pandas shows them


def test_show_whole_lets_pandas_cut_nothing() -> None:
    """In a process of its own: pandas' options are global."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import pandas
from labkit import tables
from labkit.linux.mountinfo import parse
wide = "o" * 300
before = repr(pandas.DataFrame({"a": [wide]}))
tables.show_whole()
frame = tables.mounts(parse(f"36 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw,{wide}"))
shown = repr(frame)
assert "..." in before and "..." not in shown and wide in shown and shown.count("\\n") == 1, shown
assert wide in frame._repr_html_()
"""
    subprocess.run([sys.executable, "-c", code, HOME], check=True)
