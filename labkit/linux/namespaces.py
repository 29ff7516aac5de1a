"""Which namespaces a process is in: the links of /proc/PID/ns, namespaces(7)."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

NS_GET_MNTNS_ID = 0x8008B705  # <linux/nsfs.h>: ioctl_nsfs(2)


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace of one process; equal when kind and inode are: namespaces(7), Linux 3.8.

    The kernel reuses the inode of a namespace that is gone: compare namespaces while both are alive.
    """

    kind: str
    inode: int
    pid: int = field(compare=False)  # whom the kernel was asked about: no part of what the namespace is

    @classmethod
    def of(cls, pid: int | Literal["self"] = "self", kind: str = "mnt") -> Namespace:
        """Ask the kernel which namespace of `kind` process `pid` is in.

        Errors: ValueError for a kind this kernel does not have; OSError as readlink(2) raises it, EACCES
        where ptrace(2) would be refused too (another user's process).
        """
        if pid == "self":
            # Not os.getpid(): after `unshare --pid --fork` that is 1, in the old /proc another process.
            pid = int(os.readlink("/proc/self"))
        try:
            link = os.readlink(f"/proc/{pid}/ns/{kind}" if kind.isidentifier() else "")
        except FileNotFoundError:
            kinds = sorted(os.listdir("/proc/self/ns"))
            if kind in kinds:
                raise  # it is the process that there is none of
            raise ValueError(f"namespace kind {kind!r}: this kernel has {', '.join(kinds)}") from None
        # The kind as the link has it: what pid_for_children names is a pid namespace.
        kind, _, inode = link.removesuffix("]").partition(":[")
        return cls(kind, int(inode), pid)

    def serial(self) -> int | None:
        """A number that this mount namespace alone has, ever: NS_GET_MNTNS_ID, Linux 6.11. None on older kernels.

        Errors: OSError as open(2) raises it where `pid` has ended, ESRCH where it is in another namespace now.
        """
        with open(f"/proc/{self.pid}/ns/mnt", "rb") as file:
            if os.fstat(file.fileno()).st_ino != self.inode:
                raise ProcessLookupError(errno.ESRCH, f"process {self.pid} is not in {self} any more")
            try:
                return int.from_bytes(fcntl.ioctl(file, NS_GET_MNTNS_ID, bytes(8)), sys.byteorder)
            except OSError:
                return None

    def __str__(self) -> str:
        """As readlink shows it: mnt:[4026531841]."""
        return f"{self.kind}:[{self.inode}]"
