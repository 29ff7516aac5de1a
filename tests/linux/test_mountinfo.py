"""labkit.linux.mountinfo held against real mounts with odd names, and against statmount(2).

A child process makes the mounts in a mount namespace of its own, on a tmpfs of its own: nothing stays behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.linux import mountinfo
from labkit.linux.mountinfo import Mount

UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]

NAMES = {
    "space": b"a b  c ",
    "tab": b"\ta\t",
    "newline": b"a\nb\n",
    "backslash": b"\\a\\\\b\\",
    "escape": b"\\040 \\134040",  # looks like what the kernel writes
    "hash": b"#",
    "dash": b"-",
    "dashes": b" - ",
    "html": b"<b>&amp;\"'",
    "not-utf8": b"\xff\xfe\xc3",
    "utf8": "é€😀".encode(),
    "cut-by-splitlines": b"\r\x0b\x0c\x1c\xc2\x85\xe2\x80\xa8",
    "cut-by-split": b"\x1f\xc2\xa0\xe3\x80\x80",
    "deleted": b"a (deleted)",
    "longest": b"n" * 255,
}
SOURCES = {**NAMES, "dashes": b"", "tab": None}  # None is C's NULL

# In an overlay's options \, is a comma and \: a colon of the name; \\054 is a backslash and three digits.
LOWERDIR = rb"lowerdir=BASE/comma\, equals= space :BASE/colon\:#\\054"

CHILD = r"""
import ctypes, errno, json, os, struct, subprocess, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = (ctypes.c_char_p,) * 3 + (ctypes.c_ulong, ctypes.c_char_p)
libc.syscall.restype = ctypes.c_long


def done(result, *what):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)
    return result


def mount(source, target, fstype=b"tmpfs", flags=0, data=None):
    os.makedirs(target, exist_ok=True)
    done(libc.mount(source, target, fstype, flags, data), source, target, fstype, flags, data)


def request(mount_id, param):  # struct mnt_id_req, <linux/mount.h>
    return ctypes.create_string_buffer(struct.pack("=IIQQ", 24, 0, mount_id, param), 24)


def listmount():  # system call 458, and statmount 457, on x86-64 and arm64
    ids = (ctypes.c_uint64 * 10_000)()
    root = request(2**64 - 1, 0)
    size = ctypes.c_size_t(len(ids))
    return ids[: done(libc.syscall(ctypes.c_long(458), root, ids, size, ctypes.c_uint(0)), "listmount")]


def statmount(mount_id):  # struct statmount, <linux/mount.h>
    buffer = ctypes.create_string_buffer(65_536)
    size = ctypes.c_size_t(len(buffer))
    every = request(mount_id, 0x7FF)  # all that Linux 6.13 can tell; an older one leaves out what it can not
    done(libc.syscall(ctypes.c_long(457), every, buffer, size, ctypes.c_uint(0)), "statmount")
    (_, _, mask, major, minor, _, _, fs_type, _, _, id_old, parent_id_old, _, propagation, peer_group, master,
     propagate_from, root, point, _, subtype, source, opt_num, opt_array,
     ) = struct.unpack_from("=IIQIIQIIQQIIQQQQQIIQIIII", buffer)

    def texts(bit, offset, count=1):
        if mask & bit:
            return [os.fsdecode(text) for text in buffer.raw[512 + offset :].split(b"\0", count)[:count]]

    return dict(
        mount_id=id_old, parent_id=parent_id_old, device=[major, minor], propagation=propagation,
        peer_group=peer_group, master=master, propagate_from=propagate_from,
        root=texts(0x8, root), mount_point=texts(0x10, point), fstype=texts(0x20, fs_type),
        subtype=texts(0x100, subtype), source=texts(0x200, source), options=texts(0x400, opt_array, opt_num),
    )


def tell(**more):
    try:
        told = list(map(statmount, listmount()))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        told = None
    print(json.dumps(dict(pid=os.getpid(), statmount=told, **more)), flush=True)


order = json.loads(sys.argv[1])
base = os.fsencode(order["base"])
mount(b"base", base)

devices = {}
for key, name in order["names"].items():
    point = base + b"/" + os.fsencode(name)
    source = order["sources"][key]
    mount(None if source is None else os.fsencode(source), point)
    devices[key] = os.stat(point).st_dev
    os.makedirs(point + b"/" + os.fsencode(name))
    mount(point + b"/" + os.fsencode(name), base + b"/bind-" + os.fsencode(key), b"", 4096)  # MS_BIND
os.mkdir(base + b"/a #")
mount(base + b"/a #", base + b"/gone", b"", 4096)
os.rmdir(base + b"/a #")

for lower in (b"comma, equals= space ", b"colon:#\\054"):
    os.mkdir(base + b"/" + lower)
mount(b"overlay", base + b"/overlay", b"overlay", 0, os.fsencode(order["lowerdir"]))


def mount8(*arguments):
    subprocess.run(["mount", "-n", *arguments], cwd=base, check=True)


for directory in ("hidden", "jail", "jail/shared", "jail/slave", "private", "unbindable", "slave-and-shared"):
    os.makedirs(base + b"/" + directory.encode())
mount8("-t", "tmpfs", "private", "private")
mount8("--make-private", "private")
mount8("-t", "tmpfs", "unbindable", "unbindable")
mount8("--make-unbindable", "unbindable")
mount8("--bind", "jail", "jail")
mount8("-t", "tmpfs", "shared", "jail/shared")
mount8("--make-shared", "jail/shared")
mount8("--bind", "jail/shared", "slave-and-shared")
mount8("--make-slave", "slave-and-shared")
mount8("--make-shared", "slave-and-shared")
mount8("--bind", "slave-and-shared", "jail/slave")
mount8("--make-slave", "jail/slave")

tell(devices=devices)
if os.fork() == 0:
    os.chroot(base + b"/jail")
    tell()
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
os.wait()
"""


@dataclass
class Kernel:
    """A living process, the mounts that statmount(2) told it, and the st_dev that stat(2) told it."""

    pid: int
    statmount: list[dict[str, Any]] | None
    base: str = ""
    devices: dict[str, int] | None = None

    def mount_at(self, mount_point: str) -> Mount:
        (mount,) = [mount for mount in mountinfo.read(self.pid) if mount.mount_point == mount_point]
        return mount


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Kernel]]:
    """The child, and its own child, which has called chroot(2)."""
    base = str(tmp_path_factory.mktemp("base").resolve())
    order = {
        "base": base,
        "names": {key: os.fsdecode(name) for key, name in NAMES.items()},
        "sources": {key: None if name is None else os.fsdecode(name) for key, name in SOURCES.items()},
        "lowerdir": os.fsdecode(LOWERDIR).replace("BASE", base),
    }
    command = [*UNSHARE, sys.executable, "-I", "-c", CHILD, json.dumps(order)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        outside, jailed = child.stdout.readline(), child.stdout.readline()
        assert jailed, "the child ended early: its error is on stderr"
        yield Kernel(base=base, **json.loads(outside)), Kernel(**json.loads(jailed))
    assert child.returncode == 0


@pytest.fixture(scope="module")
def kernel(kernels: tuple[Kernel, Kernel]) -> Kernel:
    return kernels[0]


@pytest.fixture(scope="module")
def jailed(kernels: tuple[Kernel, Kernel]) -> Kernel:
    return kernels[1]


PROPAGATION = {  # <sys/mount.h>
    1 << 17: "unbindable",
    1 << 18: "private",
    1 << 19: "slave",
    1 << 20: "shared",
    1 << 20 | 1 << 19: "shared, slave",
}


@pytest.mark.parametrize("which", [0, 1], ids=["in the namespace", "in a chroot"])
def test_says_what_statmount_says(kernels: tuple[Kernel, Kernel], which: int) -> None:
    """statmount(2), Linux 6.8, answers field by field and unescaped: nothing of it is text to parse.

    It tells source and options since Linux 6.13, and leaves out what is empty. Where the master is in sight,
    propagate_from is that master here, and left out in mountinfo.
    """
    stats = kernels[which].statmount
    if stats is None:
        pytest.skip("statmount(2) came with Linux 6.8, or a seccomp filter hides it")
    told = {stat["mount_id"]: stat for stat in stats}
    read = {mount.mount_id: mount for mount in mountinfo.read(kernels[which].pid)}
    assert read.keys() == told.keys()
    assert len(read) >= 3
    for mount_id, stat in told.items():
        mount = read[mount_id]
        assert (mount.parent_id, [mount.major, mount.minor]) == (stat["parent_id"], stat["device"])
        assert ([mount.root], [mount.mount_point]) == (stat["root"], stat["mount_point"])
        assert mount.fstype == ".".join(stat["fstype"] + (stat["subtype"] or []))
        assert mount.propagation == PROPAGATION[stat["propagation"]]
        assert mount.unbindable == (stat["propagation"] == 1 << 17)
        assert mount.peer_group == (stat["peer_group"] or None)
        assert mount.master == (stat["master"] or None)
        nearest = stat["propagate_from"] if stat["propagate_from"] != stat["master"] else 0
        assert mount.propagate_from == (nearest or None)
        if stat["source"] is not None:
            assert [mount.source] == stat["source"]
        if stat["options"] is not None:
            assert mount.super_option_list[1:] == stat["options"]


@pytest.mark.parametrize("key", NAMES)
def test_odd_names_come_back_as_they_were_given(kernel: Kernel, key: str) -> None:
    """mount(2) takes any bytes as name and source; a source that is NULL becomes none, an empty one stays."""
    mount = kernel.mount_at(f"{kernel.base}/{os.fsdecode(NAMES[key])}")
    source = SOURCES[key]
    assert os.fsencode(mount.source) == (b"none" if source is None else source)
    assert (mount.root, mount.fstype) == ("/", "tmpfs")
    assert kernel.devices is not None
    assert os.makedev(mount.major, mount.minor) == kernel.devices[key]
    bind = kernel.mount_at(f"{kernel.base}/bind-{key}")
    assert os.fsencode(bind.root) == b"/" + NAMES[key]
    assert (bind.parent_id, bind.source) == (mount.parent_id, mount.source)


def test_the_root_of_a_bind_whose_directory_is_gone(kernel: Kernel) -> None:
    """rmdir(2) of a bound directory leaves the bind, and the kernel adds //deleted to its root."""
    assert kernel.mount_at(f"{kernel.base}/gone").root == "/a #//deleted"


def test_a_comma_in_a_super_option_does_not_divide_it(kernel: Kernel) -> None:
    r"""The kernel writes it \054; undone before the list is split, one option would become two."""
    lowerdir = os.fsdecode(LOWERDIR).replace("BASE", kernel.base)
    mount = kernel.mount_at(f"{kernel.base}/overlay")
    assert lowerdir in mount.super_option_list
    escaped = lowerdir.replace("\\", "\\134").replace(",", "\\054")
    assert escaped in mount.super_options.split(",")


def test_propagation_made_by_mount8(kernel: Kernel) -> None:
    """mount --make-private, --make-shared, --make-slave, both after each other, --make-unbindable."""
    names = ["private", "jail/shared", "jail/slave", "slave-and-shared", "unbindable"]
    private, shared, slave, both, unbindable = (kernel.mount_at(f"{kernel.base}/{name}") for name in names)
    assert [mount.propagation for mount in (private, shared, slave, both, unbindable)] == [
        "private",
        "shared",
        "slave",
        "shared, slave",
        "unbindable",
    ]
    assert private.optional_fields == ()
    assert unbindable.optional_fields == ("unbindable",)
    assert both.optional_fields == (f"shared:{both.peer_group}", f"master:{shared.peer_group}")
    assert slave.optional_fields == (f"master:{both.peer_group}",)
    assert (slave.peer_group, slave.propagate_from) == (None, None)


def test_propagate_from_where_the_master_is_out_of_sight(kernel: Kernel, jailed: Kernel) -> None:
    """In a chroot that hides the master, the kernel names the nearest peer group that can be seen."""
    shared, slave = jailed.mount_at("/shared"), jailed.mount_at("/slave")
    assert slave.propagate_from == shared.peer_group
    assert slave.master == kernel.mount_at(f"{kernel.base}/slave-and-shared").peer_group
    assert slave.optional_fields == (f"master:{slave.master}", f"propagate_from:{shared.peer_group}")


def test_read_asks_about_this_process_unless_told() -> None:
    """The topmost mount at /proc, the last in the table, is the file system that stat(2) finds there."""
    proc = [mount for mount in mountinfo.read() if mount.mount_point == "/proc"][-1]
    assert proc.fstype == "proc"
    assert os.makedev(proc.major, proc.minor) == Path("/proc").stat().st_dev


def test_no_such_process() -> None:
    """A pid has at most 22 bits on Linux, so this one is nobody's."""
    with pytest.raises(FileNotFoundError):
        mountinfo.read(2**31 - 1)


# From here on without the kernel: what it writes is written by `line`, after fs/proc_namespace.c.

CHUNKS = [
    b" ",
    b"\t",
    b"\n",
    b"\\",
    b"#",
    b",",
    b"=",
    b"-",
    b" - ",
    b"040",
    b"054",
    b"134",
    b"\r",
    b"\x1c",
    b"\xff",
]
texts = st.lists(st.sampled_from(CHUNKS) | st.binary(min_size=1, max_size=3)).map(
    lambda chunks: os.fsdecode(b"".join(chunks).replace(b"\0", b"0"))
)
numbers = st.integers(0, 2**31 - 1)
tags = st.sampled_from(["shared", "master", "propagate_from", "future", "-", "--"])
optional_fields = st.builds("{}:{}".format, tags, numbers) | st.sampled_from(["unbindable", "unknown", "--"])
options = st.lists(st.tuples(texts.filter(lambda name: name and "=" not in name), texts), max_size=3)


def mangle(text: str, characters: str) -> str:
    return "".join(f"\\{ord(c):03o}" if c in characters else c for c in text)


def line(mount: Mount, super_options: list[tuple[str, str]]) -> bytes:
    """One line as show_mountinfo() of the kernel writes it, its super options as seq_show_option()."""
    path, name, key, value = " \t\n\\", " \t\n\\#", ",= \t\n\\", ", \t\n\\"
    shown = ["rw"] + [f"{mangle(k, key)}={mangle(v, value)}" for k, v in super_options]
    before = f"{mount.mount_id} {mount.parent_id} {mount.major}:{mount.minor} {mangle(mount.root, path)}"
    middle = " ".join([mangle(mount.mount_point, path), mount.options, *mount.optional_fields])
    after = f"{mangle(mount.fstype, name)} {mangle(mount.source, name)} {','.join(shown)}"
    return os.fsencode(f"{before} {middle} - {after}\n")


@st.composite
def mounts(draw: st.DrawFn) -> tuple[Mount, list[tuple[str, str]]]:
    given_options = draw(options)
    held = ["rw"] + [f"{k}={v}".replace("\\", "\\134").replace(",", "\\054") for k, v in given_options]
    mount = Mount(
        mount_id=draw(numbers),
        parent_id=draw(numbers),
        major=draw(numbers),
        minor=draw(numbers),
        root="/" + draw(texts),
        mount_point=draw(texts),
        options="rw,relatime",
        optional_fields=tuple(draw(st.lists(optional_fields, max_size=4))),
        fstype=draw(texts),
        source=draw(texts),
        super_options=",".join(held),
    )
    return mount, given_options


@settings(deadline=None)  # a shared machine may be slow
@given(st.lists(mounts(), max_size=5))
def test_parse_gives_back_what_the_kernel_s_rules_write(
    written: list[tuple[Mount, list[tuple[str, str]]]],
) -> None:
    r"""Any bytes in any text, unknown optional fields, options that hold commas or the text \054."""
    data = b"".join(line(mount, super_options) for mount, super_options in written)
    parsed = mountinfo.parse(data)
    assert parsed == [mount for mount, _ in written]
    for mount, (_, super_options) in zip(parsed, written, strict=True):
        assert mount.super_option_list == ["rw", *(f"{key}={value}" for key, value in super_options)]
    assert mountinfo.parse(os.fsdecode(data)) == parsed
    assert mountinfo.parse(data.removesuffix(b"\n")) == parsed


def test_the_line_of_the_man_page() -> None:
    """The example of proc_pid_mountinfo(5)."""
    (mount,) = mountinfo.parse("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
    assert mount == Mount(
        mount_id=36,
        parent_id=35,
        major=98,
        minor=0,
        root="/mnt1",
        mount_point="/mnt2",
        options="rw,noatime",
        optional_fields=("master:1",),
        fstype="ext3",
        source="/dev/root",
        super_options="rw,errors=continue",
    )
    assert (mount.propagation, mount.master, mount.peer_group) == ("slave", 1, None)


def test_the_separator_is_the_first_dash_after_the_six_fields() -> None:
    """Before it there are six fields and the optional ones; after it a source may be called - as well."""
    (mount,) = mountinfo.parse("1 0 0:5 - - - shared:1 - tmpfs - -\n")
    assert (mount.root, mount.mount_point, mount.options) == ("-", "-", "-")
    assert mount.optional_fields == ("shared:1",)
    assert (mount.fstype, mount.source, mount.super_options) == ("tmpfs", "-", "-")


def test_super_options_may_hold_spaces() -> None:
    """cifs before Linux 3.10 wrote unc=//server/My Docs as it was."""
    (mount,) = mountinfo.parse(b"1 0 0:5 / /mnt rw - cifs //server/share rw,unc=//server/My  Docs - x\n")
    assert mount.super_options == "rw,unc=//server/My  Docs - x"


GOOD = "1 0 0:5 / /mnt rw - tmpfs tmpfs rw"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "tmpfs /mnt tmpfs rw 0 0",  # of /proc/PID/mounts
        "1 0 0:5 / /mnt rw shared:1 tmpfs tmpfs rw",
        "1 0 0:5 / - rw",
        "1 0 0:5 / /mnt rw - tmpfs tmpfs",
        "one 0 0:5 / /mnt rw - tmpfs tmpfs rw",
        "1 0 5 / /mnt rw - tmpfs tmpfs rw",
    ],
)
def test_a_bad_line_is_shown_with_its_number(bad: str) -> None:
    """A table with a hole would be a wrong answer."""
    with pytest.raises(ValueError, match=r"expected 'ID PARENT MAJOR:MINOR ROOT MOUNT_POINT ") as error:
        mountinfo.parse(f"{GOOD}\n{bad}\n{GOOD}\n")
    assert str(error.value).startswith(f"mountinfo line 2 is {bad!r}, ")


def test_no_mounts() -> None:
    """A process that has ended and is not yet waited for has an empty table, or none."""
    assert mountinfo.parse(b"") == mountinfo.parse("") == []


def test_a_mount_can_not_be_changed() -> None:
    (mount,) = mountinfo.parse(GOOD)
    with pytest.raises(AttributeError):
        mount.root = "/"  # type: ignore[misc]
