"""Can this machine run the lessons? A lab is started for real and used as they use it; the rest is read."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jupyter_core.paths import jupyter_config_path, jupyter_path

from . import serving
from .errors import LabError, LabRefused
from .findings import Checkup, Finding
from .host import Host
from .lab import Lab

# The parts of a lab, by the step of the agent that each begins with; another step belongs to the part before it.
FIRST = "a process that builds the lab"
PARTS = {
    "make Python readable for the lab": "a Python that the lab's user can read",
    "become an unprivileged user": "a user namespace, with its ids mapped",
    "make a user namespace": "a user namespace, with its ids mapped",
    "make the host read-only": "the host's mounts made read-only",
    "make the lab's namespaces": "mount, PID, UTS, IPC and network namespaces",
    "mount a tmpfs for the lab's root": "a tmpfs",
    "borrow the host's programs": "bind mounts of the host's programs",
    "mount a fresh /proc": "a fresh /proc",
    "make devices and PTYs": "devices and PTYs",
    "make that its root": "a root of its own, by pivot_root",
}
SHELL = "a shell on a PTY in each terminal"
END = "its end, which leaves no process, mount or file"


class Use(NamedTuple):
    """What the lessons do in a lab: `lines` for its left terminal, each of which must succeed."""

    what: str
    lines: Sequence[str]
    needed: bool = True
    mend: str = ""


SEES = "grep -q ' /mnt ' /proc/mounts"
USES = (
    Use(
        "a mount that one mount namespace alone sees",
        [f'unshare -m sh -c "mount -t tmpfs tmpfs /mnt && {SEES}" && ! {SEES}'],
    ),
    Use("Python and labkit.linux in the lab", ["python3 -c 'from labkit.linux import clone'"], needed=False),
    Use(
        "an overlay",
        [
            "mkdir /srv/image /srv/upper /srv/work /srv/merged",
            "mount -t overlay overlay -o lowerdir=/srv/image,upperdir=/srv/upper,workdir=/srv/work /srv/merged",
        ],
        needed=False,
        mend="sudo modprobe overlay, where the kernel has it as a module (and is Linux 5.11 or newer); "
        "only lesson 06 uses it",
    ),
)
SECONDS = 10.0  # for a line that needs 0.01 s

# The programs that the lessons use beyond those that every distribution has, with Debian's packages.
PROGRAMS = {
    "gcc": "gcc",
    "stdio.h": "libc6-dev",
    "strace": "strace",
    "ps": "procps",
    "pkill": "procps",
    "findmnt": "util-linux",
    "mount": "mount",
}
HEADERS = "/usr/include"
WHERE = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

KERNEL = (5, 14)
MACHINES = ("x86_64", "aarch64")
MEMORY = 512 << 20  # measured: JupyterLab takes 97 MiB and a lesson's kernel 126 MiB; a lab's files at most 256 MiB
LIMITS = {"RLIMIT_NPROC": 200, "RLIMIT_NOFILE": 256}  # for JupyterLab and a few labs
NAMESPACES = 32  # of each kind, likewise
EXTENSIONS = {"anywidget": "anywidget", "@jupyter-widgets/jupyterlab-manager": "jupyterlab-widgets"}


def doctor() -> Checkup:
    """Start a lab, use it as the lessons do and end it; look at what else they count on."""
    host = Host.read()
    return Checkup((*_lab(), *_facts(host)), host.place)


# --- what is tried


def _lab() -> Iterator[Finding]:
    parts = list(dict.fromkeys([FIRST, *PARTS.values()]))
    try:
        with Lab() as lab:
            yield from (Finding(part, True) for part in (*parts, SHELL))
            yield from _uses(lab)
            left = lab.close().left
            yield _fact(END, left and f"left: {', '.join(left)}", "report it, with this whole message")
    except LabRefused as refused:
        yield from _refused(refused, [*parts, SHELL])
    except LabError as error:  # there was a lab, and no shell in it
        yield from (Finding(part, True) for part in parts)
        yield Finding(SHELL, False, str(error))


def _refused(refused: LabRefused, parts: Sequence[str]) -> Iterator[Finding]:
    part, passed = FIRST, {FIRST}
    for step in refused.begun:
        part = PARTS.get(step, part)
        passed.add(part)
    refusal = refused.refusal
    why = f"{refusal.cause}\nThe lab could not {refused.step}; the kernel said: {refused.said}"
    for each in parts:
        if each == part:
            yield Finding(each, False, why, refusal.mend, refusal.lasts)
        else:
            yield Finding(each, True if each in passed else None)


def _uses(lab: Lab) -> Iterator[Finding]:
    """In a lab in which one thing has failed no other is tried."""
    failed = False
    for use in USES:
        trouble = "" if failed else _first_failure(lab, use.lines)
        if failed:
            yield Finding(use.what, None, needed=use.needed)
        else:
            yield _fact(use.what, trouble, use.mend, needed=use.needed)
        failed = failed or bool(trouble)


def _first_failure(lab: Lab, lines: Sequence[str]) -> str:
    try:
        for line in lines:
            if (done := lab.left.run(line, SECONDS)).status:
                return f"`{line}`: {done.output}"
    except LabError as error:
        return str(error)
    return ""


# --- what is read


def _facts(host: Host) -> Iterator[Finding]:
    numbers = tuple(map(int, re.findall(r"\d+", host.release)[:2]))
    yield _fact("Linux 5.14 or newer", numbers < KERNEL and f"this is Linux {host.release}", "boot a newer kernel")
    yield _fact(
        "a processor whose system calls labkit.linux knows",
        host.machine not in MACHINES and f"this is {host.machine}, and it knows {' and '.join(MACHINES)}",
        "use such a machine",
    )
    yield _programs(host)
    yield _fact(
        f"{MEMORY >> 20} MiB of free memory",
        host.memory < MEMORY and f"{host.memory >> 20} MiB are free",
        "close other programs",
        needed=False,
    )
    yield _limits(host)
    yield _fact("a place for the sockets of Jupyter's kernels", serving.runtime_obstacle() or "", needed=False)
    yield from _page()


def _fact(what: str, trouble: object, mend: str = "", *, lasts: bool | None = None, needed: bool = True) -> Finding:
    """`trouble`: what is wrong with it, or something false."""
    return Finding(what, False, str(trouble), mend, lasts, needed) if trouble else Finding(what, True, needed=needed)


def _programs(host: Host) -> Finding:
    missing = [name for name in PROGRAMS if not (shutil.which(name, path=WHERE) or os.path.exists(f"{HEADERS}/{name}"))]
    packages = " ".join(dict.fromkeys(PROGRAMS[name] for name in missing))
    apt = {"debian", "ubuntu"} & set(host.distribution.split())
    return _fact(
        "the programs that the lessons use",
        missing and f"not here: {', '.join(missing)}; the cells that need them are skipped",
        f"sudo apt install {packages}" if apt else "install them with this system's package manager",
        lasts=True,
        needed=False,
    )


def _limits(host: Host) -> Finding:
    troubles, mends, settings = [], [], False
    for name, least in LIMITS.items():
        if 0 <= (limit := host.limits.get(name, -1)) < least:
            troubles.append(f"{name} is {limit}")
            mends.append(f"ulimit -S{'u' if name == 'RLIMIT_NPROC' else 'n'} {least}, before JupyterLab is started")
    for name, value in host.settings.items():
        if name.startswith("user.max_") and int(value) < NAMESPACES:
            troubles.append(f"{name} is {value}")
            mends.append(f"sudo sysctl {name}=15000")
            settings = True
    return _fact(
        "limits that leave room for a few labs",
        ", ".join(troubles),
        "\n".join(mends),
        lasts=False if settings else None,
        needed=False,
    )


def _page() -> Iterator[Finding]:
    """What JupyterLab's page needs, in the environment of this Python."""
    enabled = any(os.path.exists(f"{path}/jupyter_server_config.d/labkit.json") for path in jupyter_config_path())
    yield _fact(
        "labkit's server extension, which makes keys echo at once",
        not enabled and "JupyterLab would not load it",
        f"start JupyterLab with `labkit start`; or `{sys.executable} -m pip install` the kit again",
        needed=False,
    )
    places = jupyter_path("labextensions")
    missing = [
        package
        for name, package in EXTENSIONS.items()
        if not any(os.path.exists(f"{place}/{name}/package.json") for place in places)
    ]
    yield _fact(
        "the extensions of JupyterLab that show terminals and tables",
        missing and f"not here: {', '.join(missing)}",
        f"{sys.executable} -m pip install {' '.join(missing)}",
        lasts=True,
        needed=False,
    )
