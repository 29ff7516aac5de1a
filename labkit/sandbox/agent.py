"""The agent: builds the lab, becomes its PID 1, and starts a shell for each terminal.

Started by exec (`launch`), single-threaded, standard library only. Two processes of it live on: the guard, outside
the lab's PID namespace, which ends when the notebook's kernel ends; and PID 1, which the kernel kills when the guard
ends, and with it every process, mount and file of the lab. Nothing has to be cleaned up, so nothing can be forgotten.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import struct
import termios
from _socket import socket

from ..linux import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    SIGCHLD,
    SyscallError,
    clone,
    join_session_keyring,
    pidfd_open,
    prctl,
    sethostname,
    unshare,
)
from . import protocol, rootfs
from .steps import begin, begun

HOST_NAME = "server"
SHELL = "/bin/bash"
UNPRIVILEGED = 65534  # "nobody": whom the agent becomes where root starts it
ENVIRONMENT = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": SHELL,
    "TERM": "xterm-256color",
}
LIMITS = {
    resource.RLIMIT_NPROC: 256,  # counted in the lab's user namespace alone since Linux 5.14
    resource.RLIMIT_NOFILE: 1024,
    resource.RLIMIT_CORE: 0,
}


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

TIOCSPTLCK, TIOCGPTPEER = 0x40045431, 0x5441  # <asm/ioctls.h> of x86-64 and arm64: ioctl_tty(2), Linux 4.13


def main(control_fd: int, python: str, package: str) -> NoReturn:
    """`python`: prefix of a Python outside /usr, or ""; `package`: the folder of labkit."""
    _close_all_but(control_fd)
    os.set_inheritable(control_fd, False)  # no shell shall have it
    os.umask(0o022)  # and none the notebook's
    control = socket(fileno=control_fd)
    try:
        begin("watch the notebook's kernel")
        notebook = pidfd_open(os.getppid())
        begin("leave the session's keyring")
        join_session_keyring()
        begin("read labkit")
        kit = _read_kit(package)
        _leave_the_host(python)
        begin("start PID 1 of the lab")
        pid = clone(_pid_1, SIGCHLD, control, notebook, python, kit)
    except OSError as error:
        _refuse(control, error)
    protocol.send(control, "started", pid)
    _guard(control, notebook, pid)


def _close_all_but(control_fd: int) -> None:
    """A file that a library keeps open leads to a mount of the host's that nobody has sealed. libffi 3.5 does."""
    for fd in {*map(int, os.listdir("/proc/self/fd"))} - {0, 1, 2, control_fd}:
        os.closerange(fd, fd + 1)  # without an error for the listing's own, which is closed already


def _read_kit(package: str) -> dict[str, bytes]:
    """labkit.linux for the lab's own Python: a copy, since the folder may be one that the lab's user can not reach."""
    kit = {f"{rootfs.KIT}/labkit/__init__.py": b""}
    for name in os.listdir(f"{package}/linux"):
        if name.endswith(".py"):
            with open(f"{package}/linux/{name}", "rb") as file:
                kit[f"{rootfs.KIT}/labkit/linux/{name}"] = file.read()
    return kit


def _leave_the_host(python: str) -> None:
    """Twice into new user and mount namespaces: in the first the host is sealed, in the second the seal is locked."""
    if by_root := _is_root_of_the_host():
        if python:
            begin("make Python readable for the lab")
            unshare(CLONE_NEWNS)
            rootfs.stage(python)
        begin("become an unprivileged user")
        os.setgroups([])
        os.setresgid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
        os.setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
        prctl(PR_SET_DUMPABLE, 1)  # changing the uid cleared it, and /proc/self would belong to root
    begin("make a user namespace")
    _enter_user_namespace(CLONE_NEWNS)
    begin("forbid cgroup namespaces")  # in one, lab root could mount cgroup2, and kill by it what shares our cgroup
    with open("/proc/sys/user/max_cgroup_namespaces", "w") as file:
        file.write("0")
    if python and not by_root:
        begin("make Python readable for the lab")
        rootfs.stage(python)
    begin("make the host read-only")
    rootfs.seal()
    begin("make the lab's namespaces")
    _enter_user_namespace(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)


def _is_root_of_the_host() -> bool:
    """Root of a user namespace may be an ordinary user to the host. /proc belongs to the kernel's own root."""
    return os.geteuid() == os.stat("/proc").st_uid == 0


def _enter_user_namespace(others: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | others)
    begin("map the ids of that namespace")
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _guard(control: socket, notebook: int, pid: int) -> NoReturn:
    """Wait until the notebook's kernel, its end of the socket, or the lab has ended; then end the lab, and wait for
    that.
    """
    lab = pidfd_open(pid)
    poller = select.poll()
    poller.register(notebook, select.POLLIN)
    poller.register(lab, select.POLLIN)
    poller.register(control, 0)  # what is to be read is for PID 1; a hang-up is reported all the same
    poller.poll()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)  # returns when every process of the lab has ended: pid_namespaces(7)
    os._exit(0)


def _pid_1(control: socket, notebook: int, python: str, kit: dict[str, bytes]) -> NoReturn:
    os.close(notebook)
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # not Python's: what PID 1 does not handle, the kernel drops
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # where memory gets short, the lab goes first, and with PID 1 the memory of its tmpfs
        with open("/proc/self/comm", "w") as file:
            file.write("agent")
        begin("name the host")
        sethostname(HOST_NAME)
        nonce = os.urandom(6).hex()
        rootfs.build(python, kit, nonce)
        pts = os.open("/dev/pts", os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        _refuse(control, error)
    protocol.send(control, "ready", nonce)
    _serve(control, pts)


def _refuse(control: socket, error: OSError) -> NoReturn:
    protocol.send(control, "refused", error.errno, _said(error), *begun)
    os._exit(1)


def _said(error: OSError) -> str:
    """Without the likely causes that follow in further lines: why a lab is refused, labkit.refusals knows."""
    said = str(error) if isinstance(error, SyscallError) else f"{errno.errorcode.get(error.errno or 0, '')} {error}"
    return said.partition("\n")[0]


def _serve(control: socket, pts: int) -> NoReturn:
    """Open terminals as the notebook asks for them. Whatever ends in the lab, the kernel reaps."""
    _ignore_children()
    while True:
        fields, _ = protocol.receive(control)
        if not fields:
            os._exit(0)
        try:
            master, shell = _open_terminal(pts, int(fields[1]), int(fields[2]))
        except OSError as error:
            protocol.send(control, "failed", error.errno, _said(error))
        else:
            protocol.send(control, "opened", fds=(master, shell))
            os.close(master)
            os.close(shell)


def _ignore_children() -> None:
    """Let the kernel reap what ends in the lab from now on (sigaction(2), NOTES), and reap what has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _open_terminal(pts: int, rows: int, columns: int) -> tuple[int, int]:
    """Start a shell on a new PTY of the lab: the PTY's master, and a pidfd of the shell.

    `pts` is the lab's /dev/pts, opened when there was no terminal yet: it may be unmounted now.
    """
    master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=pts)
    try:
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or the shell might be reaped before there is a pidfd
            return master, pidfd_open(clone(_shell, SIGCHLD, slave))
        finally:
            os.close(slave)
            _ignore_children()
    except OSError:
        os.close(master)
        raise


def _shell(slave: int) -> NoReturn:
    """Become bash. Where that is refused, the terminal shows why: there is nobody else to tell."""
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(slave, fd)
        for number in (
            signal.SIGCHLD,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):  # ignored: the first by us, the others by Python
            signal.signal(number, signal.SIG_DFL)
        for limit, value in LIMITS.items():
            _, hard = resource.getrlimit(limit)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (value, value))
        os.chdir("/root")
        os.execve(SHELL, [SHELL], ENVIRONMENT)
    except OSError as error:
        os.write(slave, f"{SHELL}: {error.strerror}\n".encode())
        os._exit(127)
