"""What a refused system call looks like: the call as strace writes it, the errno, the likely causes.

The causes are those of the call's own man page (section ERRORS), in the order in which a learner meets them.
"""

from __future__ import annotations

import errno as _errno
import os
from enum import IntFlag


class Word(str):
    """An argument that is written without quotes: a name of C."""


class SyscallError(OSError):
    """A system call that the kernel refused: `call` as strace writes it, `errno`, and the likely `cause` in words."""

    errno: int

    def __init__(self, name: str, arguments: tuple[object, ...], errno: int) -> None:
        self._made_of = name, arguments, errno
        self.call = f"{name}({', '.join(map(written, arguments))})"
        self.cause = CAUSES.get(name, {}).get(errno, _ANY.get(errno, "")).strip()
        super().__init__(errno, os.strerror(errno))

    def __reduce__(self) -> tuple[type[SyscallError], tuple[object, ...]]:
        return type(self), self._made_of  # OSError would copy what it was told itself

    def __str__(self) -> str:
        symbol = _errno.errorcode.get(self.errno, str(self.errno))
        head = f"{self.call} = -1 {symbol} ({self.strerror})"
        return f"{head}\n{self.cause}" if self.cause else head


def written(value: object) -> str:
    """An argument as strace writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, Word):
        return value
    if isinstance(value, IntFlag):
        known = [flag for flag in type(value).__members__.values() if flag in value]
        unknown = int(value) & ~sum(known)
        return "|".join([str(flag.name) for flag in known] + [hex(unknown)] * bool(unknown)) or "0"
    if isinstance(value, int):
        return str(int(value))
    data = os.fsencode(value if isinstance(value, (bytes, os.PathLike)) else str(value))
    return '"' + "".join(_character(byte, data[at + 1 : at + 2]) for at, byte in enumerate(data)) + '"'


def _character(byte: int, following: bytes) -> str:
    """No codec: where an error happens in the lab, Python's library may be out of sight already, and codecs with it."""
    if chr(byte) in _ESCAPES:
        return _ESCAPES[chr(byte)]
    if 32 <= byte < 127:
        return chr(byte)
    return f"\\{byte:03o}" if following and following in b"01234567" else f"\\{byte:o}"


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\v": "\\v", "\f": "\\f"}

_PRIVILEGE = "It needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace: run it in a lab's terminal."

_ANY = {
    _errno.ENOSYS: "This kernel does not have the call, or a seccomp filter hides it (containers do that).",
    _errno.ENOMEM: "The kernel had no memory for it.",
    _errno.ENOENT: "The path does not exist.",
    _errno.ENOTDIR: "Something on the way is not a directory.",
    _errno.ELOOP: "Too many symbolic links on the way.",
    _errno.EBADF: "The descriptor is not open.",
    _errno.EFAULT: "An address was outside this process's memory: a mistake in the arguments.",
}

_NEW_NAMESPACE = {
    _errno.EPERM: """
A new namespace needs CAP_SYS_ADMIN, a new user namespace does not: add CLONE_NEWUSER, or run it in a lab's terminal.
If CLONE_NEWUSER itself was refused: a container's seccomp filter; kernel.unprivileged_userns_clone = 0; a chroot;
or an id of this process that its own user namespace does not map (write uid_map and gid_map first).""",
    _errno.ENOSPC: """
A limit on namespaces is reached: see /proc/sys/user/max_*_namespaces.
User and PID namespaces also nest at most 32 deep.""",
    _errno.EUSERS: "User namespaces nest at most 32 deep.",
}

CAUSES: dict[str, dict[int, str]] = {
    "clone": _NEW_NAMESPACE
    | {
        _errno.EAGAIN: "The limit on processes is reached: RLIMIT_NPROC (`ulimit -u`), or the cgroup's pids.max.",
        _errno.ENOMEM: "No memory; or PID 1 of the PID namespace has ended, and nothing can be started in it any more.",
        _errno.EINVAL: "These flags do not go together, or this kernel was built without that kind of namespace.",
    },
    "unshare": _NEW_NAMESPACE
    | {
        _errno.EINVAL: """
CLONE_NEWUSER, CLONE_THREAD and CLONE_VM are refused in a process that has threads (a notebook's kernel has many);
otherwise a flag that unshare(2) does not know, or a kernel that was built without that kind of namespace.""",
    },
    "setns": {
        _errno.EBADF: "The descriptor is not open.",
        _errno.EINVAL: """
The descriptor is not a namespace of that kind; or, for a mount or user namespace, this process has threads or shares
its root and working directory with another one (CLONE_FS).""",
        _errno.EPERM: "It needs CAP_SYS_ADMIN in the namespace that is entered, and for a mount one CAP_SYS_CHROOT.",
        _errno.ESRCH: "The process behind the pidfd has ended.",
    },
    "mount": {
        _errno.EPERM: f"""
{_PRIVILEGE}
There: it would uncover or loosen what a more privileged namespace locked (read-only, nosuid, a covered /proc).""",
        _errno.EACCES: "The source is read-only and MS_RDONLY was not given; or AppArmor or SELinux forbids it.",
        _errno.EBUSY: "The source is mounted already; or it shall be read-only while a file on it is written.",
        _errno.EINVAL: """
For a bind: the source lies in another mount namespace, or has locked mounts below it (then use MS_BIND|MS_REC).
For MS_REMOUNT, MS_MOVE or a change of propagation: the target is not a mount point.
Otherwise: options that the file system does not know, or a superblock that it can not read.""",
        _errno.ELOOP: "Too many symbolic links, or a mount moved below itself.",
        _errno.ENODEV: "This kernel does not know that file-system type: see /proc/filesystems.",
        _errno.ENOENT: "The source or the target does not exist: mount(2) makes no directories, `mkdir` first.",
        _errno.ENOSPC: "The mount namespace is full: /proc/sys/fs/mount-max.",
        _errno.ENOTBLK: "This file-system type needs a block device, and the source is none.",
        _errno.ENOTDIR: "The target must be a directory, or source and target both files.",
    },
    "umount2": {
        _errno.EBUSY: """
Somebody uses it: a working directory, an open file, or a mount below it.
Leave it (`cd /`), or detach it with MNT_DETACH.""",
        _errno.EINVAL: """
The target is not a mount point, or it is locked: a mount that came with a copy from a more privileged namespace
can not be taken away alone. MNT_EXPIRE goes with neither MNT_FORCE nor MNT_DETACH.""",
        _errno.EAGAIN: "MNT_EXPIRE has marked the mount; the next such call takes it, if nobody uses it until then.",
        _errno.EPERM: _PRIVILEGE,
    },
    "mount_setattr": {
        _errno.EBUSY: "Read-only was asked for, and a file on the mount is open for writing.",
        _errno.EINVAL: "The path is not a mount point, or the attributes contradict each other: mount_setattr(2).",
        _errno.EPERM: f"{_PRIVILEGE}\nOr the attribute is locked by a more privileged namespace.",
        _errno.ENOSYS: "mount_setattr(2) came with Linux 5.12, or a seccomp filter hides it.",
    },
    "pivot_root": {
        _errno.EBUSY: "new_root or put_old is on the current root's mount: new_root must be a mount of its own.",
        _errno.EINVAL: """
new_root is not a mount point (bind it onto itself first); or put_old is not below new_root; or the current root
is not a mount point (after a chroot, or on the initial ramfs); or one of the mounts involved is shared.""",
        _errno.ENOTDIR: "new_root or put_old is not a directory.",
        _errno.ENOENT: "new_root or put_old does not exist.",
        _errno.EPERM: _PRIVILEGE,
    },
    "chroot": {
        _errno.EPERM: "It needs CAP_SYS_CHROOT in this process's user namespace: run it in a lab's terminal.",
        _errno.ENOENT: "The directory does not exist.",
        _errno.ENOTDIR: "The path is not a directory.",
        _errno.EACCES: "A directory on the way can not be searched.",
    },
    "sethostname": {
        _errno.EPERM: "It needs CAP_SYS_ADMIN in the user namespace that owns this UTS namespace.",
        _errno.EINVAL: "A host name has at most 64 bytes.",
    },
    "pidfd_open": {
        _errno.ESRCH: "No such process.",
        _errno.ENOENT: "The pid belongs to a thread that is not its process's first.",
        _errno.EINVAL: "The pid is not positive, or belongs to a thread that is not its process's first.",
    },
    "keyctl": {
        _errno.EDQUOT: "This user's quota of keys is used up: /proc/key-users.",
    },
    "prctl": {
        _errno.EINVAL: "This kernel does not know that option, or not this value of it: prctl(2).",
        _errno.EPERM: "The option asks for a privilege that this process does not have: prctl(2).",
    },
}
