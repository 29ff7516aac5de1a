"""Messages between the notebook's kernel and the agent: one datagram each, fields between NUL bytes.

Plain fields and no pickle or JSON: the lab's root may take the agent over, so the notebook trusts no byte of it.
And `_socket`, the C half of socket: the other half imports for longer than all the rest of the agent.

    kernel → agent    open ROWS COLUMNS
    agent → kernel    started PID | ready NONCE | refused ERRNO TEXT STEP … (the last one is the refused)
                      opened (with the PTY's master and a pidfd of its shell) | failed ERRNO TEXT
"""

from __future__ import annotations

import os
import struct
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, socket

LARGEST = 65536
DESCRIPTORS = 2


def send(control: socket, *fields: object, fds: tuple[int, ...] = ()) -> None:
    data = b"\0".join(os.fsencode(str(field)) for field in fields)
    rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    control.sendmsg([data], rights)


def receive(control: socket) -> tuple[list[str], list[int]]:
    """The next message: its fields (none at the end of the connection) and the descriptors that came with it."""
    data, ancillary, _, _ = control.recvmsg(LARGEST, CMSG_SPACE(DESCRIPTORS * struct.calcsize("i")), MSG_CMSG_CLOEXEC)
    fds = [fd for _, _, rights in ancillary for (fd,) in struct.iter_unpack("i", rights)]
    return (os.fsdecode(data).split("\0") if data else []), fds
