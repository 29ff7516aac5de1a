"""The `labkit` command: open the lessons in JupyterLab, and check that they still print what they say."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PACKAGE = Path(__file__).resolve().parent
COPY = "mount-namespace-lab"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "start":
        start(arguments.directory, arguments.port, arguments.browser)
    return verify(arguments.notebooks)


def notebooks() -> Path:
    """Return the directory of the lessons: the clone's own, or the one inside the installed package."""
    return _clone() or PACKAGE / "notebooks"


def start(directory: Path | None, port: int | None, browser: bool) -> NoReturn:
    """Become JupyterLab on the lessons, reachable from this machine only; it prints its address."""
    try:
        root = workspace(directory)
    except OSError as error:
        sys.exit(f"labkit start: {error}")
    print(f"JupyterLab on {root}; Ctrl-C twice ends it.", flush=True)
    command = server(root, port, browser)
    os.execve(command[0], command, environment())


def server(root: Path, port: int | None, browser: bool) -> list[str]:
    """Return the command for JupyterLab on `root`: on loopback, behind the random token that is its default."""
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={root}",
        "--KernelManager.transport=ipc",  # a TCP port of a kernel is open to every user of the machine
        "--Application.log_level=WARN",  # the address is printed at every level, and stands alone at this one
        *([f"--ServerApp.port={port}", "--ServerApp.port_retries=0"] if port is not None else []),
        *([] if browser else ["--no-browser"]),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]


def environment() -> dict[str, str]:
    """Return this process's environment with labkit/jupyter, what we set in JupyterLab, before the user's own settings.

    That is: keys' echoes are sent at once, and nobody is asked whether JupyterLab's news may be fetched.
    """
    paths = [str(PACKAGE / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}


def workspace(directory: Path | None) -> Path:
    """Return the directory to work in: one that exists as it is, a new one with a copy of the lessons.

    So a learner's files are never written over, and the lessons come back by removing the copy.
    """
    root = directory or _clone() or Path(COPY)
    if not root.exists():
        shutil.copytree(notebooks(), root)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a directory")
    return root.resolve()


def verify(paths: Sequence[Path]) -> int:
    """Run notebooks, by default all lessons, and compare what each cell prints with what is stored."""
    import pytest

    lessons = notebooks()
    chosen = [path.resolve() for path in paths] or sorted(lessons.glob("*.ipynb"))
    return pytest.main(
        [
            "--nbval",
            "--nbval-current-env",
            f"--nbval-sanitize-with={lessons / 'sanitize.cfg'}",
            f"--rootdir={lessons}",
            f"--config-file={os.devnull}",  # the same run everywhere, whatever project it is called in
            "--override-ini=addopts=",
            "-pno:cacheprovider",  # the package's directory may be read-only
            *map(str, chosen),
        ]
    )


def _clone() -> Path | None:
    """Return the clone's directory of lessons, if this package is imported from a clone."""
    lessons = PACKAGE.parent / "notebooks"
    return lessons if lessons.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file() else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    begin = commands.add_parser("start", help="open the lessons in JupyterLab", description=start.__doc__)
    begin.add_argument(
        "directory",
        nargs="?",
        type=Path,
        metavar="DIR",
        help=f"where to work; a new directory gets a copy of the lessons (default: the clone's, or ./{COPY})",
    )
    begin.add_argument("--port", type=int, metavar="N", help="listen on port N (default: the first free from 8888)")
    begin.add_argument("--no-browser", dest="browser", action="store_false", help="print the address only")

    check = commands.add_parser("verify", help="run the lessons and compare", description=verify.__doc__)
    check.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: every lesson")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
