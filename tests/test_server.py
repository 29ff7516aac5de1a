"""The server extension is installed with the package, and Jupyter Server takes it."""

import asyncio
import ctypes
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tornado.websocket import websocket_connect

from labkit.processes import descendants
from tools.browsing import jupyterlab

PIDFD_GETFD = 438  # on every architecture: Linux 5.6


def test_the_installation_enables_it():
    command = [sys.executable, "-m", "jupyter", "server", "extension", "list"]
    run = subprocess.run(command, capture_output=True, text=True)
    said = [line.split() for line in re.sub(r"\x1b\[\d+m", "", run.stdout + run.stderr).splitlines()]
    assert ["labkit.server", "enabled"] in said
    assert [line for line in said if line[:1] == ["labkit.server"] and line[-1] == "OK"] != []


@pytest.mark.parametrize("arguments", [(), ("--ServerApp.jpserver_extensions={'labkit.server': False}",)])
def test_the_kernels_websocket_sends_at_once(tmp_path, arguments):
    """And without the extension it does not: once Jupyter Server sets TCP_NODELAY itself, ours can go."""
    with jupyterlab(tmp_path, *arguments) as (address, token):
        head = {"Authorization": f"token {token}"}
        with urlopen(Request(f"{address}/api/kernels", b"{}", head)) as answer:
            kernel = json.load(answer)["id"]

        async def nodelay():
            url = f"{address.replace('http', 'ws')}/api/kernels/{kernel}/channels?token={token}"
            page = await websocket_connect(url)
            here = page.protocol.stream.socket.getsockname()
            try:
                header = {"msg_id": "1", "msg_type": "kernel_info_request", "session": "1", "username": ""}
                ask = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": {}}
                await page.write_message(json.dumps(ask))
                await page.read_message()  # now it is connected with the kernel
                with server_side(here) as there:
                    return there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            finally:
                page.close()
                while await page.read_message() is not None:
                    pass

        assert asyncio.run(nodelay()) is (not arguments)
        with urlopen(Request(f"{address}/api/kernels/{kernel}", headers=head, method="DELETE")) as answer:
            assert answer.status == 204


def server_side(peer):
    """The socket that JupyterLab, a child of this process, has towards `peer`: pidfd_getfd(2)."""
    server = next(
        process.pid
        for process in descendants(os.getpid())
        if b"jupyterlab" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    )
    pidfd = os.pidfd_open(server)
    try:
        for name in os.listdir(f"/proc/{server}/fd"):
            if os.readlink(f"/proc/{server}/fd/{name}").startswith("socket:"):
                fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, int(name), 0)
                assert fd >= 0, os.strerror(ctypes.get_errno())
                mine = socket.socket(fileno=fd)
                with suppress(OSError):
                    if mine.getpeername() == peer:
                        return mine
                mine.close()
    finally:
        os.close(pidfd)
    raise AssertionError(f"JupyterLab has no connection with {peer}")


def test_nobody_is_asked_about_news(tmp_path):
    with jupyterlab(tmp_path) as (address, token), urlopen(f"{address}/lab?token={token}") as answer:
        settings = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', answer.read().decode(), re.DOTALL)
    assert "@jupyterlab/apputils-extension:announcements" in json.loads(settings[1])["disabledExtensions"]
