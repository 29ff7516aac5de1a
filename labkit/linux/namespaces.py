"""Which namespaces a process is in: the links of /proc/PID/ns, namespaces(7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


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
        kinds = sorted(entry.name for entry in Path("/proc/self/ns").iterdir())
        if kind not in kinds:
            raise ValueError(f"namespace kind {kind!r}: this kernel has {', '.join(kinds)}")
        if pid == "self":
            # Not os.getpid(): after `unshare --pid --fork` that is 1, in the old /proc another process.
            pid = int(Path("/proc/self").readlink().name)
        # The kind as the link has it: what pid_for_children names is a pid namespace.
        kind, inode = str(Path(f"/proc/{pid}/ns/{kind}").readlink()).removesuffix("]").split(":[")
        return cls(kind, int(inode), pid)

    def __str__(self) -> str:
        """As readlink shows it: mnt:[4026531841]."""
        return f"{self.kind}:[{self.inode}]"
