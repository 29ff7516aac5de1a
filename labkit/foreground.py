"""Who has a terminal's keys now: the foreground process, asked of the kernel and never guessed from what was typed."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from typing import TypeVar

from . import processes
from .stream import State, Stream

TIOCGPTN = 0x80045430  # <asm/ioctls.h> of x86-64 and arm64: ioctl_tty(2)
GLANCE = 0.05  # seconds until a terminal whose foreground process has just ended is asked again
Answer = TypeVar("Answer")


class Foreground:
    """The foreground of the terminal behind `stream`. Where its shell has ended, ProcessLookupError."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def pid(self) -> int:
        """One of the foreground process group, its leader if it lives: tcgetpgrp(3)."""
        group = self._group()
        if processes.runs(group):
            return group
        return next(processes.group(self._stream.shell, group), None) or self._shell()  # as in `true | sleep 60`

    def _shell(self) -> int:
        """The shell that prompted last. Where a command has just ended, it will take the terminal back."""
        shells = self._stream.shells
        for process in processes.descendants(self._stream.shell) if shells else ():
            if process.lab_pid == shells[-1]:
                return process.pid
        return self._stream.shell

    def ask(self, question: Callable[[int], Answer]) -> Answer:
        """Ask about the foreground process; where it ends meanwhile, about the one that follows it."""
        while True:
            pid = self.pid
            try:
                return question(pid)
            except OSError:
                if processes.runs(pid):
                    raise
                self._stream.wait(lambda: self._stream.state is State.ENDED, GLANCE)

    def process(self) -> processes.Process | None:
        return next(processes.descendants(self.pid), None)

    def edits(self) -> bool:
        """Is a shell in the foreground, with its line editor on?"""
        shell = self.process()
        return shell is not None and shell.name in ("bash", "sh") and not self.canonical()

    def canonical(self) -> bool:
        """Does the terminal itself collect a line? A line editor and full-screen programs turn that off."""
        try:
            return bool(termios.tcgetattr(self._stream.master)[3] & termios.ICANON)
        except (termios.error, ValueError):
            raise ProcessLookupError from None

    def waits_for_keys(self) -> bool:
        """Does the running command wait for somebody to type? The kernel knows what it waits for."""
        try:
            group = os.tcgetpgrp(self._stream.master)
            (number,) = struct.unpack("I", fcntl.ioctl(self._stream.master, TIOCGPTN, b"\0" * 4))
        except (OSError, ValueError):
            return False
        return any(processes.awaits_keys(pid, number) for pid in processes.group(self._stream.shell, group))

    def signal(self, number: signal.Signals) -> None:
        try:
            group = os.tcgetpgrp(self._stream.master)
            if group > 1:  # 0 where nobody is in the foreground: and to killpg(2) that is the caller's own group
                os.killpg(group, number)
        except (OSError, ValueError):  # it ended meanwhile, which whoever waits will see
            pass

    def _group(self) -> int:
        try:
            return os.tcgetpgrp(self._stream.master)
        except (OSError, ValueError):
            raise ProcessLookupError from None
