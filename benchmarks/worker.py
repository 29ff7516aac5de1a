"""A process that does one thing each time it is asked, in a user and a mount namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

from .raw import found

ROOT = str(Path(__file__).resolve().parent.parent)


class Worker:
    """Writes a line when it is ready, and one for each line that it reads; ends with its input, so with us."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [found("unshare"), "-Urm", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd="/",
        )
        self.pid = self._process.pid  # unshare execs the command
        try:
            self._answer()
        except BaseException:
            self._process.kill()
            self._end()
            raise

    @classmethod
    def python(cls, program: str, *arguments: str) -> Worker:
        """The agent's kind of process: isolated, without site, labkit found as the agent finds it."""
        head = f"import sys\nsys.path.append({ROOT!r})\n"
        return cls(sys.executable, "-I", "-S", "-c", head + program, *arguments)

    def ask(self) -> str:
        assert self._process.stdin
        self._process.stdin.write("again\n")
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return line

    def _end(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
