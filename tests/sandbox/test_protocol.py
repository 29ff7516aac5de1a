"""labkit.sandbox.protocol over a real socket pair, as between the notebook's kernel and the agent."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.sandbox import protocol

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Ends that keep messages apart and in order: unix(7), SOCK_SEQPACKET."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_a_message_comes_as_it_was_sent(pair: Pair) -> None:
    """Every field as text."""
    protocol.send(pair[0], "open", 24, 80)
    assert protocol.receive(pair[1]) == (["open", "24", "80"], [])


def test_messages_are_kept_apart_and_in_order(pair: Pair) -> None:
    protocol.send(pair[0], "started", 7)
    protocol.send(pair[0], "ready", "aid")
    assert [protocol.receive(pair[1])[0] for _ in range(2)] == [["started", "7"], ["ready", "aid"]]


fields = st.binary(max_size=50).map(lambda data: os.fsdecode(data.replace(b"\0", b"0")))


@settings(deadline=None)
@given(st.lists(fields, min_size=1, max_size=5))
def test_any_text_without_nul_comes_back(sent: list[str]) -> None:
    """Also bytes that are not UTF-8, as a path in a system call's error may be; alone an empty field is no message."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        protocol.send(ours, "first", *sent)
        assert protocol.receive(theirs) == (["first", *sent], [])


def test_the_end_of_the_connection_has_no_fields(pair: Pair) -> None:
    """Also after messages that were sent before it."""
    protocol.send(pair[0], "last words")
    pair[0].close()
    assert protocol.receive(pair[1]) == (["last words"], [])
    assert protocol.receive(pair[1]) == ([], [])


def test_nobody_listens(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(BrokenPipeError):
        protocol.send(pair[0], "open", 24, 80)


@pytest.mark.parametrize("count", range(protocol.DESCRIPTORS + 1))
def test_descriptors_come_beside(pair: Pair, count: int) -> None:
    """Each is another one of the same open file, in the order in which they were sent: unix(7), SCM_RIGHTS."""
    pipes = [os.pipe() for _ in range(count)]
    protocol.send(pair[0], "opened", fds=tuple(write for _, write in pipes))
    said, fds = protocol.receive(pair[1])
    assert (said, len(fds)) == (["opened"], count)
    for number, ((read, write), fd) in enumerate(zip(pipes, fds, strict=True)):
        os.close(write)
        os.write(fd, b"%d" % number)
        os.close(fd)
        assert os.read(read, 10) == b"%d" % number
        assert os.read(read, 10) == b""
        os.close(read)


def test_a_descriptor_that_came_is_closed_on_exec(pair: Pair) -> None:
    """As every descriptor that Python opens (PEP 446). A program that `!command` starts would keep it open."""
    protocol.send(pair[0], "opened", fds=(0, 1))
    _, fds = protocol.receive(pair[1])
    inherited = [os.get_inheritable(fd) for fd in fds]
    for fd in fds:
        os.close(fd)
    assert inherited == [False, False]


def test_more_descriptors_than_agreed_are_not_taken(pair: Pair) -> None:
    """The kernel closes those for which there is no room: unix(7). What was taken over could fill our table else."""
    before = len(os.listdir("/proc/self/fd"))
    protocol.send(pair[0], "opened", fds=(0,) * (protocol.DESCRIPTORS + 5))
    _, fds = protocol.receive(pair[1])
    assert len(os.listdir("/proc/self/fd")) - before == len(fds) <= protocol.DESCRIPTORS
    for fd in fds:
        os.close(fd)


def test_a_message_may_be_as_long_as_said(pair: Pair) -> None:
    text = "x" * protocol.LARGEST
    protocol.send(pair[0], text)
    assert protocol.receive(pair[1]) == ([text], [])


def test_a_longer_one_is_cut_and_the_next_one_is_whole(pair: Pair) -> None:
    """A datagram is read at once or not at all: recv(2)."""
    protocol.send(pair[0], "x" * (protocol.LARGEST + 1))
    protocol.send(pair[0], "next")
    assert protocol.receive(pair[1]) == (["x" * protocol.LARGEST], [])
    assert protocol.receive(pair[1]) == (["next"], [])


def test_an_error_says_its_errno_and_its_text(pair: Pair) -> None:
    """What the agent sends where the kernel refuses."""
    error = OSError(1, "Operation not permitted")
    protocol.send(pair[0], "refused", "make a user namespace", error.errno, error)
    assert protocol.receive(pair[1])[0] == [
        "refused",
        "make a user namespace",
        "1",
        "[Errno 1] Operation not permitted",
    ]
