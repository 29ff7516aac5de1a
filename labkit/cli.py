"""The `labkit` command: look whether the lessons can run here, open them in JupyterLab, verify what they print."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import lessons, serving

FIRST = "00-start-here.ipynb"
COPY = Path("~/mount-namespace-lessons")  # at home, so that a learner finds the same work again from anywhere


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "start":
        start(arguments.directory, arguments.ip, arguments.port, arguments.browser)
    if arguments.command == "doctor":
        return doctor(arguments.json)
    return verify(arguments.notebooks)


def doctor(as_json: bool) -> int:
    """Say whether this machine can run the lessons; where not, why, and what mends it.

    Exit status: 0 all is well; 1 no lab can run here; 3 one can, but something that the lessons use is missing.
    """
    from .checkup import doctor

    found = doctor()
    print(found.json() if as_json else found)
    return found.status


def start(directory: Path, ip: str, port: int | None, browser: bool) -> NoReturn:
    """Copy the lessons to DIR on first use, later keep what was changed there, and become JupyterLab on them."""
    obstacle = ": ".join(serving.runtime_obstacle() or ()) or serving.port_obstacle(ip, port)
    if obstacle:
        sys.exit(f"labkit start: {obstacle}")
    try:
        news = lessons.bring(directory.expanduser())
    except RuntimeError as error:
        sys.exit(f"labkit start: {directory} leads nowhere ({error}): labkit start DIR names another directory")
    except OSError as error:
        sys.exit(f"labkit start: the lessons could not be copied to {directory}: {_reason(error)}")
    print(news, f"JupyterLab comes: begin with {FIRST}. Ctrl-C twice ends it.", sep="\n", flush=True)
    if browser and not serving.has_browser():
        print("No browser can be opened here: open the address below in one of yours.", flush=True)
        browser = False
    command = serving.command(news.directory, ip, port, browser)
    os.execve(command[0], command, serving.environment())


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = "choose a directory that you may write to: labkit start DIR"
        case errno.ENOSPC | errno.EDQUOT:
            advice = "make room (`df -h` shows where there is none) and start again; what was there is unharmed"
        case errno.ENOTDIR | errno.EEXIST | errno.EISDIR:
            advice = "there is something else of that name in the way; choose another directory: labkit start DIR"
        case _:
            advice = "choose another directory: labkit start DIR"
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror}{where}: {advice}"


def verify(paths: Sequence[Path]) -> int:
    """Run notebooks, by default all lessons, and compare what each cell prints with what is stored."""
    import pytest

    kit = lessons.source()
    chosen = [path.resolve() for path in paths] or sorted(kit.glob("*.ipynb"))
    if wrong := [path for path in chosen if path.suffix != ".ipynb" or not path.is_file()]:
        sys.exit(f"labkit verify: no notebook (.ipynb) is at {', '.join(map(str, wrong))}")
    return pytest.main(
        [
            "--nbval",
            "--nbval-current-env",
            f"--nbval-sanitize-with={kit / 'sanitize.cfg'}",
            f"--rootdir={os.path.commonpath([path.parent for path in chosen])}",
            f"--config-file={os.devnull}",  # the same run everywhere, whatever project it is called in
            "--override-ini=addopts=",
            "-pno:cacheprovider",  # the package's directory may be read-only
            *map(str, chosen),
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    begin = commands.add_parser("start", help="open the lessons in JupyterLab", description=start.__doc__)
    begin.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=COPY,
        metavar="DIR",
        help=f"where to work (default: {COPY})",
    )
    begin.add_argument(
        "--ip",
        default=serving.LOOPBACK,
        metavar="ADDRESS",
        help=f"listen on ADDRESS (default: {serving.LOOPBACK}, this machine alone; in a VM or a container, 0.0.0.0)",
    )
    begin.add_argument("--port", type=int, metavar="N", help="listen on port N (default: the first free from 8888)")
    begin.add_argument("--no-browser", dest="browser", action="store_false", help="print the address only")

    look = commands.add_parser("doctor", help="can this machine run the lessons?", description=doctor.__doc__)
    look.add_argument("--json", action="store_true", help="for a program")

    check = commands.add_parser("verify", help="run the lessons and compare", description=verify.__doc__)
    check.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: every lesson")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
