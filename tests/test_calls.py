"""The system calls of a program: as strace says them, and in words."""

import shutil

import pytest

from labkit import Lab
from labkit.calls import Call, command, parse
from labkit.linux import syscalls as linux

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed: no call is traced")
TEXT = """\
7     execve("/usr/local/bin/true", ["true"], 0x7ffedff08e48 /* 17 vars */) = -1 ENOENT (No such file or directory)
7     execve("/usr/bin/true", ["a, b", "\\"c\\""], 0x7ffedff08e48 /* 17 vars */) = 0
7     clone(child_stack=NULL, flags=CLONE_NEWNS|SIGCHLD <unfinished ...>
8     mount("/a, (b)", "/m", 0x55c46dcd0f70, MS_BIND|MS_REC, NULL) = 0
7     <... clone resumed>, child_tidptr=0x7f0000000a10) = 8
8     umount2("/m", MNT_DETACH) = -1 EPERM (Operation not permitted)
8     +++ exited with 0 +++
"""


def test_lines_are_taken_apart_in_the_order_in_which_they_began():
    assert parse(TEXT) == [
        Call(7, "execve", ('"/usr/bin/true"', '["a, b", "\\"c\\""]', "…"), "0"),
        Call(7, "clone", ("child_stack=NULL", "flags=CLONE_NEWNS|SIGCHLD", "child_tidptr=…"), "8"),
        Call(8, "mount", ('"/a, (b)"', '"/m"', "…", "MS_BIND|MS_REC", "NULL"), "0"),
        Call(8, "umount2", ('"/m"', "MNT_DETACH"), "EPERM"),
    ]
    assert [call.words for call in parse(TEXT)][1:] == [
        "start a process with a mount namespace of its own",
        "show /a, (b) and all below it at /m too",
        "refused: take the mount at /m away, as soon as nobody uses it",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('fsopen("tmpfs", FSOPEN_CLOEXEC) = 3', "begin a new tmpfs"),
        ('fsconfig(3, FSCONFIG_SET_STRING, "size", "1m", 0) = 0', "set its option size 1m"),
        ("fsconfig(3, FSCONFIG_CMD_CREATE, NULL, NULL, 0) = 0", "create it"),
        ("fsmount(3, FSMOUNT_CLOEXEC, 0) = 4", "make a mount of it, which is nowhere yet"),
        ('move_mount(4, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) = 0', "put the mount at /mnt"),
        ('open_tree(AT_FDCWD, "/tmp", OPEN_TREE_CLONE|AT_RECURSIVE) = 3', "make a copy of the mount at /tmp"),
        ('mount_setattr(4, "", AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_RDONLY}, 32) = 0',
         "change the mount: attr_set=MOUNT_ATTR_RDONLY"),
        ("mount_setattr(-1, NULL, 0, NULL, 0) = -1 EINVAL (Invalid argument)",
         "refused: a change of no mount, to find out whether the kernel has this call"),
        ('mount("/a", "/b", NULL, MS_MOVE, NULL) = 0', "move the mount at /a to /b"),
        ('mount("none", "/", NULL, MS_REC|MS_SLAVE, NULL) = 0', "make the mount at / and all below it a slave"),
        ('mount("t", "/m", "tmpfs", 0, "size=1m") = 0', "mount a tmpfs at /m with size=1m"),
        ('pivot_root(".", "old") = 0', "make . the root mount, and move the old one to old"),
        ("setns(3, CLONE_NEWIPC) = 0", "enter another IPC namespace"),
    ],
)  # fmt: skip
def test_every_call_has_words(line, words):
    """Those of util-linux 2.39 and newer, too, which this machine may not have."""
    assert [call.words for call in parse(f"7 {line}")] == [words]


@pytest.mark.parametrize("line", ["", "true; false", "true | cat", "true &", "true > /tmp/f", "true\nfalse", "(true)"])
def test_more_than_one_program_is_refused(line):
    with pytest.raises(ValueError, match="one program with its arguments"):
        command(line, "/tmp/f")


def test_quoted_signs_are_arguments():
    assert command("echo 'a; b' \"c|d\"", "/tmp/f").endswith(" -- echo 'a; b' \"c|d\"")


@needs_strace
def test_what_unshare_does_besides_the_call():
    with Lab() as lab:
        table = lab.left.syscalls("unshare -m true")
        assert list(table["in words"]) == [
            "become the program " + shutil.which("unshare", path="/usr/bin:/bin"),
            "get a mount namespace of its own",
            "make the mount at / and all below it private",
            "become the program " + shutil.which("true", path="/usr/bin:/bin"),
        ]
        assert list(table.columns) == ["call", "arguments", "result", "in words"]
        assert lab.left.run("ls /tmp").output == ""
        forked = lab.left.syscalls("unshare --fork --pid --mount-proc true")
        assert forked["process"].nunique() == 2
        assert "get mount and PID namespaces of its own" in list(forked["in words"])
        refused = lab.left.syscalls("umount /mnt")
        assert (refused["result"].iloc[-1], refused["call"].iloc[-1]) == ("EINVAL", "umount2")


@needs_strace
def test_ours_and_straces_spelling_agree():
    """Every call that labkit.linux makes is written by strace as by our errors."""
    with Lab() as lab:
        lab.left.run("cat > /tmp/t.py <<'END'\nfrom labkit.linux import *\nunshare(CLONE_NEWNS)\nchroot('/')\nEND")
        table = lab.left.syscalls("python3 /tmp/t.py", timeout=60)
        rows = set(zip(table["call"], table["arguments"], strict=True))
        assert {("unshare", str(linux.CloneFlag.CLONE_NEWNS.name)), ("chroot", '"/"')} <= rows


def test_without_strace_it_says_so():
    from labkit import LabError

    with Lab() as lab:
        lab.left.run("PATH=/nowhere")
        with pytest.raises(LabError, match="Does this machine have strace"):
            lab.left.syscalls("true")
