"""What is seen of a lab without asking: mounts as they are made, terminals as they move, and nothing held."""

import os
import threading
from pathlib import Path

import pytest

from labkit import Lab
from labkit.watch import Watch
from tests.harness import wait_until


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def watch(lab):
    watch = Watch(lab._terminals)
    watch.follow(lab._sandbox.pid, lab._surroundings)
    watch.begin()
    wait_until("there is something to see", lambda: watch.sight.rows)
    yield watch
    watch.stop()


def seen(watch):
    sight = watch.sight
    return {row.key.mount_point: row.seen for number, row in sight.rows.items() if number not in sight.kit}


USUAL = {"/": ("A",), "/proc": ("A",), "/dev": ("A",)}


def test_a_fresh_lab(watch):
    assert seen(watch) == USUAL
    assert [(column.label, column.terminals) for column in watch.sight.columns] == [("A", ("left", "right"))]
    assert {place.process for place in watch.sight.places.values()} == {"bash"}


def test_a_namespace_comes_with_its_first_process_and_goes_with_its_last(lab, watch):
    lab.left.run("unshare -m /bin/bash")
    lab.left.run("mount -t tmpfs tmpfs /mnt; cd /tmp")
    wait_until("it is seen", lambda: seen(watch).get("/mnt") == ("B",))
    wait_until(
        "the terminal is there",
        lambda: watch.sight.places["left"][:1] + watch.sight.places["left"][4:] == ("B", "/tmp"),
    )
    lab.left.run("exit")
    wait_until("all is as before", lambda: seen(watch) == USUAL)
    assert [column.label for column in watch.sight.columns] == ["A"]


def test_what_nobody_typed_just_now_is_seen_too(lab, watch):
    lab.left.run("(mkfifo /tmp/go; read < /tmp/go; mount -t tmpfs tmpfs /mnt) &")
    lab.right.send("echo > /tmp/go\n")
    wait_until("the mount is seen", lambda: "/mnt" in seen(watch))
    first = next(number for number, row in watch.sight.rows.items() if row.key.mount_point == "/mnt")
    lab.left.run("mount --make-shared /mnt")  # no event tells of it
    wait_until("the propagation is seen", lambda: watch.sight.rows[first].propagation == "shared")
    lab.left.run("umount /mnt")
    wait_until("it is gone", lambda: "/mnt" not in seen(watch))
    lab.left.run("mount -t tmpfs tmpfs /mnt")  # maybe with the same device number
    wait_until("there is one again", lambda: "/mnt" in seen(watch))
    assert first not in watch.sight.rows


def test_a_remount_changes_the_options_of_its_row(lab, watch):
    lab.left.run("mount -t tmpfs tmpfs /mnt")
    rows = lambda: {n: row for n, row in watch.sight.rows.items() if row.key.mount_point == "/mnt"}  # noqa: E731
    wait_until("it is seen", rows)
    ((number, before),) = rows().items()
    assert before.options.split(",")[0] == "rw"
    lab.left.run("(sleep 0.4; mount -o remount,bind,ro,nosuid /mnt) &")  # while nobody types: the kernel tells
    wait_until("the row is another, and keeps its number", lambda: "ro" in rows()[number].options.split(","))
    assert rows()[number].propagation == before.propagation


def test_at_rest_it_sleeps(watch):
    wait_until("it has come to rest", lambda: all(place.process == "bash" for place in watch.sight.places.values()))
    (thread,) = (each for each in threading.enumerate() if each.name == "labkit-watch")
    status = Path(f"/proc/self/task/{thread.native_id}/status")

    def switches():
        return [line for line in status.read_text().splitlines() if "ctxt_switches" in line]

    def settled():
        before = switches()
        threading.Event().wait(0.3)  # the thing measured is that nothing happens in a time
        return before == switches()

    wait_until("nothing wakes it", settled)


def test_nothing_is_held_when_it_is_stopped(lab):
    watch = Watch(lab._terminals)
    before = sorted(os.listdir("/proc/self/fd"))
    watch.follow(lab._sandbox.pid, lab._surroundings)
    watch.begin()
    wait_until("there is something to see", lambda: watch.sight.rows)
    watch.stop()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert "labkit-watch" not in [each.name for each in threading.enumerate()]


def test_it_ends_with_the_lab(watch, lab):
    lab._end()
    wait_until("its thread ends", lambda: "labkit-watch" not in [each.name for each in threading.enumerate()])
