"""One PTY, read in a thread of its own: what the shell is doing, and what its command has printed so far."""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

from . import emulator
from .marks import Mark, MarkParser

KEPT = 16 << 20  # bytes of one command's output that are kept: the last ones
ENTER = frozenset(b"\r\n\x03\x04")  # keys after which a shell prompts again: Enter, Ctrl-C, Ctrl-D
FULL = 0.01  # seconds until a terminal that took no more keys is tried again
READLINE = b"\x1b[?2004h"  # bash's line editor announces itself just before the mark that ends a command


class State(Enum):
    """What the terminal is doing, by the marks of its shell."""

    RUNNING = "running"  # a command, or a shell before its first prompt
    PROMPT = "prompt"  # the shell waits for a command
    MORE = "more"  # the shell waits for the rest of a command
    ENDED = "ended"  # the shell has ended, and all that held its terminal open


class Stream:
    """`changed` guards all that is here, and is notified at every change of `state`."""

    def __init__(self, master: int, pidfd: int, aid: str) -> None:
        """Both descriptors are the stream's from here on. Errors: OSError where the limit on threads is reached."""
        self.master = master
        self._pidfd = pidfd
        self.changed = threading.Condition()
        self.state = State.RUNNING
        self.status: int | None = None
        self.shells: list[int] = []  # pids of the shells in each other: the last one prompts
        self._parser = MarkParser(aid)
        self._output: deque[bytes] = deque()
        self._kept = self._dropped = 0  # bytes
        self._marked = False  # has the shell said where the output begins ($PS0; sh does not)?
        self._echoes = False  # has a line been typed, which is shown before the output?
        self._prompt = bytearray()  # as it comes
        self._prompted = b""  # the whole of the last one
        self._into = "output"  # where text goes: to the prompt, to the output (with what is echoed), or nowhere
        try:
            self.shell = _pid(pidfd)
            self.size = os.get_terminal_size(master)  # columns, lines
            os.set_blocking(master, False)
            threading.Thread(target=self._read, name=f"labkit-pty-{master}", daemon=True).start()
        except OSError:
            self._close()
            raise
        except RuntimeError as error:
            self._close()
            limit = "the limit on processes, which counts threads too, may be reached (RLIMIT_NPROC, `ulimit -u`)"
            raise OSError(errno.EAGAIN, f"{error}: {limit}") from error

    def type(self, keys: bytes, seconds: float) -> bool:
        """Type, and forget what was printed before. False where the terminal takes no more for that long."""
        with self.changed:
            if self.state is State.PROMPT:
                self._forget()
                self._echoes = True
            if self.state is not State.ENDED and not ENTER.isdisjoint(keys):
                self.state = State.RUNNING
        return self.write(keys, seconds)

    def write(self, keys: bytes, seconds: float) -> bool:
        """False where the terminal takes no more for that long, or has ended."""
        end = time.monotonic() + seconds
        while keys:
            with self.changed:  # the reader closes the master: not between our look and our write
                if self.state is State.ENDED:
                    return False
                try:
                    keys = keys[os.write(self.master, keys) :]
                    continue
                except BlockingIOError:
                    pass
                except OSError:
                    return False  # the shell has ended; the reader says so
            if time.monotonic() >= end:
                return False
            self.wait(lambda: self.state is State.ENDED, FULL)
        return True

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until `condition` holds, at most `seconds`; whether it does."""
        with self.changed:
            return self.changed.wait_for(condition, seconds)

    @property
    def prompt(self) -> str:
        return emulator.text(self._prompted, *self.size)

    def text(self) -> str:
        """What was printed last, as a person reads it: from the shell's mark on, or after the line that was typed."""
        with self.changed:
            data = b"".join(self._output)
            note = f"[{self._dropped} bytes before this are not kept]\n" if self._dropped else ""
            if self._echoes and not self._marked and not note:
                _, _, data = data.partition(b"\n")
        return note + emulator.text(data.removesuffix(READLINE), *self.size)

    def _forget(self) -> None:
        self._output.clear()
        self._kept = self._dropped = 0  # bytes
        self._marked = False

    def kill(self) -> None:
        """End the shell, whatever it is doing."""
        with self.changed:
            if self.state is not State.ENDED:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _read(self) -> None:
        """Until the shell has ended and all that it printed is read: what it left behind may hold the PTY for ever."""
        poller = select.poll()
        poller.register(self.master, select.POLLIN)
        poller.register(self._pidfd, select.POLLIN)
        try:
            while True:
                ready = [fd for fd, _ in poller.poll()]
                if self.master not in ready:
                    break
                data = os.read(self.master, 65536)
                with self.changed:
                    for piece in self._parser.feed(data):
                        if isinstance(piece, Mark):
                            self._mark(piece)
                        else:
                            self._text(piece)
        except OSError:  # EIO: nobody has the terminal open any more
            pass
        finally:
            with self.changed:
                self._close()
                self._enter(State.ENDED)

    def _close(self) -> None:
        os.close(self._pidfd)
        os.close(self.master)
        self.master = -1

    def _text(self, piece: bytes) -> None:
        if self._into == "prompt":
            self._prompt += piece
        elif self._into == "output":
            self._output.append(piece)
            self._kept += len(piece)
            while self._kept > KEPT:
                self._kept -= len(self._output[0])
                self._dropped += len(self._output.popleft())

    def _mark(self, mark: Mark) -> None:
        match mark.letter:
            case "A" if mark.secondary:
                self._forget()
                self._into = "output"
                self._enter(State.MORE)
            case "A":
                self._prompt.clear()
                self._into = "prompt"
            case "B":
                self._prompted = bytes(self._prompt)
                self._into = "output"
                self._enter(State.PROMPT)
            case "C":
                self._forget()
                self._marked = True
                self._enter(State.RUNNING)
            case "D" if self.state is not State.PROMPT:  # at a prompt: it was only drawn again
                self._into = "nowhere"
                self._end(mark)

    def _end(self, mark: Mark) -> None:
        """A shell prompts: one that did before, so that its command has ended; or a new one, that the command
        started.
        """
        self.status = None
        if mark.shell in self.shells:
            del self.shells[self.shells.index(mark.shell) + 1 :]
            self.status = mark.status
        else:
            self.shells.append(mark.shell)

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.changed.notify_all()


def _pid(pidfd: int) -> int:
    """The process behind a pidfd, as this process sees it: proc_pid_fdinfo(5)."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        pid = next((int(line.split()[1]) for line in file if line.startswith("Pid:")), 0)
    if pid <= 0:
        raise OSError(errno.ESRCH, "the shell has ended before it could be asked for")
    return pid
