"""JupyterLab as `labkit start` starts it, and Chromium to look at it: for the tests, the figures and the picture."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, sync_playwright

from labkit import serving

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
OPTIONS = (
    "--disable-background-networking --disable-component-update --disable-gpu --disable-quic --disable-sync "
    "--no-first-run"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's own Chromium: none is fetched."""
    with sync_playwright() as playwright:
        options = [*OPTIONS.split(), *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def jupyterlab(root: Path, *arguments: str) -> Iterator[tuple[str, str]]:
    """Its address and its token, on `root`; the settings of whoever calls are neither read nor written."""
    # Its name is short: a kernel's sockets are in there, and unix(7) takes 107 bytes.
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        places = {f"JUPYTER_{each}_DIR": f"{home}/{each.lower()}" for each in ("CONFIG", "DATA", "RUNTIME")}
        command = [*serving.command(root, browser=False), *arguments]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=serving.environment() | places
        ) as process:
            assert process.stdout
            said = []
            try:
                for line in process.stdout:
                    said.append(line)
                    if found := re.search(r"http://127\S+", line):
                        break
                else:
                    sys.exit("JupyterLab did not start: " + "".join(said))
                address = urlsplit(found[0])
                _wait_until_it_listens(process, address.port or 0)
                yield f"{address.scheme}://{address.netloc}", parse_qs(address.query)["token"][0]
            finally:
                process.terminate()
                process.communicate(timeout=60)


def _wait_until_it_listens(process: subprocess.Popen[str], port: int) -> None:
    """Jupyter Server 2.21 prints its address before it listens there."""
    while process.poll() is None:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    sys.exit(f"JupyterLab has ended with status {process.returncode}")


def write_notebook(path: Path, cells: Iterable[str]) -> None:
    """One whose kernel JupyterLab starts without asking."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=[*map(new_code_cell, cells)], metadata={"kernelspec": kernel}), path)
