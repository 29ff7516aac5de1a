"""The lab's root file system: a fresh tmpfs, with what it borrows of the host bound into it, read-only.

`seal` runs first, in a mount namespace above the lab's: there the whole host is made read-only. The lab's own
namespace is then a copy in a less privileged user namespace, in which the kernel locks those flags
(mount_namespaces(7), "Restrictions on mount namespaces"): lab root can unmount /usr, and no remount makes it
writable, even where the files belong to the learner.
"""

from __future__ import annotations

import os
import sys

from ..linux import (
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    mount_setattr,
    pivot_root,
    umount2,
)
from .steps import begin

ROOT_LIMITS = "size=256m,nr_inodes=64k,mode=755"
DEV_LIMITS = "size=1m,nr_inodes=1k,mode=755"

NEW_ROOT = "/tmp"  # of the host, in a namespace of our own: covered by the lab's root until pivot_root
STAGE = "/mnt"  # likewise: a place that the lab's user can reach, for a Python that it may not (one below /root)
PYTHON = "/run/host/python"
KIT = "/run/labkit"

DIRECTORIES = """
/dev /etc /home /media /mnt /opt /proc /root /run /run/host /run/host/etc /run/labkit /run/labkit/bin
/run/lock /srv /tmp /usr /var /var/cache /var/lib /var/log /var/spool /var/tmp
""".split()

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
    "/etc/mtab": "/proc/self/mounts",
    "/var/run": "/run",
    "/var/lock": "/run/lock",
}

# OSC 133 marks around prompt, command and output. The variables are exported, so that a shell which reads no file of
# ours (chroot DIR /bin/sh) marks its prompts too, and written so that bash and dash expand them alike. Each mark holds
# a `$$`: where the variables themselves are printed (by `env`), that is not a number, and they are no marks. `t` tells
# a new prompt from one that bash only draws again, as it does when the window's size changes.
BASHRC = r"""# The lab's shells mark where a prompt (A), its input (B), a command's output (C) and its end (D) begin.
export PATH=/run/labkit/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=${HOME:-/root} LANG=C.UTF-8 TERM=${TERM:-xterm-256color}
export MARK_A=$'${BASH_VERSION:+\\[}\e]133;D;$?;AID;NOW\a\e]133;A;AID;NOW\a${BASH_VERSION:+\\]}'
export MARK_B=$'${BASH_VERSION:+\\[}\e]133;B;AID;NOW\a${BASH_VERSION:+\\]}'
export MARK_2=$'${BASH_VERSION:+\\[}\e]133;A;k=s;AID;NOW\a${BASH_VERSION:+\\]}'
export PS0=$'\e]133;C;AID\a'
export PS1='root@${HOSTNAME:-server}:${BASH_VERSION:+\w}${PWD#"${BASH_VERSION:+$PWD}"}# '
export PS2='> '
MARKS='[[ $PS1 = "$MARK_A"* ]] || PS1=$MARK_A$PS1$MARK_B; [[ $PS2 = "$MARK_2"* ]] || PS2=$MARK_2$PS2'
export PROMPT_COMMAND="{ $MARKS; } 2>&-"
unset HISTFILE
""".replace("AID", "aid=NONCE;pid=$$").replace("NOW", "t=${BASH_VERSION:+${EPOCHREALTIME-}}")

# The Python that runs the notebook, with labkit.linux; a Python moved away from its prefix does not find its own
# libpython.
PYTHON3 = """#!/bin/sh
export PYTHONPATH={kit}${{PYTHONPATH:+:$PYTHONPATH}} LD_LIBRARY_PATH={prefix}/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
exec {prefix}/bin/python{version.major}.{version.minor} "$@"
"""

# su(1) calls setgroups(2), which the kernel denies in the user namespace of an ordinary user: user_namespaces(7).
SU = """#!/bin/bash
# The lab has one user, root. su [-] [-c COMMAND] [root]
while (($#)); do
    case $1 in
        - | -l | --login) login=--login ;;
        -c | --command) shift; run=(-c "$1") ;;
        root) ;;
        *) echo "su: the lab has one user, root: not $1" >&2; exit 1 ;;
    esac
    shift
done
[[ $login ]] || exec /bin/bash "${run[@]}"
cd && exec env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/bash TERM="$TERM" /bin/bash --login "${run[@]}"
"""

FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "/etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "/etc/hostname": "server\n",
    "/etc/hosts": "127.0.0.1 localhost server\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/fstab": "",
    "/etc/profile": "",
    "/etc/bash.bashrc": "",
    "/root/.bash_profile": ". ~/.bashrc\n",
    "/root/.bashrc": BASHRC,
}


def stage(python: str) -> None:
    """Bind the prefix of a Python where the lab's user can reach it, in a mount namespace of the caller's own."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount(python, STAGE, None, MS_BIND | MS_REC)


def seal() -> None:
    """Make every mount of the host read-only in this namespace, and take no more part in what the host mounts.

    /proc stays as it is: the kernel refuses a fresh /proc where the one it finds is restricted more than the fresh
    one would be.
    """
    mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, MOUNT_ATTR_RDONLY, propagation=MS_PRIVATE)
    mount_setattr(AT_FDCWD, "/proc", attr_clr=MOUNT_ATTR_RDONLY)


def build(python: str, kit: dict[str, bytes], nonce: str) -> None:
    """Build the lab's root in a tmpfs and pivot into it. `kit`: files of labkit for the lab's own Python."""
    begin("mount a tmpfs for the lab's root")
    mount("tmpfs", NEW_ROOT, "tmpfs", 0, ROOT_LIMITS)
    os.chdir(NEW_ROOT)
    for path in DIRECTORIES:
        os.mkdir("." + path)
    os.chmod("./root", 0o700)
    os.chmod("./tmp", 0o1777)
    os.chmod("./var/tmp", 0o1777)
    begin("borrow the host's programs")
    _borrow()
    if python:
        os.mkdir("." + PYTHON)
        mount(STAGE, "." + PYTHON, None, MS_BIND | MS_REC)
    programs = {
        "python3": PYTHON3.format(kit=KIT, prefix=PYTHON if python else "/usr", version=sys.version_info),
        "su": SU,
    }
    for name, script in programs.items():
        _write(f".{KIT}/bin/{name}", script)
        os.chmod(f".{KIT}/bin/{name}", 0o755)
    begin("mount a fresh /proc")
    mount("proc", "./proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    begin("make devices and PTYs")
    _devices()
    for link, target in LINKS.items():
        os.symlink(target, "." + link)
    for path, content in FILES.items():
        _write("." + path, content.replace("NONCE", nonce))
    for path, source in kit.items():
        _write("." + path, source)
    for name in os.listdir("./run/host/etc"):
        try:  # noqa: SIM105 - contextlib would be imported for this alone
            os.symlink(f"/run/host/etc/{name}", f"./etc/{name}")
        except FileExistsError:  # one of FILES: the lab has its own
            pass
    begin("make that its root")
    pivot_root(".", ".")  # the old root is now on top of the new one: pivot_root(2), NOTES
    umount2(".", MNT_DETACH)
    os.chdir("/")


def _borrow() -> None:
    mount("/usr", "./usr", None, MS_BIND | MS_REC)
    mount("/etc", "./run/host/etc", None, MS_BIND | MS_REC)
    if os.path.isdir("/opt"):
        mount("/opt", "./opt", None, MS_BIND | MS_REC)
    for name in os.listdir("/"):
        if name in ("bin", "sbin") or name.startswith("lib"):
            if os.path.islink("/" + name):
                os.symlink(os.readlink("/" + name), "./" + name)
            elif os.path.isdir("/" + name):
                os.mkdir("./" + name)
                mount("/" + name, "./" + name, None, MS_BIND | MS_REC)


def _devices() -> None:
    mount("tmpfs", "./dev", "tmpfs", MS_NOSUID, DEV_LIMITS)
    for name in DEVICES:
        _write(f"./dev/{name}", b"")
        mount(f"/dev/{name}", f"./dev/{name}", None, MS_BIND)
    os.mkdir("./dev/pts")
    os.mkdir("./dev/shm")
    os.chmod("./dev/shm", 0o1777)
    mount("devpts", "./dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")


def _write(path: str, content: str | bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
