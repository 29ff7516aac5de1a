"""One PTY, read in a thread of its own: what the shell is doing, and what its command has printed so far."""

from __future__ import annotations

import errno
import itertools
import os
import re
import select
import signal
import termios
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from . import emulator
from .marks import Mark, MarkParser

KEPT = 16 << 20  # bytes of one command's output that are kept: the last ones
RECALLED = 1 << 20  # bytes of all that was printed that are kept for a screen: the last ones
NOTED = 1 << 16  # bytes of the output of a command typed by hand that are kept when the next one begins
ENTER = frozenset(b"\r\n\x03\x04")  # keys after which a shell prompts again: Enter, Ctrl-C, Ctrl-D
FULL = 0.01  # seconds until a terminal that took no more keys is tried again
PASTE = re.compile(rb"\x1b\[200~.*?\x1b\[201~", re.DOTALL)  # bracketed: bash takes a newline in it for text
READLINE = b"\x1b[?2004h"  # bash's line editor announces itself just before the mark that ends a command


class State(Enum):
    """What the terminal is doing, by the marks of its shell."""

    RUNNING = "running"  # a command, or a shell before its first prompt
    PROMPT = "prompt"  # the shell waits for a command
    MORE = "more"  # the shell waits for the rest of a command
    ENDED = "ended"  # the shell has ended, and all that held its terminal open


@dataclass(frozen=True, slots=True)
class ByHand:
    """A command that a person typed in the terminal, in the bytes that showed it."""

    prompt: bytes
    line: bytes  # as the line editor drew it
    output: bytes  # at most `NOTED`, the last ones
    dropped: int  # bytes before these
    status: int | None
    size: os.terminal_size


class Stream:
    """`changed` guards all that is here, and is notified at every change of `state`.

    `listeners` are called by the reading thread, the lock not held, after each read and at the end: they must return at
    once. `by_hand` is called likewise, at each prompt which ends a command that was typed by hand.
    """

    _serials = itertools.count(1)

    def __init__(self, master: int, pidfd: int, aid: str) -> None:
        """Both descriptors are the stream's from here on. Errors: OSError where the limit on threads is reached."""
        self.serial = next(self._serials)
        self.listeners: set[Callable[[], None]] = set()
        self.by_hand: Callable[[ByHand], None] | None = None
        self.master = master
        self._pidfd = pidfd
        self.changed = threading.Condition()
        self.state = State.RUNNING
        self.status: int | None = None
        self.prompts = 0  # that were shown so far
        self.shells: list[int] = []  # pids of the shells in each other: the last one prompts
        self._parser = MarkParser(aid)
        self._output: deque[bytes] = deque()
        self._kept = self._dropped = 0  # bytes
        self._marked = False  # has the shell said where the output begins ($PS0; sh does not)?
        self._echoes = False  # has a line been typed, which is shown before the output?
        self._prompt = bytearray()  # as it comes
        self._prompted = b""  # the whole of the last one
        self._marks = False  # was it of a shell that marks its commands, too?
        self._into = "output"  # where text goes: to the prompt, to the output (with what is echoed), or nowhere
        self._drawn: dict[tuple[str, bool], str] = {}  # the moment of the last mark of each kind
        self.half_typed = False  # does a part of a command stand at the prompt, typed by hand?
        self._hand = True  # was the command that stands or runs typed by hand? It may have been before the prompt
        self._line: list[bytes] = []  # what its line editor drew
        self._noted: list[ByHand] = []
        self._recent = bytearray()
        self._end_of_recent = 0  # bytes printed so far
        self._holders: set[object] = set()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
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

    def type(self, keys: bytes, seconds: float, *, by_hand: bool = False) -> bool:
        """Type, and forget what was printed before. False where the terminal takes no more for that long. `by_hand`: a
        person does, key by key.
        """
        with self.changed:
            enter = not ENTER.isdisjoint(PASTE.sub(b"", keys) if by_hand else keys)
            if self.state is State.PROMPT:
                if not self.half_typed:
                    self._forget()
                self._echoes = True
                self.half_typed = by_hand and not enter
            if self.state in (State.PROMPT, State.MORE):
                self._hand = by_hand
            if self.state is not State.ENDED and enter:
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
    def ready(self) -> bool:
        """Can a cell type? Not while a command runs, nor into one that a person has begun and not ended."""
        return self.state is not State.RUNNING and not (self.state is State.MORE and self._hand)

    @property
    def runs(self) -> bool:
        """Does a command run, of a shell that said so?"""
        return self.state is State.RUNNING and self._marked

    @property
    def begun(self) -> bool:
        """Has the shell begun with the line that was typed, or is it one that does not say so (sh)?"""
        return self._marked or not self._marks

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

    # --- for a screen

    @property
    def printed(self) -> int:
        """How many bytes the terminal has printed so far."""
        return self._end_of_recent

    def since(self, offset: int, most: int) -> tuple[int, bytes]:
        """What was printed after the first `offset` bytes, at most that many; and where it begins. That is later where
        so much is not kept any more: at a line's beginning then, so that no sequence is cut.
        """
        with self.changed:
            first = self._end_of_recent - len(self._recent)
            if offset < first:
                offset = first + self._recent.find(b"\n") + 1
            return offset, bytes(self._recent[offset - first : offset - first + most])

    def hold(self, holder: object) -> None:
        """Read no more, until all who hold have released: whoever prints has to wait then."""
        with self.changed:
            self._holders.add(holder)

    def release(self, holder: object) -> None:
        with self.changed:
            if holder in self._holders and self.state is not State.ENDED:
                os.eventfd_write(self._wake, 1)
            self._holders.discard(holder)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; its foreground process group gets SIGWINCH: ioctl_tty(2)."""
        with self.changed:
            if self.state is State.ENDED or self.size == (columns, rows):
                return
            termios.tcsetwinsize(self.master, (rows, columns))
            self.size = os.terminal_size((columns, rows))

    def kill(self) -> None:
        """End the shell, whatever it is doing."""
        with self.changed:
            if self.state is not State.ENDED:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _read(self) -> None:
        """Until the shell has ended and all that it printed is read: what it left behind may hold the PTY for ever."""
        poller = select.poll()
        for fd in (self.master, self._pidfd, self._wake):
            poller.register(fd, select.POLLIN)
        last = False  # has the end come, and is only the rest to be read?
        try:
            while True:
                with self.changed:
                    held = bool(self._holders) and not last
                poller.modify(self.master, 0 if held else select.POLLIN)  # a hang-up is reported all the same
                ready = [fd for fd, _ in poller.poll(0 if last else None)]
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                if self.master in ready and not held:
                    self._take(os.read(self.master, 65536))
                elif last:
                    break
                elif self.master in ready or self._pidfd in ready:
                    last = True
        except OSError:  # EIO: nobody has the terminal open any more
            pass
        finally:
            with self.changed:
                self._note_by_hand()
                self._close()
                self._enter(State.ENDED)
            self._tell()

    def _take(self, data: bytes) -> None:
        with self.changed:
            self._recent += data
            self._end_of_recent += len(data)
            if len(self._recent) > 2 * RECALLED:
                del self._recent[:-RECALLED]
            for piece in self._parser.feed(data):
                if isinstance(piece, Mark):
                    self._mark(piece)
                else:
                    self._text(piece)
        self._tell()

    def _tell(self) -> None:
        with self.changed:
            noted, self._noted = self._noted, []
            listeners = tuple(self.listeners)
        if handler := self.by_hand:
            for each in noted:
                handler(each)
        for listener in listeners:
            listener()

    def _close(self) -> None:
        for fd in (self._pidfd, self.master, self._wake):
            os.close(fd)
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
        kind = mark.letter, mark.secondary
        if mark.moment and self._drawn.get(kind) == mark.moment:
            return  # a prompt that is drawn again
        self._drawn[kind] = mark.moment
        match mark.letter:
            case "A" if mark.secondary:
                self._note_line()
                self._forget()
                self._into = "output"
                self._enter(State.MORE)
            case "A":
                self._note_by_hand()
                self._prompt.clear()
                self._into = "prompt"
            case "B":
                self._prompted = bytes(self._prompt)
                self._marks = bool(mark.moment)
                self._into = "output"
                self.half_typed = False
                self._line.clear()
                self.prompts += 1
                self._enter(State.PROMPT)
            case "C":
                self._note_line()
                self._forget()
                self._marked = True
                self._enter(State.RUNNING)
            case "D" if self.state is not State.PROMPT:  # at a prompt: it was only drawn again
                self._into = "nowhere"
                self._end(mark)

    def _note_line(self) -> None:
        if self._hand:
            self._line += self._output

    def _note_by_hand(self) -> None:
        if self._hand:
            output = b"".join(self._output)
            line = b"".join(self._line)
            if not self._marked:  # sh does not say where the output begins
                line, _, output = output.partition(b"\n")
            dropped = self._dropped + max(0, len(output) - NOTED)
            if self._prompted and self.begun:  # not a line that was given up by Ctrl-C
                self._noted.append(ByHand(self._prompted, line, output[-NOTED:], dropped, self.status, self.size))
            self._forget()  # the next line may be typed already
        self._hand = True

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
