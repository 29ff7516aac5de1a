"""Why a system refuses a lab, and what mends it: the one place that knows causes and mends."""

from __future__ import annotations

import errno as errors
import os

UNTIL_BOOT = "(until the next boot; to keep it, write it to a file in /etc/sysctl.d/)"

MASKED = (
    "this looks like a container: parts of its /proc are masked, and then the kernel refuses a fresh /proc; "
    "or mounts are forbidden",
    "docker run --security-opt systempaths=unconfined --security-opt apparmor=unconfined …; "
    "podman run --security-opt unmask=ALL …; or use a virtual machine",
)


def explain(step: str, errno: int) -> tuple[str, str]:
    """The cause of a refused step on this system and the command that mends it, read from what the system says of
    itself.
    """
    if step == "start in time":
        return "this machine is far too busy, or the agent hangs", "close labs and other programs, and try again"
    if step == "start":
        return (
            "the Python that was started for the agent ended",
            "see what it said, and whether this Python works elsewhere",
        )
    if step == "become an unprivileged user":
        return (
            "root is the machine's own root here, and this user namespace maps nobody else whom it could become",
            "start the notebook outside of it (no `unshare -Ur` as root), or as an ordinary user",
        )
    if errno == errors.ENOSPC:
        return _limit()
    if errno == errors.EAGAIN:
        return (
            "the limit on this user's processes is reached (RLIMIT_NPROC, or the cgroup's pids.max)",
            "end some of them; or raise the limit: `ulimit -u` shows it, /etc/security/limits.conf sets it",
        )
    if errno in (errors.EMFILE, errors.ENFILE):
        return (
            "the limit on open files is reached (RLIMIT_NOFILE)",
            "close labs; or raise the limit: `ulimit -n` shows it",
        )
    if errno == errors.ENOMEM:
        return "the kernel has no memory for it", "close labs and other programs"
    if errno == errors.ENOSYS:
        return (
            f"the kernel ({os.uname().release}) or a container's filter lacks a call",
            "use Linux 5.14 or newer, outside a container",
        )
    if errno in (errors.EPERM, errors.EACCES):
        return _forbidden(step)
    if step == "forbid cgroup namespaces":  # /proc/sys is not what it is elsewhere
        return MASKED
    if errno == errors.EINVAL and step == "make a user namespace":
        return (
            "this kernel was built without user namespaces (CONFIG_USER_NS)",
            "boot a distribution's own kernel",
        )
    return "not known", "report it, with this whole message and the output of `uname -a`"


def _limit() -> tuple[str, str]:
    for kind in ("user", "mnt", "pid", "uts", "ipc", "net"):
        if _setting(f"user/max_{kind}_namespaces") == "0":
            name = f"user.max_{kind}_namespaces"
            return (
                f"{name} is 0",
                f"sudo sysctl {name}=15000    {UNTIL_BOOT}",
            )
    return (
        "a limit on namespaces is reached, or they are nested 32 deep",
        "close labs; see `sysctl -a --pattern 'user.max.*namespaces'`",
    )


def _forbidden(step: str) -> tuple[str, str]:
    if _setting("kernel/unprivileged_userns_clone") == "0":
        setting = "kernel.unprivileged_userns_clone"
        return f"{setting} is 0", f"sudo sysctl {setting}=1    {UNTIL_BOOT}"
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        setting = "kernel.apparmor_restrict_unprivileged_userns"
        return (
            f"AppArmor restricts user namespaces here, as Ubuntu does since 23.10: {setting} is 1",
            "give this Python an AppArmor profile with `flags=(unconfined) { userns, }`; "
            f"or, for the whole machine, sudo sysctl {setting}=0    {UNTIL_BOOT}",
        )
    filtered = "Seccomp:\t2" in _read("/proc/self/status")
    if step == "build the lab's file system" or (step == "make the host read-only" and not filtered):
        return MASKED
    if filtered:
        return (
            "a seccomp filter forbids the call, as containers set one",
            "run outside the container, or with a seccomp profile that allows the namespace and mount calls",
        )
    return (
        "this user may not make user namespaces here; or this is a chroot, in which the kernel makes none",
        "try `unshare -Ur true` in a terminal: where that fails too, ask whoever runs this machine",
    )


def _setting(name: str) -> str:
    return _read(f"/proc/sys/{name}").strip()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
