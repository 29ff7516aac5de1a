"""The one file that a page loads is what screen/js builds, holds all that it needs, and brings its licences."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCREEN = Path(__file__).resolve().parents[2] / "labkit" / "screen"
SOURCE, BUILT = SCREEN / "js", SCREEN / "static"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """The source, installed and built anew in a directory of its own."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: whether screen.js comes from its source is NOT checked")
    copy = tmp_path_factory.mktemp("screen")
    shutil.copytree(SOURCE, copy / "js", ignore=shutil.ignore_patterns("node_modules"))
    (copy / "static").mkdir()
    run(["npm", "ci", "--ignore-scripts", "--cache", copy / "cache"], copy / "js")
    run(["npm", "run", "check"], copy / "js")
    run(["npm", "run", "build"], copy / "js")
    return copy / "static"


def run(command, directory):
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_built_files_come_from_the_source(rebuilt):
    names = sorted(path.name for path in rebuilt.iterdir())
    assert names == sorted(path.name for path in BUILT.iterdir())
    changed = [name for name in names if (rebuilt / name).read_bytes() != (BUILT / name).read_bytes()]
    assert changed == [], "make screen builds them again"


def test_the_packages_are_pinned_and_their_licences_are_there():
    package = json.loads((SOURCE / "package.json").read_text())
    pins = package["dependencies"] | package["devDependencies"]
    assert [pin for pin in pins.values() if not re.fullmatch(r"\d+\.\d+\.\d+", pin)] == []
    licences = (BUILT / "THIRD-PARTY-LICENSES.txt").read_text()
    for name, version in package["dependencies"].items():
        assert f"{name} {version} (MIT)\n" in licences
    assert licences.count("Permission is hereby granted") == len(package["dependencies"])


def test_the_lock_names_no_address():
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    assert len(lock["packages"]) > 5
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert [name for name, package in lock["packages"].items() if name and "integrity" not in package] == []


def test_the_page_fetches_nothing():
    text = (BUILT / "screen.js").read_text()
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|\bimport\(|@import|url\((?!data:)", text)
    assert not re.search(r"^\s*import\b", text, re.MULTILINE)
