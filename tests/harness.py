"""What several tests of the lab share: the tutorial, waiting for a condition, and programs run as processes of their
own, whose every descendant is found again.
"""

import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UID_OF_THE_LAB = os.geteuid() or 65534  # as the host sees the lab's root: us, or "nobody" where we are root


def wait_until(what, condition, seconds=15):
    """Return what `condition` gives as soon as it is true; fail, naming what was waited for, if it never is."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {seconds} s in vain until {what}"
        time.sleep(0.005)
    return result


def wait_for_program(terminal, name):
    """Wait until the program `name` is in the foreground of `terminal`."""
    wait_until(f"{name} runs in terminal {terminal.name}", lambda: comm(terminal.pid) == name)


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def first_steps(lab):
    """Run the tutorial up to the mount; both terminals have to be at their first prompt."""
    left = lab.left
    assert left.run("mkdir /tmp/mount_ns").status == 0
    assert left.run("unshare -m /bin/bash").status is None
    inner = left.run("readlink /proc/$$/ns/mnt").output
    assert left.run("mount -n -t tmpfs tmpfs /tmp/mount_ns").status == 0
    return inner


def tutorial(lab):
    """Run every command of the tutorial, in its order and in two terminals, and check what each one prints."""
    inner = first_steps(lab)
    df = lab.left.run("df -h | grep mount_ns")
    assert re.fullmatch(r"tmpfs +\S+ +0 +\S+ +0% /tmp/mount_ns", df.output), df
    mounts = lab.left.run("cat /proc/mounts | grep mount_ns")
    assert re.fullmatch(r"tmpfs /tmp/mount_ns tmpfs rw,relatime\S* 0 0", mounts.output), mounts
    outer = lab.right.run("readlink /proc/$$/ns/mnt").output
    assert re.fullmatch(r"mnt:\[\d+\]", inner), inner
    assert re.fullmatch(r"mnt:\[\d+\]", outer), outer
    assert inner != outer
    for command in ("cat /proc/mounts | grep mount_ns", "df -h | grep mount_ns"):
        seen = lab.right.run(command)
        assert (seen.output, seen.status) == ("", 1)
    assert (str(lab.left.namespace), str(lab.right.namespace)) == (inner, outer)


def processes_of(lab):
    """Host pids of every process in the lab's PID namespace, as the host's /proc shows them."""
    namespace = os.readlink(f"/proc/{lab.left.pid}/ns/pid")
    return [pid for pid in all_pids() if _link(f"/proc/{pid}/ns/pid") == namespace]


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _link(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


class Family:
    """Programs in processes of their own. What descends from one carries its brand: a soft RLIMIT_RTTIME, which is
    inherited everywhere and means nothing to an ordinary process (tests/leaks.py says more).
    """

    def __init__(self):
        self.brand = 10**12 + secrets.randbelow(10**12)

    def start(self, program, *arguments):
        """Start a Python program that can import what we can; its standard input and output are pipes."""
        prologue = f"import resource; resource.setrlimit(resource.RLIMIT_RTTIME, ({self.brand}, {_hard_limit()}))\n"
        root = str(Path(__file__).resolve().parent.parent)
        return subprocess.Popen(
            [sys.executable, "-c", prologue + program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])},
        )

    def run(self, program, *arguments, timeout=60):
        """Run a program to its end; its output, and nothing of it may be left."""
        with self.start(program, *arguments) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        assert process.returncode == 0, errors
        self.wait_until_none_is_left()
        return output

    def members(self):
        """The living members' pids. One that has ended and waits for the machine's init to reap it holds nothing."""
        return [pid for pid in all_pids() if pid != os.getpid() and self._is_member(pid)]

    def _is_member(self, pid):
        try:
            if not re.search(
                rf"^Max realtime timeout +{self.brand} ", Path(f"/proc/{pid}/limits").read_text(errors="replace"), re.M
            ):
                return False
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def wait_until_none_is_left(self, but=()):
        try:
            wait_until("no process of the program is left", lambda: set(self.members()) <= set(but))
        except AssertionError:
            left = {pid: Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0") for pid in self.members()}
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"processes left: {left}") from None


def _hard_limit():
    return resource.getrlimit(resource.RLIMIT_RTTIME)[1]


def mount_table():
    return Path("/proc/self/mountinfo").read_bytes()


def temporary_files():
    return sorted(os.listdir(tempfile.gettempdir()))
