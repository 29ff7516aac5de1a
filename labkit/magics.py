"""%%left, %%right and %%terminal NAME: the lines of a cell, typed into a terminal of the notebook's `lab`."""

from __future__ import annotations

import os
import shutil

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from . import tables
from .errors import CommandTimeout, Interrupted
from .host import PATH, version
from .lab import Lab
from .terminal import Terminal
from .transcript import Transcript

TIMEOUT = argument("--timeout", type=float, metavar="SECONDS", help="that each command may take")


@magics_class
class LabMagics(Magics):
    """Each line is typed in turn and shown as the terminal showed it; an exit status is shown, never raised."""

    @magic_arguments()
    @TIMEOUT
    @cell_magic
    def left(self, line: str, cell: str) -> None:
        """Type the cell's lines into terminal left."""
        _type(self._lab().left, cell, parse_argstring(self.left, line).timeout)

    @magic_arguments()
    @TIMEOUT
    @cell_magic
    def right(self, line: str, cell: str) -> None:
        """Type the cell's lines into terminal right."""
        _type(self._lab().right, cell, parse_argstring(self.right, line).timeout)

    @magic_arguments()
    @argument("name", help="of the terminal")
    @TIMEOUT
    @cell_magic
    def terminal(self, line: str, cell: str) -> None:
        """Type the cell's lines into the terminal of that name."""
        arguments = parse_argstring(self.terminal, line)
        try:
            terminal = self._lab()[arguments.name]
        except KeyError as error:
            raise UsageError(error.args[0]) from None
        _type(terminal, cell, arguments.timeout)

    @magic_arguments()
    @argument("what", nargs="+", help="a program, or a kernel like linux-5.11 (or newer)")
    @cell_magic
    def needs(self, line: str, cell: str) -> None:
        """Run the cell where this machine has what it needs; else skip it, and say what is missing."""
        missing = [need for need in parse_argstring(self.needs, line).what if not _has(need)]
        if missing:
            print(f"Skipped, since this machine does not have: {', '.join(missing)}.")
        elif self.shell:
            self.shell.run_cell(cell).raise_error()

    def _lab(self) -> Lab:
        lab = self.shell.user_ns.get("lab") if self.shell else None
        if not isinstance(lab, Lab):
            raise UsageError("there is no lab yet: run `lab = Lab()` first (the magics use the variable of that name)")
        return lab


def _type(terminal: Terminal, cell: str, timeout: float | None) -> None:
    shown: list[Transcript] = []
    try:
        shown.extend(terminal.each(cell, timeout))
    except (CommandTimeout, Interrupted) as error:
        shown.append(error.transcript)
        raise
    finally:
        if shown:
            display(Transcript.joined(shown))


def _has(need: str) -> bool:
    """A program where the lab's shells look for it, or linux-X.Y: that version of the kernel, or a newer one."""
    kernel, _, release = need.partition("-")
    if kernel != "linux":
        return shutil.which(need, path=PATH) is not None
    return version(os.uname().release) >= version(release)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """%load_ext labkit: the magics, and tables that are shown whole."""
    tables.show_whole()
    shell.register_magics(LabMagics)
