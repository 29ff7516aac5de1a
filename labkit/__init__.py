"""A lab for learning Linux mount namespaces: two real terminals, a notebook, and the kernel as the teacher.

from labkit import Lab
lab = Lab()
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .checkup import doctor as doctor
    from .errors import CommandTimeout as CommandTimeout
    from .errors import Interrupted as Interrupted
    from .errors import LabEnded as LabEnded
    from .errors import LabError as LabError
    from .errors import LabRefused as LabRefused
    from .errors import TerminalEnded as TerminalEnded
    from .errors import Unfinished as Unfinished
    from .lab import Lab as Lab
    from .magics import load_ipython_extension as load_ipython_extension
    from .terminal import Terminal as Terminal
    from .transcript import Transcript as Transcript

_HOMES = {
    "checkup": "doctor",
    "errors": "CommandTimeout Interrupted LabEnded LabError LabRefused TerminalEnded Unfinished",
    "lab": "Lab",
    "magics": "load_ipython_extension",
    "terminal": "Terminal",
    "transcript": "Transcript",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import on first use: the agent and the lab's own Python use labkit.linux, and have no third-party package."""
    if name not in _HOME:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*_HOME]
