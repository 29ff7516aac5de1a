"""The processes of a lab, as the host's /proc shows them: the lab's own may be gone (`umount -l /proc`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from .linux.namespaces import Namespace

READ = {"x86_64": b"0", "aarch64": b"63"}  # the number of read(2)
PTY_SLAVES = 136  # Documentation/admin-guide/devices.txt
DEV_TTY = os.makedev(5, 0)


@dataclass(frozen=True, slots=True)
class Process:
    """`pid` as this process sees it, `lab_pid` as the lab does (what `echo $$` prints there), `namespace` its mount
    namespace.
    """

    pid: int
    lab_pid: int
    name: str
    namespace: Namespace


def descendants(pid: int) -> Iterator[Process]:
    """`pid` and all that descends from it: with a lab's PID 1, the whole lab. Who ends meanwhile is left out."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            status = dict(line.split(b":\t", 1) for line in file.read().splitlines() if b":\t" in line)
        inner = status[b"NSpid"].split()
        outer = len(inner) - 1
        name = os.fsdecode(status[b"Name"])
        yield Process(pid, int(inner[min(1, outer)]), name, Namespace.of(pid))
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                children = file.read().split()
            for child in children:
                yield from descendants(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return


def group(session: int, number: int) -> Iterator[int]:
    """The pids below `session` that are in the process group `number`."""
    for process in descendants(session):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == number:
                yield process.pid


def reads(pid: int, terminal: int) -> bool:
    """Is this process in read(2) on the PTY with that number (or on /dev/tty), so that it waits for keys?
    proc_pid_syscall(5).
    """
    try:
        with open(f"/proc/{pid}/syscall", "rb") as file:
            number, *arguments = file.read().split()
        if number != READ[os.uname().machine]:
            return False
        device = os.stat(f"/proc/{pid}/fd/{int(arguments[0], 16)}").st_rdev
    except OSError:
        return False
    return device in (os.makedev(PTY_SLAVES, terminal), DEV_TTY)
