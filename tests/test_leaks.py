"""The check at the end of the suite sees what it is there for."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaks import Watch

ORPHAN = """
import subprocess
null = subprocess.DEVNULL  # an inherited pipe would keep our caller waiting
orphan = subprocess.Popen(["sleep", "60"], stdin=null, stdout=null, stderr=null, start_new_session=True)
print(orphan.pid)
"""


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """A watch has brought its own brand; the session's has to come back, or its last look would see nobody."""
    brand = resource.getrlimit(resource.RLIMIT_RTTIME)
    yield Watch(tmp_path)
    resource.setrlimit(resource.RLIMIT_RTTIME, brand)


def test_nothing_is_left_by_a_process_that_was_waited_for(watch: Watch) -> None:
    subprocess.run(["true"], check=True)
    assert watch.wait_until_nothing_is_left() == []


def test_an_orphan_in_a_session_of_its_own_is_seen(watch: Watch) -> None:
    """Its parent is gone and its session is another: the inherited limit still tells whose it is."""
    pid = int(subprocess.run([sys.executable, "-c", ORPHAN], check=True, capture_output=True).stdout)
    try:
        assert any(line.startswith(f"process {pid},") for line in watch.left())
    finally:
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
    assert watch.wait_until_nothing_is_left() == []


def test_a_child_that_nobody_waited_for_is_seen(watch: Watch) -> None:
    child = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.read() == b""
    assert any(line.startswith(f"process {child.pid},") for line in watch.left())
    child.wait()
    assert watch.wait_until_nothing_is_left() == []


def test_a_mount_is_seen_when_new_and_when_gone(watch: Watch) -> None:
    """The table before is altered here, not the host's."""
    line = watch.mounts.pop()
    watch.mounts.add("1 0 0:1 / /gone rw - tmpfs tmpfs rw")
    assert f"mount, new: {line}" in watch.left()
    assert "mount, gone: 1 0 0:1 / /gone rw - tmpfs tmpfs rw" in watch.left()


def test_a_file_is_seen_in_the_own_and_in_the_machines_directory(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "own").touch()
    with tempfile.NamedTemporaryFile(prefix="labkit-", dir=watch.temporary) as file:
        assert [line for line in watch.left() if line.startswith("file: ")] == sorted(
            [f"file: {tmp_path / 'own'}", f"file: {file.name}"]
        )
