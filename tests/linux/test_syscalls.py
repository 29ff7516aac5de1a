"""labkit.linux.syscalls beside the C headers, and beside what the kernel shows after each call.

Every call is made in a child process: it has no threads, and namespaces of its own that end with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit import foreground
from labkit.linux import syscalls
from labkit.sandbox import agent

HOME = str(Path(labkit.__file__).parents[1])
USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]

PRELUDE = """
import ctypes, errno, json, os, select, signal, socket, subprocess, sys, threading, time
sys.path.insert(0, sys.argv.pop(1))
from labkit.linux import *
from labkit.linux import SyscallError

def tell(**facts): print(json.dumps(facts), flush=True)
def ns(kind="mnt", pid="self"): return os.readlink(f"/proc/{pid}/ns/{kind}")
def children(): return open(f"/proc/self/task/{os.getpid()}/children").read().split()
def findmnt(path, column):
    return subprocess.run(["findmnt", "-n", "-o", column, "-M", path], capture_output=True, text=True).stdout.split()
def refused(call, *arguments):
    try: call(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
def run(child, flags=SIGCHLD, *arguments): return os.waitstatus_to_exitcode(os.waitpid(clone(child, flags, *arguments), 0)[1])
"""  # noqa: E501


def python(code: str, *arguments: object, unshare: str = "--mount", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `code` as root of its own namespaces."""
    command = [*(["unshare", *USER, *unshare.split()] if unshare else []), sys.executable, "-I", "-c", PRELUDE + code]
    return subprocess.run([*command, HOME, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options)


def facts(code: str, *arguments: object, unshare: str = "--mount") -> dict[str, Any]:
    """What `code` told, once."""
    done = python(code, *arguments, unshare=unshare)
    assert done.returncode == 0, "its error is on stderr"
    (line,) = done.stdout.splitlines()
    return json.loads(line)


# --- constants


def compiled(directory: Path, headers: str, names: list[str]) -> dict[str, int]:
    """What a C program that includes `headers` prints for each name."""
    lines = [f"#include <{header}>" for header in ("stdio.h", *headers.split())]
    lines += ["int main(void) {", *(f'printf("%lld\\n", (long long) ({name}));' for name in names), "}"]
    source = directory / "values.c"
    source.write_text("\n".join(lines))
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-o", directory / "values", source], check=True)
    printed = subprocess.run([directory / "values"], check=True, capture_output=True, text=True).stdout
    return dict(zip(names, map(int, printed.split()), strict=True))


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ("sched.h signal.h", syscalls.CloneFlag),
        ("sys/mount.h", syscalls.MountFlag),
        ("sys/mount.h", syscalls.UmountFlag),
        ("linux/mount.h", syscalls.MountAttr),
        ("fcntl.h", syscalls.AtFlag),
        ("linux/prctl.h", syscalls.PrctlOption),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_every_constant_is_what_the_c_header_says(tmp_path: Path, headers: str, ours: Any) -> None:
    header = compiled(tmp_path, headers, list(ours.__members__))
    assert {name: value & 0xFFFFFFFF for name, value in header.items()} == dict(ours.__members__)


def test_every_constant_is_a_name_of_both_modules() -> None:
    assert len(syscalls.CONSTANTS) > 40
    for module in (labkit.linux, syscalls):
        assert {name: getattr(module, name) for name in syscalls.CONSTANTS} == syscalls.CONSTANTS


def test_at_fdcwd(tmp_path: Path) -> None:
    assert compiled(tmp_path, "fcntl.h", ["AT_FDCWD"]) == {"AT_FDCWD": syscalls.AT_FDCWD}


def test_the_terminals_ioctls(tmp_path: Path) -> None:
    modules = (agent, foreground)
    ours = {name: value for module in modules for name, value in vars(module).items() if name.startswith("TIOC")}
    assert len(ours) >= 3
    assert compiled(tmp_path, "sys/ioctl.h", list(ours)) == ours


def test_the_layout_of_struct_mount_attr(tmp_path: Path) -> None:
    fields = [name for name, _ in syscalls._MountAttributes._fields_]
    questions = ["sizeof(struct mount_attr)", *(f"offsetof(struct mount_attr, {name})" for name in fields)]
    ours = [32, *(getattr(syscalls._MountAttributes, name).offset for name in fields)]
    assert list(compiled(tmp_path, "stddef.h linux/mount.h", questions).values()) == ours


def test_the_numbers_of_this_machines_calls(tmp_path: Path) -> None:
    ours = syscalls.NUMBERS[os.uname().machine]
    header = compiled(tmp_path, "sys/syscall.h", [f"SYS_{name}" for name in ours])
    assert {name.removeprefix("SYS_"): value for name, value in header.items()} == ours


def test_the_numbers_of_arm64(tmp_path: Path) -> None:
    """arm64 has the generic numbers of include/uapi/asm-generic/unistd.h, which is installed on every machine."""
    ours = syscalls.NUMBERS["aarch64"]
    header = compiled(tmp_path, "asm-generic/unistd.h", [f"__NR_{name}" for name in ours])
    assert {name.removeprefix("__NR_"): value for name, value in header.items()} == ours
    assert ours == {"clone": 220, "pivot_root": 41, "keyctl": 219, "pidfd_open": 434, "mount_setattr": 442}


def test_the_numbers_of_x86_64() -> None:
    """arch/x86/entry/syscalls/syscall_64.tbl."""
    numbers = {"clone": 56, "pivot_root": 155, "keyctl": 250, "pidfd_open": 434, "mount_setattr": 442}
    assert syscalls.NUMBERS["x86_64"] == numbers


# --- mounts


def test_mount_and_umount2(tmp_path: Path) -> None:
    """findmnt(8) and statvfs(3) see the type, the flags and the size that were asked for."""
    told = facts(
        """
base = sys.argv[1]
mount("the source", base, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k")
shown, stat = findmnt(base, "FSTYPE,OPTIONS"), os.statvfs(base)
umount2(base)
tell(fstype=shown[0], options=shown[1], size=stat.f_frsize * stat.f_blocks, flags=stat.f_flag, after=findmnt(base, "FSTYPE"))
""",  # noqa: E501
        tmp_path,
    )
    assert (told["fstype"], told["size"], told["after"]) == ("tmpfs", 65536, [])
    assert {"nosuid", "nodev", "size=64k"} < set(told["options"].split(","))
    assert told["flags"] & (os.ST_NOSUID | os.ST_NODEV | os.ST_RDONLY) == os.ST_NOSUID | os.ST_NODEV


def test_nothing_of_it_is_seen_outside(tmp_path: Path) -> None:
    facts('mount("tmpfs", sys.argv[1], "tmpfs"); tell()', tmp_path)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_a_path_may_be_bytes_or_pathlike_and_hold_any_byte(tmp_path: Path) -> None:
    told = facts(
        r"""
from pathlib import Path
base = Path(sys.argv[1])
odd = os.fsencode(base) + b"/\xff \n\t\\"
os.mkdir(odd)
mount(b"\xfe", odd, "tmpfs")
device = os.stat(odd).st_dev
mount(None, base / "..", None, MS_PRIVATE) if os.path.ismount(base / "..") else None
umount2(odd)
tell(changed=device != os.stat(odd).st_dev)
""",
        tmp_path,
    )
    assert told["changed"]


def test_a_nul_byte_in_a_path_is_refused(tmp_path: Path) -> None:
    """C ends a string there: the kernel would get another path. As os.mkdir("a\\0b") does: ValueError."""
    told = facts(
        r"""
def said(call, *arguments):
    try: call(*arguments)
    except Exception as error: return type(error).__name__
base = sys.argv[1]
tell(
    mounted=said(mount, "tmpfs", base + "\0/other", "tmpfs"),
    option=said(mount, "tmpfs", base, "tmpfs", 0, "size=64k\0,mode=700"),
    unmounted=said(umount2, base + "\0x"),
    there=findmnt(base, "FSTYPE"),
    root=said(chroot, base + "\0x"),
)
""",
        tmp_path,
    )
    assert told == dict.fromkeys(("mounted", "option", "unmounted", "root"), "ValueError") | {"there": []}


def test_a_bind_is_the_same_directory_and_rec_takes_what_is_mounted_below(tmp_path: Path) -> None:
    told = facts(
        """
os.chdir(sys.argv[1])
mount("tmpfs", ".", "tmpfs")
os.chdir(sys.argv[1])
for name in ("from", "from/below", "one", "all"): os.mkdir(name)
mount("below", "from/below", "tmpfs")
mount("from", "one", None, MS_BIND)
mount("from", "all", None, MS_BIND | MS_REC)
def who(path): return [os.stat(path).st_dev, os.stat(path).st_ino]
tell(source=who("from"), below=who("from/below"), one=who("one"), one_below=who("one/below"),
     all_below=who("all/below"))
""",
        tmp_path,
    )
    assert told["one"] == told["source"]
    assert told["all_below"] == told["below"]
    assert told["one_below"] != told["below"]
    assert told["one_below"][0] == told["source"][0]


def test_a_remount_makes_a_bind_read_only(tmp_path: Path) -> None:
    """MS_BIND beside MS_REMOUNT changes this mount alone; the other one of the same directory stays writable."""
    told = facts(
        """
base = sys.argv[1]
mount("tmpfs", base, "tmpfs")
for name in ("rw", "ro"): os.mkdir(f"{base}/{name}")
mount(f"{base}/rw", f"{base}/ro", None, MS_BIND)
mount(None, f"{base}/ro", None, MS_REMOUNT | MS_BIND | MS_RDONLY)
open(f"{base}/rw/file", "w").close()
tell(flags=[os.statvfs(f"{base}/{n}").f_flag & os.ST_RDONLY for n in ("rw", "ro")], said=refused(open, f"{base}/ro/file", "w"))
""",  # noqa: E501
        tmp_path,
    )
    assert told == {"flags": [0, os.ST_RDONLY], "said": "EROFS"}


def test_move(tmp_path: Path) -> None:
    told = facts(
        """
base = sys.argv[1]
mount("tmpfs", base, "tmpfs")
for name in ("a", "b"): os.mkdir(f"{base}/{name}")
mount("moving", f"{base}/a", "tmpfs")
mount(f"{base}/a", f"{base}/b", None, MS_MOVE)
tell(a=findmnt(f"{base}/a", "SOURCE"), b=findmnt(f"{base}/b", "SOURCE"))
""",
        tmp_path,
    )
    assert told == {"a": [], "b": ["moving"]}


@pytest.mark.parametrize("flag", ["SHARED", "SLAVE", "PRIVATE", "UNBINDABLE"])
def test_propagation(tmp_path: Path, flag: str) -> None:
    """findmnt names what it is; a slave of nobody is private: mount_namespaces(7)."""
    told = facts(
        f"""
base = sys.argv[1]
mount("tmpfs", base, "tmpfs")
mount(None, base, None, MS_{flag})
tell(shown=findmnt(base, "PROPAGATION"))
""",
        tmp_path,
    )
    assert told["shown"] == [{"SLAVE": "private", "UNBINDABLE": "private,unbindable"}.get(flag, flag.lower())]


def test_umount2_of_what_is_used(tmp_path: Path) -> None:
    """EBUSY while a file is open; MNT_DETACH takes it out of sight at once, and the open file goes on."""
    told = facts(
        """
base = sys.argv[1]
mount("tmpfs", base, "tmpfs")
file = open(f"{base}/file", "w+")
busy = refused(umount2, base)
umount2(base, MNT_DETACH)
file.write("still here")
file.seek(0)
tell(busy=busy, after=findmnt(base, "SOURCE"), listed=os.listdir(base), read=file.read())
""",
        tmp_path,
    )
    assert told == {"busy": "EBUSY", "after": [], "listed": [], "read": "still here"}


def test_the_other_flags_of_umount2(tmp_path: Path) -> None:
    """UMOUNT_NOFOLLOW heeds no link; MNT_EXPIRE marks first (EAGAIN), and the second call unmounts: umount2(2)."""
    told = facts(
        """
base = sys.argv[1]
mount("tmpfs", base, "tmpfs")
os.mkdir(f"{base}/there")
os.symlink("there", f"{base}/link")
mount("tmpfs", f"{base}/there", "tmpfs")
follow = refused(umount2, f"{base}/link", UMOUNT_NOFOLLOW)
expire = [refused(umount2, f"{base}/link", MNT_EXPIRE) for _ in range(2)]
tell(follow=follow, expire=expire, after=findmnt(f"{base}/there", "SOURCE"))
""",
        tmp_path,
    )
    assert told == {"follow": "EINVAL", "expire": ["EAGAIN", None], "after": []}


def test_mount_setattr(tmp_path: Path) -> None:
    """One mount, with AT_RECURSIVE the tree; what is cleared is cleared; the propagation type; relative to a
    descriptor.
    """
    told = facts(
        """
base = sys.argv[1]
mount("tmpfs", base, "tmpfs")
os.mkdir(f"{base}/below")
mount("tmpfs", f"{base}/below", "tmpfs")
def flags(): return [os.statvfs(path).f_flag & (os.ST_RDONLY | os.ST_NOSUID) for path in (base, f"{base}/below")]
seen = [flags()]
mount_setattr(AT_FDCWD, base, 0, MOUNT_ATTR_RDONLY)
seen.append(flags())
mount_setattr(AT_FDCWD, base, AT_RECURSIVE, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID)
seen.append(flags())
mount_setattr(AT_FDCWD, base, AT_RECURSIVE, MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY)
seen.append(flags())
mount_setattr(os.open(base, os.O_PATH), "below", attr_clr=MOUNT_ATTR_NOSUID)
seen.append(flags())
mount_setattr(os.open(base, os.O_PATH), "", AT_EMPTY_PATH | AT_RECURSIVE, propagation=MS_SHARED)
tell(seen=seen, shown=[*findmnt(base, "PROPAGATION"), *findmnt(f"{base}/below", "PROPAGATION")])
""",
        tmp_path,
    )
    ro, nosuid = os.ST_RDONLY, os.ST_NOSUID
    assert told["seen"] == [[0, 0], [ro, 0], [ro | nosuid, ro | nosuid], [nosuid, nosuid], [nosuid, 0]]
    assert told["shown"] == ["shared", "shared"]


def test_pivot_root_onto_itself(tmp_path: Path) -> None:
    """pivot_root(".", ".") stacks the old root on the new one, and umount2 takes it away: pivot_root(2), NOTES."""
    told = facts(
        """
os.chdir(sys.argv[1])
mount("tmpfs", sys.argv[1], "tmpfs")
os.chdir(sys.argv[1])
open("here", "w").close()
new = os.stat(".").st_dev
pivot_root(".", ".")
umount2(".", MNT_DETACH)
tell(root=os.listdir("/"), same=os.stat("/").st_dev == new, cwd=os.getcwd())
""",
        tmp_path,
    )
    assert told == {"root": ["here"], "same": True, "cwd": "/"}


def test_chroot_changes_the_root_and_nothing_else(tmp_path: Path) -> None:
    """The working directory stays outside, and .. leads out of it: chroot(2), NOTES."""
    (tmp_path / "jail" / "inside").mkdir(parents=True)
    told = facts(
        """
os.chdir(sys.argv[1])
wait, end = os.pipe()
said, say = os.pipe()
def child():
    os.close(end)
    before = [ns(), os.stat(".").st_ino]
    fd = os.open("/proc/self/ns", os.O_RDONLY)
    chroot("jail")
    after = [os.readlink("mnt", dir_fd=fd), os.stat(".").st_ino]
    os.write(say, json.dumps(dict(root=os.listdir("/"), same=before == after, outside=os.listdir("."))).encode())
    os.read(wait, 1)
pid = clone(child, SIGCHLD)
told = json.loads(os.read(said, 1000))
tell(link=os.readlink(f"/proc/{pid}/root"), **told)
os.close(end)
os.waitpid(pid, 0)
""",
        tmp_path,
    )
    assert told == {"root": ["inside"], "same": True, "outside": ["jail"], "link": str(tmp_path / "jail")}


@pytest.mark.parametrize("name", ["server", "x" * 64, "", "é"])
def test_sethostname(name: str) -> None:
    """uname(2) shows it in this UTS namespace and in no other; 64 bytes is the longest."""
    before = os.uname().nodename
    told = facts("sethostname(sys.argv[1]); tell(name=os.uname().nodename)", name, unshare="--uts")
    assert told == {"name": name}
    assert os.uname().nodename == before


# --- namespaces

KINDS = {
    "NEWNS": "mnt",
    "NEWUTS": "uts",
    "NEWIPC": "ipc",
    "NEWNET": "net",
    "NEWCGROUP": "cgroup",
    "NEWPID": "pid_for_children",
    "NEWUSER": "user",
}
LINKS = [*KINDS.values(), "pid"]


def test_unshare_changes_the_namespace_of_its_flag_alone() -> None:
    """A new PID namespace is for the children: pid_namespaces(7)."""
    told = facts(
        f"""
steps = {{}}
for flag in {list(KINDS)[:-1]}:
    before = {{kind: ns(kind) for kind in {LINKS} if kind != "pid_for_children"}}
    unshare(globals()["CLONE_" + flag])
    if flag == "NEWPID":
        run(lambda: 0)  # its PID 1: until then the link is empty
    steps[flag] = [kind for kind in {LINKS} if ns(kind) != before.get(kind, ns("pid"))]
tell(**steps)
"""
    )
    assert told == {flag: [kind] for flag, kind in list(KINDS.items())[:-1]}


def test_unshare_of_several_at_once() -> None:
    """CLONE_NEWUSER comes first, and gives the right to the others: user_namespaces(7)."""
    told = facts(
        f"""
before = {{kind: ns(kind) for kind in {LINKS}[:-3]}}
before["user"] = ns("user")
unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)
tell(changed=[kind for kind in before if ns(kind) != before[kind]])
""",
        unshare="",
    )
    assert set(told["changed"]) == {"mnt", "uts", "ipc", "user"}


@pytest.mark.parametrize("how", ["link", "any kind", "pidfd"])
def test_setns(how: str) -> None:
    """Through /proc/PID/ns/*, with its kind or with 0 for any; through a pidfd several kinds at once (Linux 5.8)."""
    told = facts(
        """
wait, end = os.pipe()
ready, say = os.pipe()
def child():
    sethostname("other")
    os.write(say, b".")
    os.close(end)
    os.read(wait, 1)
pid = clone(child, CLONE_NEWNS | CLONE_NEWUTS | SIGCHLD)
os.read(ready, 1)
before = [ns("mnt"), ns("uts")]
if sys.argv[1] == "pidfd":
    setns(pidfd_open(pid), CLONE_NEWNS | CLONE_NEWUTS)
else:
    for kind, flag in (("mnt", CLONE_NEWNS), ("uts", CLONE_NEWUTS)):
        setns(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), flag if sys.argv[1] == "link" else 0)
after, theirs = [ns("mnt"), ns("uts")], [ns("mnt", pid), ns("uts", pid)]
name = os.uname().nodename
os.close(end)
os.waitpid(pid, 0)
tell(before=before, after=after, theirs=theirs, name=name)
""",
        how,
        unshare="--mount --uts",
    )
    assert told["after"] == told["theirs"]
    assert all(before != after for before, after in zip(told["before"], told["after"], strict=True))
    assert told["name"] == "other"


# --- processes


def test_a_pidfd_is_readable_when_its_process_has_ended() -> None:
    """And not before; it is closed by execve(2)."""
    told = facts(
        """
wait, end = os.pipe()
pid = clone(lambda: (os.close(end), os.read(wait, 1)) and None, SIGCHLD)
fd = pidfd_open(pid)
poller = select.poll()
poller.register(fd, select.POLLIN)
before = poller.poll(0)
os.close(end)
after = poller.poll(10_000)
info = open(f"/proc/self/fdinfo/{fd}").read()
os.waitpid(pid, 0)
tell(before=before, after=after == [(fd, select.POLLIN)], same=f"Pid:\\t{pid}\\n" in info, kept=os.get_inheritable(fd),
     nonblocking=os.get_blocking(pidfd_open(os.getpid(), os.O_NONBLOCK)) is False)
""",
        unshare="",
    )
    assert told == {"before": [], "after": True, "same": True, "kept": False, "nonblocking": True}


def test_prctl_pdeathsig() -> None:
    """The kernel kills the grandchild when its parent ends. A pidfd tells; PR_GET_PDEATHSIG (2) tells what was set."""
    told = facts(
        """
PR_SET_CHILD_SUBREAPER, PR_GET_PDEATHSIG = 36, 2
prctl(PR_SET_CHILD_SUBREAPER, 1)  # so that it can be waited for here
said, say = os.pipe()
def leaf():
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(number))
    os.write(say, json.dumps([os.getpid(), number.value]).encode())
    signal.pause()
def middle():
    clone(leaf, SIGCHLD)
    signal.pause()
parent = clone(middle, SIGCHLD)
pid, number = json.loads(os.read(said, 100))
os.kill(parent, signal.SIGKILL)
os.waitpid(parent, 0)
tell(number=number, ended=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        unshare="",
    )
    assert told == {"number": 15, "ended": -15}


def test_prctl_dumpable() -> None:
    """PR_GET_DUMPABLE (3) answers with its result; /proc/PID/environ of one that is not dumpable belongs to root."""
    told = facts(
        """
seen = []
for value in (0, 1):
    prctl(PR_SET_DUMPABLE, value)
    seen.append([prctl(3), os.stat("/proc/self/environ").st_uid == os.geteuid()])
tell(seen=seen)
""",
        unshare="",
    )
    assert told["seen"] == [[0, os.geteuid() == 0], [1, True]]


# --- clone


def test_clone_runs_the_child_and_says_its_pid() -> None:
    told = facts(
        """
said, say = os.pipe()
def child(*arguments):
    os.write(say, json.dumps([os.getpid(), os.getppid(), *arguments]).encode())
pid = clone(child, SIGCHLD, 1, "two", None)
stat = open(f"/proc/{pid}/stat").read().split()
mine = children()
os.waitpid(pid, 0)
tell(pid=pid, said=json.loads(os.read(said, 1000)), ppid=int(stat[3]), me=os.getpid(), mine=mine, after=children())
""",
        unshare="",
    )
    pid, me = told["pid"], told["me"]
    assert told["said"] == [pid, me, 1, "two", None]
    assert (told["ppid"], told["mine"], told["after"]) == (me, [str(pid)], [])


ENDS = {
    "None": 0,
    "0": 0,
    "7": 7,
    "255": 255,
    "256": 0,
    "-1": 255,
    "True": 1,
    "sys.exit()": 0,
    "sys.exit(3)": 3,
    "sys.exit(256)": 0,
    "sys.exit('why')": 1,
    "os._exit(9)": 9,
    "os.kill(os.getpid(), 15)": -15,
    "1 / 0": 1,
    "exec('raise KeyboardInterrupt')": 1,
}


def test_the_exit_status() -> None:
    """Of what the child returns the low byte counts, as of exit(3)."""
    told = facts(
        f"""
sys.stderr = open(os.devnull, "w")
tell(**{{end: run(lambda: eval(end)) for end in {list(ENDS)}}})
""",
        unshare="",
    )
    assert told == ENDS


def test_an_exception_is_shown_on_stderr_once() -> None:
    done = python(
        """
def child(): raise LookupError("of the child")
print(run(child))
""",
        unshare="",
        stderr=subprocess.PIPE,
    )
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("\nLookupError: of the child\n")
    assert done.stderr.count("Traceback") == 1


def test_a_message_given_to_exit_is_shown_on_stderr() -> None:
    """As at the end of any Python program: sys.exit("why")."""
    done = python('print(run(lambda: sys.exit("why")))', unshare="", stderr=subprocess.PIPE)
    assert (done.stdout, done.stderr) == ("1\n", "why\n")


@pytest.mark.parametrize("result", ["'text'", "1.5", "[1]", "object()"])
def test_a_result_that_is_no_status_does_not_let_the_child_go_on(result: str) -> None:
    """What comes after clone() is the parent's: a child that went on there would do everything twice."""
    done = python(
        f"""
try:
    pid = clone(lambda: {result}, SIGCHLD)
except BaseException as error:
    print("raised in", os.getppid() == {os.getpid()})
    raise SystemExit(0)
print(os.waitpid(pid, 0)[0] == pid, flush=True)
""",
        unshare="",
        stderr=subprocess.DEVNULL,
    )
    assert done.stdout == "True\n"


def test_a_full_disk_under_stdout_does_not_let_the_child_go_on(tmp_path: Path) -> None:
    """The child's buffer can not be written to /dev/full: it ends with a status that says so, as Python does (120)."""
    trace = tmp_path / "trace"
    python(
        """
sys.stdout = open("/dev/full", "w")
me = os.getpid()
status = None
try:
    status = run(lambda: print("lost") and None)
finally:
    with open(sys.argv[1], "a") as trace:
        print("parent" if os.getpid() == me else "child", status, file=trace)
    os._exit(0)
""",
        trace,
        unshare="",
        stderr=subprocess.DEVNULL,
    )
    (line,) = trace.read_text().splitlines()
    who, status = line.split()
    assert who == "parent"
    assert int(status) != 0


@pytest.mark.parametrize("flag", KINDS)
def test_clone_gives_the_child_a_namespace_of_its_own(flag: str) -> None:
    kind = KINDS[flag].removesuffix("_for_children")
    told = facts(
        f"""
said, say = os.pipe()
kinds = {[kind for kind in LINKS if kind != "pid_for_children"]}
before = {{kind: ns(kind) for kind in kinds}}
status = run(lambda: os.write(say, json.dumps([os.getpid(), {{k: ns(k) for k in kinds}}]).encode()) and 0, CLONE_{flag} | SIGCHLD)
pid, theirs = json.loads(os.read(said, 4096))
tell(status=status, pid=pid, changed=[k for k in kinds if theirs[k] != before[k]], mine=before == {{k: ns(k) for k in kinds}})
""",  # noqa: E501
        unshare="--mount" if flag != "NEWUSER" else "",
    )
    assert (told["status"], told["changed"], told["mine"]) == (0, [kind], True)
    assert (told["pid"] == 1) is (flag == "NEWPID")


def test_what_waits_in_a_buffer_is_written_once() -> None:
    """A copy of the memory is a copy of the buffer; stdout is a pipe here, so it is one."""
    done = python(
        """
sys.stdout.reconfigure(line_buffering=False, write_through=False)
print("before")
run(lambda: print("child"))
print("after")
""",
        unshare="",
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
    )
    assert done.stdout == "before\nchild\nafter\n"


def test_no_stdout_at_all() -> None:
    """Python sets sys.stdout to None where descriptor 1 is closed."""
    told = facts("real, sys.stdout = sys.stdout, None; status = run(lambda: 5); sys.stdout = real; tell(status=status)")
    assert told == {"status": 5}


def test_memory_is_a_copy() -> None:
    told = facts(
        "things = [1]; status = run(lambda: things.append(2) or len(things)); tell(status=status, mine=things)"
    )
    assert told == {"status": 2, "mine": [1]}


def test_python_works_in_the_child() -> None:
    """Threads, child processes and a second clone: the fork handlers of Python have run."""
    told = facts(
        """
said, say = os.pipe()
def child():
    done = []
    thread = threading.Thread(target=lambda: done.append(threading.get_native_id()))
    thread.start()
    thread.join()
    facts = dict(
        main=threading.main_thread() is threading.current_thread(),
        native=threading.get_native_id() == os.getpid(),
        thread=done[0] not in (0, os.getpid()),
        output=subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout,
        second=run(lambda: os.getppid() == facts_pid or 0),
        active=threading.active_count(),
    )
    os.write(say, json.dumps(facts).encode())
facts_pid = -1
status = run(child)
tell(status=status, **json.loads(os.read(said, 4096)))
""",
        unshare="",
    )
    assert told == {
        "status": 0, "main": True, "native": True, "thread": True, "output": "hello\n", "second": 0, "active": 1,
    }  # fmt: skip


def test_the_fork_handlers_of_python_run_once_each() -> None:
    """os.register_at_fork: before and after_in_parent also where the kernel refuses; after_in_child in the child."""
    told = facts(
        """
calls = []
os.register_at_fork(before=lambda: calls.append("before"), after_in_parent=lambda: calls.append("parent"),
                    after_in_child=lambda: calls.append("child"))
said, say = os.pipe()
run(lambda: os.write(say, json.dumps(calls).encode()) and 0)
good, calls[:] = calls[:], []
said_no = refused(clone, lambda: 0, CLONE_NEWNS | CLONE_FS | SIGCHLD)
tell(child=json.loads(os.read(said, 100)), parent=good, said_no=said_no, refused=calls)
"""
    )
    both = ["before", "parent"]
    assert told == {"child": ["before", "child"], "parent": both, "said_no": "EINVAL", "refused": both}


def test_the_signal_that_tells_of_the_end() -> None:
    """Without SIGCHLD in the flags nobody is told, and waitpid(2) finds the child with __WALL (0x40000000) only."""
    told = facts(
        """
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append("SIGCHLD"))
signal.signal(signal.SIGUSR1, lambda *_: seen.append("SIGUSR1"))
run(lambda: 0)
pid = clone(lambda: 0, 0)
try: os.waitpid(pid, 0)
except ChildProcessError: hidden = True
else: hidden = False
os.waitpid(pid, 0x40000000)
os.waitpid(clone(lambda: 0, signal.SIGUSR1), 0x40000000)
tell(seen=seen, hidden=hidden)
""",
        unshare="",
    )
    assert told == {"seen": ["SIGCHLD", "SIGUSR1"], "hidden": True}


def test_a_process_with_threads_is_refused_with_the_reason() -> None:
    """Nothing was cloned; when the thread has ended, clone works."""
    told = facts(
        """
end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
try: clone(print, SIGCHLD)
except RuntimeError as error: said, cause = str(error), type(error.__cause__).__name__
cloned = children()
end.set()
thread.join()
while len(os.listdir("/proc/self/task")) > 1: os.sched_yield()  # join() returns a moment before the thread ends
tell(said=said, cause=cause, cloned=cloned, then=run(lambda: 4))
""",
        unshare="",
    )
    assert "has threads" in told["said"]
    assert (told["cause"], told["cloned"], told["then"]) == ("SyscallError", [], 4)


SECCOMP = """
def forbid(number):
    "A filter as Docker's: this call gets EPERM. seccomp(2)"
    import struct
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | errno.EPERM), (0x06, 0, 0, 0x7FFF0000)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, ctypes.c_ulong(2), header) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
"""


def test_a_filter_that_forbids_unshare_is_not_taken_for_threads() -> None:
    """Docker's default seccomp profile answers every unshare(2) of an ordinary container with EPERM."""
    number = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
    told = facts(
        f"""{SECCOMP}
forbid({number})
try: said = run(lambda: 6)
except Exception as error: said = f"{{type(error).__name__}}: {{error}}"
tell(said=said, threads=len(os.listdir("/proc/self/task")))
""",
        unshare="",
    )
    assert told["threads"] == 1
    assert "has threads" not in str(told["said"])


@pytest.mark.parametrize(
    "flag", "VM SIGHAND PIDFD VFORK THREAD SETTLS PARENT_SETTID CHILD_SETTID CHILD_CLEARTID".split()
)
def test_flags_that_share_memory_are_refused(flag: str) -> None:
    value = syscalls.CONSTANTS[f"CLONE_{flag}"]
    with pytest.raises(ValueError, match=f"CLONE_{flag}.* not from Python"):
        syscalls.clone(os.abort, value | syscalls.CONSTANTS["SIGCHLD"])


def test_a_flag_that_shares_no_memory_is_not_refused() -> None:
    """CLONE_SYSVSEM shares a list of System V semaphore adjustments, CLONE_FS the working directory: clone(2)."""
    told = facts(
        """
os.chdir("/")
fs = run(lambda: os.chdir("/usr"), CLONE_FS | SIGCHLD)
try: semaphores = run(lambda: 3, CLONE_SYSVSEM | SIGCHLD)
except ValueError as error: semaphores = str(error)
tell(fs=fs, cwd=os.getcwd(), semaphores=semaphores)
""",
        unshare="",
    )
    assert told == {"fs": 0, "cwd": "/usr", "semaphores": 3}


def test_200_clones_leave_nothing() -> None:
    """No process, no descriptor; and no memory: a page for each would be 800 KiB."""
    told = facts(
        """
def size():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1])
def once(): assert run(lambda: 0, CLONE_NEWNS | SIGCHLD) == 0
for _ in range(20): once()
before = len(os.listdir("/proc/self/fd")), size()
for _ in range(200): once()
tell(fds=len(os.listdir("/proc/self/fd")) - before[0], kib=size() - before[1], children=children())
"""
    )
    assert (told["fds"], told["children"]) == (0, [])
    assert told["kib"] < 600


def test_a_machine_that_is_not_known_is_named() -> None:
    """As setarch(8) makes one: uname(2) then says i686, and the numbers of x86_64 would be other calls."""
    if os.uname().machine != "x86_64":
        pytest.skip("setarch i686 is for x86-64")
    command = ["setarch", "i686", sys.executable, "-I", "-c", f"{PRELUDE}clone(print, SIGCHLD)", HOME]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "NotImplementedError: clone: labkit.linux knows x86_64 and aarch64, and this machine is i686" in done.stderr
