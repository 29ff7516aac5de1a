"""Why a system refuses a lab, and what mends it: the one place that knows causes and mends.

Measured on Debian 12 and 13, in Docker and in rootless Podman; what is said of Ubuntu, Kubernetes, Codespaces, Binder
and WSL rests on reports.
"""

from __future__ import annotations

import errno as errors
from dataclasses import dataclass

from .host import Host, version

KERNEL = (5, 14)
NAMESPACES = 32  # of each kind, for a few labs: one takes up to three


@dataclass(frozen=True)
class Refusal:
    """The `cause`, the least that mends it, and whether that `lasts` over a reboot (None: no such question)."""

    cause: str
    mend: str
    lasts: bool | None = None


# The profile is for one program. An agent started by it is under it too: a profile that is unconfined is kept on exec.
PROFILE = """\
echo 'abi <abi/4.0>, profile labkit "{python}" flags=(unconfined) {{ userns, }}' | sudo tee /etc/apparmor.d/labkit
sudo apparmor_parser --replace /etc/apparmor.d/labkit
then restart the notebook's kernel: what runs already is not under it.
Where that is no way, for all programs and until a reboot: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"""
# Since 25.04 it has one for unshare(1), which forbids mounts below it (reported: rootlesskit's issue 494).
UNSHARES_PROFILE = """\
on Ubuntu 25.04 and newer, whose AppArmor profile for unshare(1) forbids mounts below it:
sudo ln -s /etc/apparmor.d/unshare-userns-restrict /etc/apparmor.d/disable/
sudo apparmor_parser --remove /etc/apparmor.d/unshare-userns-restrict
elsewhere report it, with this whole message"""

DOCKER_OPTIONS = (
    "--security-opt seccomp=container/seccomp.json --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined"
)
PODMAN_OPTIONS = "--security-opt seccomp=container/seccomp.json --security-opt unmask=ALL"
# What lets a lab in, for each place that forbids it.
CONTAINERS = {
    "Docker": f"docker run {DOCKER_OPTIONS} …    (container/run in the kit does it)",
    "Podman": f"podman run {PODMAN_OPTIONS} …    (container/run in the kit does it)",
    "Kubernetes": "in the pod hostUsers: false, and for its container procMount: Unmasked and a seccomp profile, "
    "the kit's container/seccomp.json",
    "Codespaces": f'in devcontainer.json: "runArgs": the words of `{DOCKER_OPTIONS}`; then rebuild the container',
    "Binder": "nothing there: read the lessons as they are stored, or run them on a Linux machine of your own",
}
CONTAINERS["a devcontainer"] = CONTAINERS["Codespaces"]
CONTAINER = f"{CONTAINERS['Docker']}; {CONTAINERS['Podman']}; or use a virtual machine"

USER = "make a user namespace"
AS_ROOT = ("make Python readable for the lab", "become an unprivileged user")
PROCS = ("mount a fresh /proc", "forbid cgroup namespaces")  # the latter writes to /proc/sys
IN_THE_LAB = (
    "name the host",
    "mount a tmpfs for the lab's root",
    "borrow the host's programs",
    "mount a fresh /proc",
    "make devices and PTYs",
    "make that its root",
)


def explain(step: str, errno: int, host: Host) -> Refusal:
    """Why `host` refused this step with this error, and what mends it."""
    if errno == errors.EPERM and step in AS_ROOT and host.lacks:
        return Refusal(
            f"this is a root without {', '.join(host.lacks)}, as containers make one",
            "start the notebook as an ordinary user",
        )
    if found := _OF_A_STEP.get(step):
        return found
    if step == "start Python for the agent" and errno in (errors.EACCES, errors.ENOENT):
        return Refusal(
            "the Python of this notebook is gone, or this user may not run it",
            "use one that this user may read: the system's, or an environment of the user's own, not one below /root",
        )
    if errno == errors.ENOSPC:
        return too_few_namespaces(host) or Refusal(
            "a limit on namespaces is reached, or they are nested 32 deep",
            "close labs; see `sysctl -a --pattern 'user.max.*namespaces'`",
        )
    if errno == errors.ENOSYS:
        newer = "use Linux 5.14 or newer, outside a container"
        return Refusal(
            f"the kernel ({host.release}) or a container's filter lacks a call",
            newer if version(host.release) < KERNEL else CONTAINERS.get(host.place, newer),
        )
    if found := _OF_AN_ERROR.get(errno):
        return found
    if errno in (errors.EPERM, errors.EACCES):
        return _forbidden(step, errno, host)
    if step in PROCS and errno in (errors.EROFS, errors.ENOENT):
        return _masked(host)
    if errno == errors.EINVAL and step == USER:
        return Refusal(
            "this kernel was built without user namespaces (CONFIG_USER_NS)", "boot a distribution's own kernel"
        )
    return Refusal("not known", "report it, with this whole message and the output of `uname -a`")


def too_few_namespaces(host: Host) -> Refusal | None:
    """The limits on namespaces that leave no room for a few labs, if there are any."""
    few = {name: value for name, value in host.settings.items() if name.startswith("user.") and int(value) < NAMESPACES}
    if not few:
        return None
    return Refusal(
        ", ".join(f"{name} is {value}" for name, value in few.items()),
        f"sudo sysctl {' '.join(f'{name}=15000' for name in few)}",
        lasts=False,
    )


_OF_A_STEP = {
    "start in time": Refusal(
        "this machine is far too busy, or the agent hangs", "close labs and other programs, and try again"
    ),
    "start": Refusal(
        "the Python that was started for the agent ended", "see what it said, and whether this Python works elsewhere"
    ),
    "become an unprivileged user": Refusal(
        "root is the machine's own root here, and this user namespace maps nobody else whom it could become",
        "start the notebook outside of it (no `unshare -Ur` as root), or as an ordinary user",
    ),
}

_OF_AN_ERROR = {
    errors.EAGAIN: Refusal(
        "the limit on this user's processes is reached (RLIMIT_NPROC, or the cgroup's pids.max)",
        "end some of them; or raise the limit: `ulimit -u` shows it, /etc/security/limits.conf sets it",
    ),
    errors.EMFILE: (
        files := Refusal(
            "the limit on open files is reached (RLIMIT_NOFILE)", "close labs; or raise the limit: `ulimit -n` shows it"
        )
    ),
    errors.ENFILE: files,
    errors.ENOMEM: Refusal("the kernel has no memory for it", "close labs and other programs"),
}


def _forbidden(step: str, errno: int, host: Host) -> Refusal:
    name = "kernel.unprivileged_userns_clone"
    if host.settings.get(name) == "0":
        return Refusal(f"{name} is 0", f"sudo sysctl {name}=1", lasts=False)
    if errno == errors.EACCES and host.confined:
        return Refusal(
            f"the AppArmor profile {host.confined} forbids it, as container engines set one",
            CONTAINERS.get(host.place, CONTAINER),
        )
    name = "kernel.apparmor_restrict_unprivileged_userns"
    by_filter = host.filtered and step == USER
    if host.settings.get(name) == "1" and step not in IN_THE_LAB and not by_filter:
        outside = "on the machine that the container runs on:\n" if host.place in CONTAINERS else ""
        return Refusal(
            f"AppArmor restricts user namespaces here, as Ubuntu does since 23.10: {name} is 1",
            outside + PROFILE.format(python=host.python),
            lasts=True,
        )
    if step in PROCS:
        return _masked(host)
    if host.filtered:
        return Refusal(
            "a seccomp filter forbids the call, as containers set one",
            CONTAINERS.get(
                host.place,
                "run outside the container, or with a seccomp profile that allows the namespace and mount calls",
            ),
        )
    if step == USER:
        return Refusal(
            "this user may not make user namespaces here; or this is a chroot, in which the kernel makes none",
            "try `unshare -Ur true` in a terminal: where that fails too, ask whoever runs this machine",
        )
    return Refusal(
        "a security module of this machine, or of a container, forbids it",
        f"`sudo dmesg` may name it; in a container: {CONTAINERS.get(host.place, CONTAINER)}",
    )


def _masked(host: Host) -> Refusal:
    return Refusal(
        f"this {f'is {host.place}' if host.place in CONTAINERS else 'looks like a container'}: parts of its /proc are "
        "masked, and then the kernel refuses a fresh /proc",
        CONTAINERS.get(host.place, CONTAINER),
    )
