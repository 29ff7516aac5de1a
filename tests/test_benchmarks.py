"""Every benchmark runs and tells its figures. What they are is asserted nowhere: a busy machine is no bug."""

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.measure import Row, Scale, table

TINY = Scale(runs=1, mounts=(100,), findmnt_seconds=0.01, labs=2, megabytes=1)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_tells_its_figures(name):
    rows = BENCHMARKS[name](TINY)
    assert rows
    for row in rows:
        assert row.ours > 0
        assert row.theirs > 0
        assert row.runs >= 1
    assert len(table(rows).splitlines()) == 2 + len(rows)


@pytest.mark.parametrize(
    ("ours", "theirs", "bound", "goal", "reached"),
    [
        (3.0, 2.0, "≤", 1.5, True),
        (3.1, 2.0, "≤", 1.5, False),
        (1.0, 50.0, "≥", 50, True),
        (1.0, 49.0, "≥", 50, False),
        (0.1, 0.001, "", 0.1, True),
        (0.2, 9.0, "", 0.1, False),
    ],
)
def test_what_is_reached_is_said(ours, theirs, bound, goal, reached):
    row = Row.of("it", [ours], "its peer", [theirs], bound, goal)
    assert row.reached is reached
    assert ("NOT REACHED" in row.cells) is not reached
