"""What a machine says of itself that explains why it refuses a lab, or that the lessons count on.

`Host.read()` asks this machine. Another one can be written down as a value, and is explained just the same.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

# The switches that decide whether an ordinary user gets namespaces, as files below /proc/sys.
SETTINGS = (
    "kernel.unprivileged_userns_clone",  # a patch of Debian's: 0 forbids them
    "kernel.apparmor_restrict_unprivileged_userns",  # Ubuntu since 23.10: 1 leaves them without any capability
    *(f"user.max_{kind}_namespaces" for kind in ("user", "mnt", "pid", "uts", "ipc", "net")),
)

# What tells a container, by the file or the variable that its engine leaves there. The first that is found counts.
VARIABLES = {
    "BINDER_SERVICE_HOST": "Binder",
    "CODESPACES": "Codespaces",
    "REMOTE_CONTAINERS": "a devcontainer",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
}
FILES = {"/run/.containerenv": "Podman", "/.dockerenv": "Docker"}
ENGINES_MOUNT = " /etc/hosts "  # in a container's mount table; a virtual machine made from an image has the files alone

CAPABILITIES = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SYS_ADMIN": 21}  # that the agent uses where root starts it
LIMITS = ("RLIMIT_NPROC", "RLIMIT_NOFILE")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"  # the programs of a system: a lab has these


@dataclass(frozen=True)
class Host:
    """`settings`: those of SETTINGS that this kernel has. `filtered`: by seccomp. `confined`: the AppArmor profile that
    is enforced on this process, or "". `lacks`: those of CAPABILITIES that root has not here. `place`: the container or
    the like that this is, or "". `distribution`: ID and ID_LIKE of os-release(5). `memory`: in bytes, what is free
    (MemAvailable) and what the cgroup may have at most, the lesser of them; None where that can not be read. `limits`:
    the soft and the hard one, by their names in getrlimit(2), -1 for none.
    """

    release: str = ""
    machine: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    filtered: bool = False
    confined: str = ""
    lacks: tuple[str, ...] = ()
    place: str = ""
    distribution: str = ""
    python: str = ""
    memory: int | None = None
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Host:
        """Ask this machine. What can not be read is not there."""
        system = os.uname()
        settings = {name: _read(f"/proc/sys/{name.replace('.', '/')}").strip() for name in SETTINGS}
        status = _read("/proc/self/status")
        return cls(
            release=system.release,
            machine=system.machine,
            settings={name: value for name, value in settings.items() if value},
            filtered="\nSeccomp:\t2" in status,
            confined=_profile(_read("/proc/self/attr/apparmor/current") or _read("/proc/self/attr/current")),
            lacks=_lacks(status) if os.geteuid() == 0 else (),
            place=_place(system.release),
            distribution=_distribution(_read("/etc/os-release")),
            python=os.path.realpath(sys.executable),
            memory=_memory(_read("/proc/meminfo"), _read(_cgroup(_read("/proc/self/cgroup")) + "/memory.max")),
            limits={name: resource.getrlimit(getattr(resource, name)) for name in LIMITS},
        )


def _profile(label: str) -> str:
    """proc_pid_attr(5): `docker-default (enforce)`; "unconfined", and SELinux's labels, name no profile."""
    name, _, mode = label.rstrip("\0\n").rpartition(" ")
    return name if mode == "(enforce)" else ""


def _place(release: str) -> str:
    for name, place in VARIABLES.items():
        if os.environ.get(name):
            return place
    for path, place in FILES.items():
        if os.path.exists(path) and ENGINES_MOUNT in _read("/proc/self/mountinfo"):
            return place
    return "WSL" if "microsoft" in release.lower() else ""


def _distribution(text: str) -> str:
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return " ".join(fields[name].strip("\"'") for name in ("ID", "ID_LIKE") if name in fields)


def _lacks(status: str) -> tuple[str, ...]:
    """Of proc_pid_status(5), the line CapEff."""
    effective = int((re.search(r"^CapEff:\s*(\w+)", status, re.M) or ["", "f" * 16])[1], 16)
    return tuple(name for name, bit in CAPABILITIES.items() if not effective >> bit & 1)


def _memory(meminfo: str, most: str) -> int | None:
    """Of proc_meminfo(5), MemAvailable; and memory.max of cgroup v2, "max" for none."""
    sizes = [int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    sizes += [int(most)] if most.strip().isdecimal() else []
    return min(sizes, default=None)


def _cgroup(text: str) -> str:
    """The directory of this process's cgroup of version 2: cgroups(7)."""
    paths = [line.removeprefix("0::") for line in text.splitlines() if line.startswith("0::/")]
    return f"/sys/fs/cgroup{paths[0]}" if paths else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def version(release: str) -> tuple[int, ...]:
    """The first two numbers of a kernel's release, to be compared."""
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])
