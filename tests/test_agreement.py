"""pyproject.toml, environment.yml and constraints.txt say the same; no file says where packages come from."""

import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

ROOT = Path(__file__).resolve().parent.parent
REGISTRY = re.compile(
    r"--(?:index-url|extra-index-url|find-links)|(?:pypi|pythonhosted|anaconda|npmjs)\.(?:org|com)", re.I
)

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(line) for line in PYPROJECT["project"]["optional-dependencies"]["dev"]]
BUILD = [Requirement(line) for line in PYPROJECT["build-system"]["requires"]]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in LINES}


def test_the_conda_environment_has_the_same_names_and_bounds():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip, from_pip = environment["dependencies"]
    python = Requirement(f"python {PYPROJECT['project']['requires-python']}")
    assert {as_pair(Requirement(line)) for line in conda} == {as_pair(line) for line in [python, *DEPENDENCIES]}
    assert (pip, from_pip) == ("pip", {"pip": ["--editable ."]})


def test_conda_can_read_every_line_of_its_environment():
    """Strictly, as conda-forge's solvers read a match spec: syntax alone. It was not solved against conda-forge."""
    *conda, _pip, _from_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    for line in conda:
        assert str(MatchSpec(line, strict=True)).split()[0] == line.split()[0]
    with pytest.raises(InvalidMatchSpecError):
        MatchSpec("pandas >=3.0,<4 anything else", strict=True)


def test_every_pin_is_exact_and_they_are_in_order():
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)] == []
    assert sorted(PINS) == [line.split("==")[0] for line in LINES]


@pytest.mark.parametrize("requirement", [*DEPENDENCIES, *DEVELOPMENT, *BUILD], ids=lambda each: each.name)
def test_the_pin_is_within_the_bounds(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_everything_that_is_installed_for_the_kit_is_pinned_at_its_version():
    """Walks what the installed distributions require, from our own dependencies down."""
    seen: dict[str, str] = {}
    todo = [(each.name, each.extras) for each in (*DEPENDENCIES, *DEVELOPMENT)]
    while todo:
        name, extras = todo.pop()
        if canonicalize_name(name) in seen and not extras:
            continue
        distribution = metadata.distribution(name)
        seen[canonicalize_name(name)] = distribution.version
        for needed in map(Requirement, distribution.requires or []):
            environments = [{"extra": extra} for extra in ("", *extras)]
            if not needed.marker or any(needed.marker.evaluate(each) for each in environments):
                todo.append((needed.name, needed.extras))
    assert {name: version for name, version in seen.items() if PINS.get(name) != version} == {}


def test_no_file_names_a_registry():
    """Where packages come from is the machine's choice, not the project's."""
    if not shutil.which("git"):
        pytest.skip("git is not installed, and knows which files are the project's")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    assert files
    assert [str(file) for file in files if REGISTRY.search(file.read_text(errors="replace"))] == []


def as_pair(requirement):
    """A name and its bounds, comparable."""
    return canonicalize_name(requirement.name), str(requirement.specifier)
