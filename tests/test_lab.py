"""The contract of a lab: two terminals, what they see, reset and end."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from html import escape

import pytest

from labkit import Lab, LabEnded, LabError, TerminalEnded
from tests.harness import first_steps, tutorial, wait_for_program, wait_until

COLUMNS = [
    "mount_point", "source", "fstype", "options", "super_options", "propagation",
    "peer_group", "master", "mount_id", "parent_id", "root",
]  # fmt: skip
MOUNT = "mkdir -p /tmp/mount_ns && mount -t tmpfs tmpfs /tmp/mount_ns"

# A directory as bash reads it; the same as Python has it; as a table shows it: octal, as the kernel writes it.
ODD_NAMES = {
    "html": ("'/tmp/<script>alert(1)</script>'", "/tmp/<script>alert(1)</script>", "/tmp/<script>alert(1)</script>"),
    "newline": (r"$'/tmp/new\nline'", "/tmp/new\nline", r"/tmp/new\012line"),
    "backslash": (r"'/tmp/back\slash'", "/tmp/back\\slash", r"/tmp/back\134slash"),
    "not UTF-8": (r"$'/tmp/\xff\xfe'", os.fsdecode(b"/tmp/\xff\xfe"), r"/tmp/\377\376"),
    "escape": (r"$'/tmp/\e[31m'", "/tmp/\x1b[31m", r"/tmp/\033[31m"),
    "space": ("'/tmp/with space'", "/tmp/with space", "/tmp/with space"),
    "umlaut": ("/tmp/größe", "/tmp/größe", "/tmp/größe"),
}


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


def rows(table, *columns):
    return list(table[list(columns)].itertuples(index=False, name=None))


# --- the two terminals


def test_both_terminals_are_open_at_their_prompts(lab):
    """Two bash processes on two PTYs, in one default namespace, as root of a host called server."""
    assert repr(lab) == (
        "lab: one server, its terminals:\n"
        "  terminal left in namespace A: prompt\n"
        "  terminal right in namespace A: prompt"
    )
    assert lab.left.pid != lab.right.pid
    assert lab.left.run("tty").output != lab.right.run("tty").output
    for terminal in (lab.left, lab.right):
        assert str(terminal.run("whoami; hostname; pwd")) == (
            "root@server:~# whoami; hostname; pwd\nroot\nserver\n/root"
        )


def test_the_tutorial(lab):
    tutorial(lab)


def test_the_namespace_of_a_terminal_is_what_its_shell_reads_of_itself(lab):
    assert lab.left.namespace == lab.right.namespace
    first_steps(lab)
    assert lab.left.namespace != lab.right.namespace
    for terminal in (lab.left, lab.right):
        assert str(terminal.namespace) == terminal.run("readlink /proc/$$/ns/mnt").output


@pytest.mark.parametrize("command", ["sleep 60", "true | sleep 60", "true | cat | sleep 60"])
def test_the_namespace_of_a_terminal_is_that_of_its_foreground_process(lab, command):
    """A pipeline is one process group; its leader may have ended long before the rest of it (tcgetpgrp(3))."""
    lab.left.run("unshare -m /bin/bash")
    inner = lab.left.run("readlink /proc/$$/ns/mnt").output
    lab.left.send(f"{command}\n")
    wait_until("sleep runs", lambda: "sleep" in lab.namespaces().loc["B", "processes"])
    wait_until("the others have ended", lambda: "cat" not in lab.namespaces().loc["B", "processes"])
    assert str(lab.left.namespace) == inner
    assert lab.namespaces().loc["B", "terminals"] == "left"
    lab.left.interrupt()


def test_a_running_program_in_a_namespace_of_its_own_counts(lab):
    """`unshare -m sleep` has no shell that could say so: the kernel is asked."""
    lab.left.send("unshare -m sleep 60\n")
    wait_for_program(lab.left, "sleep")
    assert lab.left.namespace != lab.right.namespace
    assert "namespace B: running" in repr(lab.left)
    lab.left.interrupt()
    wait_until("the shell prompts", lambda: repr(lab.left) == "terminal left in namespace A: prompt")


def test_open_gives_a_third_terminal(lab):
    third = lab.open("third")
    assert lab["third"] is third
    assert third.run("hostname").output == "server"
    assert third.namespace == lab.left.namespace
    assert lab["left"] is lab.left
    assert list(lab.visible("/proc").index) == ["left", "right", "third"]


@pytest.mark.parametrize("name", ["", "3rd", "two words", "<b>", "x" * 32, "tab\t", "line\n", "../up", "é"])
def test_a_name_that_is_none_is_refused(lab, name):
    with pytest.raises(ValueError, match="a letter and then letters"):
        lab.open(name)


def test_an_open_terminal_is_not_opened_again(lab):
    with pytest.raises(LabError, match=r"left is open: use lab\['left'\]"):
        lab.open("left")
    assert lab.left.run("echo unharmed").output == "unharmed"


def test_an_unknown_terminal_says_which_there_are(lab):
    with pytest.raises(KeyError, match=r"left, right.*lab.open\(\"nope\"\)"):
        lab["nope"]


def test_a_shell_that_ended_is_opened_again_as_the_same_terminal(lab):
    left = lab.left
    left.run("exit")
    assert lab.open("left") is left
    assert left.run("echo again").output == "again"


def test_rows_and_columns_are_those_of_the_terminals():
    with Lab(rows=11, columns=47) as lab:
        assert lab.left.run("stty size").output == "11 47"
        assert lab.open("third").run("stty size").output == "11 47"


# --- the tables


def test_a_fresh_lab_has_the_same_short_table_everywhere(lab):
    assert lab.left.mounts().mount_point.tolist() == ["/", "/proc", "/dev"]
    assert lab.left.mounts().fstype.tolist() == ["tmpfs", "proc", "tmpfs"]
    assert set(lab.left.mounts().propagation) == {"private"}


def test_mounts_is_what_findmnt_says_inside_the_lab(lab):
    """findmnt(8) reads the same table with a parser of its own."""
    first_steps(lab)
    lab.left.run("mount --make-shared /tmp/mount_ns; mkdir /tmp/b; mount --bind -o ro /tmp/mount_ns /tmp/b")
    lab.left.run("mount --make-slave /tmp/b; mount --make-unbindable /proc; mkdir '/tmp/with space'; "
                 "mount -t tmpfs -o nosuid,size=1m 'a source' '/tmp/with space'")  # fmt: skip
    names = "TARGET,SOURCE,FSTYPE,VFS-OPTIONS,FS-OPTIONS,PROPAGATION,ID,PARENT,FSROOT"
    lab.left.run(f"findmnt --json --list --output {names} > /tmp/found")
    found = {entry["id"]: entry for entry in json.loads(lab.left.run("cat /tmp/found").output)["filesystems"]}
    table = lab.left.mounts(all=True)
    assert table.columns.tolist() == COLUMNS
    assert sorted(table.mount_id) == sorted(found)
    for row in table.itertuples():
        entry = found[row.mount_id]
        assert row.mount_point == entry["target"]
        assert row.root == entry["fsroot"]
        assert (row.fstype, row.options) == (entry["fstype"], entry["vfs-options"])
        assert row.super_options == entry["fs-options"]
        assert entry["source"] in (row.source, f"{row.source}[{row.root}]")
        assert entry["parent"] == row.parent_id
        assert sorted(row.propagation.split(", ")) == sorted(
            word for word in entry["propagation"].split(",") if word != "private" or entry["propagation"] == "private"
        )
    at = table.set_index("mount_point")
    assert at.loc["/tmp/b", "master"] == at.loc["/tmp/mount_ns", "peer_group"]


def test_the_types_of_the_columns(lab):
    """Numbers that may be missing are Int64, who sees a mount is bool, all else is text."""
    first_steps(lab)
    table = lab.left.mounts()
    numbers = ["peer_group", "master", "mount_id", "parent_id"]
    assert {str(table[name].dtype) for name in numbers} == {"Int64"}
    assert {str(table[name].dtype) for name in COLUMNS if name not in numbers} <= {"str", "object"}
    assert table.peer_group.isna().all()
    for both in (lab.mounts(), lab.differences()):
        shown = [name for name in COLUMNS if name not in ("mount_point", "mount_id", "parent_id")]
        assert both.columns.tolist() == ["mount_point", "left", "right", *shown]
        assert [str(both[name].dtype) for name in ("left", "right")] == ["bool", "bool"]


def test_who_sees_what(lab):
    first_steps(lab)
    both = lab.mounts()
    assert rows(both, "mount_point", "left", "right") == [
        ("/", True, True),
        ("/proc", True, True),
        ("/dev", True, True),
        ("/tmp/mount_ns", True, False),
    ]
    assert rows(lab.differences(), "mount_point", "left", "right", "source", "fstype", "root") == [
        ("/tmp/mount_ns", True, False, "tmpfs", "tmpfs", "/")
    ]
    lab.right.run("mount -t tmpfs of-right /tmp/mount_ns")
    assert sorted(rows(lab.differences(), "mount_point", "left", "right", "source")) == [
        ("/tmp/mount_ns", False, True, "of-right"),
        ("/tmp/mount_ns", True, False, "tmpfs"),
    ]


def test_no_difference_is_a_table_without_rows(lab):
    lab.left.run(MOUNT)
    assert len(lab.differences()) == 0
    assert lab.differences().columns.tolist() == lab.mounts().columns.tolist()
    assert lab.mounts().mount_point.tolist()[-1] == "/tmp/mount_ns"


def test_copies_that_differ_say_which_has_what(lab):
    """A namespace is a copy: options and propagation are those of each copy."""
    lab.left.run(MOUNT)
    lab.left.run("unshare -m /bin/bash")
    lab.left.run("mount -o remount,bind,ro /tmp/mount_ns; mount --make-shared /tmp/mount_ns")
    row = lab.mounts().set_index("mount_point").loc["/tmp/mount_ns"]
    assert (row.left, row.right) == (True, True)
    assert row.options == "A: rw,relatime, B: ro,relatime"
    assert row.propagation == "A: private, B: shared"


def test_the_same_place_twice_is_two_mounts(lab):
    lab.left.run(f"{MOUNT}; mount -t tmpfs tmpfs /tmp/mount_ns")
    assert lab.left.mounts().mount_point.tolist().count("/tmp/mount_ns") == 2
    assert lab.mounts().mount_point.tolist().count("/tmp/mount_ns") == 2


def test_visible(lab):
    first_steps(lab)
    table = lab.visible("/tmp/mount_ns")
    assert table.index.tolist() == ["left", "right"]
    assert table.index.name == "terminal"
    assert rows(table, "namespace", "visible", "mounted", "why") == [
        ("B", True, "tmpfs (tmpfs)", "it is in the mount table of namespace B"),
        ("A", False, "", "it is in the table of B, and A has a table of its own"),
    ]
    assert rows(lab.visible("/tmp"), "visible", "mounted") == [(False, ""), (False, "")]


@pytest.mark.parametrize("path", ["/tmp/mount_ns/", "/tmp/./mount_ns", "//tmp/mount_ns", "/tmp/x/../mount_ns"])
def test_visible_takes_a_path_as_people_write_it(lab, path):
    lab.left.run(MOUNT)
    assert lab.visible(path).visible.tolist() == [True, True]


def test_visible_wants_an_absolute_path(lab):
    with pytest.raises(ValueError, match="absolute"):
        lab.visible("tmp/mount_ns")


def test_namespaces(lab):
    """Processes bear the pids that the lab's own ps shows."""
    first_steps(lab)
    outer, right = lab.left.run("echo $PPID $$"), lab.right.run("echo $$")
    parent, inner = outer.output.split()
    table = lab.namespaces()
    assert table.index.tolist() == ["A", "B"]
    assert table.index.name == "namespace"
    assert table.columns.tolist() == ["terminals", "processes", "inode"]
    assert table.terminals.tolist() == ["right", "left"]
    assert table.processes.tolist() == [f"agent 1, bash {parent}, bash {right.output}", f"bash {inner}"]
    assert table.inode.tolist() == [lab.right.namespace.inode, lab.left.namespace.inode]


def test_namespaces_of_no_terminal_are_listed_too(lab):
    lab.left.run("unshare -m sleep 60 & while ! pidof sleep > /dev/null; do :; done")
    wait_until("unshare has become sleep", lambda: "sleep" in " ".join(lab.namespaces().processes))
    assert lab.namespaces().terminals.tolist() == ["left, right", ""]


def test_no_inode_number_is_in_a_column_not_made_for_it(lab):
    first_steps(lab)
    inodes = [str(lab.left.namespace.inode), str(lab.right.namespace.inode)]
    tables = (lab.mounts(), lab.visible("/tmp/mount_ns"), lab.left.mounts(), lab.namespaces().drop(columns="inode"))
    assert [inode for inode in inodes for table in tables if inode in table.to_string()] == []


# --- labels


def test_labels_are_given_in_order_of_appearance(lab):
    labels = [lab.right.run("true").label]
    for terminal in (lab.right, lab.left):
        terminal.run("unshare -m /bin/bash")
        labels.append(terminal.run("true").label)
    assert labels == ["A", "B", "C"]
    lab.left.run("exit")
    assert lab.left.run("true").label == "A"
    assert lab.namespaces().index.tolist() == ["A", "B"]


def test_namespaces_that_are_seen_together_are_labelled_in_the_order_of_their_pids(lab):
    """The kernel gives the lowest free inode number: that of one that has ended may be a later one's, and lower."""
    three = "while (($(lsns --noheadings --type mnt | wc -l) != 3)); do :; done"
    lab.left.run("unshare -m sleep 60 & first=$!")
    lab.left.run("unshare -m sleep 60 &")
    lab.left.run(three)
    lab.left.run("kill $first; wait $first; unshare -m sleep 60 &")
    lab.left.run(three)
    table = lab.namespaces()
    pids = [int(row.split()[-1]) for row in table.processes[1:]]
    assert table.index.tolist() == ["A", "B", "C"]
    assert pids == sorted(pids)


def leave_by_exit(lab):
    lab.left.run("unshare -m /bin/bash")
    label, inode = lab.left.run("true").label, lab.left.namespace.inode
    lab.left.run("exit")
    return label, inode


def leave_by_ending_the_terminal(lab):
    lab.left.run("exec unshare -m /bin/bash")
    label, inode = lab.left.run("true").label, lab.left.namespace.inode
    lab.left.run("exit")
    lab.open("left")
    return label, inode


def leave_unseen(lab):
    """Keys that nobody waits for: both steps happen between two looks at the terminal."""
    if len(lab.namespaces()) > 1:
        before = lab.left.pid
        lab.left.send("exit\nunshare -m /bin/bash\n")
        wait_until("another bash prompts", lambda: lab.left.pid != before and "prompt" in repr(lab.left))
        wait_until("it is in its namespace", lambda: lab.left.namespace != lab.right.namespace)
    else:
        lab.left.run("unshare -m /bin/bash")
    return lab.left.run("true").label, lab.left.namespace.inode


def come_and_go_in_the_background(lab):
    lab.left.run("unshare -m sleep 60 &")
    wait_until("sleep runs", lambda: "sleep" in " ".join(lab.namespaces().processes))
    table = lab.namespaces()
    label = table.index[-1]
    lab.left.run("kill %%; wait")
    return label, int(table.inode.iloc[-1])


@pytest.mark.parametrize(
    "visit", [leave_by_exit, leave_by_ending_the_terminal, leave_unseen, come_and_go_in_the_background]
)
def test_a_new_namespace_gets_a_new_label_also_with_an_old_inode(lab, visit):
    """The kernel gives the lowest free inode number away again, so mostly the one just freed."""
    known = {}
    for _ in range(20):
        label, inode = visit(lab)
        assert label not in known.values(), f"{label} was given twice"
        if inode in known:
            return
        known[inode] = label
    pytest.fail("the kernel gave no inode number twice, so nothing was tested")


# --- the kit's own mounts


def test_the_kits_own_mounts_are_shown_on_request_only(lab):
    shown, all = set(lab.left.mounts().mount_point), set(lab.left.mounts(all=True).mount_point)
    assert shown < all
    assert {"/usr", "/run/host/etc", "/dev/null", "/dev/pts"} <= all - shown
    assert {"/usr", "/dev/null"} <= set(lab.mounts(all=True).mount_point) - set(lab.mounts().mount_point)
    lab.left.run("unshare -m /bin/bash")
    lab.left.run("umount -l /dev/pts")
    assert "/dev/pts" not in set(lab.differences().mount_point)
    assert "/dev/pts" in set(lab.differences(all=True).mount_point)


def test_what_the_learner_mounts_over_the_kit_is_shown(lab):
    lab.left.run("mount -t tmpfs mine /usr/local")
    lab.left.run("mount -t tmpfs mine /dev/shm")
    assert rows(lab.left.mounts(), "mount_point", "source")[3:] == [("/usr/local", "mine"), ("/dev/shm", "mine")]


def test_what_the_learner_binds_onto_itself_is_shown(lab):
    """The new mount has the place, the device and the root of the old one: only its mount_id is another."""
    assert lab.left.run("mount --rbind /usr /usr").status == 0
    assert "/usr" in lab.left.mounts().mount_point.tolist()


# --- what is shown is escaped


@pytest.mark.parametrize("name", ODD_NAMES)
def test_mount_names_are_escaped_in_every_table(lab, name):
    typed, path, shown = ODD_NAMES[name]
    made = lab.left.run(f"unshare -m /bin/bash\nmkdir -p {typed}\nmount -t tmpfs '<b>&source' {typed}")
    assert made.status == 0
    assert lab.left.mounts().mount_point.tolist()[-1] == shown
    assert lab.mounts().mount_point.tolist()[-1] == shown
    assert lab.differences().mount_point.tolist() == [shown]
    assert lab.visible(path).visible.tolist() == [True, False]
    for table in (lab.left.mounts(), lab.mounts(), lab.differences()):
        html = table._repr_html_()
        assert escape(shown, quote=False) in html
        assert not any(raw in html for raw in ("<script>", "<b>", "\x1b"))
        html.encode()  # no surrogate is left
        table.to_string().encode()
    assert "&lt;b&gt;&amp;source" in lab.visible(path)._repr_html_()
    transcript = lab.left.run("tail -n 1 /proc/mounts")
    html = transcript._repr_html_()
    html.encode()
    str(transcript).encode()
    assert not any(raw in html for raw in ("<script>", "<b>", "\x1b"))
    assert escape(transcript.output) in html


def test_the_names_of_processes_are_escaped(lab):
    """prctl(PR_SET_NAME) takes any bytes."""
    lab.left.run(r"cp /bin/sleep $'/tmp/\xff<b>\e\n'; $'/tmp/\xff<b>\e\n' 60 &")
    wait_until("it runs", lambda: r"\377<b>" in lab.namespaces().processes["A"])
    html = lab.namespaces()._repr_html_()
    html.encode()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_a_transcripts_html_escapes_command_output_and_prompt(lab):
    lab.left.run("mkdir '/tmp/<i>'; cd '/tmp/<i>'")
    html = lab.left.run("echo '<script>alert(1)</script>'")._repr_html_()
    assert "<script>" not in html
    assert "<i>" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


# --- reset and the end


def test_reset_gives_a_pristine_lab_with_the_same_terminals(lab):
    left, right, third = lab.left, lab.right, lab.open("third")
    first_steps(lab)
    right.run("hostname elsewhere; mount -t tmpfs tmpfs /mnt; rm ~/.bashrc; cd /; PS1='changed> '")
    third.run("exit")
    lab.reset()
    assert (lab.left, lab.right, lab["third"]) == (left, right, third)
    for terminal in (left, right, third):
        assert str(terminal.run("hostname; ls -A /tmp /mnt; echo ~")) == (
            "root@server:~# hostname; ls -A /tmp /mnt; echo ~\nserver\n/mnt:\n\n/tmp:\n/root"
        )
        assert terminal.mounts().mount_point.tolist() == ["/", "/proc", "/dev"]
        assert terminal.run("true").label == "A"
    tutorial(lab)


def test_reset_while_a_command_runs(lab):
    lab.left.send("sleep 60\n")
    wait_for_program(lab.left, "sleep")
    lab.reset()
    assert lab.left.run("pidof sleep").status == 1


def test_reset_while_another_thread_waits_for_a_command(lab):
    """The thread gets an answer, and the terminal is usable."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lab.left.run, "sleep 60")
        wait_for_program(lab.left, "sleep")
        lab.reset()
        assert "the shell has ended" in str(answer.result(timeout=10))
    assert lab.left.run("echo usable").output == "usable"


def test_a_closed_lab_can_be_reset(lab):
    lab.close()
    lab.reset()
    tutorial(lab)


def test_closing_twice_is_harmless(lab):
    lab.close()
    lab.close()


def test_the_end_of_the_with_block_is_the_end_of_the_lab():
    """Also when it ends with an exception, which goes on."""
    pids = []

    def fail():
        with Lab() as lab:
            pids.append(lab.left.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not os.path.exists(f"/proc/{pids[0]}")


@pytest.mark.parametrize(
    "use",
    [
        lambda lab: lab.mounts(),
        lambda lab: lab.differences(),
        lambda lab: lab.visible("/"),
        lambda lab: lab.namespaces(),
        lambda lab: lab.open("left"),
        lambda lab: lab.open("third"),
        lambda lab: lab.left.run("true"),
        lambda lab: lab.left.send("true\n"),
        lambda lab: lab.left.interrupt(),
        lambda lab: lab.left.mounts(),
        lambda lab: lab.left.namespace,
        lambda lab: lab.left.pid,
    ],
)
def test_a_closed_lab_says_so_and_names_the_way_back(lab, use):
    lab.close()
    with pytest.raises((LabEnded, TerminalEnded), match=r"lab\.reset\(\)"):
        use(lab)
    assert repr(lab) == "lab: ended; lab.reset() brings it back"
    assert repr(lab.left) == "terminal left: its shell has ended"


# --- many


def test_fifty_labs_at_once_run_the_tutorial():
    """All fifty are open before the first one begins."""
    all_open = threading.Barrier(50, timeout=60)

    def learn(_):
        with Lab(timeout=60) as lab:
            all_open.wait()
            tutorial(lab)
            return lab.left.namespace

    with ThreadPoolExecutor(50) as pool:
        assert len(list(pool.map(learn, range(50)))) == 50
