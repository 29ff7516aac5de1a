"""What a page is told: all of it at first, then the differences, and no more than it can draw."""

import gc
from pathlib import Path

import pytest

from labkit import Lab
from labkit.screen.feed import HIGH, Feed
from labkit.watch import Watch
from tests.harness import wait_until


class Page:
    """The messages that reach a page."""

    def __init__(self, lab):
        self.messages = []
        watch = Watch(lab._terminals)
        watch.follow(lab._sandbox.pid, lab._surroundings)
        lab._watch = watch  # lab.close() stops it
        self.feed = Feed(lab._terminals, watch, lambda content, buffers: self.messages.append((content, buffers)))
        self.say("hello")
        wait_until("the table is there", lambda: any(content["rows"] for content, _ in self.of("table")))

    def say(self, type, **content):
        self.feed.receive({"type": type, "view": "v"} | content)

    def of(self, type):
        return [each for each in tuple(self.messages) if each[0]["type"] == type]

    def bytes(self, name):
        """All that was sent of a terminal, put together by the offsets."""
        data = b""
        for content, buffers in self.of("output"):
            if content["terminal"] == name:
                assert content["offset"] <= len(data), "something is missing"
                data = data[: content["offset"]] + buffers[0]
        return data


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def page(lab):
    page = Page(lab)
    yield page
    page.say("bye")


def test_one_mount_in_a_large_table_is_one_row(lab, page):
    lab.left.run("mkdir /tmp/m; for i in $(seq 500); do mkdir /tmp/m/$i; mount --bind /tmp/m/$i /tmp/m/$i; done")
    told = lambda: {row["row"] for content, _ in page.of("table") for row in content["rows"] if not row["kit"]}  # noqa: E731
    wait_until("all are told", lambda: len(told()) == 503)
    count = len(page.of("table"))
    lab.left.run("mount -t tmpfs one /mnt")
    wait_until("the mount is told", lambda: len(page.of("table")) > count)
    content, _ = page.of("table")[-1]
    assert ([row["source"] for row in content["rows"]], content["removed"]) == (["one"], [])
    assert page.of("say")[-1][0]["text"] == "left, right: /mnt mounted, visible in A"


def test_a_page_that_draws_nothing_halts_the_terminal_until_it_does(lab, page):
    lab.left.send("seq 1000000; echo e''nd\n")
    stream = lab.left._stream
    wait_until("the terminal is held", lambda: stream._holders)
    assert HIGH < stream.printed < 4 * HIGH
    assert lab.right.run("echo usable").output == "usable"

    def drawn():
        for name in ("left", "right"):
            page.say("ack", terminal=name, stream=lab[name]._stream.serial, offset=len(page.bytes(name)))
        return b"\nend\r\n" in page.bytes("left")[-2000:]

    wait_until("all has come", drawn)
    lines = page.bytes("left").split(b"\r\n")
    assert [line for line in lines if line.isdigit()] == [
        b"%d" % number for number in range(2, 1000001)
    ]  # 1 stands behind a mark


def test_a_silent_page_is_given_up_and_told_all_again_when_it_speaks(lab, page):
    lab.left.send("seq 1000000; echo e''nd\n")
    wait_until("the terminal goes on without it", lambda: b"\r\nend\r\n" in lab.left._stream._recent[-2000:])
    page.say("ack", terminal="left", stream=lab.left._stream.serial, offset=1)
    wait_until("all is told again", lambda: [c for c, _ in page.of("output") if c["replay"] and c["lost"]])


@pytest.mark.parametrize(
    "content",
    [
        None, [], "hello", {}, {"type": "hello"}, {"type": "hello", "view": 1}, {"type": "keys", "terminal": "left"},
        {"type": "keys", "terminal": "nobody", "data": "x"}, {"type": "keys", "terminal": "left", "data": 7},
        {"type": "size", "terminal": "left", "columns": 10**9, "rows": 2},
        {"type": "size", "terminal": "left", "columns": 0, "rows": -1},
        {"type": "size", "terminal": "left", "columns": "80", "rows": 24},
        {"type": "ack", "view": "v", "stream": 10**30, "offset": -(10**30)},
        {"type": "bye", "view": "somebody"}, {"type": "bytes", "terminal": "left", "data": None},
    ],
)  # fmt: skip
def test_what_is_no_message_does_nothing(lab, page, content):
    before = lab.left._stream.size
    page.feed.receive(content)
    assert lab.left._stream.size == before
    assert lab.left.run("echo well").output == "well"


def test_the_newest_view_answers_what_a_program_asks(lab, page):
    """An older one may have crashed; when the newest says farewell, the older one answers again."""
    speaker = lambda: page.of("terminals")[-1][0]["speaker"]  # noqa: E731
    wait_until("the first one speaks", lambda: speaker() == "v")
    page.say("hello", view="w")
    wait_until("the second one speaks", lambda: speaker() == "w")
    page.say("bye", view="w")
    wait_until("the first one speaks again", lambda: speaker() == "v")


def test_a_screen_keeps_no_lab_alive():
    lab = Lab()
    screen = lab.show()
    watch, pid = lab._watch, lab._sandbox.pid
    watch.begin()
    wait_until("it is watched", lambda: watch.sight.rows)
    del lab
    gc.collect()
    wait_until("the lab has ended", lambda: not Path(f"/proc/{pid}").exists())
    wait_until("nothing is seen any more", lambda: not watch.sight.rows)
    assert screen is None or not screen._feed._running


def test_the_last_view_ends_it(lab, page):
    page.say("bye")
    wait_until("the feed rests", lambda: not page.feed._running)
    count = len(page.messages)
    lab.left.run("echo unheard")
    assert len(page.messages) == count
