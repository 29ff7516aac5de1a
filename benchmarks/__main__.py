"""python -m benchmarks [--quick] [NAME ...]: one table, each figure as a ratio against its peer in the same run.

Medians; ours and the peer's run in turn, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable

from .cloning import clone
from .measure import Row, Scale, table
from .memory import memory
from .mounting import mounts
from .running import run
from .screen import screen
from .starting import reset, start

BENCHMARKS: dict[str, Callable[[Scale], list[Row]]] = {
    "start": start,
    "run": run,
    "mounts": mounts,
    "reset": reset,
    "memory": memory,
    "clone": clone,
    "screen": screen,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, and not the 50,000 mounts")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {' '.join(BENCHMARKS)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    scale = Scale.quick() if options.quick else Scale()
    rows: list[Row] = []
    for name in options.names or BENCHMARKS:
        print(f"{name} …", end="\r", file=sys.stderr, flush=True)
        rows += BENCHMARKS[name](scale)
    print(f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, uid {os.getuid()}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
