"""The peer of a lab's terminal: a bash on a raw PTY, and nothing but read(2) until its prompt.

bash is started with --norc: what the machine's own bashrc does is none of our affair, and this is the quickest bash
there is.
"""

from __future__ import annotations

import errno
import os
import shutil
from types import TracebackType

PROMPT = b"<ready>"
ENVIRONMENT = {"HOME": "/", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "TERM": "xterm-256color", "PS1": PROMPT.decode()}
BASH = ("bash", "--norc")
UNSHARED = ("unshare", "-Urmpf", "--mount-proc", *BASH)


class RawShell:
    """A shell on a PTY of its own, at its prompt. Its end is the kernel's job: a closed master hangs its session up."""

    def __init__(self, *command: str) -> None:
        self._master, slave = os.openpty()
        try:
            # The leader of a new session that opens a terminal gets it as its controlling one: no fork is needed.
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ]
            self._pid = os.posix_spawn(found(command[0]), command, ENVIRONMENT, file_actions=actions, setsid=True)
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)
        self._until_prompt()

    def run(self, line: bytes) -> bytes:
        """Type a line; what is shown until the next prompt."""
        os.write(self._master, line + b"\n")
        return self._until_prompt()

    def _until_prompt(self) -> bytes:
        shown = b""
        while PROMPT not in shown:
            shown += os.read(self._master, 65536)
        return shown

    def __enter__(self) -> RawShell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._master, b"exit\n")
        try:
            while os.read(self._master, 65536):
                pass
        except OSError as end:  # EIO: nobody has the terminal open any more
            if end.errno != errno.EIO:
                raise
        finally:
            os.close(self._master)
            os.waitpid(self._pid, 0)


def found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "this benchmark needs the program", program)
    return path
