"""What a lab was made of when it was closed, and what is left of that: asked of the kernel, before and after."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from dataclasses import dataclass

from . import processes

SHOWN = 8  # names of processes


@dataclass(frozen=True)
class Ending:
    """`processes` were in the lab, in `namespaces` mount namespaces; those in `left` live still."""

    processes: tuple[str, ...]
    namespaces: int
    left: tuple[str, ...]

    def __repr__(self) -> str:
        if not self.processes:
            return "The lab had ended already."
        some = ", ".join(self.processes[:SHOWN]) + (", …" if len(self.processes) > SHOWN else "")
        where = f"{self.namespaces} mount namespace{'' if self.namespaces == 1 else 's'}"
        had = f"The lab had {len(self.processes)} processes ({some}) in {where}."
        if self.left:
            return f"{had} Left of them: {', '.join(self.left)}."
        return f"{had} None of them is left, and with the last one the kernel has freed all namespaces and mounts."


class Inventory:
    """Of a lab that is about to end: below `pid`, its PID 1. A context manager, which lets go of all that it holds."""

    def __init__(self, pid: int) -> None:
        self._held: dict[str, int] = {}  # names and pids in the lab, with a pidfd of each
        self._namespaces = set()
        with suppress(OSError):  # no descriptor is free: a lab must end all the same
            for process in processes.descendants(pid):
                with suppress(ProcessLookupError):
                    self._held[f"{process.name} {process.lab_pid}"] = os.pidfd_open(process.pid)
                    self._namespaces.add(process.namespace.inode)

    def ending(self) -> Ending:
        """Who lives still? A pidfd can be read when its process has ended: pidfd_open(2)."""
        poller = select.poll()
        for pidfd in self._held.values():
            poller.register(pidfd, select.POLLIN)
        ended = {pidfd for pidfd, _ in poller.poll(0)}
        left = [name for name, pidfd in self._held.items() if pidfd not in ended]
        return Ending(tuple(self._held), len(self._namespaces), tuple(left))

    def __enter__(self) -> Inventory:
        return self

    def __exit__(self, *_: object) -> None:
        for pidfd in self._held.values():
            os.close(pidfd)
