"""Starts the agent from the notebook's kernel, by exec, and holds the socket to it. Nothing is forked, nothing
unshared.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from . import protocol

START_SECONDS = 20.0  # the agent needs 0.05 s: this is for a machine that is far too busy
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOOT = """
import sys
sys.path.append(sys.argv.pop(1))
from labkit.sandbox.agent import main
main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


class Refused(Exception):
    """The agent did not get into its lab: the `step` it was at, the `errno` (0: none), and what was `said`."""

    def __init__(self, step: str, errno: int, said: str) -> None:
        self.step, self.errno, self.said = step, errno, said
        super().__init__(f"{step}: {said}")


class Ended(Exception):
    """The agent is no more."""


class Sandbox:
    """A running agent: `pid` of the lab's PID 1 and of its `guard` as this process sees them, `nonce` of the shells'
    marks.
    """

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_SECONDS)
        python = "" if sys.base_prefix in ("/usr", "/") else sys.base_prefix
        with theirs:
            self._agent = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    BOOT,
                    os.path.dirname(PACKAGE),
                    str(theirs.fileno()),
                    python,
                    PACKAGE,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                cwd="/",
                env={},
                start_new_session=True,
            )
        self.guard = self._agent.pid
        self.pid = 0
        self.nonce = ""
        try:
            while not (self.pid and self.nonce):
                self._hear()
        except BaseException:
            self.close()
            raise

    def _hear(self) -> None:
        try:
            fields, _ = protocol.receive(self._control)
        except TimeoutError:
            raise Refused("start in time", 0, f"no word from the agent in {START_SECONDS:.0f} s") from None
        match fields:
            case ["started", pid]:
                self.pid = int(pid)
            case ["ready", nonce]:
                self.nonce = nonce
            case ["refused", step, errno, said]:
                raise Refused(step, int(errno), said)
            case _:
                _, errors = self._agent.communicate()
                raise Refused("start", 0, errors.decode(errors="replace").strip() or f"the agent said {fields}")

    def open_terminal(self, rows: int, columns: int) -> int:
        """Start a shell in the lab; the master of its PTY. OSError where the lab can not start one, `Ended` where it
        is gone.
        """
        try:
            protocol.send(self._control, "open", rows, columns)
            fields, fds = protocol.receive(self._control)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            raise Ended from None
        match fields:
            case ["opened"] if fds:
                return fds[0]
            case ["failed", errno, said]:
                raise OSError(int(errno), said)
            case _:
                raise Ended

    def close(self) -> None:
        """End the lab. Returns when the kernel has ended every process of it; harmless when it has ended already."""
        self._control.close()
        self._agent.wait()
        if self._agent.stderr:
            self._agent.stderr.close()
