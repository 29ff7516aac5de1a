"""labkit.refusals.explain: on systems made for it, whose settings are real, and on such as were written down.

The first run each in a throw-away child. Settings that this kernel does not have are files in a tmpfs that is mounted
over /proc/sys/kernel there, as Debian's and Ubuntu's kernels show them: what is read of them is real, what would have
refused is not. The second, RECORDED, are the facts of machines that are not here.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import labkit
from labkit.host import Host, _cgroup, _distribution, _lacks, _memory, _place, _profile, version
from labkit.refusals import explain

HOME = str(Path(labkit.__file__).parents[1])
PRELUDE = """
import ctypes, json, os, struct, sys
sys.path.insert(0, sys.argv.pop(1))
from labkit.host import Host
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
    code = f"{PRELUDE}{before}\nfound = explain({step!r}, {number}, Host.read())\n"
    code += "print(json.dumps([found.cause, found.mend]))"
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-I", "-c", code, HOME]
    cause, mend = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return cause, mend


NAMESPACE, SEAL, PROC = "make a user namespace", "make the host read-only", "mount a fresh /proc"
MAP, STAGE = "map the ids of that namespace", "make Python readable for the lab"


@pytest.mark.parametrize("kind", ["user", "mnt", "pid", "uts", "ipc"])
def test_a_limit_of_0_is_named_with_its_setting(kind: str) -> None:
    """/proc/sys/user/max_*_namespaces, namespaces(7): each user namespace has its own."""
    cause, mend = explained("make the lab's namespaces", errno.ENOSPC, f"limit({kind!r})")
    assert cause == f"user.max_{kind}_namespaces is 0"
    assert mend == f"sudo sysctl user.max_{kind}_namespaces=15000"


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
    assert mend == "sudo sysctl kernel.unprivileged_userns_clone=1"


@pytest.mark.parametrize("step", [NAMESPACE, MAP, SEAL])
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


@pytest.mark.parametrize("before", ["", "filtered()"])
def test_a_masked_proc(before: str) -> None:
    """Podman and Docker mask parts of /proc; then a fresh one is refused, EPERM (measured)."""
    cause, mend = explained(PROC, errno.EPERM, before)
    assert "parts of its /proc are masked" in cause
    assert "systempaths=unconfined" in mend
    assert "unmask=ALL" in mend


def test_nothing_that_is_known_forbids_a_namespace() -> None:
    """A process can not tell that it is in a chroot, where CLONE_NEWUSER gives EPERM (unshare(2)): both are said."""
    cause, mend = explained(NAMESPACE, errno.EPERM)
    assert "may not make user namespaces" in cause
    assert "chroot" in cause
    assert "unshare -Ur true" in mend


@pytest.mark.parametrize("step", [SEAL, "mount a tmpfs for the lab's root", "make that its root"])
def test_nothing_that_is_known_forbids_a_mount(step: str) -> None:
    """Neither a filter nor a masked /proc is named without a sign of it."""
    cause, mend = explained(step, errno.EPERM)
    assert "security module" in cause
    assert "/proc" not in cause
    assert "dmesg" in mend


def test_a_call_that_is_missing() -> None:
    """Also what a filter answers (Docker's gives ENOSYS for new calls): both are named, and this kernel's release."""
    found = explain(SEAL, errno.ENOSYS, Host(release="5.4.0"))
    assert "5.4.0" in found.cause
    assert "filter" in found.cause
    assert "5.14" in found.mend
    assert "5.14" in explain(SEAL, errno.ENOSYS, Host(release="5.10.0-33-amd64", place="Docker")).mend
    assert "docker run" in explain(SEAL, errno.ENOSYS, Host(release="6.1.0", place="Docker")).mend


def test_a_kernel_without_user_namespaces() -> None:
    """unshare(2): EINVAL where CONFIG_USER_NS was not set."""
    found = explain(NAMESPACE, errno.EINVAL, Host())
    assert "CONFIG_USER_NS" in found.cause
    assert found.mend


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT])
def test_a_python_that_can_not_be_run(number: int) -> None:
    found = explain("start Python for the agent", number, Host())
    assert "the Python of this notebook" in found.cause
    assert "/root" in found.mend


@pytest.mark.parametrize(("step", "number"), [(PROC, errno.EINVAL), (PROC, errno.EIO)])
def test_what_is_not_known_says_so(step: str, number: int) -> None:
    found = explain(step, number, Host())
    assert found.cause == "not known"
    assert "uname -a" in found.mend


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_is_used_up_is_named(number: int) -> None:
    """RLIMIT_NPROC, RLIMIT_NOFILE, the system's open files, memory: known causes, which a person can mend."""
    found = explain("start PID 1 of the lab", number, Host())
    assert found.cause != "not known"
    assert "report it" not in found.mend


# --- machines that are not here

CLONE, RESTRICT = "kernel.unprivileged_userns_clone", "kernel.apparmor_restrict_unprivileged_userns"
PROFILE = "sudo apparmor_parser --replace /etc/apparmor.d/labkit"
DOCKER = "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"


class Recorded(NamedTuple):
    """`known`: was the refusal measured there, or is it reported? Then parts of the cause and of the mend."""

    where: str
    known: str
    host: Host
    step: str
    error: int
    cause: str
    mend: str
    lasts: bool | None = None


def in_place(place: str, filtered: bool = True, confined: str = "") -> Host:
    return Host(place=place, filtered=filtered, confined=confined)


UBUNTU = Host(settings={RESTRICT: "1", CLONE: "1"}, distribution="ubuntu debian")
UBUNTUS_DOCKER = Host(place="Docker", filtered=True, settings={RESTRICT: "1"})
OUTSIDE = "on the machine that the container runs on"
WEAK = Host(place="Docker", filtered=True, lacks=("CAP_SYS_ADMIN",))
TMPFS, FILTER, MASKED = "mount a tmpfs for the lab's root", "a seccomp filter", "parts of its /proc are masked"
M, R, EPERM, EACCES, ENOSPC = "measured", "reported", errno.EPERM, errno.EACCES, errno.ENOSPC

RECORDED = [
    Recorded(
        "Debian 13", M, Host(settings={CLONE: "0"}), NAMESPACE, EPERM, f"{CLONE} is 0", f"sysctl {CLONE}=1", False
    ),
    *(
        Recorded(name, M, Host(settings={name: "0"}), NAMESPACE, ENOSPC, f"{name} is 0", f"sysctl {name}=15000", False)
        for name in ("user.max_user_namespaces", "user.max_mnt_namespaces")
    ),
    Recorded("Ubuntu 24.04", R, UBUNTU, MAP, EPERM, "AppArmor restricts user namespaces", PROFILE, True),
    Recorded(
        "Docker", M, in_place("Docker", True, "docker-default"), NAMESPACE, EPERM, FILTER, "container/seccomp.json"
    ),
    Recorded("Docker on Ubuntu", R, UBUNTUS_DOCKER, NAMESPACE, EPERM, FILTER, DOCKER),
    Recorded("Docker on Ubuntu, with the options", R, UBUNTUS_DOCKER, MAP, EACCES, "AppArmor restricts", OUTSIDE, True),
    Recorded("Docker, its root", R, WEAK, STAGE, EPERM, "a root without CAP_SYS_ADMIN", "as an ordinary user"),
    Recorded(
        "Docker, AppArmor", M, in_place("Docker", False, "docker-default"), TMPFS, EACCES, "docker-default", DOCKER
    ),
    Recorded("Docker, /proc", M, in_place("Docker", False), PROC, EPERM, f"this is Docker: {MASKED}", DOCKER),
    Recorded("rootless Podman", M, in_place("Podman"), PROC, EPERM, f"this is Podman: {MASKED}", "unmask=ALL"),
    # Podman 4.3.1, crun 1.8.1, Linux 6.18, rootless, each time with one option left out:
    Recorded("Podman, no profile", M, in_place("Podman"), "name the host", EPERM, FILTER, "container/seccomp.json"),
    Recorded("Podman, no unmask", M, in_place("Podman"), "forbid cgroup namespaces", errno.EROFS, MASKED, "unmask=ALL"),
    Recorded("Kubernetes", R, in_place("Kubernetes"), NAMESPACE, EPERM, FILTER, "hostUsers: false"),
    Recorded("Kubernetes, /proc", R, in_place("Kubernetes", False), PROC, EPERM, MASKED, "procMount: Unmasked"),
    Recorded("Codespaces", R, in_place("Codespaces"), NAMESPACE, EPERM, FILTER, "runArgs"),
    Recorded("a devcontainer", R, in_place("a devcontainer"), NAMESPACE, EPERM, FILTER, "runArgs"),
    Recorded("Binder", R, in_place("Binder"), SEAL, EPERM, FILTER, "a Linux machine of your own"),
]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"{recorded.where}, {recorded.known}")
def test_a_recorded_refusal(recorded: Recorded) -> None:
    """The places where ordinary users' namespaces are known to fail."""
    found = explain(recorded.step, recorded.error, recorded.host)
    assert recorded.cause in found.cause
    assert recorded.mend in found.mend
    assert found.lasts is recorded.lasts


def test_wsl_is_recognised() -> None:
    """By its kernel's release; a lab runs there (reported), so there is nothing to explain."""
    assert _place("5.15.153.1-microsoft-standard-WSL2") == "WSL"


def test_ubuntus_profile_is_for_this_python_alone() -> None:
    """AppArmor knows a program by the path behind all links; apparmor.d(5)."""
    host = Host(settings={RESTRICT: "1"}, python="/home/me/my env/bin/python3.12")
    mend = explain(MAP, errno.EPERM, host).mend
    assert 'profile labkit "/home/me/my env/bin/python3.12" flags=(unconfined) { userns, }' in mend


def test_limits_that_leave_no_room_are_named_together() -> None:
    few = {"user.max_user_namespaces": "1", "user.max_mnt_namespaces": "31", "user.max_pid_namespaces": "32"}
    found = explain("make the lab's namespaces", errno.ENOSPC, Host(settings=few))
    assert found.cause == "user.max_user_namespaces is 1, user.max_mnt_namespaces is 31"
    assert found.mend == "sudo sysctl user.max_user_namespaces=15000 user.max_mnt_namespaces=15000"


# --- what a machine says of itself


def test_a_kernels_release_is_compared_by_its_numbers() -> None:
    assert version("5.14.0-503.el9") == (5, 14) < version("6.1.0-28-amd64") < version("6.12+deb13")


def test_this_machine() -> None:
    host = Host.read()
    assert (host.release, host.machine) == (os.uname().release, os.uname().machine)
    assert host.settings["user.max_user_namespaces"] == Path("/proc/sys/user/max_user_namespaces").read_text().strip()
    assert host.memory
    assert host.memory > 0
    assert set(host.limits) == {"RLIMIT_NPROC", "RLIMIT_NOFILE"}
    assert Path(host.python).is_file()
    assert not Path(host.python).is_symlink()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"BINDER_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_HOST": "10.0.0.2"}, "Binder"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.2"}, "Kubernetes"),
        ({"CODESPACES": "true"}, "Codespaces"),
        ({"REMOTE_CONTAINERS": "true"}, "a devcontainer"),
    ],
)
def test_a_place_that_tells_itself_by_a_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], place: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Host.read().place == place


@pytest.mark.parametrize(("marker", "place"), [("/run/.containerenv", "Podman"), ("/.dockerenv", "Docker")])
def test_a_container_tells_itself_by_a_file_and_a_mount(marker: str, place: str) -> None:
    """The engine's file, and its mount of /etc/hosts: in a mount namespace of the test's own."""
    code = f"""{PRELUDE}
import shutil
mount("tmpfs", "/mnt", "tmpfs")
for name in os.listdir("/"):
    if os.path.isdir(f"/{{name}}") and name not in ("mnt", "dev", "sys"):
        os.mkdir(f"/mnt/{{name}}")
        mount(f"/{{name}}", f"/mnt/{{name}}", None, MS_BIND | MS_REC)
mount("tmpfs", "/mnt/run", "tmpfs")
open("/mnt{marker}", "w").close()
mount("tmpfs", "/mnt/etc", "tmpfs")  # a Debian from mmdebstrap has no /etc/hosts
open("/mnt/etc/hosts", "w").close()
places = []
os.chroot("/mnt")
places.append(Host.read().place)
mount("/etc/hosts", "/etc/hosts", None, MS_BIND)
places.append(Host.read().place)
print(json.dumps(places))
"""
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-I", "-c", code, HOME]
    assert json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) == ["", place]


def test_what_is_read_of_files() -> None:
    """proc_pid_attr(5), os-release(5), proc_meminfo(5)."""
    assert _profile("docker-default (enforce)\n") == "docker-default"
    assert _profile("unconfined\n") == _profile("") == _profile("labkit (unconfined)\n") == ""
    assert _profile("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0") == ""
    assert _distribution('NAME="Ubuntu"\nID=ubuntu\nID_LIKE="debian"\n') == "ubuntu debian"
    assert _distribution("") == ""
    free = "MemTotal: 9 kB\nMemAvailable:    2048 kB\n"
    assert _memory(free, "") == _memory(free, "max\n") == _memory(free, str(4 << 20)) == 2 << 20
    assert _memory(free, f"{1 << 20}\n") == 1 << 20
    assert _memory("", "") is None
    assert _cgroup("9:name=systemd:/\n0::/user.slice/x\n") == "/sys/fs/cgroup/user.slice/x"
    assert _cgroup("9:name=systemd:/\n") == ""
    assert _lacks("Name:\tx\nCapEff:\t00000000a80425fb\n") == ("CAP_SYS_ADMIN",)  # Docker's root
    assert _lacks("CapEff:\t000001ffffffffff\n") == _lacks("") == ()
