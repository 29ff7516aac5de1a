"""Can this machine run a lab? Tried for real: one is started, a command typed in each terminal, and the lab ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import LabError
from .lab import Lab


@dataclass(frozen=True)
class Checkup:
    """`able`: can it? `text`: the answer in words; where it can not, what was refused, why, and what mends it."""

    able: bool
    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.text)


def doctor() -> Checkup:
    """Start a lab, use both of its terminals, end it: can this machine run the lessons?"""
    try:
        with Lab() as lab:
            for terminal in (lab.left, lab.right):
                terminal.run("true")
    except LabError as error:
        return Checkup(False, f"No: this machine can not run a lab yet.\n{error}")
    return Checkup(
        True, "Yes: this machine can run a lab. One was started, used and ended just now; nothing of it is left."
    )
