"""What a run of the tests leaves behind: processes, mounts, files."""

import os
import re
import resource
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

KIT = ("labkit", "mount_ns", "mount-namespace")


@dataclass
class Watch:
    """The host before the tests; `left()` says what is different now.

    Other programs run on this machine, so what belongs to the tests must be told from what does not:

    - Processes carry a brand: a soft RLIMIT_RTTIME that no other process has. A limit is inherited over fork,
      exec, setuid and into every namespace, stays when the parent is gone, and can be read of any process.
      This one means nothing to a process that is not scheduled in real time (getrlimit(2)).
    - Files: `directory` is the tests' own TMPDIR. In the machine's, only names of the kit count.
    - Mounts: all of our namespace count. A lab's are in others.
    """

    directory: Path
    brand: int = field(default_factory=lambda: 10**12 + secrets.randbelow(10**12))

    def __post_init__(self) -> None:
        self.temporary = Path(tempfile.gettempdir())
        self.mounts = _mounts()
        self.files = self._files()
        _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        resource.setrlimit(resource.RLIMIT_RTTIME, (self.brand, hard))

    def left(self) -> list[str]:
        """Name each thing that was left, or that is missing now."""
        mounts = _mounts()
        return [
            *self._processes(),
            *(f"mount, new: {line}" for line in sorted(mounts - self.mounts)),
            *(f"mount, gone: {line}" for line in sorted(self.mounts - mounts)),
            *(f"file: {path}" for path in sorted(self._files() - self.files)),
        ]

    def wait_until_nothing_is_left(self, seconds: float = 10) -> list[str]:
        """Return nothing as soon as nothing is left, or what still is when the time is up."""
        end = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    def _processes(self) -> Iterator[str]:
        ours = {pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if self._is_branded(pid)}
        for pid in sorted(ours - {os.getpid()}):
            try:
                state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
                command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
            # An ended orphan that the machine's init has not reaped holds nothing, and is not ours to reap.
            if state != "Z" or int(parent) in ours:
                yield f"process {pid}, state {state}, child of {parent}: {command}"

    def _is_branded(self, pid: int) -> bool:
        try:
            limits = Path(f"/proc/{pid}/limits").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return re.search(rf"^Max realtime timeout +{self.brand} ", limits, re.MULTILINE) is not None

    def _files(self) -> set[str]:
        kits = (path for path in self.temporary.iterdir() if any(name in path.name for name in KIT))
        return {str(path) for path in (*self.directory.iterdir(), *kits)}


def _mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines())
