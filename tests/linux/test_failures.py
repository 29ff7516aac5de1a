"""Refused system calls: provoked for real, and each held against strace(1) of the same call.

A child process makes the calls under strace, as root of its own namespaces or, as a stranger, without any privilege.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.linux import SyscallError, failures, syscalls

HOME = str(Path(labkit.__file__).parents[1])
CALLS = "mount umount2 mount_setattr pivot_root chroot sethostname unshare setns pidfd_open prctl clone".split()

CHILD = """
import json, os, resource, sys, threading
sys.path.insert(0, sys.argv.pop(1))
from labkit.linux import *
from labkit.linux import SyscallError

base, cases = json.loads(sys.argv[1])
os.chdir(base)
if base.endswith("lab"):
    mount("base", base, "tmpfs")
    os.chdir(base)
    for name in ("a", "b"):
        os.mkdir(name)
    for name in ("busy", "busy/below", "cwd", "writing"):
        os.mkdir(name)
        mount("tmpfs", name, "tmpfs")
    file = open("writing/file", "w")
    os.symlink("loop", "loop")
    open("file", "w").close()


def locked(call, *arguments):
    "In a less privileged copy of this mount namespace."
    def child():
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        report(call, *arguments)
    os.waitpid(clone(child, SIGCHLD), 0)


def limited(name, call, *arguments):
    "With a limit of 0 in a user namespace of our own: /proc/sys/user is per user namespace, namespaces(7)."
    def child():
        enter()
        with open(f"/proc/sys/user/max_{name}_namespaces", "w") as file:
            file.write("0")
        report(call, *arguments)
    os.waitpid(clone(child, SIGCHLD), 0)


def enter():
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    for name, content in ("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def nested():
    "User namespaces in user namespaces, until the kernel has enough of it."
    def child():
        for _ in range(40):
            try:
                enter()
            except SyscallError as error:
                return show(error)
    os.waitpid(clone(child, SIGCHLD), 0)


def jailed(call, *arguments):
    def child():
        chroot("a")
        report(call, *arguments)
    os.waitpid(clone(child, SIGCHLD), 0)


def inside(path, call, *arguments):
    home = os.getcwd()
    os.chdir(path)
    report(call, *arguments)
    os.chdir(home)


def crowded(call, *arguments):
    "RLIMIT_NPROC holds for every user but the machine's root."
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    report(call, *arguments)


def orphaned(call, *arguments):
    "A PID namespace takes no new process when its PID 1 has ended: pid_namespaces(7)."
    def child():
        unshare(CLONE_NEWPID)
        os.waitpid(clone(lambda: 0, SIGCHLD), 0)
        report(call, *arguments)
    os.waitpid(clone(child, SIGCHLD), 0)


def threaded(call, *arguments):
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    tid = next(int(tid) for tid in os.listdir("/proc/self/task") if int(tid) != os.getpid())
    report(call, *[tid if argument == "TID" else argument for argument in arguments])
    end.set()
    thread.join()
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()


def ended():
    "The pidfd of a process that has been waited for."
    pid = clone(lambda: 0, SIGCHLD)
    fd = pidfd_open(pid)
    os.waitpid(pid, 0)
    return fd


def report(call, *arguments):
    try:
        call(*arguments)
    except SyscallError as error:
        show(error)
    else:
        print(json.dumps([key, None, "", "nothing was refused", ""]), flush=True)


def show(error):
    print(json.dumps([key, error.errno, error.call, str(error), error.cause]), flush=True)


for key, case in cases:
    os.access(f"/case/{key}", os.F_OK)  # parts the cases in what strace writes
    eval(f"report({case})" if case.split("(")[0] not in globals() else case)
"""


@dataclass
class Case:
    """A call, as arguments of `report`, who makes it, and what shall come of it: errno, a word of the cause."""

    where: str
    code: str
    errno: str
    word: str

    def __str__(self) -> str:
        return f"{self.where}: {self.code}: {self.errno}".encode("unicode_escape").decode()


CASES = [
    Case(*case)
    for case in [
        ("lab", "mount, 'tmpfs', 'nowhere', 'tmpfs', MS_NOSUID | MS_NODEV, 'size=1m'", "ENOENT", "mkdir"),
        ("lab", "mount, 'nowhere', 'a', None, MS_BIND", "ENOENT", "source"),
        ("lab", "mount, 'x', 'a', 'nosuchfs'", "ENODEV", "/proc/filesystems"),
        ("lab", "mount, 'tmpfs', 'file', 'tmpfs'", "ENOTDIR", "directory"),
        ("lab", "mount, 'a', 'file', None, MS_BIND", "ENOTDIR", "both files"),
        ("lab", "mount, 'tmpfs', 'loop', 'tmpfs'", "ELOOP", "symbolic links"),
        ("lab", "mount, None, 'a', None, MS_REMOUNT | MS_RDONLY", "EINVAL", "MS_REMOUNT"),
        ("lab", "mount, 'a', 'b', None, MS_MOVE", "EINVAL", "MS_MOVE"),
        ("lab", "mount, None, 'a', None, MS_PRIVATE", "EINVAL", "propagation"),
        ("lab", "mount, 'tmpfs', 'a', 'tmpfs', 0, 'nosuchoption=1'", "EINVAL", "options"),
        ("lab", "mount, 'busy', 'busy/below', None, MS_MOVE", "ELOOP", "below itself"),
        ("lab", "mount, None, 'writing', None, MS_REMOUNT | MS_RDONLY", "EBUSY", "written"),
        ("lab", "mount, 'x', 'a', 'ext4'", "EPERM", "CAP_SYS_ADMIN"),
        ("lab", "locked(mount, '/', 'a', None, MS_BIND)", "EINVAL", "MS_BIND|MS_REC"),
        ("lab", "locked(umount2, 'busy')", "EINVAL", "locked"),
        ("stranger", "mount, 'tmpfs', '/tmp', 'tmpfs', 0, None", "EPERM", "CAP_SYS_ADMIN"),
        ("stranger", "mount, None, '/', None, MS_REC | MS_PRIVATE", "EPERM", "CAP_SYS_ADMIN"),
        ("lab", "umount2, 'a'", "EINVAL", "not a mount point"),
        ("lab", "umount2, 'nowhere', MNT_DETACH | UMOUNT_NOFOLLOW", "ENOENT", "not exist"),
        ("lab", "umount2, 'busy'", "EBUSY", "mount below"),
        ("lab", "inside('cwd', umount2, '.')", "EBUSY", "working directory"),
        ("lab", "umount2, 'writing'", "EBUSY", "open file"),
        ("lab", "umount2, 'cwd', MNT_EXPIRE", "EAGAIN", "MNT_EXPIRE"),
        ("lab", "umount2, 'cwd', MNT_EXPIRE | MNT_FORCE", "EINVAL", "MNT_EXPIRE"),
        ("lab", "umount2, 'file/x'", "ENOTDIR", "directory"),
        ("lab", "umount2, 'loop'", "ELOOP", "links"),
        ("stranger", "umount2, '/proc', MNT_DETACH", "EPERM", "CAP_SYS_ADMIN"),
        ("lab", "mount_setattr, AT_FDCWD, 'a', 0, MOUNT_ATTR_RDONLY", "EINVAL", "not a mount point"),
        ("lab", "mount_setattr, AT_FDCWD, 'writing', AT_RECURSIVE, MOUNT_ATTR_RDONLY", "EBUSY", "writing"),
        ("lab", "mount_setattr, AT_FDCWD, 'cwd', 0, 0, 0, MS_SHARED | MS_SLAVE", "EINVAL", "contradict"),
        ("lab", "mount_setattr, AT_FDCWD, 'nowhere', AT_RECURSIVE, MOUNT_ATTR_RDONLY", "ENOENT", "not exist"),
        ("lab", "mount_setattr, 99, 'cwd', 0, 0, MOUNT_ATTR_RDONLY, MS_PRIVATE", "EBADF", "not open"),
        ("stranger", "mount_setattr, AT_FDCWD, '/', 0, MOUNT_ATTR_RDONLY", "EPERM", "CAP_SYS_ADMIN"),
        ("lab", "pivot_root, 'a', 'a'", "EINVAL", "not a mount point"),
        ("lab", "pivot_root, 'cwd', 'a'", "EINVAL", "not below"),
        ("lab", "pivot_root, 'cwd', '/'", "EBUSY", "current root"),
        ("lab", "pivot_root, 'nowhere', 'a'", "ENOENT", "not exist"),
        ("lab", "pivot_root, 'file', 'a'", "ENOTDIR", "not a directory"),
        ("stranger", "pivot_root, '/', '/'", "EPERM", "CAP_SYS_ADMIN"),
        ("lab", "chroot, 'nowhere'", "ENOENT", "not exist"),
        ("lab", "chroot, 'file'", "ENOTDIR", "not a directory"),
        ("stranger", "chroot, '/'", "EPERM", "CAP_SYS_CHROOT"),
        ("stranger", "chroot, 'closed/inside'", "EACCES", "searched"),
        ("stranger", "sethostname, 'server'", "EPERM", "CAP_SYS_ADMIN"),
        ("lab", "sethostname, 'x' * 65", "EINVAL", "64"),
        ("lab", "unshare, 0x1", "EINVAL", "does not know"),
        ("lab", "threaded(unshare, CLONE_NEWUSER)", "EINVAL", "threads"),
        ("stranger", "unshare, CLONE_NEWNS", "EPERM", "CLONE_NEWUSER"),
        ("stranger", "unshare, CLONE_NEWUSER | CLONE_NEWNS", "EPERM", "uid_map"),
        ("lab", "jailed(unshare, CLONE_NEWUSER)", "EPERM", "chroot"),
        ("lab", "limited('mnt', unshare, CLONE_NEWNS)", "ENOSPC", "max_"),
        ("lab", "limited('user', unshare, CLONE_NEWUSER)", "ENOSPC", "max_"),
        ("lab", "nested()", "ENOSPC", "32"),
        ("lab", "setns, 99, CLONE_NEWNS", "EBADF", "not open"),
        ("lab", "setns, os.open('file', os.O_RDONLY), 0", "EINVAL", "not a namespace"),
        ("lab", "setns, os.open('/proc/self/ns/uts', os.O_RDONLY), CLONE_NEWNS", "EINVAL", "of that kind"),
        ("lab", "threaded(setns, os.open('/proc/self/ns/mnt', os.O_RDONLY), CLONE_NEWNS)", "EINVAL", "threads"),
        ("stranger", "setns, os.open('/proc/self/ns/mnt', os.O_RDONLY), 0", "EPERM", "CAP_SYS_ADMIN"),
        ("lab", "setns, ended(), CLONE_NEWNS", "ESRCH", "ended"),
        ("lab", "pidfd_open, 2**31 - 1", "ESRCH", "No such process"),
        ("lab", "pidfd_open, -1", "EINVAL", "positive"),
        ("lab", "threaded(pidfd_open, 'TID')", "EINVAL ENOENT", "thread"),
        ("lab", "prctl, PR_SET_PDEATHSIG, 99", "EINVAL", "value"),
        ("stranger", "prctl, 28, 1", "EPERM", "privilege"),
        ("lab", "clone, print, CLONE_NEWUSER | CLONE_FS | SIGCHLD", "EINVAL", "do not go together"),
        ("lab", "clone, print, CLONE_NEWNS | CLONE_FS", "EINVAL", "do not go together"),
        ("stranger", "clone, print, CLONE_NEWNS | SIGCHLD", "EPERM", "CLONE_NEWUSER"),
        ("lab", "limited('mnt', clone, print, CLONE_NEWNS | SIGCHLD)", "ENOSPC", "max_"),
        ("lab", "orphaned(clone, print, SIGCHLD)", "ENOMEM", "PID namespace"),
        ("crowd", "crowded(clone, print, SIGCHLD)", "EAGAIN", "RLIMIT_NPROC"),
        # Not the errno matters here, but how the arguments are written.
        ("lab", "mount, b'\\xff\\x01 \\xc3\\xa9', 'nowhere', 'tmpfs'", "ENOENT", ""),
        ("lab", "mount, 'a\"b\\\\c\\td\\ne\\x7ff\\x011', 'nowhere', 'tmpfs'", "ENOENT", ""),
        ("lab", "mount, '', 'nowhere', '', 0, ''", "ENOENT", ""),
        ("lab", "mount, '\\x018\\x019\\x01a\\x017\\r\\v\\f\\a\\x1b\\xa0', 'nowhere', 'tmpfs'", "ENOENT", ""),
        ("lab", "mount, 'a', 'nowhere', None, MS_RDONLY | MS_REMOUNT | MS_BIND | MS_REC", "ENOENT", ""),
        ("lab", "mount, None, 'nowhere', None, MS_NODEV | 1 << 10", "ENOENT", ""),
        ("lab", "unshare, CLONE_NEWUTS | 1", "EINVAL", ""),
        ("lab", "setns, 99, 0", "EBADF", ""),
    ]
]
# strace shows the address of a name that is too long to be one, two types of propagation as a number, and it knows more
# options of prctl(2) by name.
SHOWN_OTHERWISE = (
    "sethostname, 'x' * 65",
    "mount_setattr, AT_FDCWD, 'cwd', 0, 0, 0, MS_SHARED | MS_SLAVE",
    "prctl, 28, 1",
)
ENVIRONMENTS = {
    "lab": ["unshare", "--user", "--map-root-user", "--mount", "--uts"],
    "stranger": ["unshare", "--user"],  # a uid that is mapped to none has no capability after execve(2)
    "crowd": [],
}


@dataclass
class Told:
    """What the error said of itself, and the line that strace wrote of the refused call."""

    errno: int
    call: str
    text: str
    cause: str
    strace: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Told]:
    answers = {}
    for where, unshare in ENVIRONMENTS.items():
        top = tmp_path_factory.mktemp("failures")
        base = top / where
        (base / "closed" / "inside").mkdir(parents=True)
        (base / "closed").chmod(0)
        cases = [(number, case.code) for number, case in enumerate(CASES) if case.where == where]
        command = ["strace", "-f", "-qq", "-s", "4096", "-o", str(top / "trace"), "-e", "signal=none"]
        command += ["-e", f"trace=?access,faccessat,?faccessat2,{','.join(CALLS)}"]
        command += [*unshare, sys.executable, "-I", "-c", CHILD, HOME, json.dumps([str(base), cases])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        (base / "closed").chmod(0o700)
        assert done.returncode == 0, "its error is on stderr"
        _, *parts = re.split(r'^.*"/case/([0-9]+)".*$', (top / "trace").read_text(), flags=re.M)
        seen = dict(zip(map(int, parts[::2]), parts[1::2], strict=True))
        for number, *said in map(json.loads, done.stdout.splitlines()):
            refused = re.findall(r"^[0-9]+ +(\w+\(.*\)) += (-1 E.*)$", seen[number], flags=re.M)
            lines = [re.sub(r" /\* .*? \*/", "", f"{call} = {result}") for call, result in refused]  # its own remarks
            answers[number] = Told(*said, strace="\n".join(lines))
    return answers


NUMBERED = [pytest.param(number, case, id=str(case)) for number, case in enumerate(CASES)]


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_errno_and_cause_are_those_of_the_call(told: dict[int, Told], number: int, case: Case) -> None:
    """Each provoked for real; the cause names what was done wrong here, among the likely ones."""
    error = told[number]
    assert errno.errorcode.get(error.errno) in case.errno.split(), error.text
    if case.word:
        assert case.word in error.cause.replace("\n", " ")
    name = errno.errorcode[error.errno]
    head, _, rest = error.text.partition("\n")
    assert head == f"{error.call} = -1 {name} ({os.strerror(error.errno)})"
    assert rest == error.cause


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_the_call_is_written_as_strace_writes_it(told: dict[int, Told], number: int, case: Case) -> None:
    if case.code not in SHOWN_OTHERWISE:
        assert told[number].text.partition("\n")[0] == told[number].strace


def test_no_cause_is_given_twice_or_padded() -> None:
    """Each is text that can stand alone under the call."""
    for name, causes in failures.CAUSES.items():
        assert name in (*CALLS, "keyctl")  # join_session_keyring() makes that one
        for number, cause in causes.items():
            assert number in errno.errorcode
            assert cause.strip().endswith("."), (name, errno.errorcode[number])


@pytest.mark.parametrize("name", CALLS)
def test_every_call_says_what_enosys_means(name: str) -> None:
    """seccomp(2) filters of containers answer with it; so does a kernel that is too old."""
    assert "seccomp" in SyscallError(name, (), errno.ENOSYS).cause


def test_it_is_an_oserror() -> None:
    with pytest.raises(OSError, match=r'^umount2\("/nowhere/at/all", 0\) = -1 ENOENT ') as caught:
        syscalls.umount2("/nowhere/at/all")
    error = caught.value
    assert isinstance(error, SyscallError)
    assert (error.errno, error.strerror) == (errno.ENOENT, os.strerror(errno.ENOENT))
    assert error.args == (errno.ENOENT, os.strerror(errno.ENOENT))


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_it_can_be_copied(way: Any) -> None:
    """As every OSError: concurrent.futures and multiprocessing send errors pickled."""
    error = SyscallError("umount2", ("/mnt", syscalls.UmountFlag(0)), errno.EBUSY)
    again = way(error)
    assert (str(again), again.errno, again.call, again.cause) == (str(error), error.errno, error.call, error.cause)


def test_an_errno_that_nobody_knows() -> None:
    """4095 is the largest that a system call can give back."""
    error = SyscallError("mount", (None,), 4095)
    assert str(error) == "mount(NULL) = -1 4095 (Unknown error 4095)"


def test_an_error_can_be_made_where_pythons_library_is_out_of_sight(tmp_path: Path) -> None:
    """The agent's own case: after pivot_root, and for a Python that its user can not reach, no module can be loaded."""
    code = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from labkit.linux import *
from labkit.linux import SyscallError
chroot(sys.argv[1])
try:
    umount2("/nowhere")
except SyscallError as error:
    print(error)
"""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-I", "-S", "-c", code, HOME, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith('umount2("/nowhere", 0) = -1 ENOENT (No such file or directory)\n'), done.stderr
