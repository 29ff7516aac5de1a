"""The system calls, through ctypes: constants by header, one block of prototypes, then wrappers of a few lines.

Every wrapper takes the arguments of its man page in their order. A path is str, bytes or os.PathLike; None is NULL.
Every failure is a `SyscallError` (an OSError): the call as strace writes it, its errno, the likely causes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_long, c_size_t, c_uint64, c_ulong
from enum import IntEnum, IntFlag
from signal import SIGCHLD

from .failures import SyscallError, Word, written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


# <sched.h>: flags of clone(2), unshare(2) and setns(2)
class CloneFlag(IntFlag):
    CLONE_NEWTIME = 0x00000080  # unshare(2) and setns(2) alone: clone(2) has its signal there
    CLONE_VM = 0x00000100
    CLONE_FS = 0x00000200
    CLONE_FILES = 0x00000400
    CLONE_SIGHAND = 0x00000800
    CLONE_PIDFD = 0x00001000
    CLONE_VFORK = 0x00004000
    CLONE_PARENT = 0x00008000
    CLONE_THREAD = 0x00010000
    CLONE_NEWNS = 0x00020000
    CLONE_SYSVSEM = 0x00040000
    CLONE_SETTLS = 0x00080000
    CLONE_PARENT_SETTID = 0x00100000
    CLONE_CHILD_CLEARTID = 0x00200000
    CLONE_CHILD_SETTID = 0x01000000
    CLONE_NEWCGROUP = 0x02000000
    CLONE_NEWUTS = 0x04000000
    CLONE_NEWIPC = 0x08000000
    CLONE_NEWUSER = 0x10000000
    CLONE_NEWPID = 0x20000000
    CLONE_NEWNET = 0x40000000
    SIGCHLD = SIGCHLD.value  # <signal.h>: in clone(2), the low byte of the flags is the signal of the child's end


# <sys/mount.h>: flags of mount(2)
class MountFlag(IntFlag):
    MS_RDONLY = 1 << 0
    MS_NOSUID = 1 << 1
    MS_NODEV = 1 << 2
    MS_NOEXEC = 1 << 3
    MS_SYNCHRONOUS = 1 << 4
    MS_REMOUNT = 1 << 5
    MS_MANDLOCK = 1 << 6
    MS_DIRSYNC = 1 << 7
    MS_NOSYMFOLLOW = 1 << 8
    MS_NOATIME = 1 << 10
    MS_NODIRATIME = 1 << 11
    MS_BIND = 1 << 12
    MS_MOVE = 1 << 13
    MS_REC = 1 << 14
    MS_SILENT = 1 << 15
    MS_UNBINDABLE = 1 << 17
    MS_PRIVATE = 1 << 18
    MS_SLAVE = 1 << 19
    MS_SHARED = 1 << 20
    MS_RELATIME = 1 << 21
    MS_STRICTATIME = 1 << 24
    MS_LAZYTIME = 1 << 25


# <sys/mount.h>: flags of umount2(2)
class UmountFlag(IntFlag):
    MNT_FORCE = 1
    MNT_DETACH = 2
    MNT_EXPIRE = 4
    UMOUNT_NOFOLLOW = 8


# <linux/mount.h>: attributes of mount_setattr(2)
class MountAttr(IntFlag):
    MOUNT_ATTR_RDONLY = 0x01
    MOUNT_ATTR_NOSUID = 0x02
    MOUNT_ATTR_NODEV = 0x04
    MOUNT_ATTR_NOEXEC = 0x08


# <fcntl.h>: flags of the calls that end in "at", and of mount_setattr(2)
class AtFlag(IntFlag):
    AT_SYMLINK_NOFOLLOW = 0x100
    AT_EMPTY_PATH = 0x1000
    AT_RECURSIVE = 0x8000


AT_FDCWD = -100


# <linux/prctl.h>
class PrctlOption(IntEnum):
    PR_SET_PDEATHSIG = 1
    PR_SET_DUMPABLE = 4


# A learner writes CLONE_NEWNS, as C does: every constant is a name of this module, and of labkit.linux.
CONSTANTS = {
    name: value
    for header in (CloneFlag, MountFlag, UmountFlag, MountAttr, AtFlag, PrctlOption)
    for name, value in header.__members__.items()
}
globals().update(CONSTANTS)
if TYPE_CHECKING:

    def __getattr__(name: str) -> int: ...


# Numbers of the calls that the C library has no function for (arch/*/entry/syscalls/*.tbl), by os.uname().machine.
NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "keyctl": 250, "pidfd_open": 434, "mount_setattr": 442},
    "aarch64": {"clone": 220, "pivot_root": 41, "keyctl": 219, "pidfd_open": 434, "mount_setattr": 442},
}


class _MountAttributes(ctypes.Structure):
    """struct mount_attr, mount_setattr(2)."""

    _fields_ = (
        ("attr_set", c_uint64),
        ("attr_clr", c_uint64),
        ("propagation", c_uint64),
        ("userns_fd", c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_libc.umount2.argtypes = (c_char_p, c_int)
_libc.unshare.argtypes = (c_int,)
_libc.setns.argtypes = (c_int, c_int)
_libc.chroot.argtypes = (c_char_p,)
_libc.sethostname.argtypes = (c_char_p, c_size_t)
_libc.prctl.argtypes = (c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_libc.syscall.restype = c_long

# clone() must not let go of the interpreter lock between the fork handlers and the call: PyDLL keeps it.
_libc_with_lock = ctypes.PyDLL(None, use_errno=True)
_libc_with_lock.syscall.argtypes = (c_long, c_ulong, c_long, c_long, c_long, c_long)
_libc_with_lock.syscall.restype = c_long
_clone = _libc_with_lock.syscall

# What os.fork() does around fork(2). Looked up here: looked up in the child, each would make copies of memory pages.
_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_in_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_after_fork_in_child = ctypes.pythonapi.PyOS_AfterFork_Child


def unshare(flags: int) -> None:
    """Move this process into new namespaces, one for each CLONE_NEW* flag. unshare(2)."""
    _check(_libc.unshare(flags), "unshare", CloneFlag(flags))


def setns(fd: int, nstype: int = 0) -> None:
    """Enter the namespace behind `fd` (an open /proc/PID/ns/* file, or a pidfd since Linux 5.8). setns(2)."""
    _check(_libc.setns(fd, nstype), "setns", fd, CloneFlag(nstype))


def mount(
    source: Path | None, target: Path, fstype: str | None = None, flags: int = 0, data: str | None = None
) -> None:
    """Mount, bind, move, remount or change propagation, as `flags` says. mount(2)."""
    result = _libc.mount(_bytes(source), _bytes(target), _bytes(fstype), flags, _bytes(data))
    _check(result, "mount", source, target, fstype, MountFlag(flags), data)


def umount2(target: Path, flags: int = 0) -> None:
    """Take the topmost mount at `target` away. umount2(2)."""
    _check(_libc.umount2(_bytes(target), flags), "umount2", target, UmountFlag(flags))


def mount_setattr(
    dirfd: int, path: Path, flags: int = 0, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0
) -> None:
    """Change a mount's attributes, with AT_RECURSIVE those of the whole tree below it. mount_setattr(2), Linux 5.12."""
    attributes = _MountAttributes(attr_set, attr_clr, propagation, 0)
    arguments = (c_int(dirfd), _bytes(path), c_int(flags), ctypes.byref(attributes), c_size_t(32))
    result = _libc.syscall(_number("mount_setattr"), *arguments)
    fields = written(MountAttr(attr_set)), written(MountAttr(attr_clr)), written(MountFlag(propagation))
    shown = Word("{{attr_set={}, attr_clr={}, propagation={}, userns_fd=0}}".format(*fields))
    where = Word("AT_FDCWD") if dirfd == AT_FDCWD else dirfd
    _check(result, "mount_setattr", where, path, AtFlag(flags), shown, 32)


def pivot_root(new_root: Path, put_old: Path) -> None:
    """Make `new_root` the root mount of this mount namespace and move the old one to `put_old`. pivot_root(2)."""
    result = _libc.syscall(_number("pivot_root"), _bytes(new_root), _bytes(put_old))
    _check(result, "pivot_root", new_root, put_old)


def chroot(path: Path) -> None:
    """Let path names of this process begin at `path`; mounts and the working directory stay as they are. chroot(2)."""
    _check(_libc.chroot(_bytes(path)), "chroot", path)


def sethostname(name: str) -> None:
    """Set the host name of this process's UTS namespace. sethostname(2)."""
    encoded = os.fsencode(name)
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname", name, len(encoded))


def pidfd_open(pid: int, flags: int = 0) -> int:
    """Open a descriptor that stands for the process and polls readable when it ends. pidfd_open(2), Linux 5.3."""
    return _check(_libc.syscall(_number("pidfd_open"), c_int(pid), c_int(flags)), "pidfd_open", pid, flags)


def join_session_keyring() -> None:
    """Leave the session's keyring for a new, empty one: session_keyring(7). Nothing to do where there are none."""
    try:
        result = _libc.syscall(_number("keyctl"), c_int(1), None)
        _check(min(result, 0), "keyctl", Word("KEYCTL_JOIN_SESSION_KEYRING"), None)
    except SyscallError as error:
        if error.errno != errno.ENOSYS:
            raise


def prctl(option: int, value: int = 0) -> int:
    """Set or ask an attribute of this process. prctl(2)."""
    name = Word(PrctlOption(option).name) if option in set(PrctlOption) else option
    return _check(_libc.prctl(option, value, 0, 0, 0), "prctl", name, value)


# What clone() can not do for Python: these share the parent's memory with the child, or write into it.
_NEEDS_A_STACK = (
    (CloneFlag.CLONE_VM | CloneFlag.CLONE_SIGHAND | CloneFlag.CLONE_VFORK | CloneFlag.CLONE_THREAD)
    | (CloneFlag.CLONE_PIDFD | CloneFlag.CLONE_SETTLS | CloneFlag.CLONE_PARENT_SETTID)
    | (CloneFlag.CLONE_CHILD_SETTID | CloneFlag.CLONE_CHILD_CLEARTID)
)


def clone(child: Callable[..., int | None], flags: int, *arguments: object) -> int:
    """Run `child(*arguments)` in a new process and return its pid. clone(2), the raw system call.

    `flags` is as in C: CLONE_NEW* for the namespaces that the child gets for itself, and SIGCHLD, the signal that tells
    the parent of its end: `clone(child, CLONE_NEWNS | SIGCHLD)`, then `os.waitpid(pid, 0)`. What `child` returns is
    its exit status (None: 0); an exception is printed and the status is 1. The child has a copy of the parent's
    memory, as after fork(2), so it needs no stack of its own.

    Errors: `SyscallError`; RuntimeError in a process with threads; ValueError for a flag that would share the memory.
    """
    if shared := CloneFlag(flags) & _NEEDS_A_STACK:
        raise ValueError(f"clone: {shared!r} needs a stack of its own or shares memory with the child: not from Python")
    try:
        unshare(CloneFlag.CLONE_THREAD)  # changes nothing; the kernel refuses it to a process with threads: unshare(2)
    except SyscallError as error:
        if error.errno != errno.EINVAL:  # a container's filter, which says nothing about threads
            raise
        raise RuntimeError(
            "clone: this process has threads, and only the calling one would live on in the child: a lock that another "
            "one holds would stay locked for ever. Put the lines into a file and run it with python3 in a terminal."
        ) from error
    number = _number("clone")
    _flush()  # or what waits in the buffers would be written twice
    _before_fork()
    pid = _clone(number, flags, 0, 0, 0, 0)
    if pid == 0:
        _after_fork_in_child()
        _run(child, arguments)
    _after_fork_in_parent()
    return _check(pid, "clone", Word("child_stack=NULL"), Word(f"flags={written(CloneFlag(flags))}"))


def _run(child: Callable[..., int | None], arguments: tuple[object, ...]) -> NoReturn:
    """The child's whole life. Whatever happens in it, it must not go on to what is the parent's."""
    status = 1
    try:
        status = _status(child(*arguments))
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        else:
            status = _status(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            _flush()
        except BaseException:
            status = 120  # as Python itself ends where its output can not be written
        os._exit(status)


def _status(result: object) -> int:
    return int(result) & 0xFF if isinstance(result, int) else int(result is not None)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _check(result: int, name: str, *arguments: object) -> int:
    if result == -1:
        raise SyscallError(name, arguments, ctypes.get_errno())
    return result


def _bytes(path: Path | None) -> bytes | None:
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded:  # ctypes would cut it off there
        raise ValueError(f"a path or an option holds no NUL byte: {path!r} does")
    return encoded


def _number(name: str) -> c_long:
    machine = os.uname().machine
    if machine not in NUMBERS:
        raise NotImplementedError(f"{name}: labkit.linux knows x86_64 and aarch64, and this machine is {machine}")
    return c_long(NUMBERS[machine][name])
