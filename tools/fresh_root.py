"""Try README's two commands on a fresh Debian: `make fresh-root SUITE=trixie`, as root, with mmdebstrap.

A minimal Debian is made in a tmpfs, with an ordinary user who has a clone of this repository. README's packages are
installed as it says, those for the tests after `make lab` only. This kernel is used, and this machine's network.

The tmpfs (3 GB will do) is in a mount namespace of this process, and each command in a PID namespace of its own: at the
end, however that comes, nothing is left.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from labkit.linux import CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, unshare
from tools.stage import stage

CLONE = Path(__file__).resolve().parent.parent
ROOT = Path("/mnt")  # of our own mount namespace
USER, HOME = "learner", "/home/learner"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PACKAGES = re.compile(r"`sudo apt install ([^`]+)`, and for the tests `([^`]+)`")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/lab(\?token=\w+)?")
# What this machine needs to reach its package registries.
HANDED_ON = re.compile(r"(?:PIP|NPM_CONFIG|npm_config)_\w+|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|REQUESTS_CA_BUNDLE")

# A process whose root is not that of its mount namespace gets no user namespace (unshare(2), EPERM): chroot would not
# do. The old root ends up upon the new one, and goes: pivot_root(2), NOTES.
ENTER = """
cd "$0"
mount --rbind /dev dev; mount --rbind /sys sys; mount -t proc proc proc; mount -t tmpfs tmpfs tmp
pivot_root . .; umount -l .; cd /
"$@"; exit $?
"""


def main() -> None:
    """Make the root, and run the commands in it, from nothing to the last test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="of Debian: bookworm, trixie, ...")
    suite = parser.parse_args().suite
    for_the_lab, for_the_tests = packages((CLONE / "README.md").read_text())
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", str(ROOT), "tmpfs")
    with stage(f"make a fresh {suite}"):
        run("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", suite, str(ROOT))
        run(*entered("useradd", "--create-home", "--shell", "/bin/bash", USER))
        hand_on_files()
    with stage(f"apt install {' '.join(for_the_lab)}"):
        install(for_the_lab)
    with stage("clone the repository"):
        run("git", "clone", "--quiet", "--no-hardlinks", str(CLONE), f"{ROOT}{HOME}/kit")
        run(*entered("chown", "-R", f"{USER}:", HOME))
    with stage("make lab, until JupyterLab answers"):
        wait_until_jupyterlab_answers()
    with stage(f"apt install {' '.join(for_the_tests)}"):
        install(for_the_tests)
    with stage("make test"):
        run(*as_the_user("env", "CI=true", "make", "test"))  # there a skip is a failure: README's packages are enough


def packages(readme: str) -> tuple[list[str], list[str]]:
    """The packages that README names: for the lab, and for the tests besides."""
    found = PACKAGES.search(readme)
    if not found:
        sys.exit("README.md has no longer the line `sudo apt install ...`, and for the tests `...`: see PACKAGES")
    return found[1].split(), found[2].split()


def run(*command: str) -> None:
    """Run a command, and end with its status if it fails."""
    if status := subprocess.run(command).returncode:
        sys.exit(f"This failed, with status {status}: {' '.join(command)}")


def entered(*command: str) -> list[str]:
    """The command in the root, in mount and PID namespaces of its own: it ends with all that it has started."""
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return [*namespaces, "sh", "-ec", ENTER, str(ROOT), *command]


def as_the_user(*command: str) -> list[str]:
    """The command in the clone, as the ordinary user, who has the system's programs."""
    own = {"HOME": HOME, "USER": USER, "LOGNAME": USER, "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    given = [f"{name}={value}" for name, value in {**handed_on(), **own}.items()]
    return entered("runuser", "-u", USER, "--", "env", "-i", f"--chdir={HOME}/kit", *given, *command)


def install(names: list[str]) -> None:
    """Install packages, without those that they recommend only."""
    run(*entered("apt-get", "update", "-qq"))
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "--no-install-recommends"]
    run(*entered(*quiet, "-o", "Dpkg::Use-Pty=0", *names))


def handed_on() -> dict[str, str]:
    """The settings of pip, npm and TLS in this environment."""
    return {name: value for name, value in os.environ.items() if HANDED_ON.fullmatch(name)}


def hand_on_files() -> None:
    """Copy the files that those settings name, and this machine's certificates, to the same places in the root."""
    for name in {BUNDLE, *handed_on().values()}:
        if name.startswith("/") and Path(name).is_file():
            copy = Path(f"{ROOT}{name}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(Path(name).read_bytes())


def wait_until_jupyterlab_answers() -> None:
    """Run `make lab`, take the address that it prints, and ask there."""
    command = as_the_user("make", "lab")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as lab:
        assert lab.stdout
        try:
            for line in lab.stdout:
                print(line, end="", flush=True)
                if found := ADDRESS.search(line):
                    print(f"JupyterLab answers: {answer(found[0].replace('/lab', '/api/status', 1), seconds=30)}")
                    return
        finally:
            lab.kill()
    sys.exit(f"make lab ended with status {lab.returncode}, and printed no address.")


def answer(address: str, seconds: float) -> str:
    """Ask there until somebody listens: Jupyter Server 2.21 prints its address before it does."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urlopen(address) as said:
                return f"{said.status} {said.read().decode()}"
        except URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
