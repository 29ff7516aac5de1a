"""The lessons print what is stored in them, on a live kernel."""

import subprocess
import sys

import pytest

from labkit import lessons

LESSONS = sorted(lessons.source().glob("*.ipynb"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_prints_what_it_says(lesson):
    """The same run as a learner's `labkit verify`; a skipped cell would be an unverified one."""
    command = [sys.executable, "-m", "labkit.cli", "verify", str(lesson)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout.splitlines()[-1], run.stdout
