"""Timing: each peer right after ours, round by round, so that whatever else the machine does meets them alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

TIMES = "\N{MULTIPLICATION SIGN}"
WARM = 1  # rounds that are not counted: page cache, .pyc files, the first bash


@dataclass(frozen=True)
class Scale:
    """How much of everything: `runs` of a row, `mounts` in a table, times that findmnt reads it, `labs` at once, …"""

    runs: int = 60
    mounts: tuple[int, ...] = (10_000, 50_000)
    findmnt_seconds: float = 20.0  # of findmnt, after which it is not asked again: 50,000 mounts take it 43 s
    labs: int = 50
    megabytes: int = 20  # that a terminal prints

    @classmethod
    def quick(cls) -> Scale:
        return cls(runs=15, mounts=(10_000,), findmnt_seconds=3.0)


def seconds(action: Callable[[], object]) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start


def rounds(runs: int, *timers: Callable[[], float]) -> list[list[float]]:
    """What each timer says, `runs` times, in turn: A B A B …"""
    said: list[list[float]] = [[] for _ in timers]
    for number in range(-WARM, runs):
        for figures, timer in zip(said, timers, strict=True):
            figure = timer()
            if number >= 0:
                figures.append(figure)
    return said


@dataclass(frozen=True)
class Row:
    """One line of the table: medians of ours and of the peer, and what is to be reached. In seconds, or MiB.

    `bound`: "≤" for at most `goal` times the peer, "≥" for at least that many times faster, "" for `goal` as it
    stands; a `goal` of 0 asks nothing.
    """

    what: str
    against: str
    ours: float
    theirs: float
    bound: str
    goal: float
    runs: int
    unit: str = "s"

    @classmethod
    def of(cls, what: str, ours: list[float], against: str, theirs: list[float], bound: str, goal: float) -> Row:
        return cls(what, against, median(ours), median(theirs), bound, goal, len(theirs))

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours if self.bound == "≥" else self.ours / self.theirs

    @property
    def reached(self) -> bool:
        match self.bound:
            case _ if not self.goal:
                return True
            case "≤":
                return self.ratio <= self.goal
            case "≥":
                return self.ratio >= self.goal
        return self.ours <= self.goal

    @property
    def cells(self) -> tuple[str, ...]:
        faster = " faster" if self.bound == "≥" else ""
        goal = f"{self.bound} {self.goal:g}{TIMES}{faster}" if self.bound else f"≤ {shown(self.goal, self.unit)}"
        reached = "reached" if self.reached else "NOT REACHED"
        return (
            self.what,
            shown(self.ours, self.unit),
            self.against,
            shown(self.theirs, self.unit),
            f"{self.ratio:.3g}{TIMES}{faster}",
            goal if self.goal else "",
            reached if self.goal else "",
            str(self.runs),
        )


HEAD = ("what", "ours", "against", "peer's", "ratio", "to reach", "", "runs")


def shown(value: float, unit: str) -> str:
    """Three digits, in a unit that a person would take: 0.0421 s is 42.1 ms."""
    if unit == "s":
        value, unit = (value, "s") if value >= 1 else (value * 1e3, "ms") if value >= 1e-3 else (value * 1e6, "µs")
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def table(rows: list[Row]) -> str:
    cells = [HEAD, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])
