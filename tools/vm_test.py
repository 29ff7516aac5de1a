"""Boot the virtual machine for real, use it as a class does, and prove that nothing of it is left: `make vm-test`.

It needs root, for libvirt's network. vm/private-libvirt gives it a libvirt in namespaces: when this program ends, by
whatever death, the machine and its networks end too. Its files are below build/vm-test, which is emptied; after a
SIGKILL, by the next run.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn

from tests.leaks import Watch
from tools.stage import stage

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "vm-test"
CLONE = WORK / "clone"  # where `vagrant` runs: a copy of ours, in which a kit may become a newer one
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
PROGRAMS = {
    "vagrant": "vagrant vagrant-libvirt",
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "dnsmasq": "dnsmasq-base",
    "qemu-system-x86_64": "qemu-system-x86",
    "ip": "iproute2",
    "ps": "procps",
    "rsync": "rsync",
    "ssh": "openssh-client",
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:8888/lab\?token=[0-9a-f]{48}")
LESSONS = "/home/student/mount-namespace-lessons"
CHANGED, UNTOUCHED = "01-mount-namespaces.ipynb", "02-clone-and-unshare.ipynb"  # by the student


def main() -> int:
    """Build the box and test it in namespaces; look at the host before and after."""
    if obstacle := what_is_missing():
        sys.exit(f"make vm-test: {obstacle}")
    signal.signal(signal.SIGTERM, _end)
    WORK.mkdir(parents=True, exist_ok=True)
    empty(WORK)
    for directory in ("watched", "tmp"):
        (WORK / directory).mkdir()
    watch, before = Watch(WORK / "watched"), host()
    try:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "VAGRANT_"))
        }
        environment["TMPDIR"] = str(WORK / "tmp")
        with stage("make box"):
            subprocess.run(["make", "--no-print-directory", "box"], cwd=ROOT, env=environment, check=True)
        copy_the_clone()
        command = [str(ROOT / "vm" / "private-libvirt"), str(WORK), sys.executable, "-m", "tools.vm_test", "inside"]
        status = subprocess.run(command, cwd=ROOT, env={**environment, **vagrants_own()}).returncode
    finally:
        left = watch.wait_until_nothing_is_left(30)  # no process, above all, which would write files still
        empty(WORK)
    after = host()
    left += [f"{what}: {before[what]} before, {after[what]} now" for what in after if after[what] != before[what]]
    print("\n== left on the host:", *left or ["no process, mount, file, interface: nothing"], sep="\n   ")
    return status or bool(left)


def inside() -> int:
    """Test in the namespaces that vm/private-libvirt made: here nothing else runs."""
    os.chdir(CLONE)
    failures: list[str] = []

    def check(what: str, holds: bool, said: object = "") -> None:
        print(f"   {'ok' if holds else 'NOT SO'}: {what}{f' ({said})' if said != '' else ''}", flush=True)
        if not holds:
            failures.append(what)

    with stage("vagrant up"):
        _, output = vagrant("up")
    address = output.split()[-1]
    if not ADDRESS.fullmatch(address):
        sys.exit(f"vagrant up should end with the address of JupyterLab, and ended with:\n{output[-2000:]}")
    check("labkit doctor found all well", "Yes: this machine can run the lessons." in output, guest("uname -r").strip())

    with stage("JupyterLab over the forwarded port"):
        page, token = address.split("?")
        interface = page.removesuffix("lab") + "api/contents"
        check("the page is there with the token", *answers(address, 200))
        check("without it, one is asked for the token", *answers(page, 200, ends_at="/login"))
        check("the contents are there with the token", *answers(f"{interface}?{token}", 200))
        check("without it they are not", *answers(interface, 403))
        check("with another one they are not", *answers(f"{interface}?token={'0' * 48}", 403))
        check("the port is open on 127.0.0.1 only", listening(8888) == ["127.0.0.1"], listening(8888))

    with stage("the student"):
        check("is in no group but their own", guest("id -nG", "student").split() == ["student"])
        refusal = guest("sudo -n true 2>&1 || true", "student").strip()
        check("becomes root by no sudo", "password is required" in refusal, refusal)
        writable = guest("find /opt/mount-namespace-lab /vagrant -writable ! -type l", "student").split()
        check("can change nothing of the kit", writable == [], writable[:3])
        compiled = int(guest("find /opt/mount-namespace-lab -name '*.pyc' | wc -l"))
        check("has it byte-compiled", compiled > 1000, f"{compiled} files")

    with stage("labkit verify"):
        status, _ = vagrant("ssh", "--command", as_user("timeout 1200 labkit verify", "student"), must=False)
        check("every lesson prints what it says", status == 0, f"exit status {status}")

    guest(f"cd {LESSONS} && echo mine >mine.txt && sed --in-place s/mount/MOUNT/ {CHANGED}", "student")
    guest("echo vagrant:vagrant | chpasswd")  # as in a public box
    hash_all = f"cd {LESSONS} && sha256sum $(ls | grep --invert-match {UNTOUCHED})"
    main_process = "systemctl show --property=MainPID jupyterlab"
    theirs, served = guest(hash_all), guest(main_process)
    with stage("vagrant provision, a second time"):
        _, output = vagrant("provision")
        check("the address is the same", output.split()[-1] == address)
        check("JupyterLab was not disturbed", guest(main_process) == served)
        check("the student's files are as they were, byte for byte", guest(hash_all) == theirs)
        check("nobody logs in by the box's password", guest("passwd --status vagrant").split()[1] == "L")

    with stage("vagrant rsync and vagrant provision, with a newer kit"):
        with open("labkit/__init__.py", "a") as file:
            file.write("# newer\n")
        for lesson in (Path("notebooks", CHANGED), Path("notebooks", UNTOUCHED)):
            notebook = json.loads(lesson.read_text())
            notebook["cells"][0]["source"].append("newer")
            lesson.write_text(json.dumps(notebook))
        vagrant("rsync")
        vagrant("provision")
        last = guest("tail --lines=1 /opt/mount-namespace-lab/lib/python3*/site-packages/labkit/__init__.py").strip()
        check("it is installed", last == "# newer", last)
        check("JupyterLab began again", guest(main_process) != served)
        check("and answers with the same token", *answers(address, 200))
        check("the student's files are as they were, byte for byte", guest(hash_all) == theirs)
        first_cell = json.loads(guest(f"cat {LESSONS}/{UNTOUCHED}"))["cells"][0]
        check("what the student had not changed is renewed", first_cell["source"][-1] == "newer")

    with stage("JupyterLab that is shut down from its page"):
        served = guest(main_process).strip()
        shut_down = urllib.request.Request(f"{page.removesuffix('lab')}api/shutdown?{token}", method="POST")
        urllib.request.urlopen(shut_down, timeout=60).close()
        again = f'[[ $({main_process}) != "{served}" ]] && systemctl --quiet is-active jupyterlab'
        guest(f"until {again}; do sleep 0.2; done")
        check("is there again", *answers(address, 200))

    with stage("JupyterLab that can not start"):
        guest(f"mv {LESSONS} /root/kept && touch {LESSONS} && systemctl stop jupyterlab")
        status, said = vagrant("provision", must=False)
        check("the provision ends with what JupyterLab said", status != 0 and "that name in the way" in said)
        guest(f"systemctl stop jupyterlab && rm {LESSONS} && mv /root/kept {LESSONS} && systemctl start jupyterlab")
        check("and with nothing in its way it is there", *answers(address, 200))

    with stage("a provision where no lab can run"):
        sysctl = "sysctl --quiet --write user.max_user_namespaces"
        said = guest(
            f"was=$(sysctl -n user.max_user_namespaces); {sysctl}=0; /vagrant/vm/provision.sh; echo $?; {sysctl}=$was"
        )
        check("it fails, as labkit doctor does", said.split()[-1] == "1", said.split()[-1])
        check("which says why", "No: this machine can not run a lab yet." in said)

    with stage("labkit doctor, and its mends"):
        for name in ("kernel.unprivileged_userns_clone", "user.max_user_namespaces", "user.max_mnt_namespaces"):
            guest(f"sysctl --quiet --write {name}=0")
            refused = doctors_first("student")
            check(f"{name}=0 is named", f"{name} is 0" in refused["why"], refused["why"].splitlines()[0])
            guest(refused["mend"])
            check(f"and mended by: {refused['mend']}", guest("labkit doctor", "student").startswith("Yes"))

    with stage("vagrant destroy"):
        vagrant("destroy", "--force")
        check("no machine is left", virsh("list", "--all", "--name") == [])
        check("no network is left", virsh("net-list", "--all", "--name") == [])
        disks = [name for name in virsh("vol-list", "default") if name.endswith(".img") and "box_image" not in name]
        check("no disk is left but the box's", disks == [], disks)
        check("nobody listens", listening(8888) == [])
        running = subprocess.run(["ps", "-A", "-o", "comm="], capture_output=True, text=True, check=True).stdout.split()
        strangers = sorted(set(running) - {"private-libvirt", "libvirtd", Path(sys.executable).name, "python3", "ps"})
        check("no process is left", strangers == [], " ".join(strangers))

    print("\n== not so:" if failures else "\n== all is so", *failures, sep="\n   ", flush=True)
    return bool(failures)


def what_is_missing() -> str | None:
    """Return why this machine cannot run the test, and what mends it."""
    if os.geteuid() != 0:
        return "libvirt makes networks, which needs root, and this is an ordinary user: sudo make vm-test"
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=PATH)]
    return f"programs are missing: apt install --no-install-recommends {' '.join(missing)}" if missing else None


def copy_the_clone() -> None:
    """Make CLONE, in which the box is the one that was built."""
    excluded = [f"--exclude={name}" for name in (".git", ".venv", "/build", "node_modules", "__pycache__")]
    subprocess.run(["rsync", "--archive", *excluded, f"{ROOT}/", CLONE], check=True)
    (CLONE / "build").mkdir()
    (CLONE / "build" / "mount-namespace-lab.box").symlink_to(ROOT / "build" / "mount-namespace-lab.box")


def vagrants_own() -> dict[str, str]:
    """Return the settings that keep Vagrant's files below WORK and its questions off the network."""
    return {
        "PATH": PATH,
        "VAGRANT_HOME": str(WORK / "home"),
        "VAGRANT_DOTFILE_PATH": str(WORK / "machine"),
        "VAGRANT_DEFAULT_PROVIDER": "libvirt",
        "VAGRANT_CHECKPOINT_DISABLE": "1",
    }


def vagrant(*arguments: str, must: bool = True) -> tuple[int, str]:
    """Run vagrant, show what it says, and return its exit status and that."""
    with subprocess.Popen(
        ["vagrant", "--no-tty", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        said = []
        for line in process.stdout:
            print(f"   {line}", end="", flush=True)
            said.append(line)
    if must and process.returncode:
        sys.exit(
            f"vagrant {' '.join(arguments)} ended with exit status {process.returncode}: what it said stands above"
        )
    return process.returncode, "".join(said)


def guest(script: str, user: str = "root") -> str:
    """Run a command in the machine and return what it printed."""
    command = ["vagrant", "ssh", "--command", as_user(script, user)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def doctors_first(user: str) -> dict[str, str]:
    """Return what `labkit doctor` finds first that is not well."""
    found = json.loads(guest("labkit doctor --json; true", user))
    bad: dict[str, str] = next(finding for finding in found["findings"] if finding["ok"] is False)
    return bad


def as_user(script: str, user: str) -> str:
    """Return the command by which Vagrant's user runs `script` as a user who logs in."""
    return f"sudo runuser --login {user} --command {shlex.quote(script)}"


def virsh(*arguments: str) -> list[str]:
    """Ask libvirt."""
    command = ["virsh", "--quiet", "--connect", "qemu:///system", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def answers(address: str, status: int, ends_at: str = "") -> tuple[bool, str]:
    """Does the server answer with that status, at an address that has `ends_at` in it? And what did it answer?"""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            got, where = answer.status, answer.url
    except urllib.error.HTTPError as error:
        got, where = error.code, error.url or ""
    return got == status and ends_at in where, f"{got}{ends_at and f' at {where}'}"


def listening(port: int) -> list[str]:
    """Return the addresses at which somebody listens on `port`, as ss(8) shows them."""
    command = ["ss", "--no-header", "--listening", "--tcp", "--numeric", f"sport = :{port}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split()[3].rpartition(":")[0] for line in lines]


def host() -> dict[str, list[str]]:
    """Return what libvirt, Vagrant and mmdebstrap could leave on the host besides processes and mounts."""
    libvirts = [
        Path("/etc/libvirt"),
        *(Path(f"/{each}/libvirt") for each in ("run", "var/lib", "var/cache", "var/log")),
    ]
    return {
        "network interfaces": sorted(os.listdir("/sys/class/net")),
        "block devices": sorted(os.listdir("/sys/block")),
        "libvirt's files": sorted(str(path) for directory in libvirts for path in directory.rglob("*")),
        "files in the clone": sorted(os.listdir(ROOT)),
        "files at home": sorted(os.listdir(Path.home())),
    }


def empty(directory: Path) -> None:
    """Remove what is in a directory."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _end(*_: object) -> NoReturn:
    sys.exit("make vm-test: ended by SIGTERM")  # an exception, so that `finally` is reached


if __name__ == "__main__":
    raise SystemExit(inside() if sys.argv[1:] == ["inside"] else main())
