"""labkit.sandbox.rootfs: a root built in namespaces of a throw-away child, and looked at from inside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.marks import Mark, MarkParser
from labkit.sandbox import rootfs

HOME = str(Path(labkit.__file__).parents[1])
PREFIX = "" if sys.base_prefix in ("/usr", "/") else sys.base_prefix
NONCE = "0123456789ab"

CHILD = r"""
import errno, json, os, stat, subprocess, sys
sys.path.insert(0, sys.argv[1])
from labkit.linux import *
from labkit.sandbox import agent, rootfs
home, prefix, nonce = sys.argv[1:]

def sh(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return [done.returncode, done.stdout, done.stderr]

def refused(call, *arguments):
    try: call(*arguments)
    except OSError as error: return errno.errorcode[error.errno]

def findmnt():
    columns = "TARGET,SOURCE,FSTYPE,VFS-OPTIONS,PROPAGATION,FSROOT"
    return json.loads(subprocess.check_output(["findmnt", "--json", "--list", "-o", columns]))["filesystems"]

def statvfs(path):
    s = os.statvfs(path)
    return dict(bytes=s.f_frsize * s.f_blocks, inodes=s.f_files, ro=bool(s.f_flag & os.ST_RDONLY))

def tree(path, depth):
    found = {}
    for name in sorted(os.listdir(path)):
        full = os.path.join(path, name)
        if not os.path.islink(full):
            found[full] = stat.filemode(os.lstat(full).st_mode)
            if stat.S_ISDIR(os.lstat(full).st_mode) and depth and not os.path.ismount(full):
                found |= tree(full, depth - 1)
    return found

def attempts():
    open("/tmp/mine", "w").close()
    tried = {}
    for path in ("/usr/x", "/etc/hosts", "/etc/new", "/run/host/etc/x", "/opt/x", "/usr/bin/env"):
        tried[path] = refused(open, path, "a")
    for path in ("/usr", "/run/host/etc", "/opt"):
        if os.path.ismount(path):
            tried["remount " + path] = refused(mount, None, path, None, MS_REMOUNT | MS_BIND)
            tried["setattr " + path] = refused(mount_setattr, AT_FDCWD, path, 0, 0, MOUNT_ATTR_RDONLY)
    tried["umount /usr"] = refused(umount2, "/usr")
    return tried

def inside():
    rootfs.build(prefix, kit, nonce)
    said = dict(
        findmnt=findmnt(),
        root=sorted(os.listdir("/")),
        cwd=os.getcwd(),
        pids=[name for name in os.listdir("/proc") if name.isdigit()],
        modes={path: stat.filemode(os.stat(path).st_mode) for path in ("/", "/root", "/tmp", "/var/tmp", "/dev/shm", "/dev", "/run/labkit/bin/su")},
        sizes={path: statvfs(path) for path in ("/", "/dev", "/usr", "/run/host/etc")},
        tree=tree("/", 2),
        devices={name: [stat.S_ISCHR(os.stat("/dev/" + name).st_mode), os.major(os.stat("/dev/" + name).st_rdev), os.minor(os.stat("/dev/" + name).st_rdev)]
                 for name in rootfs.DEVICES},
        zero=open("/dev/zero", "rb").read(3) == bytes(3),
        full=refused(lambda: open("/dev/full", "wb", 0).write(b"x")),
        null=refused(lambda: open("/dev/null", "wb", 0).write(b"x")),
        random=len(set(open("/dev/urandom", "rb").read(1000))) > 100,
        pty=sh("/usr/bin/python3" if not prefix else "/run/labkit/bin/python3", "-c", "import os; master, slave = os.openpty(); print(os.ttyname(slave))"),
        links={link: os.path.exists(link) or os.readlink(link) for link in rootfs.LINKS},
        files={path: open(path).read() for path in rootfs.FILES},
        etc={name: os.readlink("/etc/" + name) for name in os.listdir("/etc") if os.path.islink("/etc/" + name)},
        etc_host=sorted(os.listdir("/run/host/etc")),
        kit={path: open(path, "rb").read() == content for path, content in kit.items()},
        programs={name: sh(name, "--version")[0] for name in ("bash", "sh", "findmnt", "unshare", "mount", "df")},
        python=sh("/run/labkit/bin/python3", "-c", "import sys, labkit.linux; print(labkit.linux.__file__, *sys.version_info[:2])"),
        root_user=sh("id", "-un"),
        hostname=sh("getent", "hosts", "server"),
        attempts=attempts(),
    )
    os.write(say, json.dumps(said).encode())

# As the agent does it: first the host is sealed, then the seal is locked in a second user namespace.
kit = agent._read_kit(home + "/labkit")
if prefix:
    rootfs.stage(prefix)
rootfs.seal()
sealed = findmnt()
agent._enter_user_namespace(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)
said, say = os.pipe()
pid = clone(inside, SIGCHLD)
os.close(say)
with open(said) as file:
    answer = file.read()
assert os.waitpid(pid, 0)[1] == 0
print(json.dumps(dict(sealed=sealed, **json.loads(answer))))
"""  # noqa: E501


@pytest.fixture(scope="module")
def lab() -> dict[str, Any]:
    """What was seen in a root that was just built."""
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        sys.executable,
        "-I",
        "-c",
        CHILD,
        HOME,
        PREFIX,
        NONCE,
    ]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# --- the seal


def test_the_seal_makes_every_mount_of_the_host_read_only_but_proc(lab: dict[str, Any]) -> None:
    """And private: nothing that the host mounts later gets in. /proc stays as it was: a fresh one needs it."""
    below = [row for row in lab["sealed"] if not row["target"].startswith("/proc")]
    assert len(below) >= 2
    assert {row["target"] for row in below if "ro" not in row["vfs-options"].split(",")} == set()
    assert {row["propagation"] for row in lab["sealed"]} == {"private"}
    (proc,) = [row for row in lab["sealed"] if row["target"] == "/proc"]
    assert "rw" in proc["vfs-options"].split(",")


def test_the_lab_can_not_write_what_is_the_hosts(lab: dict[str, Any]) -> None:
    """No file, no directory, and no remount gives the right back: mount_namespaces(7), locked flags (EPERM)."""
    tried = lab["attempts"]
    for path in ("/usr/x", "/run/host/etc/x", "/usr/bin/env"):
        assert tried[path] in ("EROFS", "EACCES"), path
    remounts = {what: said for what, said in tried.items() if what.startswith(("remount", "setattr"))}
    assert len(remounts) >= 4
    assert set(remounts.values()) == {"EPERM"}


def test_the_labs_own_etc_is_its_own(lab: dict[str, Any]) -> None:
    assert (lab["attempts"]["/etc/hosts"], lab["attempts"]["/etc/new"]) == (None, None)


def test_what_the_lab_mounted_it_may_unmount(lab: dict[str, Any]) -> None:
    """The lesson goes wrong, not the host."""
    assert lab["attempts"]["umount /usr"] is None


# --- the mounts


def test_the_mount_table_is_short_and_holds_nothing_of_the_host(lab: dict[str, Any]) -> None:
    """findmnt(8), run inside. What hangs below /usr, /etc and /opt of this machine is its own affair."""
    borrowed = ("/usr", "/run/host/etc", "/opt", rootfs.PYTHON, "/bin", "/sbin", "/lib")
    rows = {row["target"]: row for row in lab["findmnt"]}
    ours = {target: row["fstype"] for target, row in rows.items() if not target.startswith(borrowed)}
    nodes = {f"/dev/{name}" for name in rootfs.DEVICES}
    assert set(ours) == {"/", "/proc", "/dev", "/dev/pts", *nodes}
    assert [ours[target] for target in ("/", "/proc", "/dev", "/dev/pts")] == ["tmpfs", "proc", "tmpfs", "devpts"]
    assert {"/usr", "/run/host/etc"} <= set(rows)
    assert (rootfs.PYTHON in rows) is bool(PREFIX)
    assert {row["propagation"] for row in rows.values()} == {"private"}
    assert (rows["/"]["source"], rows["/"]["fsroot"]) == ("tmpfs", "/")


def test_proc_is_its_own(lab: dict[str, Any]) -> None:
    """Mounted in the lab's PID namespace: it shows the lab's processes, and may not be executed from."""
    assert lab["pids"][0] == "1"
    (proc,) = [row for row in lab["findmnt"] if row["target"] == "/proc"]
    assert {"nosuid", "nodev", "noexec"} < set(proc["vfs-options"].split(","))


def test_the_old_root_is_gone(lab: dict[str, Any]) -> None:
    """Everything at the root was made or bound by us."""
    top = {path.split("/")[1] for path in rootfs.DIRECTORIES}
    borrowed = {name for name in os.listdir("/") if name in ("bin", "sbin") or name.startswith("lib")}
    assert set(lab["root"]) == top | borrowed
    assert lab["cwd"] == "/"


@pytest.mark.parametrize(
    "name", [name for name in os.listdir("/") if name in ("bin", "sbin") or name.startswith("lib")]
)
def test_programs_and_libraries_are_where_the_host_has_them(lab: dict[str, Any], name: str) -> None:
    """On a merged /usr links, on others directories of their own."""
    bound = f"/{name}" in {row["target"] for row in lab["findmnt"]}
    assert bound is (os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"))


def test_every_tmpfs_has_limits(lab: dict[str, Any]) -> None:
    """tmpfs(5): half of the memory, unless told."""
    assert lab["sizes"]["/"] == {"bytes": 256 << 20, "inodes": 64 << 10, "ro": False}
    assert lab["sizes"]["/dev"] == {"bytes": 1 << 20, "inodes": 1 << 10, "ro": False}
    assert lab["sizes"]["/usr"]["ro"]
    assert lab["sizes"]["/run/host/etc"]["ro"]
    assert len([row for row in lab["findmnt"] if row["fstype"] == "tmpfs" and row["fsroot"] == "/"]) >= 2


# --- directories, devices, files


def test_modes(lab: dict[str, Any]) -> None:
    assert lab["modes"] == {
        "/": "drwxr-xr-x",
        "/root": "drwx------",
        "/tmp": "drwxrwxrwt",
        "/var/tmp": "drwxrwxrwt",
        "/dev/shm": "drwxrwxrwt",
        "/dev": "drwxr-xr-x",
        "/run/labkit/bin/su": "-rwxr-xr-x",
    }


def test_every_directory_is_there(lab: dict[str, Any]) -> None:
    listed = [path for path in rootfs.DIRECTORIES if path.count("/") <= 3 and path not in ("/proc", "/usr")]
    assert {path: lab["tree"].get(path, "none")[0] for path in listed} == dict.fromkeys(listed, "d")


def test_the_devices_are_the_kernels(lab: dict[str, Any]) -> None:
    """Documentation/admin-guide/devices.txt."""
    assert lab["devices"] == {
        "null": [True, 1, 3],
        "zero": [True, 1, 5],
        "full": [True, 1, 7],
        "random": [True, 1, 8],
        "urandom": [True, 1, 9],
        "tty": [True, 5, 0],
    }
    assert (lab["zero"], lab["full"], lab["null"], lab["random"]) == (True, "ENOSPC", None, True)


def test_terminals_are_its_own(lab: dict[str, Any]) -> None:
    """A devpts of its own counts from 0: devpts(5), newinstance."""
    assert lab["pty"] == [0, "/dev/pts/0\n", ""]


def test_every_link_leads_somewhere(lab: dict[str, Any]) -> None:
    """/dev/std* lead to what the process has open."""
    assert set(lab["links"]) == set(rootfs.LINKS)
    assert {link for link, there in lab["links"].items() if there is not True and "std" not in link} == set()


def test_the_files_say_who_and_where(lab: dict[str, Any]) -> None:
    assert lab["files"]["/etc/hostname"] == "server\n"
    assert {path: text for path, text in lab["files"].items() if "NONCE" in text} == {}
    assert lab["files"]["/root/.bashrc"].count(f"aid={NONCE}") >= 4
    assert lab["root_user"] == [0, "root\n", ""]
    assert lab["hostname"][:2] == [0, "127.0.0.1       localhost server\n"]


def test_the_rest_of_etc_is_the_hosts_by_link(lab: dict[str, Any]) -> None:
    """Names that the lab has itself are its own; all others lead to the host's, read-only."""
    own = {path.split("/")[2] for path in (*rootfs.FILES, *rootfs.LINKS) if path.startswith("/etc/")}
    assert set(lab["etc_host"]) - own <= set(lab["etc"])
    links = {name: target for name, target in lab["etc"].items() if name != "mtab"}
    assert links == {name: f"/run/host/etc/{name}" for name in links}
    assert not own - {"mtab"} & set(lab["etc"])


def test_the_kit_for_its_python_is_a_copy(lab: dict[str, Any]) -> None:
    modules = {path.name for path in (Path(HOME) / "labkit" / "linux").glob("*.py")}
    assert {Path(path).name for path in lab["kit"] if "/linux/" in path} == modules
    assert set(lab["kit"].values()) == {True}


def test_programs_run(lab: dict[str, Any]) -> None:
    assert {name for name, status in lab["programs"].items() if status != 0 and name != "sh"} == set()


def test_python3_is_the_notebooks_and_has_labkit_linux(lab: dict[str, Any]) -> None:
    version = f"{sys.version_info.major} {sys.version_info.minor}"
    assert lab["python"] == [0, f"{rootfs.KIT}/labkit/linux/__init__.py {version}\n", ""]


# --- what the shells are told


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize(
    "script", [rootfs.PYTHON3.format(kit="/k", prefix="/p", version=sys.version_info)], ids=["python3"]
)
def test_scripts_are_sh(shell: str, script: str) -> None:
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def su(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The lab's su(1), on this machine's bash, which reads no file of the user's: HOME is elsewhere."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/", "TERM": "dumb", "KEPT": "kept"}
    command = ["bash", "-c", rootfs.SU.replace("HOME=/root", "HOME=/"), "su", *arguments]
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["-c", "echo $KEPT; exit 3"], "kept\n"),
        (["--command", "echo $KEPT; exit 3", "root"], "kept\n"),
        (["root", "-c", "echo $KEPT $0; exit 3"], "kept /bin/bash\n"),
        (["-", "-c", "echo $KEPT$HOME; exit 3"], "/\n"),
        (["-l", "root", "-c", "echo $KEPT$HOME; exit 3"], "/\n"),
        (["--login", "-c", "echo $KEPT$HOME; exit 3"], "/\n"),
    ],
)
def test_su_runs_a_command_as_root_with_or_without_a_login(arguments: list[str], output: str) -> None:
    done = su(*arguments)
    assert (done.returncode, done.stdout) == (3, output)


def test_su_knows_nobody_else() -> None:
    done = su("nobody")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "su: the lab has one user, root: not nobody\n")


def prompts(*, program: str, script: str) -> tuple[list[bytes | Mark], int]:
    """The pieces of what a shell that has read the lab's .bashrc says with `script`, and its pid.

    A shell that is not interactive unsets PS1 and PS2 when it starts: bash(1), INVOCATION.
    """
    text = rootfs.BASHRC.replace("NONCE", NONCE)
    done = subprocess.run(
        [
            "bash",
            "--norc",
            "-c",
            f'{text}\nexport ONE=$PS1 TWO=$PS2 HOSTNAME=server; cd /; exec {program} -c "$SCRIPT"',
        ],
        env={"PATH": os.environ["PATH"], "SCRIPT": f"PS1=$ONE PS2=$TWO; echo $$; {script}"},
        capture_output=True,
        check=True,
    )
    pid, _, said = done.stdout.partition(b"\n")
    return list(MarkParser(NONCE).feed(said)), int(pid)


def test_the_prompts_of_bash_are_marked() -> None:
    """${PS1@P} is the prompt as bash expands it (bash 4.4); \\[ and \\] stand there as \\001 and \\002."""
    marked, pid = prompts(
        program="bash --norc", script='eval "$PROMPT_COMMAND"; false; printf %s "${PS1@P}|${PS2@P}|${PS0@P}"'
    )
    marks = [piece for piece in marked if isinstance(piece, Mark)]
    assert [bool(mark.moment) for mark in marks] == [True, True, True, True, False]  # when the prompt was made
    assert [replace(mark, moment="") for mark in marks] == [
        Mark("D", pid, status=1),
        Mark("A", pid),
        Mark("B", pid),
        Mark("A", pid, secondary=True),
        Mark("C", pid),
    ]
    text = b"".join(piece for piece in marked if isinstance(piece, bytes))
    assert re.sub(rb"[\x01\x02]", b"", text) == b"root@server:/# |> |"


def test_the_prompt_is_marked_once_however_often_the_command_runs() -> None:
    """PROMPT_COMMAND runs before each prompt, and a nested shell inherits what the first one made of PS1."""
    again = 'eval "$PROMPT_COMMAND"; eval "$PROMPT_COMMAND"; '
    once, _ = prompts(program="bash --norc", script='eval "$PROMPT_COMMAND"; printf %s "${PS1@P}"')
    twice, _ = prompts(program="bash --norc", script=again + 'printf %s "${PS1@P}"')
    assert [getattr(piece, "letter", piece) for piece in once] == [getattr(piece, "letter", piece) for piece in twice]


def test_printing_the_variables_prints_no_mark() -> None:
    """As `env` and `set` do: a mark there would end a command that has not ended."""
    for program in ("bash --norc", "dash"):
        marked, _ = prompts(program=program, script='eval "$PROMPT_COMMAND" 2>/dev/null; env; set')
        assert [piece for piece in marked if isinstance(piece, Mark)] == []


def test_what_the_notebooks_umask_is_does_not_matter() -> None:
    """umask(2) is inherited by every process: with that of a careful user (077) the same lab must come out."""
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.umask(int(sys.argv[2], 8))
from labkit.lab import Lab
with Lab() as lab:
    found = "find / /dev -xdev -maxdepth 3 ! -type l ! -path '/proc/*' -printf '%m %p\\n'"
    print(lab.left.run(f"umask; {found} | sort -k 2").output)
"""
    shown = {
        umask: subprocess.run(
            [sys.executable, "-c", code, HOME, umask], check=True, capture_output=True, text=True
        ).stdout
        for umask in ("022", "077")
    }
    assert shown["077"].splitlines() == shown["022"].splitlines()
    assert shown["022"].startswith("0022\n")
    assert len(shown["022"].splitlines()) > 20
