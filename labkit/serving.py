"""JupyterLab on the lessons: how it is started, and what may be in its way."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

SETTINGS = Path(__file__).resolve().parent / "jupyter"
LOOPBACK = "127.0.0.1"
LONGEST_SOCKET = 107  # bytes of a Unix socket's path, unix(7)
KERNEL_SOCKET = "/kernel-00000000-0000-0000-0000-000000000000-ipc-5"  # as jupyter_client names a kernel's sockets


def command(root: Path, ip: str = LOOPBACK, port: int | None = None, browser: bool = True) -> list[str]:
    """The command for JupyterLab on `root`: behind the random token that is its default, or JUPYTER_TOKEN's."""
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.ip={ip}",
        f"--ServerApp.root_dir={root}",
        "--KernelManager.transport=ipc",  # a TCP port of a kernel is open to every user of the machine
        "--Application.log_level=WARN",  # the address is printed at every level, and stands alone at this one
        *([f"--ServerApp.port={port}", "--ServerApp.port_retries=0"] if port is not None else []),
        *([] if browser else ["--no-browser"]),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]


def environment() -> dict[str, str]:
    """This process's environment with labkit/jupyter, what we set in JupyterLab, before the user's own settings.

    That is: keys' echoes are sent at once, and nobody is asked whether JupyterLab's news may be fetched.
    """
    paths = [str(SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}


def port_obstacle(ip: str, port: int | None) -> str | None:
    """Why JupyterLab can not listen there, on any port where None is given, and what to do; or None."""
    if port is not None and not 0 < port < 65536:
        return f"a port is a number from 1 to 65535, not {port}"
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:  # with SO_REUSEADDR, and "*" for all addresses, as Jupyter Server does it
        with socket.create_server(("" if ip == "*" else ip, port or 0), family=family):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"port {port} of {ip} is taken, perhaps by a JupyterLab that runs already (`jupyter server list`): "
                "take another one with --port, or leave --port out for the first one that is free from 8888 on"
            )
        if error.errno == errno.EACCES:
            return f"port {port} is for root: take one from 1024 on"
        return (
            f"nobody can listen on {ip} here ({error.strerror or error}): "
            f"leave --ip out for {LOOPBACK}, or name an address of this machine"
        )


def runtime_obstacle() -> tuple[str, str] | None:
    """Why Jupyter could not run a kernel from its runtime directory, and what to do; or None.

    Jupyter itself would end in a traceback, or, where only the path is too long, wait for a kernel for ever.
    """
    mend = "`export JUPYTER_RUNTIME_DIR=$(mktemp -d)` gives it another one; then start again"
    try:
        directory = jupyter_runtime_dir()
    except RuntimeError as error:  # no HOME, and a user whom nobody knows
        return f"Jupyter finds no home directory ({error})", "`export HOME=$(mktemp -d)`; then start again"
    if len(os.fsencode(directory + KERNEL_SOCKET)) > LONGEST_SOCKET:
        return (
            f"the path of Jupyter's runtime directory, {directory}, is too long for a kernel's sockets, "
            f"which take {LONGEST_SOCKET} bytes (unix(7))",
            mend,
        )
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"a connection file")
    except OSError as error:
        return f"Jupyter's runtime directory, {directory}, can not be written ({error.strerror})", mend
    return None


def has_browser() -> bool:
    """Is there one with a window, or one that BROWSER names? A browser for text would fight with the server for the
    terminal.
    """
    windows = any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
    try:
        return windows and bool(webbrowser.get())
    except webbrowser.Error:
        return False
