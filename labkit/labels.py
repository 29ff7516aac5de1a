"""Short names for namespaces: A, B, C … in order of appearance, where an inode number says nothing to a person."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .linux.namespaces import Namespace


class Labels:
    """A label is given once: the kernel gives the inode number of a namespace that is gone away again, to another one.

    Since Linux 6.11 the kernel says which one it is (`Namespace.serial`). On older kernels `left` is all there is: a
    namespace that came to its number in between, unseen, gets the label of the one before. `alive` gives the namespaces
    that have a process now.
    """

    def __init__(self, alive: Callable[[], set[Namespace]]) -> None:
        self._alive = alive
        self._known: dict[Namespace, tuple[int | None, str]] = {}
        self._given = 0
        self._lock = threading.Lock()  # cells, and the threads that follow the terminals, ask at the same time

    def of(self, namespace: Namespace) -> str:
        with self._lock:
            serial, label = self._known.get(namespace, (None, ""))
            try:
                now = namespace.serial()
            except OSError:  # whoever it was read from has ended
                now = serial
            if not label or now != serial:
                label = _letters(self._given)
                self._given += 1
                self._known[namespace] = now, label
            return label

    def left(self, namespace: Namespace) -> None:
        """A terminal has left `namespace`: if nobody is in it now, the next one with that number is another one."""
        with self._lock:
            if namespace not in self._alive():
                self._known.pop(namespace, None)


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters
