"""What the lessons say of the kernel, against the tables of mount_namespaces(7) and the ERRORS of pivot_root(2)."""

import json

import pytest

from labkit import Lab

PROGRAM = """
import ctypes, json, os, sys
from errno import errorcode
from labkit.linux import *
from labkit.linux import mountinfo

KINDS = {"shared": MS_SHARED, "slave": MS_SLAVE, "private": MS_PRIVATE, "unbindable": MS_UNBINDABLE}

def make(kind, where):
    mount("tmpfs", where, "tmpfs")
    if kind in ("shared with a peer", "slave", "shared, slave"):
        mount(None, where, None, MS_SHARED)
        mount(where, "/tmp/peer", None, MS_BIND)
    if "slave" in kind:
        mount(None, where, None, MS_SLAVE)
    if kind != "slave":
        mount(None, where, None, KINDS[kind.replace(",", " ").split()[0]])

def kind(where):
    return [m.propagation for m in mountinfo.read() if m.mount_point == where][-1]

def change(before, how):
    make(before, "/mnt")
    assert kind("/mnt") == before.removesuffix(" with a peer")
    mount(None, "/mnt", None, KINDS[how])
    return kind("/mnt")

def place(flag, around, source):
    make(around, "/tmp/around")
    os.mkdir("/tmp/around/target")
    make(source, "/mnt")
    mount("/mnt", "/tmp/around/target", None, flag)
    return kind("/tmp/around/target")

def move_away():
    make("shared", "/tmp/around")
    os.mkdir("/tmp/around/inner")
    mount("tmpfs", "/tmp/around/inner", "tmpfs")
    mount("/tmp/around/inner", "/mnt", None, MS_MOVE)

def pivot(new_root, put_old, shared=None):
    mount("tmpfs", "/mnt", "tmpfs")
    os.makedirs("/mnt/old")
    if shared:
        mount(None, shared, None, MS_SHARED)
    pivot_root(new_root, put_old)

def hold_itself():
    mount("/proc/self/ns/mnt", "/tmp/file", None, MS_BIND)

def hold_itself_by_the_newer_calls():
    libc = ctypes.CDLL(None, use_errno=True)
    tree = libc.syscall(428, AT_FDCWD, b"/proc/self/ns/mnt", 1)  # open_tree, OPEN_TREE_CLONE
    libc.syscall(429, tree, b"", AT_FDCWD, b"/tmp/file", 4)  # move_mount, MOVE_MOUNT_F_EMPTY_PATH
    return errorcode[ctypes.get_errno()]

def remount_a_tmpfs_of_which_all_is_said_again():
    mount("tmpfs", "/mnt", "tmpfs")
    said = next(m for m in mountinfo.read() if m.mount_point == "/mnt").super_options
    mount("tmpfs", "/mnt", "tmpfs", MS_REMOUNT | MS_RDONLY, said.removeprefix("rw,"))

def answer(name, arguments):
    try:
        said = globals()[name](*arguments)
    except SyscallError as error:
        said = errorcode[error.errno]
    print(json.dumps(said))

for name in ("peer", "around"):
    os.makedirs("/tmp/" + name, exist_ok=True)
open("/tmp/file", "w").close()
for name, *arguments in json.load(open("/tmp/questions")):
    os.waitpid(clone(answer, CLONE_NEWNS | SIGCHLD, name, arguments), 0)
"""

BIND, MOVE = 1 << 12, 1 << 13
BEFORE = ("shared with a peer", "shared", "slave", "shared, slave", "private", "unbindable")
SOURCES = ("shared", "private", "slave", "unbindable")
CHANGES = {
    "shared": ("shared", "shared", "shared, slave", "shared, slave", "shared", "shared"),
    "slave": ("slave", "private", "slave", "slave", "private", "unbindable"),
    "private": ("private",) * 6,
    "unbindable": ("unbindable",) * 6,
}
PLACES = {
    (BIND, "shared"): ("shared", "shared", "shared, slave", "EINVAL"),
    (BIND, "private"): ("shared", "private", "slave", "EINVAL"),
    (MOVE, "shared"): ("shared", "shared", "shared, slave", "EINVAL"),
    (MOVE, "private"): ("shared", "private", "slave", "unbindable"),
}
ANSWERS = {
    **{("change", before, how): now for how, row in CHANGES.items() for before, now in zip(BEFORE, row, strict=True)},
    **{("place", *case, source): now for case, row in PLACES.items() for source, now in zip(SOURCES, row, strict=True)},
    ("move_away",): "EINVAL",
    ("pivot", "/mnt", "/tmp"): "EBUSY",
    ("pivot", "/mnt", "/proc"): "EINVAL",
    ("pivot", "/mnt/old", "/mnt/old"): "EINVAL",
    ("pivot", "/mnt", "/mnt/old", "/"): "EINVAL",
    ("pivot", "/mnt", "/mnt/old"): None,
    ("pivot", "/mnt", "/mnt"): None,
    ("hold_itself",): "EINVAL",
    ("hold_itself_by_the_newer_calls",): "ELOOP",
    ("remount_a_tmpfs_of_which_all_is_said_again",): "EINVAL",
}


@pytest.fixture(scope="module")
def answered():
    with Lab() as lab:
        lab.right.run(f"cat > /tmp/questions <<'END'\n{json.dumps(list(ANSWERS), indent=0)}\nEND")
        lab.right.run(f"cat > /tmp/answers.py <<'END'{PROGRAM}END")
        said = lab.right.run("python3 /tmp/answers.py", timeout=60).output
    return dict(zip(ANSWERS, map(json.loads, said.splitlines()), strict=True))


@pytest.mark.parametrize("question", ANSWERS, ids=lambda question: " ".join(map(str, question)))
def test_it_is_as_the_lessons_say(answered, question):
    assert answered[question] == ANSWERS[question]
