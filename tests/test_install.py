"""The built wheel: what is inside, and that it works outside of the clone, with its directory read-only."""

import os
import stat
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built by the installed hatchling: no registry is asked. The tree is as a learner's who has used it."""
    directory = tmp_path_factory.mktemp("wheel")
    # From the source distribution, as `pip install` of that would do it.
    program = f"""
import shutil
from hatchling.build import build_sdist
shutil.unpack_archive({str(directory)!r} + "/" + build_sdist({str(directory)!r}), {str(directory)!r})
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
    [source] = [path for path in directory.iterdir() if path.is_dir()]
    for name in ("notebooks", "labkit", "labkit/screen/js/node_modules"):
        (source / name / ".ipynb_checkpoints").mkdir(parents=True)
        (source / name / ".ipynb_checkpoints" / "00.ipynb").write_text("an old one")
    program = f"from hatchling.build import build_wheel; build_wheel({str(directory)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True)
    [built] = directory.glob("*.whl")
    return built


def test_it_has_all_that_a_learner_needs_and_nothing_else(wheel):
    """Lessons, page side with its licences, Jupyter's settings, types; no tests, no sources of the page side."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {Path(name).name for name in names if name.startswith("labkit/notebooks/")} == {*LESSONS, "sanitize.cfg"}
    static = {f"labkit/screen/static/{path.name}" for path in (ROOT / "labkit" / "screen" / "static").iterdir()}
    assert static | {"labkit/prediction.js", "labkit/py.typed", "labkit/jupyter/labconfig/page_config.json"} <= names
    assert [name for name in names if name.endswith(".data/data/etc/jupyter/jupyter_server_config.d/labkit.json")]
    assert [
        name for name in names if "node_modules" in name or "tests/" in name or name.startswith("labkit/screen/js")
    ] == []
    assert {name.split("/")[0].split("-")[0].split(".")[0] for name in names} == {"labkit", "mount_namespace_lab"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A Python that has the wheel, and of this environment what others wrote: not the clone."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, capture_output=True)
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "mount_namespace_lab" not in path.name and path.suffix != ".pth" and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    jupyter = Path(sysconfig.get_path("data"), "share", "jupyter")
    (home / "share").mkdir(exist_ok=True)
    (home / "share" / "jupyter").symlink_to(jupyter)
    package = site / "labkit"
    for path in (*package.rglob("*"), package):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP))
    yield home
    for path in (package, *package.rglob("*")):  # or an ordinary user could not remove them
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def run(installed, tmp_path, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [installed / "bin" / "labkit", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )


def test_it_verifies_its_own_lessons(installed, tmp_path):
    lesson = next(installed.rglob("labkit/notebooks/00-start-here.ipynb"))
    done = run(installed, tmp_path, "verify", lesson)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_it_can_run_the_lessons(installed, tmp_path):
    """Its own lessons, its own server extension: nothing of the clone is used."""
    done = run(installed, tmp_path, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    ask = "import labkit; from labkit import lessons; print(labkit.__file__, lessons.source())"
    said = subprocess.run(
        [installed / "bin" / "python", "-c", ask], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert all(Path(word).is_relative_to(installed) for word in said.split()), said


def test_it_copies_its_lessons(installed, tmp_path):
    """Up to where it would become JupyterLab."""
    program = "import os, sys; from labkit import cli; os.execve = lambda *_: sys.exit(0); "
    program += "cli.main(['start', 'mine', '--no-browser'])"
    done = subprocess.run([installed / "bin" / "python", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert {path.name for path in (tmp_path / "mine").glob("*.ipynb")} == LESSONS
    assert all(os.access(path, os.W_OK) for path in (tmp_path / "mine").iterdir())
