"""Short names for namespaces: A, B, C … in order of appearance, where an inode number says nothing to a person."""

from __future__ import annotations

from collections.abc import Callable

from .linux.namespaces import Namespace


class Labels:
    """`alive` gives the namespaces that have a process now: the kernel gives an inode number away again, a label is
    never.
    """

    def __init__(self, alive: Callable[[], set[Namespace]]) -> None:
        self._alive = alive
        self._known: dict[Namespace, str] = {}
        self._given = 0

    def of(self, namespace: Namespace) -> str:
        if namespace not in self._known:
            self._known[namespace] = _letters(self._given)
            self._given += 1
        return self._known[namespace]

    def left(self, namespace: Namespace) -> None:
        """A terminal has left `namespace`: where it was the last one, the next namespace with that number is another
        one.
        """
        if namespace not in self._alive():
            self._known.pop(namespace, None)


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters
