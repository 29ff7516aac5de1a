"""The widget: an anywidget whose page side is built from screen/js into screen/static."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..terminal import Terminal
from ..watch import Watch
from .feed import Feed


class Screen(anywidget.AnyWidget):
    """A lab's terminals and mount table. `shows`: "lab", or "table" for the table alone. `still`: the text and the HTML
    that stand for it where no widget lives: on GitHub, after nbconvert, for nbval. It does not keep its lab alive.
    """

    _esm = Path(__file__).parent / "static" / "screen.js"
    shows = traitlets.Unicode("lab").tag(sync=True)

    def __init__(self, terminals: Mapping[str, Terminal], watch: Watch, shows: str, still: tuple[str, str]) -> None:
        super().__init__(shows=shows)
        # A cell that computes lets the terminals' threads go on after 1 ms, not 5: each key needs several of them.
        sys.setswitchinterval(min(sys.getswitchinterval(), 0.001))
        self._still = still
        self._feed = Feed(terminals, watch, self.send)
        # ipykernel 7.4.0 sends a page's message to the thread that published last, which may be a cell's: then the keys
        # would wait for that cell's end (tests/browser holds that they do not).
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = lambda data, default: default
        self.on_msg(lambda _, content, __: self._feed.receive(content))

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle:
            bundle[0]["text/plain"], bundle[0]["text/html"] = self._still
        return bundle


def in_notebook() -> bool:
    """Is there a Jupyter kernel, and so perhaps a page? IPython in a terminal has none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
