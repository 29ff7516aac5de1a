"""A terminal of the lab: type a command, get its transcript; ask the kernel where its foreground process is."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from . import calls
from .comparison import without_kit
from .errors import CommandTimeout, Interrupted, LabError, TerminalEnded, Unfinished
from .foreground import GLANCE, Foreground
from .journal import Journal
from .labels import Labels
from .linux import mountinfo
from .linux.namespaces import Namespace
from .stream import ByHand, State, Stream
from .transcript import Transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tables import DataFrame

SLOW = 5.0  # seconds that a shell gets to say that it begins with a line, if it ever does ($PS0 may be unset)
PATIENCE = 0.5  # seconds that a command gets to heed Ctrl-C, and then each stronger signal
LOOKS = 3  # in a row that show a line editor waiting, before it is taken for one that forgot its prompt
UNTYPEABLE = (
    "\0\x03\x11\x13\x1a\x1c"  # NUL, and what the terminal takes as a signal or a halt, quoted or not: termios(3)
)
LONGEST = 4095  # bytes of a line that a terminal takes in canonical mode: termios(3)
QUOTE = b"\x16"  # Ctrl-V: the next key is text, for bash's line editor as for the terminal itself
CTRL_C = b"\x03"
TRACE = "/tmp/strace.txt"
SIGNALS = frozenset(b"\x03\x1a\x1c")  # Ctrl-C, Ctrl-Z, Ctrl-\: these never wait
PUT_ASIDE, BRING_BACK = b"\x05 \x15", b"\x19\x7f"  # readline: a space to the end, kill the line; yank it, no space
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

    def __init__(self, name: str, stream: Stream, surroundings: Surroundings, journal: Journal, timeout: float) -> None:
        self.name = name
        self.timeout = timeout
        self.changed: set[Callable[[], None]] = (
            set()
        )  # called when a cell begins or ends to type, and at each new shell
        self._journal = journal
        self._typing = threading.RLock()
        self._pressing = threading.Lock()
        self._waiting = b""  # keys of a person, pressed while a cell's commands run
        self._aside = False  # was a half-typed line put aside for it?
        self._cells = 0  # that type here: one that runs, and those that wait for it
        self._attach(stream, surroundings)

    def _attach(self, stream: Stream, surroundings: Surroundings) -> None:
        self._stream = stream
        self._foreground = Foreground(stream)
        self._surroundings = surroundings
        self._noted: Namespace | None = None
        stream.by_hand = self._typed_by_hand
        self._tell()

    def __repr__(self) -> str:
        if self._stream.state is State.ENDED:
            return f"terminal {self.name}: its shell has ended"
        return f"terminal {self.name} in namespace {self.label}: {self._stream.state.value}"

    @property
    def alive(self) -> bool:
        return self._stream.state is not State.ENDED

    # --- what the kernel says of it

    @property
    def pid(self) -> int:
        """The foreground process: one of the foreground process group, its leader if it lives: tcgetpgrp(3)."""
        try:
            return self._foreground.pid
        except ProcessLookupError:
            raise self._ended() from None

    @property
    def namespace(self) -> Namespace:
        """The mount namespace of the foreground process, as the kernel says."""
        return self._ask(Namespace.of)

    @property
    def label(self) -> str:
        """The short name of that namespace: A, B, …"""
        return self._surroundings.labels.of(self._note())

    def _ask(self, question: Callable[[int], Answer]) -> Answer:
        try:
            return self._foreground.ask(question)
        except ProcessLookupError:
            raise self._ended() from None

    def mounts(self, *, all: bool = False) -> DataFrame:
        """The mount table of its namespace, one row a mount: proc_pid_mountinfo(5). `all`: the kit's own mounts too."""
        from . import tables  # pandas takes longer to import than a lab to start

        return tables.mounts(self._table(all))

    def _table(self, all: bool) -> list[mountinfo.Mount]:
        table = self._ask(mountinfo.read)
        return table if all else without_kit(table, self._surroundings.kit)

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

    def syscalls(self, command: str, timeout: float | None = None) -> DataFrame:
        """Run one program under strace(1), here; the calls that it and its children made about namespaces, mounts,
        roots and processes: name, arguments, result (or the error's name), and in words.

        Errors: ValueError for a pipe or a list of commands; LabError where strace is missing or is refused.
        """
        from . import tables

        traced = calls.command(command, TRACE)
        with self._cell():
            said = self.run(traced, timeout)
            written = self.run(f"cat {TRACE} && rm {TRACE}")
        if written.status:
            why = said.output or "nothing"
            raise LabError(f"{command!r} could not be traced; the shell said: {why}\nDoes this machine have strace?")
        return tables.syscalls(calls.parse(written.output))

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
        with self._cell():
            while lines:
                try:
                    with self._typing:
                        done = self._command(lines, self.timeout if timeout is None else timeout)
                except (CommandTimeout, Interrupted) as error:
                    self._journal.note(error.transcript)
                    raise
                self._journal.note(done)
                yield done
                while lines and not lines[0].strip():
                    del lines[0]

    def send(self, keys: str) -> None:
        """Type keys, and wait for nothing: "\\n" is Enter, "\\x03" Ctrl-C, "\\x04" Ctrl-D, "\\x1b" Escape."""
        if not self.alive:
            raise self._ended()
        if not self._stream.type(keys.encode("utf-8", "surrogateescape"), self.timeout, by_hand=True):
            raise LabError(f"terminal {self.name} takes no more keys: what runs in it reads none. Try .interrupt().")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.send(CTRL_C.decode())

    def press(self, keys: bytes) -> None:
        """Keys of a person at the screen. While a cell types here they wait until it is done, lest the two mix: all but
        Ctrl-C, Ctrl-Z and Ctrl-\\, and what answers a program that waits for keys.
        """
        with self._pressing:
            if (
                self._cells
                and SIGNALS.isdisjoint(keys)
                and not (self._stream.runs and self._foreground.waits_for_keys())
            ):
                self._waiting += keys
                return
            if CTRL_C in keys:
                self._waiting = b""
            self._stream.type(keys, PATIENCE, by_hand=True)

    @property
    def cell(self) -> bool:
        """Does a cell type here, or run what it typed?"""
        return self._cells > 0

    @contextmanager
    def _cell(self) -> Iterator[None]:
        """A line that a person has typed half is put aside meanwhile (`_command` does), and brought back."""
        with self._pressing:
            self._cells += 1
        self._tell()
        try:
            yield
        finally:
            with self._pressing:
                self._cells -= 1
                if not self._cells:
                    keys, self._waiting = self._waiting, b""
                    if self._aside and self._stream.state is State.PROMPT and not self._foreground.canonical():
                        keys = BRING_BACK + keys
                    self._aside = False
                    if keys:
                        self._stream.type(keys, PATIENCE, by_hand=True)
            self._tell()

    def _typed_by_hand(self, command: ByHand) -> None:
        """In the thread that reads: the shell prompts again, maybe in another namespace."""
        if self._noted:
            label = self._surroundings.labels.of(self._noted)
            self._journal.note_by_hand(self.name, label, self._noted, command)
        with suppress(OSError):
            self._noted = Namespace.of(self._foreground.pid)

    def _tell(self) -> None:
        for listener in tuple(self.changed):
            listener()

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

        if not stream.ready:
            error = f"terminal {self.name} is busy: {self._who()} runs in it; nothing was typed."
            if stream.state is State.MORE:
                error = f"terminal {self.name} waits for the rest of a command that somebody types; nothing was typed."
            raise CommandTimeout(f"{error} Try .interrupt().", transcript(None, "not typed"))
        if stream.half_typed:
            self._aside = stream.write(PUT_ASIDE, PATIENCE)
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
        waits = " It waits for somebody to type." if self._foreground.waits_for_keys() else ""
        so_far = transcript(None, f"no end after {seconds:g} s")
        raise CommandTimeout(f"`{typed[0]}` did not end within {seconds:g} s.{waits} {self._stop()}", so_far)

    def _await_prompt(self, deadline: float) -> None:
        """Wait until the shell prompts. One whose line editor waits for keys, and has shown no prompt since it was
        interrupted (readline forgets to, where Ctrl-C meets it drawing), is interrupted once more.
        """
        stream = self._stream
        editing = 0
        while not stream.wait(lambda: stream.ready, min(GLANCE, deadline - time.monotonic())):
            editing = editing + 1 if self._foreground.edits() and self._foreground.waits_for_keys() else 0
            if editing == LOOKS:
                self._stop()
            if time.monotonic() >= deadline:
                break

    def _watch(self, deadline: float) -> State:
        """Wait until the shell prompts, or the command waits for somebody to type (RUNNING then), or the deadline. A
        shell that has not begun with the last line yet waits for keys, too; one that does not say when it begins gets
        some time.
        """
        stream = self._stream
        soon = time.monotonic() + SLOW
        looks = 0  # in a row: the marks of a shell that edits a line may be on their way
        while not stream.wait(lambda: stream.state is not State.RUNNING, min(GLANCE, deadline - time.monotonic())):
            now = time.monotonic()
            waits = (stream.begun or now >= soon) and self._foreground.waits_for_keys()
            looks = looks + 1 if waits else 0
            if now >= deadline or (waits and (looks >= LOOKS or not self._foreground.edits())):
                break
        return stream.state

    def _type(self, line: str) -> None:
        """Type a line and Enter. A shell's line editor gets control characters quoted, a program as they are."""
        keys = line.encode("utf-8", "surrogateescape")
        if len(keys) > LONGEST and self._foreground.canonical():
            raise ValueError(
                f"terminal {self.name} takes {LONGEST} bytes a line at the moment, and this one has {len(keys)}"
            )
        if self._stream.state is not State.RUNNING:
            keys = b"".join(QUOTE + bytes([key]) if key < 32 or key == 127 else bytes([key]) for key in keys)
        self._stream.type(keys + b"\n", PATIENCE)

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
            self._foreground.signal(number)
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

    def _who(self) -> str:
        process = self._foreground.process()
        return f"{process.name} ({process.lab_pid})" if process else "a process"

    def _ended(self) -> TerminalEnded:
        way = f'lab.open("{self.name}") starts a new one; where the lab itself has ended, lab.reset() brings it back'
        return TerminalEnded(f"The shell of terminal {self.name} has ended: {way}.")
