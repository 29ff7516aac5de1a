"""A long mount table, read and parsed: real tmpfs mounts, each of its own, in a namespace that ends with its process.

What is judged against the bare read of the file is the whole of `mountinfo.read`, which reads the same bytes and
parses them: parsing may take half as long as the kernel takes to write the text.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from labkit.linux import mountinfo

from .measure import Row, Scale, rounds, seconds
from .raw import found
from .worker import Worker

MOUNTS = """
import os
from labkit.linux import mount
mount("tmpfs", "/tmp", "tmpfs")
for number in range(int(sys.argv[1])):
    directory = f"/tmp/mount_{number}"
    os.mkdir(directory)
    mount("tmpfs", directory, "tmpfs")
print(0, flush=True)
sys.stdin.read()
"""
FASTER = {10_000: 10, 50_000: 100}  # than findmnt, which compares each mount with each other one


def mounts(scale: Scale) -> list[Row]:
    return [row for number in scale.mounts for row in _rows(number, scale)]


def _rows(number: int, scale: Scale) -> list[Row]:
    with Worker.python(MOUNTS, str(number)) as worker:
        file = Path(f"/proc/{worker.pid}/mountinfo")
        assert len(mountinfo.read(worker.pid)) >= number
        text = file.read_bytes()
        read, bare, parse = rounds(
            max(scale.runs // 4, 1),
            lambda: seconds(lambda: mountinfo.read(worker.pid)),
            lambda: seconds(file.read_bytes),
            lambda: seconds(lambda: mountinfo.parse(text)),
        )
        beside: list[float] = []
        findmnt: list[float] = []
        while sum(findmnt) < scale.findmnt_seconds and len(findmnt) < scale.runs:
            beside += [seconds(lambda: mountinfo.read(worker.pid)) for _ in range(3)]
            findmnt.append(seconds(lambda: _findmnt(worker.pid)))
    return [
        Row.of(f"{number:,} mounts, read and parsed", beside, "findmnt --json", findmnt, "≥", FASTER.get(number, 0)),
        Row.of(f"{number:,} mounts, read and parsed", read, "the bare read of mountinfo", bare, "≤", 1.5),
        Row.of(f"{number:,} mounts, the parsing alone", parse, "the bare read of mountinfo", bare, "≤", 0),
    ]


def _findmnt(pid: int) -> None:
    command = [found("findmnt"), "--json", "--task", str(pid)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
