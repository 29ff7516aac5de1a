"""`labkit start` opens the right directory or says what is in its way; `labkit verify` tells right from wrong."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from labkit import cli, lessons, serving

CLI = [sys.executable, "-m", "labkit.cli"]


@pytest.fixture
def started(monkeypatch):
    """`labkit start` up to where it would become JupyterLab: the command that it would become."""
    became = []

    def execve(path, command, environment):
        became.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)

    def start(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["start", *map(str, arguments)])
        assert end.value.code == 0
        return became[-1]

    return start


def refused(*arguments):
    """The sentence with which `labkit start` ends."""
    with pytest.raises(SystemExit) as end:
        cli.main(["start", *map(str, arguments)])
    assert str(end.value.code).startswith("labkit start: ")
    return str(end.value.code)


def test_it_becomes_jupyterlab_on_the_copy_of_the_lessons(started, tmp_path, capsys):
    """On loopback, and behind the token that is Jupyter's default."""
    command = started(tmp_path / "mine", "--port", free_port(), "--no-browser")
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert {"--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={tmp_path / 'mine'}", "--no-browser"} < set(command)
    assert not [argument for argument in command if "token" in argument or "password" in argument]
    assert (tmp_path / "mine" / "00-start-here.ipynb").is_file()
    assert capsys.readouterr().out.startswith(f"The lessons were copied to {tmp_path / 'mine'}.\n")


def test_the_lessons_come_home_where_nothing_else_is_said(started, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert f"--ServerApp.root_dir={tmp_path}/mount-namespace-lessons" in started("--no-browser")


def test_in_a_vm_it_listens_where_it_is_told_to(started, tmp_path):
    assert "--ServerApp.ip=0.0.0.0" in started(tmp_path / "mine", "--ip", "0.0.0.0")


@pytest.mark.parametrize(("uid", "allowed"), [(0, True), (1000, False)])
def test_the_server_runs_as_root_only_for_root(monkeypatch, tmp_path, uid, allowed):
    """JupyterLab refuses to run as root unless told."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert ("--allow-root" in serving.command(tmp_path)) is allowed


@pytest.mark.parametrize("already", [None, "/etc/ours:/etc/more"])
def test_our_settings_come_before_what_the_user_names(monkeypatch, already):
    monkeypatch.delenv("JUPYTER_CONFIG_PATH", raising=False)
    if already:
        monkeypatch.setenv("JUPYTER_CONFIG_PATH", already)
    paths = serving.environment()["JUPYTER_CONFIG_PATH"].split(":")
    assert paths == [str(serving.SETTINGS), *(already.split(":") if already else [])]
    assert all(Path(path).is_dir() for path in paths[:1])


@pytest.mark.parametrize(
    ("variables", "opened"),
    [
        ({}, False),
        ({"BROWSER": sys.executable}, True),
        ({"DISPLAY": ":0", "BROWSER": sys.executable}, True),
    ],
)
def test_a_browser_is_opened_where_there_is_one(variables, opened, tmp_path):
    """In a Python of its own: webbrowser looks around once. Without a window only one that is named counts."""
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    program = (
        "import os; from labkit import cli; os.execve = lambda *a: print(*a[1]); cli.main(['start', *os.sys.argv[1:]])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "mine", "--port", str(free_port())],
        env=bare | variables, capture_output=True, text=True,
    )  # fmt: skip
    assert ("--no-browser" not in run.stdout) is opened, run
    assert ("open the address below in one of yours" in run.stdout) is not opened


# --- what may be in the way


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        said = refused(tmp_path / "mine", "--port", port)
    assert f"port {port} of 127.0.0.1 is taken" in said
    assert "--port" in said.partition("taken")[2]
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("ip", "port", "sentence"),
    [
        ("127.0.0.1", 99999, "a port is a number from 1 to 65535, not 99999"),
        ("192.0.2.1", 8888, "nobody can listen on 192.0.2.1"),  # an address of documentation, RFC 5737
        ("nowhere.invalid", 8888, "nobody can listen on nowhere.invalid"),
        ("192.0.2.1", None, "nobody can listen on 192.0.2.1"),
    ],
)
def test_an_address_that_can_not_be(tmp_path, ip, port, sentence):
    assert sentence in refused(tmp_path, "--ip", ip, *(["--port", port] if port else []))


@pytest.mark.parametrize("ip", ["::1", "*"])
def test_other_addresses_that_jupyter_knows(ip):
    assert serving.port_obstacle(ip, None) is None


@pytest.mark.parametrize("name", ["gone.ipynb", "notes.txt"])
def test_verify_says_what_is_no_notebook(tmp_path, name):
    (tmp_path / "notes.txt").touch()
    run = subprocess.run([*CLI, "verify", tmp_path / name], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, f"labkit verify: no notebook (.ipynb) is at {tmp_path / name}\n")


def test_a_home_that_is_nowhere():
    assert "leads nowhere" in refused("~nobody-of-that-name/lessons")


def test_a_low_port_is_for_root():
    """ip_unprivileged_port_start, ip(7)."""
    if Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() != "1024\n":
        pytest.skip("here every user may listen on low ports")
    uid = os.geteuid()
    os.seteuid(uid or 65534)
    try:
        assert serving.port_obstacle("127.0.0.1", 80) == "port 80 is for root: take one from 1024 on"
    finally:
        os.seteuid(uid)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("a learner's")
    said = refused(tmp_path / "file")
    assert "something else of that name in the way" in said
    assert (tmp_path / "file").read_text() == "a learner's"


IN_A_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def test_a_directory_that_may_not_be_written(tmp_path):
    """Read-only for root too: a mount, in a namespace of its own."""
    script = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@" start "$0/mine"'
    run = subprocess.run([*IN_A_NAMESPACE, script, tmp_path, *CLI], capture_output=True, text=True)
    assert run.returncode == 1
    assert "Read-only file system" in run.stderr
    assert "choose a directory that you may write to: labkit start DIR" in run.stderr


def test_a_disk_that_is_full(tmp_path):
    """A tmpfs of 64 KiB, in a namespace of its own: the first lessons fit, what does not fit is not there in part."""
    script = 'mount -t tmpfs -o size=64k tmpfs "$0" && "$@" start "$0/mine"; status=$?; ls -A "$0/mine"; exit $status'
    run = subprocess.run([*IN_A_NAMESPACE, script, tmp_path, *CLI], capture_output=True, text=True)
    assert run.returncode == 1
    assert "No space left on device" in run.stderr
    assert "make room" in run.stderr
    assert "None" not in run.stderr
    there = run.stdout.split()
    assert there
    assert set(there) < {lessons.RECORD, *(path.name for path in lessons.source().glob("*.ipynb"))}


@pytest.mark.parametrize(
    ("directory", "sentence"),
    [("a" * 100, "too long for a kernel's sockets"), ("/dev/null/below", "can not be written (Not a directory)")],
)
def test_a_runtime_directory_without_room_for_a_kernel(monkeypatch, tmp_path, directory, sentence):
    """unix(7): 107 bytes. Jupyter waits for such a kernel for ever, and says nothing."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / directory))
    said = refused(tmp_path / "mine")
    assert sentence in said
    assert "export JUPYTER_RUNTIME_DIR=$(mktemp -d)" in said


@pytest.mark.parametrize(("stored", "status"), [("mnt:[1] left\n", 0), ("mnt:[1] right\n", 1)])
def test_verify_forgives_an_inode_and_nothing_else(tmp_path, stored, status):
    """The cell prints another inode than the stored one; the word after it must be the stored one."""
    output = nbformat.v4.new_output("stream", name="stdout", text=stored)
    cell = nbformat.v4.new_code_cell("print('mnt:[2] left')", execution_count=1, outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "lesson.ipynb")
    run = subprocess.run([*CLI, "verify", "lesson.ipynb"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == status, run.stdout + run.stderr
