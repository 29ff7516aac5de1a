"""However the process that owns a lab ends, the lab ends with it, entirely."""

import gc
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from labkit import Lab, LabEnded, LabError, TerminalEnded
from tests.harness import Family, comm, mount_table, processes_of, temporary_files, tutorial, wait_until

OWNERS, AT_ONCE = 200, 8

# Forks owners from a process that has no threads and has imported everything: 200 starts of Python would take longer
# than all that is tested here. An owner says in a byte what it is about to do; it is killed a random time after that.
NURSERY = """
import os, random, select, signal, sys, time
from labkit.lab import Lab

seed, owners, at_once = map(int, sys.argv[1:])
moments = random.Random(seed)

def own(say):
    try:
        tell = lambda what: os.write(say, what)
        tell(b"o")
        lab = Lab()
        tell(b"c")
        lab.left.run("mkdir /tmp/mount_ns; unshare -m /bin/bash")
        lab.left.run("mount -t tmpfs tmpfs /tmp/mount_ns; (sleep 1000 &); setsid sleep 1000 & cat /proc/mounts")
        lab.right.run("unshare -Urmpf --mount-proc sleep 1000 &")
        tell(b"r")
        lab.reset()
        tell(b"i")
        lab.left.run("sleep 1000")
    finally:
        os._exit(1)

WAITS = {"o": 0.06, "c": 0.04, "r": 0.08, "i": 0.01}  # seconds that this takes, about
killed = dict.fromkeys(WAITS, 0)
alive, kills = {}, []
started = 0
while started < owners or alive:
    while started < owners and len(alive) < at_once:
        started += 1
        listen, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            for fd in alive:
                os.close(fd)
            os.close(listen)
            own(say)
        os.close(say)
        alive[listen] = [pid, moments.choice("oocccrri"), ""]
    now = time.monotonic()
    for due, listen in sorted(kills):
        if due <= now:
            kills.remove((due, listen))
            pid, _, heard = alive.pop(listen)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            while select.select([listen], [], [], 0)[0] and (byte := os.read(listen, 1)):
                heard += byte.decode()
            os.close(listen)
            killed[heard[-1]] += 1
    waiting = [listen for listen in alive if listen not in {listen for _, listen in kills}]
    until = min(kills)[0] - time.monotonic() if kills else 10
    for listen in select.select(waiting, [], [], max(0, until))[0]:
        byte = os.read(listen, 1).decode()
        if not byte:
            sys.exit("an owner ended of itself")
        alive[listen][2] += byte
        if byte == alive[listen][1]:
            kills.append((time.monotonic() + moments.random() * WAITS[byte], listen))
print(killed)
"""


def test_two_hundred_owners_are_killed_and_nothing_is_left():
    """SIGKILL can not be caught: it is the kernel that ends the lab. The namespaces end with their last process, as
    nothing else holds them: no descriptor of ours, no mount of theirs.
    """
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"{seed=}")
    family = Family()
    before = mount_table(), temporary_files(), sorted(os.listdir("/proc/self/ns"))
    output = family.run(NURSERY, seed, OWNERS, AT_ONCE, timeout=120)
    print(output)
    counts = [int(number) for number in re.findall(r"\d+", output)]
    assert sum(counts) == OWNERS
    assert all(counts), "no owner was killed at one of the moments"
    assert family.members() == []
    assert (mount_table(), temporary_files(), sorted(os.listdir("/proc/self/ns"))) == before


NAMESPACES = 12  # that may exist at once; each lab needs two user and two mount namespaces, and has one more here


COUNTED = """
import errno, os, signal, sys, time
from labkit.errors import LabRefused
from labkit.lab import Lab
from labkit.linux import CLONE_NEWUSER, unshare

def open_in_time():  # the kernel frees a namespace in a worker, some time after its last process has ended
    end = time.monotonic() + 10
    while True:
        try:
            return Lab()
        except LabRefused as refused:
            if refused.errno != errno.ENOSPC or time.monotonic() > end:
                raise

unshare(CLONE_NEWUSER)
print("unshared", flush=True)
sys.stdin.readline()  # the ids have been mapped
for kind in ("user", "mnt", "pid", "uts", "ipc"):
    with open(f"/proc/sys/user/max_{kind}_namespaces", "w") as file:
        file.write(sys.argv[1])
for number in range(15):
    read, write = os.pipe()
    owner = os.fork()
    if owner == 0:
        os.close(read)
        lab = open_in_time()
        lab.left.run("unshare -m /bin/bash")
        os.write(write, b"x")
        lab.left.run("sleep 1000")
    os.close(write)
    assert os.read(read, 1) == b"x", number
    os.close(read)
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    while True:  # until the lab's processes, which are no children of ours, have ended
        mine = os.readlink("/proc/self/ns/user")
        left = 0
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/limits") as file:
                    ours = sys.argv[2] in file.read()
                with open(f"/proc/{pid}/stat", errors="replace") as file:
                    left += ours and file.read().rpartition(")")[2].split()[0] not in "ZX" and int(pid) != os.getpid()
            except (FileNotFoundError, ProcessLookupError):
                pass
        if not left:
            break
print("done")
"""


def test_the_kernels_own_count_of_namespaces_does_not_grow():
    """In a user namespace that allows a dozen of each kind, fifteen labs one after the other: the next one would be
    refused (ENOSPC) if the last ones' namespaces were still there, whoever held them.
    """
    family = Family()
    with family.start(COUNTED, NAMESPACES, family.brand) as process:
        try:
            assert process.stdout.readline() == "unshared\n", process.stderr.read()
            map_ids(process.pid)
            output, errors = process.communicate("go\n", timeout=60)
        finally:
            process.kill()
    assert output == "done\n", errors
    family.wait_until_none_is_left()


def map_ids(pid):
    """Root may map every id; others their own one, to one that is not 0, since it is none to them either."""
    if os.geteuid() == 0:
        maps = {"uid_map": "0 0 4294967295", "gid_map": "0 0 4294967295"}
    else:
        maps = {"setgroups": "deny", "uid_map": f"1000 {os.geteuid()} 1", "gid_map": f"1000 {os.getegid()} 1"}
    for name, content in maps.items():
        Path(f"/proc/{pid}/{name}").write_text(content)


DEATHS = {
    "the end of the program": ("", 0),
    "the end of the program, in a with block": ("sys.exit(3)", 3),
    "os._exit": ("os._exit(0)", 0),
    "an exception": ("raise ZeroDivisionError", 1),
    "SIGTERM": ("signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM),
    "SIGHUP": ("signal.raise_signal(signal.SIGHUP)", -signal.SIGHUP),
    "SIGSEGV": ("signal.raise_signal(signal.SIGSEGV)", -signal.SIGSEGV),
    "SIGABRT": ("os.abort()", -signal.SIGABRT),
    "SIGINT": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "exec": ("os.execv('/bin/true', ['true'])", 0),
    "a thread that still runs a command": (
        "import threading; threading.Thread(target=lab.left.run, args=['sleep 1000'], daemon=True).start()", 0
    ),
    "del": ("del lab; import gc; gc.collect()", 0),
}  # fmt: skip


@pytest.mark.parametrize("death", DEATHS)
def test_the_lab_ends_with_its_owner(death):
    """Processes of the lab that have a session of their own, or ignore what can be ignored, end too."""
    how, status = DEATHS[death]
    program = f"""
import os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from labkit.lab import Lab
lab = Lab()
lab.left.run("trap '' HUP INT TERM; setsid sleep 1000 & unshare -m sleep 1000 & true")
print("ready", flush=True)
{how}
"""
    family = Family()
    before = mount_table(), temporary_files()
    with family.start(program) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors
    family.wait_until_none_is_left()
    assert (mount_table(), temporary_files()) == before
    assert status in (1, -signal.SIGINT) or errors == ""


@pytest.mark.parametrize("moment", ["before the lab", "after the lab"])
def test_a_child_of_the_owner_that_lives_on_does_not_keep_the_lab(moment):
    """A forked child has a copy of every descriptor: the socket to the agent too, and the terminals."""
    program = """
import os, signal, sys
from labkit.lab import Lab
if sys.argv[1] == "after the lab":
    lab = Lab()
child = os.fork()
if child == 0:
    for fd in range(3):
        os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    signal.pause()
if sys.argv[1] == "before the lab":
    lab = Lab()
lab.left.run("sleep 1000 &")
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    family = Family()
    with family.start(program, moment) as process:
        output, _ = process.communicate(timeout=30)
    child = int(output)
    try:
        family.wait_until_none_is_left(but=[child])
        assert family.members() == [child]
    finally:
        os.kill(child, signal.SIGKILL)
    family.wait_until_none_is_left()


def test_a_stopped_owner_keeps_its_lab_and_a_killed_one_does_not():
    """Ctrl-Z on the notebook server is no end."""
    family = Family()
    program = "from labkit.lab import Lab; lab = Lab(); print(lab.left.pid, flush=True); lab.left.run('sleep 1000')"
    with family.start(program) as process:
        shell = int(process.stdout.readline())
        process.send_signal(signal.SIGSTOP)
        wait_until("it is stopped", lambda: _state(process.pid) == "T")
        assert os.path.exists(f"/proc/{shell}")
        process.kill()
        process.communicate()
    family.wait_until_none_is_left()


def _state(pid):
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]


# --- the lab's own processes are killed from outside


@pytest.mark.parametrize("victim", ["guard", "pid"])
def test_the_lab_ends_with_its_guard_and_with_its_pid_1(victim):
    """Each is the other's end: PR_SET_PDEATHSIG one way, a pidfd the other."""
    with Lab() as lab:
        lab.left.run("setsid sleep 1000 &")
        wait_until("setsid has become sleep", lambda: [comm(pid) for pid in processes_of(lab)].count("sleep") == 1)
        pids = {lab._sandbox.guard, *processes_of(lab)}
        assert len(pids) >= 5
        os.kill(getattr(lab._sandbox, victim), signal.SIGKILL)
        wait_until("all have ended", lambda: not any(_lives(pid) for pid in pids))
        wait_until("the notebook knows", lambda: not (lab.left.alive or lab.right.alive))
        with pytest.raises(TerminalEnded, match=r"lab\.reset\(\)"):
            lab.left.run("true")
        with pytest.raises(LabEnded, match=r"lab\.reset\(\)"):
            lab.mounts()
        with pytest.raises(LabEnded, match=r"lab\.reset\(\)"):
            lab.open("left")
        assert repr(lab) == "lab: ended; lab.reset() brings it back"
        lab.reset()
        tutorial(lab)


def test_the_lab_ends_while_a_command_runs():
    with Lab() as lab:
        lab.left.send("sleep 1000\n")
        wait_until("it runs", lambda: comm(lab.left.pid) == "sleep")
        os.kill(lab._sandbox.pid, signal.SIGKILL)
        with pytest.raises((TerminalEnded, LabError)):
            lab.left.run("true", timeout=5)
        lab.reset()


def _lives(pid):
    """A process that has ended and waits for the machine's init to reap it holds nothing."""
    try:
        return _state(pid) not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_lab_that_nobody_refers_to_ends():
    lab = Lab()
    lab.left.run("sleep 1000 &")
    pids = processes_of(lab)
    del lab
    gc.collect()
    assert not any(_lives(pid) for pid in pids)


def test_close_returns_when_all_has_ended():
    lab = Lab()
    lab.left.run("trap '' HUP INT TERM; for i in $(seq 50); do setsid sleep 1000 & done")
    wait_until("all 50 sleep", lambda: [comm(pid) for pid in processes_of(lab)].count("sleep") == 50)
    pids = processes_of(lab)
    lab.close()
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


# --- descriptors


def descriptors(pid):
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = os.readlink(entry)
        except FileNotFoundError:
            continue
    return found


def test_a_shell_has_no_descriptor_but_its_terminal():
    """255 is bash's own duplicate of it."""
    secret = os.open("/", os.O_PATH)
    os.set_inheritable(secret, True)
    try:
        with Lab() as lab:
            lab.open("third")
            shells = [pid for pid in processes_of(lab) if comm(pid) == "bash"]
            assert len(shells) == 3
            for pid in shells:
                found = descriptors(pid)
                assert set(found) == {0, 1, 2, 255}
                assert len(set(found.values())) == 1
                assert re.fullmatch(r"/dev/pts/\d+", found[0])
            assert lab.left.run("echo $(ls /proc/self/fd)").output == "0 1 2 3"  # the last one is that of ls
    finally:
        os.close(secret)


def test_no_descriptor_of_pid_1_leads_to_the_host():
    """Whoever is root in the lab can open /proc/1/fd/*: none may be a directory or a file of the host's, nor stand for
    a process of it.
    """
    with Lab() as lab:
        (agent,) = [pid for pid in processes_of(lab) if comm(pid) == "agent"]
        devices = {os.stat(mount.split()[4]).st_dev for mount in Path("/proc/self/mountinfo").read_text().splitlines()
                   if os.path.exists(mount.split()[4])}  # fmt: skip
        found = descriptors(agent)
        assert found
        for fd, link in found.items():
            status = os.stat(f"/proc/{agent}/fd/{fd}")
            assert link == "/dev/null" or status.st_dev not in devices or stat.S_ISFIFO(status.st_mode), (fd, link)
            assert "pidfd" not in link, "the notebook's kernel"


def test_labs_add_no_descriptor_and_no_thread_that_stays(tmp_path):
    """In the notebook's kernel, over opening, resetting and closing."""
    program = """
import os, threading
from labkit.lab import Lab
Lab().close()
before = len(os.listdir("/proc/self/fd")), threading.active_count()
for _ in range(5):
    with Lab() as lab:
        lab.open("third")
        lab.left.run("exit")
        lab.open("left")
        lab.reset()
    del lab
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(10)
print(before == (len(os.listdir("/proc/self/fd")), threading.active_count()))
"""
    assert Family().run(program) == "True\n"


def test_a_program_started_by_the_notebook_inherits_nothing_of_the_lab():
    """subprocess closes descriptors; a plain exec closes those that are close-on-exec."""
    with Lab():
        run = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True)
    assert "ptmx" not in run.stdout
    assert "socket" not in run.stdout
