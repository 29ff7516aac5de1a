"""From nothing to two prompts, and from a used lab to a pristine one."""

from __future__ import annotations

import os
import sys

from labkit import Lab

from .measure import TIMES, Row, Scale, rounds, seconds
from .raw import UNSHARED, RawShell


def start(scale: Scale) -> list[Row]:
    ours, theirs = rounds(scale.runs, _lab, _raw)
    peer = f"python -I -S -c pass + 2 {TIMES} (unshare -Urmpf --mount-proc bash, to its prompt)"
    return [Row.of("Lab() to both prompts", ours, peer, theirs, "≤", 1.5)]


def reset(scale: Scale) -> list[Row]:
    with Lab() as lab:
        ours, theirs = rounds(scale.runs, lambda: seconds(lab.reset), _lab)
    return [
        Row.of("lab.reset()", ours, "Lab()", theirs, "≤", 1.2),
        Row.of("lab.reset()", ours, "Lab()", theirs, "", 0.1),
    ]


def _lab() -> float:
    labs: list[Lab] = []
    taken = seconds(lambda: labs.append(Lab()))
    labs.pop().close()
    return taken


def _raw() -> float:
    """One after the other, as the sum is written; ends are not timed, here as in `_lab`."""
    shells: list[RawShell] = []
    taken = seconds(_python) + sum(seconds(lambda: shells.append(RawShell(*UNSHARED))) for _ in range(2))
    for shell in shells:
        shell.__exit__(None, None, None)
    return taken


def _python() -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", "pass"], {})
    os.waitpid(pid, 0)
