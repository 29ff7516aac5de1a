"""What the terminals and namespaces of a lab are now, kept up to date by the kernel's events.

poll(2) on a /proc/PID/mountinfo tells of mounts, unmounts and remounts in its namespace (proc_pid_mounts(5)), not of a
change of propagation; and no event tells that a process enters a namespace. So all is read again after each command
too, and once a second while one runs. At rest nothing is.
"""

from __future__ import annotations

import itertools
import math
import os
import select
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from . import comparison, processes
from .errors import TerminalEnded
from .linux import mountinfo
from .linux.mountinfo import Mount
from .linux.namespaces import Namespace
from .stream import State
from .terminal import Surroundings, Terminal

FIRST_LOOK = 0.3  # seconds after a command began: what lives shorter is not worth a label
PERIOD = 1.0  # seconds between two looks while a command runs
MOMENT, AGAIN = 0.002, 5  # seconds until a shell whose command has just ended is in the foreground, and times to try
REST = 2  # times as long as a look took, until the next one: where tables are huge, most of the time is the terminals'


class Place(NamedTuple):
    """Where a terminal is: its foreground process, with its pid in the lab, and the mount namespace of that."""

    label: str
    inode: int
    process: str
    pid: int
    cwd: str


class Column(NamedTuple):
    """A mount namespace that some process of the lab is in. `process`: the first one there."""

    label: str
    inode: int
    terminals: tuple[str, ...]
    process: str


@dataclass(frozen=True)
class Sight:
    """`rows`: every mount that any namespace sees, by a number that it keeps; seen by labels. `kit`: the numbers of
    those that are the kit's own.
    """

    places: Mapping[str, Place] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    rows: Mapping[int, comparison.Row] = field(default_factory=dict)
    kit: frozenset[int] = frozenset()


class Watch:
    """Of one lab, from `follow` to `stop`. `listeners` are called after each change of what a terminal does, or of
    `sight`, in the thread that noticed it: they must return at once.
    """

    def __init__(self, terminals: Mapping[str, Terminal]) -> None:
        self.sight = Sight()
        self.listeners: set[Callable[[], None]] = set()
        self._terminals = terminals
        self._thread: threading.Thread | None = None
        self._lab: tuple[int, Surroundings] | None = None
        self._wanted = False
        self._ending = False
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._wake)
        self._states: list[tuple[int, int, State]] = []

    def follow(self, pid: int, surroundings: Surroundings) -> None:
        """`pid`: PID 1 of the lab that is to be watched from `begin` on; at once, if one was watched already."""
        with self._lock:
            self._lab = pid, surroundings
            if self._wanted:
                self._start()

    def begin(self) -> None:
        """Somebody looks. Nothing happens where the lab has ended already."""
        with self._lock:
            self._wanted = True
            if self._lab and not self._thread:
                self._start()

    def _start(self) -> None:
        assert self._lab
        with suppress(ProcessLookupError):
            look = _Look(*self._lab, self._terminals)
            self._ending = False
            self._thread = threading.Thread(target=self._run, args=(look,), name="labkit-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """When this returns, no namespace is held any more."""
        with self._lock:
            self._lab = None
            if self._thread:
                self._ending = True
                self._nudge()
                self._thread.join()
                self._thread = None
        self.sight = Sight()
        self._tell()

    def look(self) -> None:
        """Something is new: another terminal."""
        self._nudge()
        self._tell()

    def _nudge(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _changed(self) -> None:
        """In a terminal's thread, after each read: does a command begin or end?"""
        states = self._terminal_states()
        if states != self._states:
            self._states = states
            self._nudge()
        self._tell()

    def _terminal_states(self) -> list[tuple[int, int, State]]:
        """With the number of prompts: a command may begin and end in one read."""
        streams = [terminal._stream for terminal in tuple(self._terminals.values())]
        return [(stream.serial, stream.prompts, stream.state) for stream in streams]

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()

    def _run(self, look: _Look) -> None:
        try:
            wait, again = 0.0, 0
            while not self._ending and look.wait(self._wake, wait):
                for terminal in tuple(self._terminals.values()):
                    terminal.changed.add(self._changed)
                    terminal._stream.listeners.add(self._changed)
                begun = time.monotonic()
                before = self._states = self._terminal_states()
                sight = look.take()
                if look.blurred and again < AGAIN:
                    wait, again = MOMENT, again + 1
                    continue
                again = 0
                if sight != self.sight:
                    self.sight = sight
                    self._tell()
                runs = any(state is State.RUNNING for _, _, state in self._states)
                wait = (PERIOD if before == self._states else FIRST_LOOK) if runs else math.inf
                look.rest = REST * (time.monotonic() - begun)
            if not self._ending:  # the lab has ended, and nobody said so
                self.sight = Sight()
                self._tell()
        finally:
            look.close()
            for terminal in tuple(self._terminals.values()):
                terminal.changed.discard(self._changed)
                terminal._stream.listeners.discard(self._changed)


class _Look:
    """Used by the watching thread alone."""

    def __init__(self, pid: int, surroundings: Surroundings, terminals: Mapping[str, Terminal]) -> None:
        self.rest = 0.0  # seconds before the next look
        self.blurred = False  # did a foreground process end just now, so that the last place stands for the terminal's?
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._surroundings = surroundings
        self._terminals = terminals
        self._held: dict[Namespace, tuple[int, int]] = {}  # a mountinfo, and a pidfd of whom it is of
        self._numbers: dict[comparison.Key, int] = {}
        self._count = itertools.count(1)
        self._places: dict[str, Place] = {}

    def close(self) -> None:
        for held in self._held.values():
            for fd in held:
                os.close(fd)
        self._held.clear()
        os.close(self._pidfd)

    def wait(self, wake: int, seconds: float) -> bool:
        """Until something happens, or so long; False where the lab has ended."""
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        poller.register(self._pidfd, select.POLLIN)
        for table, process in self._held.values():
            poller.register(table, select.POLLPRI)
            poller.register(process, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(None if seconds == math.inf else seconds * 1000)}
        if self.rest > 0.005 and self._pidfd not in ready:  # of a small table the next change is shown at once
            rest = select.poll()
            rest.register(self._pidfd, select.POLLIN)
            rest.poll(self.rest * 1000)
        if wake in ready:
            os.eventfd_read(wake)
        return self._pidfd not in ready

    def take(self) -> Sight:
        members: dict[Namespace, list[processes.Process]] = {}
        by_pid = {}
        for process in processes.descendants(self._pid):
            by_pid[process.pid] = process
            members.setdefault(process.namespace, []).append(process)
        self._hold({namespace: there[0] for namespace, there in members.items()})
        self.blurred = False
        places = {}
        for name, terminal in tuple(self._terminals.items()):
            # Where its foreground process has just ended, the terminal is still where it was.
            place = self._place(terminal, by_pid)
            if not place and terminal.alive:
                self.blurred = True
                place = self._places.get(name)
            if place:
                places[name] = place
        self._places = places
        labels = self._surroundings.labels
        views: dict[str, tuple[str, list[Mount]]] = {}
        columns = []
        for namespace, there in members.items():
            with suppress(OSError):
                table = mountinfo.read(there[0].pid)
                label = labels.of(there[0].namespace)
                those = tuple(name for name, place in places.items() if place.label == label)
                views[label] = label, table
                columns.append(Column(label, namespace.inode, those, there[0].name))
        columns.sort(key=lambda column: (len(column.label), column.label))
        rows = comparison.rows({column.label: views[column.label] for column in columns})
        numbers = {row.key: self._numbers.get(row.key) or next(self._count) for row in rows}
        self._numbers = numbers
        return Sight(
            places,
            tuple(columns),
            {numbers[row.key]: row for row in rows},
            frozenset(numbers[row.key] for row in rows if self._is_kit(row)),
        )

    def _is_kit(self, row: comparison.Row) -> bool:
        key = row.key
        return key.nth <= self._surroundings.kit[key.mount_point, key.major, key.minor, key.root]

    def _hold(self, first: dict[Namespace, processes.Process]) -> None:
        """An open mountinfo keeps its namespace alive: let go of each whose process has ended."""
        for namespace, fds in list(self._held.items()):
            if namespace not in first or _ended(fds[1]):
                del self._held[namespace]
                for fd in fds:
                    os.close(fd)
        for namespace, process in first.items():
            if namespace not in self._held:
                with suppress(OSError):  # it ended meanwhile: its end was noticed, or the next look does
                    self._held[namespace] = _open(process.pid)

    def _place(self, terminal: Terminal, by_pid: dict[int, processes.Process]) -> Place | None:
        try:
            namespace = terminal._note()
            pid = terminal.pid
            process = by_pid.get(pid) or next(processes.descendants(pid))
            cwd = os.readlink(f"/proc/{pid}/cwd")
            label = self._surroundings.labels.of(namespace)
            return Place(label, namespace.inode, process.name, process.lab_pid, cwd)
        except (TerminalEnded, StopIteration, OSError):
            return None


def _open(pid: int) -> tuple[int, int]:
    process = os.pidfd_open(pid)
    try:
        return os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY), process
    except OSError:
        os.close(process)
        raise


def _ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))
