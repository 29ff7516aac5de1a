"""Why a system refuses a lab, and what mends it: the one place that knows causes and mends.

Measured on Debian 12 and 13, in Docker and in rootless Podman; what is said of Ubuntu, Kubernetes, Codespaces, Binder
and WSL rests on reports.
"""

from __future__ import annotations

import errno as errors
from dataclasses import dataclass

from .host import Host


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
Where that is no way, for all programs of the machine: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"""

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
ROOT_STEPS = (
    "mount a fresh /proc",
    "mount a tmpfs for the lab's root",
    "borrow the host's programs",
    "make devices and PTYs",
    "make that its root",
)


def explain(step: str, errno: int, host: Host) -> Refusal:
    """Why `host` refused this step with this error, and what mends it."""
    if found := _OF_A_STEP.get(step):
        return found
    if step == "start Python for the agent" and errno in (errors.EACCES, errors.ENOENT):
        return Refusal(
            "the Python of this notebook is gone, or this user may not run it",
            "use one that this user may read: the system's, or an environment of the user's own, not one below /root",
        )
    if errno == errors.ENOSPC:
        return _limit(host)
    if errno == errors.ENOSYS:
        return Refusal(
            f"the kernel ({host.release}) or a container's filter lacks a call",
            CONTAINERS.get(host.place, "use Linux 5.14 or newer, outside a container"),
        )
    if found := _OF_AN_ERROR.get(errno):
        return found
    if errno in (errors.EPERM, errors.EACCES):
        return _forbidden(step, errno, host)
    if step == "forbid cgroup namespaces":  # /proc/sys is not what it is elsewhere
        return _masked(host)
    if errno == errors.EINVAL and step == USER:
        return Refusal(
            "this kernel was built without user namespaces (CONFIG_USER_NS)", "boot a distribution's own kernel"
        )
    return Refusal("not known", "report it, with this whole message and the output of `uname -a`")


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


def _limit(host: Host) -> Refusal:
    for name, value in host.settings.items():
        if value == "0" and name.startswith("user.max_"):
            return Refusal(f"{name} is 0", f"sudo sysctl {name}=15000", lasts=False)
    return Refusal(
        "a limit on namespaces is reached, or they are nested 32 deep",
        "close labs; see `sysctl -a --pattern 'user.max.*namespaces'`",
    )


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
    if host.settings.get(name) == "1" and step not in ROOT_STEPS and not by_filter:
        return Refusal(
            f"AppArmor restricts user namespaces here, as Ubuntu does since 23.10: {name} is 1",
            PROFILE.format(python=host.python),
            lasts=True,
        )
    if step in ROOT_STEPS or (step == "make the host read-only" and not host.filtered):
        return _masked(host)
    if host.filtered:
        return Refusal(
            "a seccomp filter forbids the call, as containers set one",
            CONTAINERS.get(
                host.place,
                "run outside the container, or with a seccomp profile that allows the namespace and mount calls",
            ),
        )
    return Refusal(
        "this user may not make user namespaces here; or this is a chroot, in which the kernel makes none",
        "try `unshare -Ur true` in a terminal: where that fails too, ask whoever runs this machine",
    )


def _masked(host: Host) -> Refusal:
    return Refusal(
        f"this {f'is {host.place}' if host.place in CONTAINERS else 'looks like a container'}: parts of its /proc are "
        "masked, and then the kernel refuses a fresh /proc; or mounts are forbidden",
        CONTAINERS.get(host.place, CONTAINER),
    )
