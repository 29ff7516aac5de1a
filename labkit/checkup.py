"""Can this machine run the lessons? A lab is started for real and used as they use it; the rest is read."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jupyter_core.paths import jupyter_config_path, jupyter_path

from . import serving
from .errors import LabError, LabRefused
from .findings import Checkup, Finding
from .host import PATH, Host, version
from .lab import OPEN, Lab
from .refusals import KERNEL, UNSHARES_PROFILE, too_few_namespaces

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
END = "its end, which leaves no process of it"


class Use(NamedTuple):
    """What the lessons do in a lab: `lines` for its left terminal, each of which must succeed."""

    what: str
    lines: Sequence[str]
    needed: bool = True
    mend: str = ""
    lasts: bool | None = None


SEES = "grep -q ' /mnt ' /proc/mounts"
USES = (
    Use(
        "a mount that one mount namespace alone sees",
        [f'unshare -m sh -c "mount -t tmpfs tmpfs /mnt && {SEES}" && ! {SEES}'],
        mend=UNSHARES_PROFILE,
        lasts=True,
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
        lasts=False,
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
    "pivot_root": "util-linux",
    "mount": "mount",
}
HEADERS = "/usr/include"

MACHINES = ("x86_64", "aarch64")
MEMORY = 512 << 20  # measured: JupyterLab takes 97 MiB and a lesson's kernel 126 MiB; a lab's files at most 256 MiB
LIMITS = {"RLIMIT_NPROC": ("u", "nproc", 200), "RLIMIT_NOFILE": ("n", "nofile", 256)}  # for JupyterLab and a few labs
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
    except LabError as error:  # there was a lab, and its shells gave no prompt
        yield from (Finding(part, True) for part in parts)
        yield Finding(SHELL, False, str(error), "see whether /bin/bash runs here; else report it, with this message")


def _refused(refused: LabRefused, parts: Sequence[str]) -> Iterator[Finding]:
    part, passed = FIRST, {FIRST}
    for step in refused.begun:
        part = PARTS.get(step, part)
        passed.add(part)
    if refused.step == OPEN:
        part, passed = SHELL, set(parts)
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
            yield _fact(use.what, trouble, use.mend, lasts=use.lasts, needed=use.needed)
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
    yield _fact(
        "Linux 5.14 or newer",
        version(host.release) < KERNEL and f"this is Linux {host.release}",
        "boot a newer kernel",
        needed=False,
    )
    yield _fact(
        "a processor whose system calls labkit.linux knows",
        host.machine not in MACHINES and f"this is {host.machine}, and it knows {' and '.join(MACHINES)}",
        "use such a machine",
        needed=False,
    )
    yield _programs(host)
    yield _fact(
        f"{MEMORY >> 20} MiB of free memory",
        host.memory is not None and host.memory < MEMORY and f"{host.memory >> 20} MiB are free",
        "close other programs",
        needed=False,
    )
    yield _limits(host)
    why, mend = serving.runtime_obstacle() or ("", "")
    yield _fact("a place for the sockets of Jupyter's kernels", why, mend, needed=False)
    yield from _page()


def _fact(what: str, trouble: object, mend: str = "", *, lasts: bool | None = None, needed: bool = True) -> Finding:
    """`trouble`: what is wrong with it, or something false."""
    return Finding(what, False, str(trouble), mend, lasts, needed) if trouble else Finding(what, True, needed=needed)


def _programs(host: Host) -> Finding:
    missing = [name for name in PROGRAMS if not (shutil.which(name, path=PATH) or os.path.exists(f"{HEADERS}/{name}"))]
    packages = " ".join(dict.fromkeys(PROGRAMS[name] for name in missing))
    apt = {"debian", "ubuntu"} & set(host.distribution.split())
    return _fact(
        "the programs that the lessons use",
        missing and f"not here: {', '.join(missing)}; a cell that uses them is skipped, or says so",
        f"sudo apt install {packages}" if apt else "install them with this system's package manager",
        lasts=True,
        needed=False,
    )


def _limits(host: Host) -> Finding:
    troubles, mends, lasts = [], [], []
    for name, (option, item, least) in LIMITS.items():
        soft, hard = host.limits.get(name, (-1, -1))
        if 0 <= soft < least:
            troubles.append(f"{name} is {soft}")
            if 0 <= hard < least:
                mends.append(
                    f"as root, a line in a file in /etc/security/limits.d/: `* hard {item} {least}`; log in again"
                )
            else:
                mends.append(f"ulimit -S{option} {least}, before JupyterLab is started")
            lasts.append(0 <= hard < least)
    if few := too_few_namespaces(host):
        troubles.append(few.cause)
        mends.append(few.mend)
        lasts.append(False)
    return _fact(
        "limits that leave room for a few labs", ", ".join(troubles), "\n".join(mends), lasts=all(lasts), needed=False
    )


def _page() -> Iterator[Finding]:
    """What JupyterLab's page needs, in the environment of this Python."""
    try:
        settings, places = jupyter_config_path(), jupyter_path("labextensions")
    except RuntimeError:  # there is no home directory, as the finding before says
        return
    enabled = any(os.path.exists(f"{path}/jupyter_server_config.d/labkit.json") for path in settings)
    yield _fact(
        "labkit's server extension, which makes keys echo at once",
        not enabled and "JupyterLab would not load it",
        f"start JupyterLab with `labkit start`; or `{sys.executable} -m pip install` the kit again",
        needed=False,
    )
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
