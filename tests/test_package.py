"""What `import labkit` gives and what it does not import."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from pathlib import Path

import pytest

import labkit
from labkit import linux

HOME = str(Path(labkit.__file__).parents[1])
THIRD_PARTY = ("IPython", "pandas", "numpy", "pyte", "wcwidth", "pytest")
# Modules of the standard library that take longer to import than the agent to start.
HEAVY = ("asyncio", "dataclasses", "inspect", "json", "logging", "pathlib", "pickle", "re", "shutil", "socket")
HEAVY += ("subprocess", "tempfile", "threading", "typing", "urllib")


def imported(statement: str, *options: str) -> set[str]:
    """The modules that a fresh Python has after `statement`, and had not before."""
    code = f"import sys; before = set(sys.modules); sys.path.insert(0, {HOME!r}); {statement}; "
    code += "print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-I", "-B", *options, "-c", code]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_importing_labkit_imports_nothing_else() -> None:
    """Not until a name is used: the agent and the lab's own Python have no third-party package, and no time."""
    assert imported("import labkit") == {"labkit", "__future__"}


def test_the_agent_imports_no_heavy_module() -> None:
    """`python -I -S`, as it is started: each of these would double the time to a lab."""
    modules = imported("import labkit.sandbox.agent", "-S")
    assert modules & {*THIRD_PARTY, *HEAVY} <= imported("import ctypes", "-S")  # of Python 3.14: threading
    assert {"labkit.linux.syscalls", "labkit.sandbox.rootfs", "ctypes"} < modules
    assert {name for name in modules if name.startswith("labkit.")} == {
        "labkit.linux", "labkit.linux.failures", "labkit.linux.syscalls",
        "labkit.sandbox", "labkit.sandbox.agent", "labkit.sandbox.protocol", "labkit.sandbox.rootfs",
        "labkit.sandbox.steps",
    }  # fmt: skip


@pytest.mark.parametrize("module", ["mountinfo", "namespaces", "syscalls"])
def test_the_lessons_modules_need_the_standard_library_alone(module: str) -> None:
    modules = imported(f"import labkit.linux.{module}", "-S")
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == {"labkit"}


def test_a_lab_can_be_used_without_pandas_and_ipython() -> None:
    """They take longer to import than a lab to start, and come with the first table and the magics."""
    modules = imported("from labkit import Lab, Terminal, Transcript, LabError")
    assert modules & {"pandas", "numpy", "IPython"} == set()
    assert "pyte" in modules


PUBLIC = [
    "CommandTimeout", "Interrupted", "Lab", "LabEnded", "LabError", "LabRefused", "Terminal", "TerminalEnded",
    "Transcript", "Unfinished", "doctor", "load_ipython_extension",
]  # fmt: skip


def test_dir_lists_the_public_names() -> None:
    """As completion in a notebook asks for them."""
    assert sorted(name for name in dir(labkit) if not name.startswith("_")) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name: str) -> None:
    thing = getattr(labkit, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("labkit.")
    assert getattr(labkit, name) is thing
    assert (thing.__doc__ or "").strip()


def test_every_error_is_a_lab_error_but_the_interruption() -> None:
    """`except LabError` catches them; Ctrl-C stays what it is everywhere."""
    errors = {name for name in PUBLIC if isinstance(getattr(labkit, name), type)} - {"Lab", "Terminal", "Transcript"}
    assert {name for name in errors if not issubclass(getattr(labkit, name), labkit.LabError)} == {"Interrupted"}
    assert issubclass(labkit.Interrupted, KeyboardInterrupt)


def test_another_name_is_refused_as_by_any_module() -> None:
    assert not hasattr(labkit, "nothing")
    with pytest.raises(AttributeError, match="module 'labkit' has no attribute 'Lba'"):
        labkit.Lba  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Lba' from 'labkit'"):
        exec("from labkit import Lba")


def test_the_names_for_type_checkers_are_those_at_run_time() -> None:
    """mypy reads the imports under TYPE_CHECKING, Python the table below them."""
    listed = set(labkit._HOME)
    text = Path(labkit.__file__).read_text()
    assert {
        line.split()[-1] for line in text.splitlines() if line.startswith("    from .") and " as " in line
    } == listed
    assert listed == set(PUBLIC)


def test_what_a_lesson_imports_from_linux() -> None:
    """`from labkit.linux import clone, unshare, mount, CLONE_NEWNS`, and everything else that the page says."""
    calls = "chroot clone mount mount_setattr pidfd_open pivot_root prctl sethostname setns umount2 unshare".split()
    for name in calls:
        assert getattr(linux, name).__doc__
        assert getattr(linux, name).__module__ == "labkit.linux.syscalls"
    assert "SyscallError" in dir(linux)
    assert int(linux.CLONE_NEWNS) == 0x20000


def test_the_package_says_that_it_has_types() -> None:
    """PEP 561: py.typed beside __init__.py, empty."""
    marker = importlib.resources.files(labkit) / "py.typed"
    assert marker.is_file()
    assert marker.read_text() == ""


def test_an_error_is_shown_in_a_notebook_without_our_own_lines() -> None:
    """IPython asks for _render_traceback_: the message says all that a learner can use."""
    code = f"""
import json, sys
sys.path.insert(0, {HOME!r})
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
from IPython.utils.capture import capture_output
shell = InteractiveShell(config=Config({{"HistoryManager": {{"enabled": False}}}}))
with capture_output() as captured:
    shell.run_cell("from labkit import LabError\\nraise LabError('what was tried; what to do')")
print(json.dumps(captured.stdout + captured.stderr))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == "LabError: what was tried; what to do\n"
