"""Messages between the notebook's kernel and the agent: one datagram each, fields between NUL bytes, descriptors
beside.

Plain fields and no pickle or JSON: the lab's root may take the agent over, so that the kernel trusts no byte of it;
and the agent starts twice as fast without the modules that richer formats import.

    kernel → agent    open ROWS COLUMNS
    agent → kernel    started PID | ready | refused STEP ERRNO TEXT | opened (with the PTY's master) | failed ERRNO TEXT
"""

from __future__ import annotations

import os
import socket

LARGEST = 65536


def send(control: socket.socket, *fields: object, fds: tuple[int, ...] = ()) -> None:
    socket.send_fds(control, [b"\0".join(os.fsencode(str(field)) for field in fields)], fds)


def receive(control: socket.socket) -> tuple[list[str], list[int]]:
    """The next message: its fields (none at the end of the connection) and the descriptors that came with it."""
    data, fds, _, _ = socket.recv_fds(control, LARGEST, 1)
    return (os.fsdecode(data).split("\0") if data else []), fds
