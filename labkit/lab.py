"""The lab: starts the agent, owns the terminals, compares what they see."""

from __future__ import annotations

import re
import weakref
from collections import Counter

from . import processes
from .comparison import identity, without_kit
from .ending import Ending, Inventory
from .errors import LabEnded, LabError, LabRefused
from .host import Host
from .journal import Journal, Session
from .labels import Labels
from .linux import mountinfo
from .linux.namespaces import Namespace
from .refusals import explain
from .sandbox.launch import Ended, Refused, Sandbox
from .stream import State, Stream
from .terminal import Surroundings, Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .picture import Picture
    from .prediction import Prediction
    from .screen.screen import Screen
    from .tables import DataFrame
    from .watch import Watch

OWN = (
    "/",
    "/proc",
    "/dev",
)  # the mounts that any server has; all else that the agent made is the kit's plumbing
PROMPT_SECONDS = 20.0  # a shell needs 0.01 s to its prompt: this is for a machine that is far too busy
OPEN = "start a shell in a terminal"  # the one step that is not the agent's: it says what refused it, and goes on
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")


class Lab:
    """A disposable machine called "server", with two terminals, `left` and `right`. Also a context manager.

    `rows`, `columns`: of its terminals. `timeout`: seconds that a command may take where `run` is told nothing else.
    Errors: `LabRefused` where this system refuses a step of the way, with the cause and the mend; nothing is left then.
    """

    def __init__(self, *, rows: int = 24, columns: int = 80, timeout: float = 30.0) -> None:
        self._size = rows, columns
        self._timeout = timeout
        self._terminals: dict[str, Terminal] = {}
        self._journal = Journal()
        self._watch: Watch | None = None
        self._start(["left", "right"])

    def _start(self, names: list[str]) -> None:
        try:
            sandbox = Sandbox()
        except Refused as refused:
            raise self._refused(refused.begun, refused.errno, refused.said) from None
        self._sandbox = sandbox
        self._end = weakref.finalize(self, sandbox.close)
        try:
            self._look_around(sandbox)
            self._open(names)
            if self._watch:
                self._watch.follow(sandbox.pid, self._surroundings)
        except FileNotFoundError as error:  # PID 1 was killed at once: memory is short
            self._finish()
            raise self._ended(str(error)) from None
        except BaseException:
            self._finish()
            raise

    def _look_around(self, sandbox: Sandbox) -> None:
        labels = Labels(lambda: {process.namespace for process in processes.descendants(sandbox.pid)})
        labels.of(Namespace.of(sandbox.pid))  # the default namespace is A
        kit = Counter(identity(mount) for mount in mountinfo.read(sandbox.pid) if mount.mount_point not in OWN)
        self._surroundings = Surroundings(labels, kit)

    def _open(self, names: list[str]) -> None:
        """Start all the shells, then wait for all the prompts."""
        for name in names:
            try:
                stream = Stream(*self._sandbox.open_terminal(*self._size), self._sandbox.nonce)
            except Ended as error:
                raise self._ended(str(error)) from None
            except OSError as error:
                raise self._refused([OPEN], error.errno or 0, error.strerror or str(error)) from None
            if name in self._terminals:
                self._terminals[name]._attach(stream, self._surroundings)
            else:
                self._terminals[name] = Terminal(name, stream, self._surroundings, self._journal, self._timeout)
        for name in names:
            stream = self._terminals[name]._stream
            stream.wait(lambda stream=stream: stream.state is not State.RUNNING, PROMPT_SECONDS)  # type: ignore[misc]
            if stream.state is not State.PROMPT:
                said = stream.text() or "nothing"
                raise LabError(
                    f"The shell of terminal {name} gave no prompt; it said: {said}\nlab.reset() mends the lab."
                )

    def _refused(self, begun: Sequence[str], errno: int, said: str) -> LabRefused:
        return LabRefused(begun, errno, said, explain(begun[-1], errno, Host.read()))

    def _ended(self, last_words: str = "") -> LabEnded:
        why = last_words or "it was closed, or its PID 1 was killed"
        return LabEnded(f"The lab has ended ({why}): lab.reset() brings it back.")

    # --- its terminals

    @property
    def left(self) -> Terminal:
        return self._terminals["left"]

    @property
    def right(self) -> Terminal:
        return self._terminals["right"]

    def __getitem__(self, name: str) -> Terminal:
        try:
            return self._terminals[name]
        except KeyError:
            known = ", ".join(self._terminals)
            raise KeyError(f'no terminal {name!r} (there are {known}): lab.open("{name}") opens one') from None

    def open(self, name: str) -> Terminal:
        """Open one more terminal, or the one of that name again whose shell has ended."""
        if not NAME.fullmatch(name):
            raise ValueError(
                f"a terminal's name is a letter and then letters, digits, - or _ (at most 31): not {name!r}"
            )
        if name in self._terminals and self._terminals[name].alive:
            raise LabError(f"terminal {name} is open: use lab[{name!r}]")
        self._open([name])
        if self._watch:
            self._watch.look()
        return self._terminals[name]

    # --- what they see, asked of the kernel

    def mounts(self, *, all: bool = False) -> DataFrame:
        """The mounts of all terminals' namespaces, one row a mount, one boolean column per terminal: who sees it.

        A mount that two namespaces see is one mount here, though each has its own copy of it: where the copies differ
        in options or propagation, the cell says which has what. `all`: the kit's own mounts too.
        """
        from . import tables

        return tables.compare(self._views(all))

    def differences(self, *, all: bool = False) -> DataFrame:
        """The rows of `mounts` that not all terminals see."""
        from . import tables

        return tables.differences(self._views(all))

    def visible(self, path: str) -> DataFrame:
        """One row a terminal: its namespace, whether a mount at `path` (absolute) is in that one's table, what, and
        why.
        """
        from . import tables

        return tables.visible(path, self._views(True))

    def who_sees(self, path: str) -> frozenset[str]:
        """The names of the terminals in whose namespace's table there is a mount at `path` (absolute)."""
        table = self.visible(path)
        return frozenset(table.index[table["visible"]])

    def namespaces(self) -> DataFrame:
        """One row a mount namespace of the lab: the terminals and the processes in it (with the pids of the lab), its
        inode.
        """
        from . import tables

        labels = self._surroundings.labels
        terminals = {name: terminal._note() for name, terminal in self._living().items()}
        members = list(processes.descendants(self._sandbox.pid))
        for member in sorted(members, key=lambda member: member.lab_pid):  # not by inode: the kernel uses those again
            if member.namespace not in terminals.values():
                labels.of(member.namespace)
        return tables.namespaces(
            [(labels.of(m.namespace), m.namespace.inode, m.name, m.lab_pid) for m in members],
            {name: labels.of(namespace) for name, namespace in terminals.items()},
        )

    def _living(self) -> dict[str, Terminal]:
        living = {name: terminal for name, terminal in self._terminals.items() if terminal.alive}
        if not living:
            raise self._ended()
        return living

    def _views(self, all: bool) -> dict[str, tuple[str, list[mountinfo.Mount]]]:
        """For each terminal the label of its namespace and the table that it sees."""
        labels = self._surroundings.labels
        return {name: (labels.of(t._note()), t._table(all)) for name, t in self._living().items()}

    def transcript(self, last: int | None = None) -> Session:
        """All that was done in the terminals, by cells and by hand, in the order of time, one column a terminal; each
        command with the label of its namespace. `last`: only so many commands.
        """
        return self._journal.session(self._terminals, last)

    def predict(self, question: str, choices: Mapping[str, object] | Sequence[str]) -> Prediction:
        """Ask before a step; after it, `decide` on what came back with what is observed then. `choices`: texts, each
        with what will be observed if it is right. As a cell's last line the answer is a click.
        """
        from .prediction import Prediction

        return Prediction(question, choices)

    def picture(self) -> Picture:
        """The namespaces as boxes with their mount trees, what they share and what one alone sees: an SVG."""
        from .picture import Picture

        labels = self._surroundings.labels
        terminals = {name: labels.of(terminal._note()) for name, terminal in self._living().items()}
        views, titles = {}, {}
        for process in processes.descendants(self._sandbox.pid):  # the first one of each namespace sees the most
            label = labels.of(process.namespace)
            if label not in views:
                views[label] = label, without_kit(mountinfo.read(process.pid), self._surroundings.kit)
                titles[label] = ", ".join(n for n, where in terminals.items() if where == label) or process.name
        return Picture(dict(sorted(views.items(), key=lambda view: (len(view[0]), view[0]))), titles)

    # --- on the screen

    def show(self) -> Screen:
        """Both terminals, live, side by side, and the mount table under them: in a notebook's page. So does the lab
        itself as a cell's last line.
        """
        return self._screen("lab")

    def table(self) -> Screen:
        """The live mount table alone."""
        return self._screen("table")

    def _screen(self, shows: str) -> Screen:
        from .screen import still
        from .screen.screen import Screen
        from .watch import Watch

        if not self._watch:
            self._watch = Watch(self._terminals)
            if any(terminal.alive for terminal in self._terminals.values()):
                self._watch.follow(self._sandbox.pid, self._surroundings)
        if shows == "table":
            return Screen(self._terminals, self._watch, shows, still.of_table(self.mounts()))
        labels = {name: terminal.label if terminal.alive else "" for name, terminal in self._terminals.items()}
        return Screen(self._terminals, self._watch, shows, still.of_terminals(repr(self), labels))

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
        from .screen.screen import in_notebook

        alive = any(terminal.alive for terminal in self._terminals.values())
        return self.show()._repr_mimebundle_(**options) if alive and in_notebook() else None

    # --- its end

    def reset(self) -> None:
        """A pristine lab with the same terminals, whatever happened to this one."""
        self._finish()
        self._start(list(self._terminals))

    def close(self) -> Ending:
        """End the lab: when this returns, no process, mount or file of it is left. It tells what there was, and what is
        left of that. Closing twice is harmless.
        """
        with Inventory(self._sandbox.pid if self._end.alive else 0) as inventory:
            self._finish()
            return inventory.ending()

    def _finish(self) -> None:
        if self._watch:
            self._watch.stop()  # it holds the namespaces whose mounts it watches
        self._end()
        for terminal in self._terminals.values():
            terminal._stream.wait(lambda terminal=terminal: not terminal.alive, PROMPT_SECONDS)  # type: ignore[misc]

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def __repr__(self) -> str:
        if not any(terminal.alive for terminal in self._terminals.values()):
            return "lab: ended; lab.reset() brings it back"
        return "\n".join(
            ["lab: one server, its terminals:", *(f"  {terminal!r}" for terminal in self._terminals.values())]
        )
