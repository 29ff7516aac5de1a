"""A command's round trip, from Enter to the next prompt."""

from __future__ import annotations

from collections.abc import Callable

from pexpect import replwrap

from labkit import Lab

from .measure import Row, Scale, rounds, seconds
from .raw import BASH, RawShell


# In rounds of their own: replwrap sleeps 50 ms before it types, and what runs after such a pause finds cold caches.
def run(scale: Scale) -> list[Row]:
    with Lab() as lab, RawShell(*BASH) as raw:
        wrapped = replwrap.bash()
        try:
            ours, bare = rounds(scale.runs * 20, _timer(lab), lambda: seconds(lambda: raw.run(b"true")))
            after_a_pause, theirs = rounds(
                scale.runs * 2, _timer(lab), lambda: seconds(lambda: wrapped.run_command("true"))
            )
        finally:
            wrapped.child.close(force=True)
    return [
        Row.of('left.run("true")', ours, "raw PTY with a sentinel", bare, "≤", 2),
        Row.of('left.run("true")', after_a_pause, "pexpect.replwrap as it comes", theirs, "≥", 50),
    ]


def _timer(lab: Lab) -> Callable[[], float]:
    return lambda: seconds(lambda: lab.left.run("true"))
