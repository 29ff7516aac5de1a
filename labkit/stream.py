"""One PTY, read in a thread of its own: what the shell is doing, and what its command has printed so far."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

from .emulator import text
from .marks import Mark, MarkParser

KEPT = 16 << 20  # bytes of one command's output that are kept: the last ones
ENTER = frozenset(b"\r\n\x03\x04")  # keys after which a shell prompts again: Enter, Ctrl-C, Ctrl-D
READLINE = b"\x1b[?2004h"  # bash's line editor announces itself just before the mark that ends a command


class State(Enum):
    """What the terminal is doing, by the marks of its shell."""

    RUNNING = "running"  # a command, or a shell before its first prompt
    PROMPT = "prompt"  # the shell waits for a command
    MORE = "more"  # the shell waits for the rest of a command
    ENDED = "ended"  # the shell has ended, and all that held its terminal open


class Stream:
    """`changed` guards all that is here, and is notified at every change of `state`."""

    def __init__(self, master: int, shell: int, aid: str) -> None:
        self.master = master
        self.shell = _pid(shell)
        self.changed = threading.Condition()
        self.state = State.RUNNING
        self.prompt = ""
        self.status: int | None = None
        self.shells: list[int] = []  # pids of the shells in each other: the last one prompts
        self._parser = MarkParser(aid)
        self._output: deque[bytes] = deque()
        self._size = 0
        self._marked = False  # has the shell said where the output begins ($PS0; sh does not)?
        self._echoes = False  # has a line been typed, which is shown before the output?
        self._prompt = bytearray()
        self._into = "output"  # where text goes: to the prompt, to the output (with what is echoed), or nowhere
        os.set_blocking(master, False)
        reader = threading.Thread(target=self._read, args=[shell], name=f"labkit-pty-{master}", daemon=True)
        try:
            reader.start()
        except RuntimeError:  # the limit on processes counts threads too
            self.state = State.ENDED
            os.close(master)
            os.close(shell)
            raise

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
        poller = select.poll()
        poller.register(self.master, select.POLLOUT)
        end = time.monotonic() + seconds
        while keys:
            try:
                keys = keys[os.write(self.master, keys) :]
            except BlockingIOError:
                if not poller.poll(max(0.0, end - time.monotonic()) * 1000):
                    return False
            except OSError:
                return False  # the shell has ended; the reader says so
        return True

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until `condition` holds, at most `seconds`; whether it does."""
        with self.changed:
            return self.changed.wait_for(condition, seconds)

    def output(self) -> bytes:
        """What was printed last: from the shell's mark on, or from the line after the one that was typed."""
        data = b"".join(self._output)
        if self._echoes and not self._marked:
            _, _, data = data.partition(b"\n")
        return data.removesuffix(READLINE)

    def _forget(self) -> None:
        self._output.clear()
        self._size = 0
        self._marked = False

    def _read(self, shell: int) -> None:
        """Until the shell has ended and all that it printed is read: what it left behind may hold the PTY for ever."""
        poller = select.poll()
        poller.register(self.master, select.POLLIN)
        poller.register(shell, select.POLLIN)
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
                os.close(shell)
                os.close(self.master)
                self.master = -1
                self._enter(State.ENDED)

    def _text(self, piece: bytes) -> None:
        if self._into == "prompt":
            self._prompt += piece
        elif self._into == "output":
            self._output.append(piece)
            self._size += len(piece)
            while self._size > KEPT:
                self._size -= len(self._output.popleft())

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
                self.prompt = text(bytes(self._prompt))
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
        return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))
