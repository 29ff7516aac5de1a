"""labkit.labels: A, B, C … in order of appearance, and none of them twice."""

from __future__ import annotations

import string
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import labkit
from labkit.labels import Labels, _letters
from labkit.linux.namespaces import Namespace

HOME = str(Path(labkit.__file__).parents[1])


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


@contextmanager
def process(code: str, *unshare: str) -> Iterator[subprocess.Popen[str]]:
    """Python in namespaces of its own, which does `code` at the next line that it reads, answers, and waits."""
    program = f"import sys; sys.path.insert(0, {HOME!r}); from labkit.linux import *\n"
    program += f"print(flush=True); sys.stdin.readline(); {code}; print(flush=True); sys.stdin.read()"
    command = ["unshare", "--user", "--map-root-user", *unshare, sys.executable, "-I", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "\n"
        yield child


def test_whom_the_kernel_was_asked_about_does_not_matter() -> None:
    labels = Kernel().labels
    with process("pass") as child:
        assert Namespace.of(child.pid) == Namespace.of()
        assert labels.of(Namespace.of()) == labels.of(Namespace.of(child.pid)) == "A"


def test_a_process_that_has_moved_on_since_takes_no_label_with_it() -> None:
    """unshare(2) between the look and the label: the namespace that was read is still the one that it was."""
    labels = Kernel().labels
    with process("unshare(CLONE_NEWNS)") as child:
        before = Namespace.of(child.pid)
        assert labels.of(before) == "A"
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("now\n")
        child.stdin.flush()
        assert child.stdout.readline() == "\n"
        assert labels.of(before) == "A"
        assert labels.of(Namespace.of(child.pid)) == "B"
        assert labels.of(Namespace.of()) == "A"


def test_a_real_number_that_comes_back_gets_a_new_label() -> None:
    """Nobody saw the first one end. The kernel gives numbers out again soon; NS_GET_MNTNS_ID tells since Linux 6.11."""
    if Namespace.of().serial() is None:
        pytest.skip("NS_GET_MNTNS_ID came with Linux 6.11: before it, only a look in time tells")
    labels = Kernel().labels
    seen: dict[int, str] = {}
    for _ in range(50):
        with process("pass", "--mount") as child:
            namespace = Namespace.of(child.pid)
            label = labels.of(namespace)
        assert label not in seen.values()
        if namespace.inode in seen:
            return
        seen[namespace.inode] = label
    pytest.fail("50 namespaces after each other had 50 numbers: this kernel does not give them out again")


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
