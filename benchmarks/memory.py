"""What many labs at once take of this machine's memory."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median

from labkit import Lab
from labkit.processes import descendants

from .measure import Row, Scale


def memory(scale: Scale) -> list[Row]:
    """PSS counts a page that n processes share as 1/n of a page in each: proc_pid_smaps(5)."""
    with ExitStack() as stack:
        labs = [stack.enter_context(Lab()) for _ in range(scale.labs)]
        agents, shells = zip(*map(_mebibytes, labs), strict=True)
    what = f"{scale.labs} labs at once: PSS of a lab beyond bash"
    return [Row(what, "its two bash", median(agents), median(shells), "", 12, scale.labs, unit="MiB")]


def _mebibytes(lab: Lab) -> tuple[float, float]:
    """Of a lab's processes: all but the shells (guard and PID 1), and the shells."""
    agent = shells = 0.0
    for process in descendants(lab._sandbox.guard):
        with open(f"/proc/{process.pid}/smaps_rollup") as file:
            size = next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
        if process.name == "bash":
            shells += size
        else:
            agent += size
    return agent, shells
