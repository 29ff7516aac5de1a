"""labkit.labels: A, B, C … in order of appearance, and none of them twice."""

from __future__ import annotations

import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.labels import Labels, _letters
from labkit.linux.namespaces import Namespace


def mnt(inode: int, pid: int = 1) -> Namespace:
    return Namespace("mnt", inode, pid)


class Kernel:
    """Which namespaces have a process; asked as the lab asks."""

    def __init__(self, *inodes: int) -> None:
        self.alive = {mnt(inode) for inode in inodes}
        self.labels = Labels(lambda: self.alive)


def test_in_order_of_appearance() -> None:
    labels = Kernel(10, 20, 30).labels
    assert [labels.of(mnt(inode)) for inode in (30, 10, 30, 20, 10)] == ["A", "B", "A", "C", "B"]


def test_whom_the_kernel_was_asked_about_does_not_matter() -> None:
    labels = Kernel().labels
    assert labels.of(Namespace.of()) == labels.of(Namespace.of(os.getppid())) == "A"


def test_after_z_comes_aa() -> None:
    """As the columns of a spreadsheet."""
    labels = Kernel().labels
    given_out = [labels.of(mnt(inode)) for inode in range(26 + 26 * 26 + 1)]
    letters = string.ascii_uppercase
    assert given_out == [*letters, *(a + b for a in letters for b in letters), "AAA"]


@given(st.integers(0, 10**9))
def test_letters_are_numbers_without_a_zero(number: int) -> None:
    value = 0
    for letter in _letters(number):
        value = value * 26 + ord(letter) - ord("A") + 1
    assert value == number + 1


def test_a_namespace_that_a_terminal_left_keeps_its_label_while_it_lives() -> None:
    kernel = Kernel(10, 20)
    assert [kernel.labels.of(mnt(10)), kernel.labels.of(mnt(20))] == ["A", "B"]
    kernel.labels.left(mnt(20))
    assert kernel.labels.of(mnt(20)) == "B"


def test_a_number_that_the_kernel_gives_away_again_gets_a_new_label() -> None:
    """The inode of a namespace is free when its last process has ended; the next namespace may get it."""
    kernel = Kernel(10, 20)
    assert [kernel.labels.of(mnt(10)), kernel.labels.of(mnt(20))] == ["A", "B"]
    kernel.alive = {mnt(10)}
    kernel.labels.left(mnt(20))
    kernel.alive = {mnt(10), mnt(20)}
    assert [kernel.labels.of(mnt(20)), kernel.labels.of(mnt(10))] == ["C", "A"]


def test_leaving_what_was_never_seen_is_harmless() -> None:
    kernel = Kernel(10)
    kernel.labels.left(mnt(99))
    assert kernel.labels.of(mnt(10)) == "A"


@pytest.mark.parametrize("kind", ["uts", "user"])
def test_namespaces_of_two_kinds_are_two(kind: str) -> None:
    labels = Kernel().labels
    assert [labels.of(mnt(10)), labels.of(Namespace(kind, 10, 1))] == ["A", "B"]
