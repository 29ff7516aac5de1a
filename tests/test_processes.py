"""labkit.processes beside ps(1), in a PID namespace of a throw-away child, and on real terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labkit import processes
from labkit.linux.namespaces import Namespace
from labkit.processes import Process, awaits_keys, descendants, group, runs
from tests.harness import wait_until

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]

# PID 1 with children of two threads, a grandchild in its own namespace, one with an odd name, and one that has ended.
CHILD = r"""
import ctypes, json, os, signal, subprocess, sys, threading
def start(*command, **options): return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
def renamed(name): return lambda: ctypes.CDLL(None).prctl(15, name)  # PR_SET_NAME
started = {"first": start("cat"), "apart": start("unshare", "--mount", "cat"), "group": start("cat", process_group=0)}
odd = start(sys.executable, "-I", "-c", "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'\\xff \\r<b>)'); print(); sys.stdout.flush(); sys.stdin.read()")
started["odd"] = odd
odd.stdout.readline()
deep = start("bash", "-c", "cat; true")
started["deep"] = deep
for each in (deep, started["first"], started["apart"], started["group"]):
    each.stdin.write(b"there?\n")
    each.stdin.flush()
    each.stdout.readline()  # it is the program that it shall be
ended = start("true")
os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
end = threading.Event()
def other():
    started["thread"] = start("cat")
    ready.set()
    end.wait()  # a child of this thread while it lives: proc_pid_task_tid_children(5)
ready = threading.Event()
threading.Thread(target=other, daemon=True).start()
ready.wait()
print(json.dumps({name: each.pid for name, each in started.items()} | {"ended": ended.pid}), flush=True)
sys.stdin.read()
"""  # noqa: E501


@pytest.fixture(scope="module")
def tree() -> Iterator[dict[str, Any]]:
    """`pid` of the namespace's PID 1 here, and by name the pids that the others have in it."""
    command = [*UNSHARE, sys.executable, "-I", "-c", CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        inside = json.loads(child.stdout.readline())
        (pid,) = map(int, ps("pid", "--ppid", child.pid))
        yield {"pid": pid, **inside}


def ps(column: str, *selection: object) -> list[str]:
    return subprocess.run(
        ["ps", "-o", f"{column}=", *map(str, selection)], capture_output=True, text=True
    ).stdout.split()


def below(pid: int) -> set[int]:
    """`pid` and its descendants, as ps(1) shows them: those that have ended left out."""
    children = set(map(int, ps("pid", "--ppid", pid)))
    return {pid}.union(*map(below, children)) if ps("stat", "-p", pid)[0][0] != "Z" else set()


def by_inner_pid(pid: int) -> dict[int, Process]:
    return {process.lab_pid: process for process in descendants(pid)}


def test_descendants_are_those_that_ps_shows(tree: dict[str, Any]) -> None:
    """Also the children of threads; not one that has ended and is not yet waited for."""
    found = list(descendants(tree["pid"]))
    assert len({process.pid for process in found}) == len(found)
    assert {process.pid for process in found} == below(tree["pid"])
    assert len(found) >= 8
    assert found[0].pid == tree["pid"]


def test_their_pids_are_those_of_the_lab(tree: dict[str, Any]) -> None:
    """What `echo $$` prints there: the second number of NSpid in proc_pid_status(5)."""
    inner = by_inner_pid(tree["pid"])
    expected = {1, *(pid for name, pid in tree.items() if name not in ("pid", "ended"))}
    assert expected < set(inner)
    assert tree["ended"] not in inner
    for process in inner.values():
        assert ps("pidns", "-p", process.pid) == [os.readlink(f"/proc/{tree['pid']}/ns/pid")[5:-1]]


def test_their_names_are_those_that_ps_shows(tree: dict[str, Any]) -> None:
    inner = by_inner_pid(tree["pid"])
    for name in ("first", "group", "thread", "deep"):
        process = inner[tree[name]]
        assert [process.name] == ps("comm", "-p", process.pid)


def test_a_name_may_hold_any_byte(tree: dict[str, Any]) -> None:
    """prctl(2), PR_SET_NAME: up to 15 bytes that are not NUL."""
    assert os.fsencode(by_inner_pid(tree["pid"])[tree["odd"]].name) == b"\xff \r<b>)"


def test_their_namespaces_are_those_that_ps_shows(tree: dict[str, Any]) -> None:
    inner = by_inner_pid(tree["pid"])
    for process in inner.values():
        assert [str(process.namespace.inode)] == ps("mntns", "-p", process.pid)
    assert inner[tree["apart"]].namespace != inner[tree["first"]].namespace == inner[1].namespace
    assert inner[1].namespace != Namespace.of()


def test_descendants_of_nobody_are_none(tree: dict[str, Any]) -> None:
    """A pid has at most 22 bits."""
    assert list(descendants(2**31 - 1)) == []


def test_a_process_group(tree: dict[str, Any]) -> None:
    leader = by_inner_pid(tree["pid"])[tree["group"]].pid
    everybody = [process.pid for process in descendants(tree["pid"])]
    assert set(group(tree["pid"], leader)) == {pid for pid in everybody if ps("pgid", "-p", pid) == [str(leader)]}
    assert list(group(tree["pid"], leader)) == [leader]
    assert list(group(tree["pid"], 2**31 - 1)) == []


def test_a_process_runs_until_it_has_ended() -> None:
    """Waited for or not: until then its pid is not given away, and /proc shows it."""
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert runs(child.pid)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists()
    assert not runs(child.pid)
    child.wait()
    assert not runs(child.pid)


# --- who waits for keys

POLL = "import select, sys; p = select.poll(); {}; print('ready', flush=True); p.poll()"
SELECT = "import select, sys; print('ready', flush=True); select.select({}, [], [])"


@contextmanager
def on_a_terminal(*command: str, **options: Any) -> Iterator[tuple[int, int]]:
    """The pid of a program whose session is on a new terminal, and the terminal's number."""
    master, slave = os.openpty()
    child = subprocess.Popen(["setsid", "--ctty", *command], **{"stdin": slave, "stdout": slave, **options})
    number = int(os.ttyname(slave).removeprefix("/dev/pts/"))
    os.close(slave)
    try:
        yield child.pid, number
    finally:
        child.kill()
        child.wait()
        os.close(master)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


@pytest.mark.parametrize(
    "command",
    [
        ["cat"],
        ["cat", "/dev/tty"],
        ["bash", "-c", "read line"],
        ["bash", "--norc", "-c", "read -e line"],
        ["bash", "-c", "read -t 60 line"],
        python("input()"),
        python("import os; os.read(0, 1)"),
        python(SELECT.format("[sys.stdin]")),
        python(SELECT.format("[sys.stdin, open('/dev/zero')][:1]")),
        python(POLL.format("p.register(0, select.POLLIN)")),
        python(POLL.format("p.register(__import__('os').pipe()[0]); p.register(0, select.POLLIN)")),
        python("import ctypes; ctypes.CDLL(None).poll((ctypes.c_int * 4)(-1, 1, 0, 1), 2, -1)"),
    ],
    ids=lambda command: command[-1],
)
def test_who_waits_for_keys_is_found(command: list[str]) -> None:
    """In read(2), select(2) or poll(2), as /proc/PID/syscall says; poll(2) leaves out negative descriptors."""
    with on_a_terminal(*command) as (pid, terminal):
        wait_until(f"{command} waits for keys", lambda: awaits_keys(pid, terminal), 5)
        assert not awaits_keys(pid, terminal + 1) or "/dev/tty" in command


def state(pid: int) -> str:
    """The number of the system call that it waits in, or "running": proc_pid_syscall(5)."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0]


@pytest.mark.parametrize(
    "command",
    [
        ["sleep", "60"],
        python("import os; r, w = os.pipe(); os.read(r, 1)"),
        python("import os; m, s = os.openpty(); os.read(s, 1)"),
        python("import signal; signal.pause()"),
        python("import select; p = select.poll(); p.register(0, select.POLLERR); p.poll()"),
        python(SELECT.format("[__import__('os').pipe()[0]]")),
    ],
    ids=lambda command: command[-1],
)
def test_who_waits_for_something_else_is_not(command: list[str]) -> None:
    """A timer, a pipe, another terminal, a signal, room to write: whoever types helps none of them."""
    with on_a_terminal(*command) as (pid, terminal):
        name = Path(command[0]).name
        wait_until("it is the program", lambda: Path(f"/proc/{pid}/comm").read_text().strip() == name)
        seen: list[str] = []

        def waits() -> bool:
            seen.append(state(pid))
            return len(seen) >= 20 and set(seen[-20:]) == {seen[-1]} and seen[-1] not in ("running", "-1")

        wait_until("it stays in one system call", waits)
        assert not awaits_keys(pid, terminal)


def test_a_program_that_computes_waits_for_nothing() -> None:
    with on_a_terminal(*python("print('ready', flush=True)\nwhile True: pass")) as (pid, terminal):
        wait_until("it runs", lambda: state(pid) == "running")
        assert not awaits_keys(pid, terminal)


def test_who_has_ended_or_is_somebody_elses_waits_for_nothing() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not awaits_keys(child.pid, 0)
    child.wait()
    assert not awaits_keys(child.pid, 0)
    assert not awaits_keys(1, 0)  # of an ordinary user nobody may ask that: EACCES


def test_the_numbers_of_the_system_calls(tmp_path: Path) -> None:
    """Against <sys/syscall.h> for this machine, and against the generic numbers, which are arm64's."""
    names = {0: "read", 7: "poll", 23: "select", 270: "pselect6", 271: "ppoll"}
    generic = {63: "read", 72: "pselect6", 73: "ppoll"}
    for machine, header, prefix, calls in (
        ("x86_64", "sys/syscall.h", "SYS", names),
        ("aarch64", "asm-generic/unistd.h", "__NR", generic),
    ):
        assert processes.WAITS[machine] == {
            number: name.removeprefix("p").rstrip("6") if name != "poll" else "poll" for number, name in calls.items()
        }
        if machine == "x86_64" and os.uname().machine != machine:
            continue
        lines = "".join(f'printf("%d\\n", {prefix}_{name});' for name in calls.values())
        source = f"#include <stdio.h>\n#include <{header}>\nint main(void) {{ {lines} }}\n"
        program = tmp_path / machine
        subprocess.run(["gcc", "-x", "c", "-o", program, "-"], input=source, text=True, check=True)
        printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        assert list(map(int, printed.split())) == list(calls)
