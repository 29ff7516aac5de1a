"""Starts the agent from the notebook's kernel, by exec, and holds the socket to it. Nothing is forked, nothing
unshared.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading

from . import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 20.0  # the agent needs 0.05 s: this is for a machine that is far too busy
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INTERPRETER = re.compile(rb"(/[!-~]+/ld-[!-~]+)\0")
BOOT = """
import sys
sys.path.append(sys.argv.pop(1))
from labkit.sandbox.agent import main
main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


class Refused(Exception):
    """The agent did not get into its lab: the steps `begun`, the last of them the refused one; the `errno` (0: none),
    and what was `said`.
    """

    def __init__(self, begun: Sequence[str], errno: int, said: str) -> None:
        self.begun, self.errno, self.said = tuple(begun), errno, said
        super().__init__(f"{begun[-1]}: {said}")


class Ended(Exception):
    """The agent is no more. Its last words, if it had any: an error of ours."""


class Sandbox:
    """A running agent: `pid` of the lab's PID 1 and of its `guard` as this process sees them, `nonce` of the shells'
    marks.
    """

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._owed = 0  # answers that have not come yet
        self._errors = ""
        self.pid = 0
        self.nonce = ""
        python = "" if sys.base_prefix in ("/usr", "/") else sys.base_prefix
        try:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise Refused(["make a socket"], error.errno or 0, str(error)) from None
        self._control.settimeout(START_SECONDS)
        arguments = [os.path.dirname(PACKAGE), str(theirs.fileno()), python, PACKAGE]
        try:
            with theirs:
                self._agent = subprocess.Popen(
                    [*_loader(), sys.executable, "-I", "-S", "-c", BOOT, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    cwd="/",
                    env={},
                    start_new_session=True,
                )
        except OSError as error:
            self._control.close()
            raise Refused(["start Python for the agent"], error.errno or 0, str(error)) from None
        self.guard = self._agent.pid
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
            raise Refused(["start in time"], 0, f"no word from the agent in {START_SECONDS:.0f} s") from None
        match fields:
            case ["started", pid] if pid.isdecimal():
                self.pid = int(pid)
            case ["ready", nonce]:
                self.nonce = nonce
            case ["refused", errno, said, *begun] if errno.isdecimal() and begun:
                raise Refused(begun, int(errno), said)
            case _:
                raise Refused(["start"], 0, self._last_words() or f"the agent said {fields}")

    def open_terminal(self, rows: int, columns: int) -> tuple[int, int]:
        """Start a shell in the lab: the master of its PTY, and a pidfd of it.

        OSError where the lab can not start one, `Ended` where the lab is gone.
        """
        with self._asking:
            try:
                while self._owed:  # somebody was interrupted before the answer came
                    self._answer(keep=False)
                protocol.send(self._control, "open", rows, columns)
                self._owed += 1
                fields, fds = self._answer(keep=True)
            except OSError:
                fields, fds = [], []
        match fields:
            case ["opened"] if len(fds) == 2:
                return fds[0], fds[1]
            case ["failed", errno, said] if errno.isdecimal():
                raise OSError(int(errno), said)
            case _:
                raise Ended(self._last_words())

    def _answer(self, keep: bool) -> tuple[list[str], list[int]]:
        fields, fds = protocol.receive(self._control)
        self._owed -= 1
        if not keep or fields != ["opened"] or len(fds) != 2:  # whatever else an agent may say that is ours no more
            for fd in fds:
                os.close(fd)
            fds = []
        return fields, fds

    def _last_words(self) -> str:
        self.close()
        return self._errors

    def close(self) -> None:
        """End the lab. Returns when the kernel has ended every process of it; harmless when it has ended already."""
        self._control.close()
        if self._agent.stderr and not self._agent.stderr.closed:
            self._errors = self._agent.communicate()[1].decode(errors="replace").strip()


def _loader() -> list[str]:
    """The dynamic loader of this Python, as the program to start: /proc/1/exe in the lab is then the loader.

    That link leads to the mount from which a program was started, here one of the host's that nobody has sealed. The
    loader belongs to the host's root; a Python in a home directory is the learner's, whom the lab's root is to it.
    """
    with open(sys.executable, "rb") as file:
        found = INTERPRETER.search(file.read(4096))  # PT_INTERP, elf(5): linkers put it behind the headers
    return [os.fsdecode(found[1])] if found and os.path.exists(found[1]) else []
