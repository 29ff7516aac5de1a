"""A terminal of the lab: type a command, get its transcript; ask the kernel where its foreground process is."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from . import processes
from .errors import CommandTimeout, Interrupted, LabError, TerminalEnded, Unfinished
from .labels import Labels
from .linux import mountinfo
from .linux.namespaces import Namespace
from .stream import State, Stream
from .transcript import Transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tables import DataFrame

TIOCGPTN = 0x80045430  # <asm/ioctls.h> of x86-64 and arm64: ioctl_tty(2)

PATIENCE = 0.5  # seconds that a command gets to heed Ctrl-C, and then each stronger signal
LOOKS = 3  # in a row that show a line editor waiting, before it is taken for one that forgot its prompt
GLANCE = 0.05  # seconds between two looks at whether a running command waits for somebody to type
UNTYPEABLE = (
    "\0\x03\x11\x13\x1a\x1c"  # NUL, and what the terminal takes as a signal or a halt, quoted or not: termios(3)
)
LONGEST = 4095  # bytes of a line that a terminal takes in canonical mode: termios(3)
QUOTE = b"\x16"  # Ctrl-V: the next key is text, for bash's line editor as for the terminal itself
CTRL_C = b"\x03"
Answer = TypeVar("Answer")
STRONGER = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True)
class Surroundings:
    """What a terminal knows of its lab: names for namespaces, and how often each mount is the kit's (by `identity`)."""

    labels: Labels
    kit: Counter[tuple[str, int, int, str]]


class Terminal:
    """A real bash on a real PTY in the lab. `timeout`: seconds that a command may take where `run` is told nothing
    else.
    """

    def __init__(self, name: str, stream: Stream, surroundings: Surroundings, timeout: float) -> None:
        self.name = name
        self.timeout = timeout
        self._typing = threading.RLock()
        self._attach(stream, surroundings)

    def _attach(self, stream: Stream, surroundings: Surroundings) -> None:
        self._stream = stream
        self._surroundings = surroundings
        self._noted: Namespace | None = None

    def __repr__(self) -> str:
        if self._stream.state is State.ENDED:
            return f"terminal {self.name}: its shell has ended"
        label = self._surroundings.labels.of(self._note())
        return f"terminal {self.name} in namespace {label}: {self._stream.state.value}"

    @property
    def alive(self) -> bool:
        return self._stream.state is not State.ENDED

    # --- what the kernel says of it

    @property
    def pid(self) -> int:
        """The foreground process: one of the foreground process group, its leader if it lives: tcgetpgrp(3)."""
        try:
            group = os.tcgetpgrp(self._stream.master)
        except (OSError, ValueError):
            raise self._ended() from None
        if processes.runs(group):
            return group
        return next(processes.group(self._stream.shell, group), self._stream.shell)  # as in `true | sleep 60`

    @property
    def namespace(self) -> Namespace:
        """The mount namespace of the foreground process, as the kernel says."""
        return self._ask(Namespace.of)

    def _ask(self, question: Callable[[int], Answer]) -> Answer:
        """Ask about the foreground process; where it ends meanwhile, about the one that follows it."""
        while True:
            pid = self.pid
            try:
                return question(pid)
            except OSError:
                if processes.runs(pid):
                    raise
                self._stream.wait(lambda: not self.alive, GLANCE)

    def mounts(self, *, all: bool = False) -> DataFrame:
        """The mount table of its namespace, one row a mount: proc_pid_mountinfo(5). `all`: the kit's own mounts too."""
        from . import tables  # pandas takes longer to import than a lab to start

        return tables.mounts(self._table(all))

    def _table(self, all: bool) -> list[mountinfo.Mount]:
        table = self._ask(mountinfo.read)
        if all:
            return table
        seen: Counter[tuple[str, int, int, str]] = Counter()
        shown = []
        for mount in table:
            seen[identity(mount)] += 1
            if seen[identity(mount)] > self._surroundings.kit[identity(mount)]:  # a second one is the learner's
                shown.append(mount)
        return shown

    def _note(self) -> Namespace:
        """The namespace now; a namespace that the terminal has left since the last look may lose its label."""
        now = self.namespace
        if self._noted not in (None, now):
            self._surroundings.labels.left(self._noted)
        self._noted = now
        return now

    # --- what is typed into it

    def run(self, command: str, timeout: float | None = None) -> Transcript:
        """Type a command (its lines one by one) and wait until the shell prompts again; what was shown meanwhile.

        Errors: `CommandTimeout` after `timeout` seconds (the command is stopped first), `Unfinished` where the shell
        waits for more, `TerminalEnded`, ValueError for what can not be typed.
        """
        done: list[Transcript] = []
        try:
            done.extend(self.each(command, timeout))
        except (CommandTimeout, Interrupted) as error:
            error.transcript = Transcript.joined([*done, error.transcript])
            raise
        return Transcript.joined(done)

    def each(self, commands: str, timeout: float | None = None) -> Iterator[Transcript]:
        """Type the lines one by one, as `run` does; the transcript of each command as it ends."""
        lines = commands.split("\n")
        while len(lines) > 1 and not lines[0].strip():
            del lines[0]
        while len(lines) > 1 and not lines[-1].strip():
            del lines[-1]
        if found := set(UNTYPEABLE) & set(commands):
            keys = ", ".join(sorted(map(repr, found)))
            raise ValueError(f"{keys} can not be typed as text: the terminal acts on it. send() presses such a key.")
        while lines:
            with self._typing:
                done = self._command(lines, self.timeout if timeout is None else timeout)
            yield done
            while lines and not lines[0].strip():
                del lines[0]

    def send(self, keys: str) -> None:
        """Type keys, and wait for nothing: "\\n" is Enter, "\\x03" Ctrl-C, "\\x04" Ctrl-D, "\\x1b" Escape."""
        if not self.alive:
            raise self._ended()
        if not self._stream.type(keys.encode("utf-8", "surrogateescape"), self.timeout):
            raise LabError(f"terminal {self.name} takes no more keys: what runs in it reads none. Try .interrupt().")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.send(CTRL_C.decode())

    def _command(self, lines: list[str], seconds: float) -> Transcript:
        """Type lines off the front of `lines` until the command that they make has ended."""
        stream = self._stream
        deadline = time.monotonic() + seconds
        self._await_prompt(deadline)
        typed = [lines[0]]
        namespace = self._note()
        label, prompt = self._surroundings.labels.of(namespace), stream.prompt

        def transcript(status: int | None, note: str = "") -> Transcript:
            return Transcript.of(self.name, label, namespace, prompt, typed, stream.text(), status, note)

        if stream.state is State.RUNNING:
            error = f"terminal {self.name} is busy: {self._foreground()} runs in it; nothing was typed."
            raise CommandTimeout(f"{error} Try .interrupt().", transcript(None, "not typed"))
        try:
            self._type(lines.pop(0))
            while lines and (state := self._watch(deadline)) in (State.MORE, State.RUNNING):
                if state is State.RUNNING and time.monotonic() >= deadline:
                    break
                if state is State.MORE:
                    typed.append(lines[0])
                self._type(lines.pop(0))
            stream.wait(lambda: stream.state is not State.RUNNING, deadline - time.monotonic())
        except KeyboardInterrupt:
            self._stop()
            raise Interrupted(transcript(None, "interrupted")) from None
        except BaseException:
            self._stop()
            raise
        match stream.state:
            case State.PROMPT:
                self._note()
                return transcript(stream.status)
            case State.ENDED:
                return transcript(None, f'the shell has ended: lab.open("{self.name}") starts a new one')
            case State.MORE:
                self._stop()
                raise Unfinished(
                    f"`{typed[0]}` is unfinished: the shell waits for the rest of it (a quote, a bracket, the end of a "
                    "here-document). It was given up with Ctrl-C."
                )
        waits = " It waits for somebody to type." if self._waits_for_keys() else ""
        so_far = transcript(None, f"no end after {seconds:g} s")
        raise CommandTimeout(f"`{typed[0]}` did not end within {seconds:g} s.{waits} {self._stop()}", so_far)

    def _await_prompt(self, deadline: float) -> None:
        """Wait until the shell prompts. One whose line editor waits for keys, and has shown no prompt since it was
        interrupted (readline forgets to, where Ctrl-C meets it drawing), is interrupted once more.
        """
        stream = self._stream
        editing = 0
        while not stream.wait(lambda: stream.state is not State.RUNNING, min(GLANCE, deadline - time.monotonic())):
            editing = editing + 1 if self._edits() and self._waits_for_keys() else 0
            if editing == LOOKS:
                self._stop()
            if time.monotonic() >= deadline:
                break

    def _watch(self, deadline: float) -> State:
        """Wait until the shell prompts, or the command waits for somebody to type (RUNNING then), or the deadline."""
        stream = self._stream
        while not stream.wait(lambda: stream.state is not State.RUNNING, min(GLANCE, deadline - time.monotonic())):
            if time.monotonic() >= deadline or self._waits_for_keys():
                break
        return stream.state

    def _type(self, line: str) -> None:
        """Type a line and Enter. A shell's line editor gets control characters quoted, a program as they are."""
        keys = line.encode("utf-8", "surrogateescape")
        if len(keys) > LONGEST and self._canonical():
            raise ValueError(
                f"terminal {self.name} takes {LONGEST} bytes a line at the moment, and this one has {len(keys)}"
            )
        if self._stream.state is not State.RUNNING:
            keys = b"".join(QUOTE + bytes([key]) if key < 32 or key == 127 else bytes([key]) for key in keys)
        self._stream.type(keys + b"\n", PATIENCE)

    def _edits(self) -> bool:
        """Is a shell in the foreground, with its line editor on?"""
        shell = next(processes.descendants(self.pid), None)
        return shell is not None and shell.name in ("bash", "sh") and not self._canonical()

    def _canonical(self) -> bool:
        """Does the terminal itself collect a line? A line editor and full-screen programs turn that off."""
        try:
            return bool(termios.tcgetattr(self._stream.master)[3] & termios.ICANON)
        except (termios.error, ValueError):
            raise self._ended() from None

    def _stop(self) -> str:
        """Get the prompt back, with Ctrl-C, then with stronger means. How it went, in words."""
        stream = self._stream
        if stream.state is not State.PROMPT:
            stream.write(CTRL_C, PATIENCE)
        how = "Ctrl-C"
        for number in STRONGER:
            if stream.wait(lambda: stream.state in (State.PROMPT, State.ENDED), PATIENCE):
                break
            how = number.name
            self._signal(number)
        if not stream.wait(lambda: stream.state in (State.PROMPT, State.ENDED), PATIENCE):
            how = "SIGKILL"
            stream.kill()  # a loop of the shell itself, which starts again what was killed
            stream.wait(lambda: stream.state is State.ENDED, PATIENCE)
        match stream.state:
            case State.PROMPT:
                return f"It was stopped with {how}, and the terminal is at its prompt again."
            case State.ENDED:
                way = f'lab.open("{self.name}") starts a new one'
                return f"It was stopped with {how}, and the terminal's shell ended with it: {way}."
        return "It could not be stopped: lab.reset() gives a pristine lab."

    def _signal(self, number: signal.Signals) -> None:
        try:
            group = os.tcgetpgrp(self._stream.master)
            if group > 1:  # 0 where nobody is in the foreground: and to killpg(2) that is the caller's own group
                os.killpg(group, number)
        except OSError:  # it ended meanwhile, which whoever waits will see
            pass

    def _ended(self) -> TerminalEnded:
        way = f'lab.open("{self.name}") starts a new one; where the lab itself has ended, lab.reset() brings it back'
        return TerminalEnded(f"The shell of terminal {self.name} has ended: {way}.")

    def _foreground(self) -> str:
        return next(
            (f"{process.name} ({process.lab_pid})" for process in processes.descendants(self.pid)),
            "a process",
        )

    def _waits_for_keys(self) -> bool:
        """Does the running command wait for somebody to type? The kernel knows what it waits for."""
        try:
            group = os.tcgetpgrp(self._stream.master)
            (number,) = struct.unpack("I", fcntl.ioctl(self._stream.master, TIOCGPTN, b"\0" * 4))
        except OSError:
            return False
        return any(processes.awaits_keys(pid, number) for pid in processes.group(self._stream.shell, group))


def identity(mount: mountinfo.Mount) -> tuple[str, int, int, str]:
    """What a mount and its copies in other namespaces have in common; their mount_id differs."""
    return mount.mount_point, mount.major, mount.minor, mount.root
