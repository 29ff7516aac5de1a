"""What a page is told, and when: the terminals' bytes, what they are doing, the mount table's differences.

Every message goes to all views of the widget (a page that was loaded again, a second view), so each says for whom it
is, and bytes say at which offset of the terminal's output they begin. A view acknowledges what it has drawn. While the
slowest one lags far behind, the terminal is not read, and whoever prints waits; a view that is silent meanwhile is
given up, and gets all anew when it speaks again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..comparison import Row, printable
from ..stream import RECALLED, State, Stream
from ..terminal import Terminal
from ..transcript import colour
from ..watch import Sight, Watch

HIGH, LOW = 256 << 10, 128 << 10  # bytes printed and not drawn yet: stop reading, and read again
GATHER = 0.004  # seconds between two messages of a busy terminal
SILENCE = 3.0  # seconds after which a view that holds a terminal is given up
LARGEST = 1000  # rows or columns
SAID = 3  # mounts that are announced one by one

Send = Callable[[dict[str, Any], list[bytes]], None]


class Feed:
    """`send(content, buffers)` reaches all views. `receive` takes their messages, in any thread."""

    def __init__(self, terminals: Mapping[str, Terminal], watch: Watch, send: Send) -> None:
        self._terminals = terminals
        self._watch = watch
        self._send = send
        self._changed = threading.Condition()
        self._dirty = False
        self._running = False
        self._views: dict[str, dict[int, int]] = {}  # for each view: of each stream, the bytes that it has drawn
        self._heard: dict[str, float] = {}  # when it spoke last
        self._gone: set[str] = set()
        self._new: list[str] = []  # views that wait for all
        self._sent: dict[int, int] = {}  # of each stream, the bytes that were sent
        self._told: dict[str, Any] = {}  # the last "terminals"
        self._shown = Sight()
        self._version = 0
        self._held: set[Stream] = set()

    # --- from a page

    def receive(self, content: object) -> None:
        """What is not of the protocol is ignored: a page may be of another version, or somebody's own."""
        match content:
            case {"type": "hello", "view": str(view)}:
                self._greet(view)
            case {"type": "bye", "view": str(view)}:
                self._forget(view)
            case {"type": "ack", "view": str(view), "stream": int(serial), "offset": int(offset)}:
                self._acknowledge(view, serial, offset)
            case {"type": "keys", "terminal": str(name), "data": str(data)} if name in self._terminals:
                self._terminals[name].press(data.encode("utf-8", "replace"))
            case {"type": "bytes", "terminal": str(name), "data": str(data)} if name in self._terminals:
                self._terminals[name].press(data.encode("latin-1", "replace"))
            case {"type": "size", "terminal": str(name), "columns": int(columns), "rows": int(rows)} if (
                name in self._terminals and 2 <= columns <= LARGEST and 2 <= rows <= LARGEST
            ):
                self._terminals[name]._stream.resize(columns, rows)
                self._poke()

    def _greet(self, view: str) -> None:
        self._watch.begin()
        with self._changed:
            self._heard[view] = time.monotonic()
            self._views.pop(view, None)
            self._new.append(view)
            if not self._running:
                self._running = True
                self._watch.listeners.add(self._poke)
                threading.Thread(target=self._run, name="labkit-screen", daemon=True).start()
        self._poke()

    def _forget(self, view: str) -> None:
        with self._changed:
            self._views.pop(view, None)
            self._heard.pop(view, None)
            self._gone.add(view)  # what it had still to say is on its way
        self._poke()

    def _acknowledge(self, view: str, serial: int, offset: int) -> None:
        with self._changed:
            self._heard[view] = time.monotonic()
            known = self._views.get(view)
            if known and serial in known:
                known[serial] = max(known[serial], min(offset, self._sent.get(serial, 0)))
        if known is None and view not in self._gone:
            self._greet(view)  # it was given up, and is back
        self._poke()

    # --- to the pages

    def _poke(self) -> None:
        with self._changed:
            self._dirty = True
            self._changed.notify()

    def _run(self) -> None:
        listened: dict[Stream, Callable[[], None]] = {}
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._dirty, SILENCE if self._held else None)
                    self._dirty = False
                    new, self._new = self._new, []
                    if not self._views and not new:
                        self._running = False
                        return
                for stream in self._streams():
                    if stream not in listened:
                        listened[stream] = lambda stream=stream: self._printed(stream)  # type: ignore[misc]
                        stream.listeners.add(listened[stream])
                self._give_up_the_silent()
                self._tell_terminals(new)
                busy = self._tell_output(new)
                self._tell_table(new)
                if busy:
                    time.sleep(GATHER)
        finally:
            self._watch.listeners.discard(self._poke)
            for stream, listener in listened.items():
                stream.listeners.discard(listener)
                stream.release(self)

    def _streams(self) -> list[Stream]:
        return [terminal._stream for terminal in tuple(self._terminals.values())]

    def _printed(self, stream: Stream) -> None:
        """In the terminal's own thread, after each read."""
        with self._changed:
            if self._views and stream.printed - self._drawn(stream) > HIGH:
                self._held.add(stream)
                stream.hold(self)
        self._poke()

    def _drawn(self, stream: Stream) -> int:
        """What all views have drawn."""
        printed = stream.printed
        return min((drawn.get(stream.serial, printed) for drawn in self._views.values()), default=printed)

    def _give_up_the_silent(self) -> None:
        with self._changed:
            for stream in list(self._held):
                for view, drawn in list(self._views.items()):
                    behind = stream.printed - drawn.get(stream.serial, stream.printed) > LOW
                    if behind and time.monotonic() - self._heard[view] > SILENCE:
                        del self._views[view]
                if stream.printed - self._drawn(stream) <= LOW:
                    self._held.discard(stream)
                    stream.release(self)

    def _tell_output(self, new: list[str]) -> bool:
        """Whether there was any."""
        busy = False
        for name, terminal in tuple(self._terminals.items()):
            stream = terminal._stream
            sent = self._sent.get(stream.serial)
            with self._changed:
                alone = not self._views
            if sent is None or alone:
                sent = stream.printed if new else 0
            for view in new:
                begin, data = stream.since(max(0, sent - RECALLED), RECALLED)
                data = data[: max(0, sent - begin)]
                self._bytes(view, name, stream, begin, data, replay=True)
            begin, data = stream.since(sent, RECALLED)
            if data:
                busy = True
                self._bytes("", name, stream, begin, data, replay=False)
            with self._changed:
                self._sent[stream.serial] = begin + len(data)
                for view in new:
                    if view in self._heard:
                        self._views.setdefault(view, {})[stream.serial] = sent
                for drawn in self._views.values():
                    drawn.setdefault(stream.serial, sent)
        return busy

    def _bytes(self, view: str, name: str, stream: Stream, offset: int, data: bytes, *, replay: bool) -> None:
        content = {"type": "output", "view": view, "terminal": name, "stream": stream.serial, "offset": offset}
        self._send({**content, "replay": replay, "lost": offset if replay else 0}, [data])

    def _tell_terminals(self, new: list[str]) -> None:
        sight = self._watch.sight
        with self._changed:
            speaker = next(reversed([*self._views, *new]), "")  # an older one may be gone without a farewell
        all_ended = not any(terminal.alive for terminal in tuple(self._terminals.values()))
        told = {
            "type": "terminals",
            "terminals": [_terminal(terminal, sight) for terminal in tuple(self._terminals.values())],
            "lab": "The lab has ended: lab.reset() brings it back, in a cell." if all_ended else "",
            "speaker": speaker,
        }
        if new or told != self._told:
            self._told = told
            self._send(told, [])

    def _tell_table(self, new: list[str]) -> None:
        sight, before = self._watch.sight, self._shown
        for view in new:
            self._table(view, before, list(before.rows), [], base=0)
        if (sight.rows, sight.columns) != (before.rows, before.columns):
            changed = [number for number, row in sight.rows.items() if before.rows.get(number) != row]
            removed = [number for number in before.rows if number not in sight.rows]
            base, self._version = self._version, self._version + 1
            self._shown = sight
            self._table("", sight, changed, removed, base=base)
            if text := announcement(before, sight):
                self._send({"type": "say", "text": text}, [])

    def _table(self, view: str, sight: Sight, rows: list[int], removed: list[int], *, base: int) -> None:
        columns = [
            {**column._asdict(), "colour": colour(column.label), "process": printable(column.process)}
            for column in sight.columns
        ]
        content = {"type": "table", "view": view, "version": self._version, "base": base, "columns": columns}
        drawn = [_row(number, sight.rows[number], number in sight.kit) for number in rows]
        self._send({**content, "rows": drawn, "removed": removed}, [])


def _terminal(terminal: Terminal, sight: Sight) -> dict[str, Any]:
    stream = terminal._stream
    place = sight.places.get(terminal.name)
    told: dict[str, Any] = {
        "name": terminal.name,
        "stream": stream.serial,
        "columns": stream.size.columns,
        "rows": stream.size.lines,
        "state": stream.state.value,
        "cell": terminal.cell,
        "ended": "",
    }
    if stream.state is State.ENDED:
        told["ended"] = (
            f'The shell of this terminal has ended: lab.open("{terminal.name}") starts a new one, in a cell.'
        )
        place = None
    if place:
        return told | {
            "label": place.label,
            "colour": colour(place.label),
            "inode": place.inode,
            "process": printable(place.process),
            "pid": place.pid,
            "cwd": printable(place.cwd),
        }
    return told | {"label": "", "colour": "", "inode": 0, "process": "", "pid": 0, "cwd": ""}


def _row(number: int, row: Row, kit: bool) -> dict[str, Any]:
    return {
        "row": number,
        "kit": kit,
        "mount_point": printable(row.key.mount_point),
        "fstype": printable(row.key.fstype),
        "source": printable(row.key.source),
        "options": row.options,
        "propagation": row.propagation,
        "peer_group": row.peer_group,
        "seen": list(row.seen),
    }


def announcement(before: Sight, now: Sight) -> str:
    """What has changed, in words for somebody who does not see it: "left: /tmp/x mounted, visible in B only"."""
    if not before.columns or not now.columns:
        return "" if now.columns else "the lab has ended"
    known = {column.label for column in before.columns}
    labels = [column.label for column in now.columns]
    said = [
        f"{', '.join(column.terminals) or column.process}: in the new namespace {column.label}"
        for column in now.columns
        if column.label not in known
    ]
    said += [f"namespace {label} has ended" for label in sorted(known - set(labels))]
    mounts = []
    for number in sorted(now.rows.keys() | before.rows.keys()):
        old, new = before.rows.get(number), now.rows.get(number)
        if number in now.kit or number in before.kit or old == new:
            continue
        if new and old is None:
            mounts.append(f"{_who(new, now)}{printable(new.key.mount_point)} mounted, {_where(new, labels)}")
        elif old and new is None:
            mounts.append(f"{_who(old, before)}{printable(old.key.mount_point)} unmounted")
        elif old and new and set(old.seen) & set(labels) != set(new.seen) & known:
            mounts.append(f"{printable(new.key.mount_point)} is {_where(new, labels)} now")
    if len(mounts) > SAID:
        mounts = [f"{len(mounts)} mounts have changed"]
    return "; ".join([*said, *mounts])


def _who(row: Row, sight: Sight) -> str:
    """The terminals that see it."""
    names = [name for column in sight.columns if column.label in row.seen for name in column.terminals]
    return f"{', '.join(names)}: " if names else ""


def _where(row: Row, labels: list[str]) -> str:
    only = " only" if len(row.seen) < len(labels) else ""
    return f"visible in {' and '.join(row.seen)}{only}"
