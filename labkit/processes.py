"""The processes of a lab, as the host's /proc shows them: the lab's own may be gone (`umount -l /proc`)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from .linux.namespaces import Namespace

PTY_SLAVES = 136  # Documentation/admin-guide/devices.txt
DEV_TTY = os.makedev(5, 0)
POLLIN = 1
# System calls in which a process waits for input (arch/*/entry/syscalls/*.tbl), and how they are told what to wait for.
WAITS = {
    "x86_64": {0: "read", 7: "poll", 23: "select", 270: "select", 271: "poll"},
    "aarch64": {63: "read", 72: "select", 73: "poll"},
}


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
            inner = next(line.split()[1:] for line in file if line.startswith(b"NSpid:"))
        with open(f"/proc/{pid}/comm", "rb") as file:
            name = os.fsdecode(file.read()[:-1])
        yield Process(pid, int(inner[:2][-1]), name, Namespace.of(pid))  # the guard is in no lab: it has one pid
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                children = file.read().split()
            for child in children:
                yield from descendants(int(child))
    except OSError:  # EACCES too: proc_ns_readlink() says so where the process ends at that moment
        if runs(pid):
            raise


def group(session: int, number: int) -> Iterator[int]:
    """The pids below `session` that are in the process group `number`."""
    for process in descendants(session):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == number:
                yield process.pid


def runs(pid: int) -> bool:
    """Is there such a process, and has it not ended? One that nobody has waited for yet is in no namespace any more."""
    try:
        os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return False
    return True


def awaits_keys(pid: int, terminal: int) -> bool:
    """Does this process wait for somebody to type on the PTY with that number (or on /dev/tty)? proc_pid_syscall(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            if not file.read().rpartition(b")")[2].startswith(b" S"):  # not asleep: it is in the call for a moment only
                return False
        with open(f"/proc/{pid}/syscall", "rb") as file:
            number, *arguments = file.read().split()
        how = WAITS[os.uname().machine].get(int(number)) if number != b"running" else None
        fds = _awaited(pid, how, int(arguments[0], 16), int(arguments[1], 16)) if how else []
        return any(os.stat(f"/proc/{pid}/fd/{fd}").st_rdev in (os.makedev(PTY_SLAVES, terminal), DEV_TTY) for fd in fds)
    except (OSError, OverflowError, struct.error):  # the last two: a program that waits for nonsense
        return False


def _awaited(pid: int, how: str, first: int, second: int) -> list[int]:
    """The descriptors that read(FD, …), select(COUNT, FD_SET, …) or poll(POLLFDS, COUNT, …) waits for input on."""
    if how == "read":
        return [first]
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        if how == "poll":
            entries = struct.iter_unpack("ihh", os.pread(memory, min(second, 64) * 8, first))
            return [fd for fd, events, _ in entries if fd >= 0 and events & POLLIN]
        bits = int.from_bytes(os.pread(memory, 8, second), "little") if second else 0
        return [fd for fd in range(min(first, 64)) if bits >> fd & 1]
    finally:
        os.close(memory)
