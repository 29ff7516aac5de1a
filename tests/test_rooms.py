"""Who may import whom: a module imports from lower floors only. CONTRIBUTING.md says what a floor is for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "labkit"

# A room is a module or a subpackage of labkit. Within a subpackage modules may import each other.
FLOORS = {
    "findings": 0,
    "host": 0,
    "linux": 0,
    "calls": 1,
    "comparison": 1,
    "emulator": 1,
    "labels": 1,
    "lessons": 1,
    "marks": 1,
    "processes": 1,
    "refusals": 1,
    "sandbox": 1,
    "serving": 1,
    "stream": 2,
    "tables": 2,
    "transcript": 2,
    "ending": 2,
    "errors": 3,
    "foreground": 3,
    "journal": 3,
    "picture": 3,
    "prediction": 4,
    "terminal": 4,
    "watch": 5,
    "screen": 6,
    "lab": 7,
    "checkup": 8,
    "magics": 8,
    "server": 8,
    "__init__": 9,
    "cli": 9,
}

# Everything else is the standard library's.
OUTSIDERS = {
    "IPython": {"magics"},
    "anywidget": {"prediction", "screen"},
    "jupyter_core": {"checkup", "serving"},
    "jupyter_server": {"server"},
    "pandas": {"tables"},
    "pyte": {"emulator"},
    "pytest": {"cli"},
    "traitlets": {"prediction", "screen"},
    "wcwidth": {"emulator"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    """labkit/linux/mountinfo.py is in the room linux; labkit/lab.py in the room lab."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Yield (line, dotted name) for every import in a module: lazy ones and those for types too."""
    package = ["labkit", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module == "labkit":  # from labkit import X: the room X, or a name of labkit/__init__.py
                yield from ((node.lineno, f"labkit.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def refusal(room, name):
    """Say why `room` may not import `name`, or nothing."""
    top, _, rest = name.partition(".")
    if top != "labkit":
        allowed = top in sys.stdlib_module_names or room in OUTSIDERS.get(top, ())
        return None if allowed else f"{top} may be imported in {sorted(OUTSIDERS.get(top, ())) or 'no room'}"
    other = rest.split(".")[0]
    other = other if other in FLOORS else "__init__"
    if other == room or FLOORS[other] < FLOORS[room]:
        return None
    return f"{room} is on floor {FLOORS[room]}, {other} on floor {FLOORS[other]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_lower_floors_only(path):
    room = room_of(path)
    assert room in FLOORS, f"labkit/{room} has no floor: give it one in {Path(__file__).name}"
    refused = [f"line {line}: {name}: {why}" for line, name in imports(path) if (why := refusal(room, name))]
    assert not refused, "\n".join([f"imports of {path}:", *refused])


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("linux", "labkit.sandbox.agent"),
        ("terminal", "labkit.lab"),
        ("screen", "labkit.lab"),
        ("lab", "labkit"),
        ("lab", "labkit.Lab"),
        ("lab", "pandas"),
        ("terminal", "numpy.typing"),
        ("sandbox", "IPython.display"),
    ],
)
def test_the_rule_refuses(room, name):
    assert refusal(room, name)


@pytest.mark.parametrize(
    ("room", "name"), [("linux", "labkit.linux.syscalls"), ("sandbox", "labkit.linux"), ("lab", "os.path")]
)
def test_the_rule_allows(room, name):
    assert refusal(room, name) is None


@pytest.mark.parametrize("name", ["labkit", "labkit.errors", "labkit.linux", "labkit.sandbox"])
def test_it_loads_with_the_standard_library_alone(name):
    """The agent starts as `python -I -S`, where nothing else is there; `import labkit` must be as light."""
    program = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import {name}"
    run = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
