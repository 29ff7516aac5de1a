"""labkit.linux.namespaces beside readlink(1) and namespaces made by unshare(1)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit
from labkit.linux.namespaces import Namespace

UNSHARE = ["unshare"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]


@contextlib.contextmanager
def process(*command: str) -> Iterator[int]:
    """The pid of `command` followed by cat(1), which lives until the block ends."""
    with subprocess.Popen([*command, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"there?\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"there?\n"  # from here on it is cat, in its namespaces
        yield child.pid


@pytest.mark.parametrize("kind", sorted(link.name for link in Path("/proc/self/ns").iterdir()))
def test_reads_as_readlink_shows_it(kind: str) -> None:
    """readlink(1) run by a child answers for the parent too: a new process is in its parent's namespaces."""
    with process() as pid:
        shown = subprocess.run(["readlink", f"/proc/{pid}/ns/{kind}"], capture_output=True, text=True, check=True)
        assert str(Namespace.of(pid, kind)) == shown.stdout.strip()
        assert Namespace.of(pid, kind) == Namespace.of("self", kind)


def test_unshare_changes_the_kind_asked_for_and_no_other() -> None:
    """unshare --mount gives a new mount namespace and leaves the process in its UTS namespace."""
    with process(*UNSHARE, "--mount") as pid:
        assert Namespace.of(pid) != Namespace.of()
        assert Namespace.of(pid, "uts") == Namespace.of(kind="uts")


def test_processes_in_one_namespace_are_one_member_of_a_set() -> None:
    """pid says whom the kernel was asked about; equality and hash are of (kind, inode)."""
    with process() as left, process() as right, process(*UNSHARE, "--mount") as apart:
        asked = [Namespace.of(pid) for pid in (left, right, apart)]
        assert [namespace.pid for namespace in asked] == [left, right, apart]
        assert len(set(asked)) == 2
    assert Namespace("mnt", 1, pid=7) != Namespace("uts", 1, pid=7)
    assert Namespace("mnt", 1, pid=7) != Namespace("mnt", 2, pid=7)


def test_self_is_whom_proc_calls_self() -> None:
    """In a new PID namespace under an old /proc, getpid(2) says 1, and /proc/1 is another process."""
    code = """
import json, os
from labkit.linux.namespaces import Namespace
namespace = Namespace.of("self", "pid")
print(json.dumps([os.getpid(), namespace.pid, str(namespace), os.readlink(f"/proc/{namespace.pid}/ns/pid")]))
"""
    where = {**os.environ, "PYTHONPATH": str(Path(labkit.__file__).parents[1])}
    command = [*UNSHARE, "--pid", "--fork", sys.executable, "-c", code]
    said = subprocess.run(command, env=where, stdout=subprocess.PIPE, check=True).stdout
    getpid, pid, namespace, link = json.loads(said)
    assert getpid == 1
    assert pid != 1
    assert namespace == link
    assert namespace != str(Namespace.of("self", "pid"))


def test_the_kind_is_the_namespace_s_not_the_link_s() -> None:
    """pid_for_children (Linux 4.12) links to a PID namespace, the process's own unless it called unshare."""
    assert Namespace.of(kind="pid_for_children") == Namespace.of(kind="pid")


@pytest.mark.parametrize("kind", ["mount", "", ".", "../exe"])
def test_unknown_kind_names_those_there_are(kind: str) -> None:
    """The kinds are the links in /proc/self/ns: every kernel has its own set."""
    with pytest.raises(ValueError, match=r"this kernel has .*\bmnt, .*\buser, ") as error:
        Namespace.of(kind=kind)
    assert repr(kind) in str(error.value)


def test_no_such_process() -> None:
    """A pid has at most 22 bits on Linux, so this one is nobody's: ENOENT, with the path asked for."""
    with pytest.raises(FileNotFoundError) as error:
        Namespace.of(2**31 - 1)
    assert os.fspath(error.value.filename) == "/proc/2147483647/ns/mnt"


def test_is_a_value() -> None:
    """A namespace that was read does not change, and can be a key."""
    namespace = Namespace.of()
    with pytest.raises(dataclasses.FrozenInstanceError):
        namespace.inode = 1  # type: ignore[misc]
    assert {namespace: "default"}[Namespace.of()] == "default"
