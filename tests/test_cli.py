"""`labkit start` opens the right directory, safely; `labkit verify` tells right from wrong."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from labkit import cli


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A labkit installed from its wheel: the lessons are inside the package."""
    package = tmp_path / "site-packages" / "labkit"
    (package / "notebooks").mkdir(parents=True)
    (package / "notebooks" / "00-start-here.ipynb").write_text("the lesson")
    monkeypatch.setattr(cli, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    return package


def test_the_server_listens_on_loopback_only_and_keeps_its_token(tmp_path):
    command = cli.server(tmp_path, port=9000, browser=False)
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert {"--ServerApp.ip=127.0.0.1", "--ServerApp.port=9000", "--no-browser"} < set(command)
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert not [argument for argument in command if "token" in argument or "password" in argument]


@pytest.mark.parametrize(("uid", "allowed"), [(0, True), (1000, False)])
def test_the_server_runs_as_root_only_for_root(monkeypatch, tmp_path, uid, allowed):
    """JupyterLab refuses to run as root unless told."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert ("--allow-root" in cli.server(tmp_path, port=None, browser=True)) is allowed


@pytest.mark.parametrize("already", [None, "/etc/ours:/etc/more"])
def test_our_settings_come_before_what_the_user_names(monkeypatch, already):
    monkeypatch.delenv("JUPYTER_CONFIG_PATH", raising=False)
    if already:
        monkeypatch.setenv("JUPYTER_CONFIG_PATH", already)
    paths = cli.environment()["JUPYTER_CONFIG_PATH"].split(":")
    assert paths == [str(cli.PACKAGE / "jupyter"), *(already.split(":") if already else [])]
    assert all(Path(path).is_dir() for path in paths[:1])


def test_a_clone_works_on_its_own_lessons():
    assert cli.workspace(None) == cli.PACKAGE.parent / "notebooks"


def test_an_installed_package_works_on_a_copy_and_never_writes_over_it(installed, tmp_path):
    lesson = tmp_path / cli.COPY / "00-start-here.ipynb"
    assert cli.workspace(None) == lesson.parent
    assert lesson.read_text() == "the lesson"
    lesson.write_text("the learner's answers")
    assert cli.workspace(None) == lesson.parent
    assert lesson.read_text() == "the learner's answers"
    assert cli.workspace(tmp_path / "second") == tmp_path / "second"
    assert (tmp_path / "second" / "00-start-here.ipynb").read_text() == "the lesson"


def test_a_file_is_no_directory_to_work_in(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="is not a directory"):
        cli.main(["start", str(tmp_path / "file")])


@pytest.mark.parametrize(("stored", "status"), [("mnt:[1] left\n", 0), ("mnt:[1] right\n", 1)])
def test_verify_forgives_an_inode_and_nothing_else(tmp_path, stored, status):
    """The cell prints another inode than the stored one; the word after it must be the stored one."""
    output = nbformat.v4.new_output("stream", name="stdout", text=stored)
    cell = nbformat.v4.new_code_cell("print('mnt:[2] left')", execution_count=1, outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "lesson.ipynb")
    command = [sys.executable, "-m", "labkit.cli", "verify", "lesson.ipynb"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == status, run.stdout + run.stderr
