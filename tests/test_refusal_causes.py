"""labkit.refusals.explain on systems that are made for it: real settings, or real mounts before them; and doctor().

Each runs in a throw-away child. Settings that this kernel does not have are files in a tmpfs that is mounted over
/proc/sys/kernel there, as Debian's and Ubuntu's kernels show them.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.lib.pretty import pretty

import labkit
from labkit.checkup import Checkup, doctor
from labkit.refusals import explain
from tests.leaks import Watch

HOME = str(Path(labkit.__file__).parents[1])
PRELUDE = """
import ctypes, json, os, struct, sys
sys.path.insert(0, sys.argv.pop(1))
from labkit.linux import *
from labkit.refusals import explain

def setting(name, value):
    "A file in front of the kernel's settings."
    mount("tmpfs", "/proc/sys/kernel", "tmpfs")
    with open(f"/proc/sys/kernel/{name}", "w") as file:
        file.write(value + "\\n")

def limit(kind):
    with open(f"/proc/sys/user/max_{kind}_namespaces", "w") as file:
        file.write("0")

def filtered():
    "Any seccomp filter, here one that allows all: /proc/self/status then says so."
    libc = ctypes.CDLL(None, use_errno=True)
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(program)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, ctypes.c_ulong(2), header) == 0  # PR_SET_SECCOMP

"""


def explained(step: str, number: int, before: str = "") -> tuple[str, str]:
    """The cause and the mend that a child gives, after it did what is to be done `before`."""
    code = f"{PRELUDE}{before}\nprint(json.dumps(explain({step!r}, {number})))"
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-I", "-c", code, HOME]
    cause, mend = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return cause, mend


NAMESPACE, ROOT, SEAL = "make a user namespace", "build the lab's file system", "make the host read-only"


@pytest.mark.parametrize("kind", ["user", "mnt", "pid", "uts", "ipc"])
def test_a_limit_of_0_is_named_with_its_setting(kind: str) -> None:
    """/proc/sys/user/max_*_namespaces, namespaces(7): each user namespace has its own."""
    cause, mend = explained("make the lab's namespaces", errno.ENOSPC, f"limit({kind!r})")
    assert cause == f"user.max_{kind}_namespaces is 0"
    assert mend.startswith(f"sudo sysctl user.max_{kind}_namespaces=15000 ")


def test_a_limit_that_is_reached() -> None:
    cause, mend = explained(NAMESPACE, errno.ENOSPC)
    assert "limit on namespaces" in cause
    assert "32 deep" in cause
    assert "close labs" in mend


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_debians_switch(number: int) -> None:
    """kernel.unprivileged_userns_clone = 0: unshare(2) gives EPERM (measured on Debian 13)."""
    cause, mend = explained(NAMESPACE, number, "setting('unprivileged_userns_clone', '0')")
    assert cause == "kernel.unprivileged_userns_clone is 0"
    assert mend.startswith("sudo sysctl kernel.unprivileged_userns_clone=1 ")


@pytest.mark.parametrize("step", [NAMESPACE, SEAL, ROOT])
def test_ubuntus_restriction(step: str) -> None:
    """On Ubuntu 24.04 the refusal may come after CLONE_NEWUSER: at the uid map, or at the first mount."""
    cause, mend = explained(step, errno.EPERM, "setting('apparmor_restrict_unprivileged_userns', '1')")
    assert "AppArmor" in cause
    assert "userns," in mend
    assert "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0" in mend


@pytest.mark.parametrize(
    ("name", "value"), [("unprivileged_userns_clone", "1"), ("apparmor_restrict_unprivileged_userns", "0")]
)
def test_a_switch_that_is_not_the_cause_is_not_named(name: str, value: str) -> None:
    cause, mend = explained(NAMESPACE, errno.EPERM, f"setting({name!r}, {value!r})")
    assert name not in cause + mend


@pytest.mark.parametrize("step", [NAMESPACE, SEAL])
def test_a_seccomp_filter(step: str) -> None:
    """/proc/PID/status says Seccomp: 2; Docker's default profile gives EPERM for unshare (measured)."""
    cause, mend = explained(step, errno.EPERM, "filtered()")
    assert "seccomp" in cause
    assert "profile" in mend


@pytest.mark.parametrize(("step", "before"), [(ROOT, ""), (ROOT, "filtered()"), (SEAL, "")])
def test_a_masked_proc(step: str, before: str) -> None:
    """Podman and Docker mask parts of /proc; then a fresh one is refused, EPERM (measured)."""
    cause, mend = explained(step, errno.EPERM, before)
    assert "/proc" in cause
    assert "systempaths=unconfined" in mend
    assert "unmask=ALL" in mend


def test_nothing_that_is_known_forbids_it() -> None:
    cause, mend = explained(NAMESPACE, errno.EPERM)
    assert "may not make user namespaces" in cause
    assert "unshare -Ur true" in mend


def test_a_chroot() -> None:
    """CLONE_NEWUSER in a chroot gives EPERM: unshare(2). A process can not tell that it is in one, so both are said."""
    before = "mount('/', '/mnt', None, MS_BIND | MS_REC)\nchroot('/mnt')\n"
    cause, _ = explained(NAMESPACE, errno.EPERM, before)
    assert "chroot" in cause


def test_a_call_that_is_missing() -> None:
    """Also what a filter answers (Docker's gives ENOSYS for new calls): both are named, and this kernel's release."""
    cause, mend = explain(SEAL, errno.ENOSYS)
    assert os.uname().release in cause
    assert "filter" in cause
    assert "5.14" in mend


def test_a_kernel_without_user_namespaces() -> None:
    """unshare(2): EINVAL where CONFIG_USER_NS was not set."""
    cause, mend = explain(NAMESPACE, errno.EINVAL)
    assert "CONFIG_USER_NS" in cause
    assert mend


@pytest.mark.parametrize(("step", "number"), [(ROOT, errno.EINVAL), (ROOT, errno.EIO)])
def test_what_is_not_known_says_so(step: str, number: int) -> None:
    cause, mend = explain(step, number)
    assert cause == "not known"
    assert "uname -a" in mend


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_is_used_up_is_named(number: int) -> None:
    """RLIMIT_NPROC, RLIMIT_NOFILE, the system's open files, memory: known causes, which a person can mend."""
    cause, mend = explain("start PID 1 of the lab", number)
    assert cause != "not known"
    assert "report it" not in mend


def test_this_machine_can_run_a_lab(tmp_path: Path) -> None:
    """What the first lesson asks. The lab was a real one, and nothing of it is left."""
    watch = Watch(tmp_path)
    answer = doctor()
    assert answer.able, answer
    assert str(answer).startswith("Yes: this machine can run a lab.")
    assert pretty(answer) == str(answer)
    assert watch.wait_until_nothing_is_left() == []


def test_a_machine_that_can_not_says_what_to_do() -> None:
    """With a real limit of 0 in the child's user namespace: the answer is an answer, no exception. To root it says
    first that a namespace which maps root alone leaves it nobody to become.
    """
    code = "limit('user')\nfrom labkit.checkup import doctor\nanswer = doctor()\n"
    code += "print(json.dumps([answer.able, str(answer)]))"
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", PRELUDE + code, HOME]
    able, text = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert able is False
    assert text.splitlines()[0] == "No: this machine can not run a lab yet."
    if os.geteuid() == 0:
        assert "maps nobody else" in text
        assert "What to do: start the notebook outside of it" in text
    else:
        assert "user.max_user_namespaces is 0" in text
        assert "What to do: sudo sysctl user.max_user_namespaces=15000" in text


def test_an_answer_is_a_value() -> None:
    assert Checkup(True, "text") == Checkup(True, "text") != Checkup(False, "text")
