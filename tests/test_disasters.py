"""Whatever is typed in a lab: the host stays as it was, the notebook gets a clear answer, reset() gives a new lab."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import labkit
from labkit import CommandTimeout, Lab, LabError, TerminalEnded, Transcript
from tests.harness import UID_OF_THE_LAB, Family, all_pids, comm, first_steps, processes_of, wait_until

WAYS_BACK = ("lab.reset()", "lab.open(", ".interrupt()", "is at its prompt again")
PROCESSES, FILES = 256, 1024
MEGABYTES = 256


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


class Host:
    """What a disaster must not touch. Other programs run on this machine and work in /tmp and in the home: of those
    directories only names count, and a directory of our own in /tmp counts to the last byte.
    """

    def __init__(self, directory):
        self.directory = directory
        directory.chmod(0o777)
        for number in range(20):
            (directory / f"file-{number}").write_text(f"content {number}\n")
            (directory / f"file-{number}").chmod(0o666)
            os.chown(directory / f"file-{number}", UID_OF_THE_LAB, -1)
        bystander = ["setpriv", "--reuid", str(UID_OF_THE_LAB), "--clear-groups"] if os.geteuid() == 0 else []
        self.bystanders = [
            subprocess.Popen(["sleep", "1000"]),
            subprocess.Popen([*bystander, "sleep", "1000"]),  # of the user that the lab's root is, to the kernel
        ]
        wait_until("they sleep", lambda: {comm(process.pid) for process in self.bystanders} == {"sleep"})
        self.before = self.look()

    def look(self):
        places = ["/", "/etc", "/usr", "/dev", sys.prefix, sys.base_prefix, Path(labkit.__file__).parent]
        return {
            "mounts": Path("/proc/self/mountinfo").read_bytes(),
            "files": {str(place): sorted(map(_look, _entries(place))) for place in places},
            "home": sorted(str(path) for path in _entries(Path.home())),
            "ours": {path.name: (*_look(path), _digest(path)) for path in self.directory.iterdir()},
            "hostname": os.uname().nodename,
            "bystanders": [process.poll() for process in self.bystanders],
            "python": _look(Path(sys.executable).resolve()),
        }

    def end(self):
        for process in self.bystanders:
            process.kill()
            process.wait()


def _entries(directory):
    return [path for path in Path(directory).iterdir() if path.name != "__pycache__"]


def _look(path):
    """Name, mode, owner, size and time of change; of what lives a life of its own (/proc, /tmp) the first three."""
    status = path.lstat()
    alive = str(path) in ("/proc", "/sys", "/dev", "/tmp", "/run", str(Path.home())) or path.parent == Path("/dev")
    times = () if alive or path == Path("/root") else (status.st_size, status.st_mtime_ns)
    return (str(path), status.st_mode, status.st_uid, times)


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    yield host
    host.end()


def answer(terminal, command, timeout):
    """The transcript, or the error; an error has to name the way back."""
    try:
        return terminal.run(command, timeout=timeout)
    except LabError as error:
        assert any(way in str(error) for way in WAYS_BACK), error  # noqa: PT017
        return error


DISASTERS = {
    "rm": "rm -rf --no-preserve-root /",
    "fork bomb": ":(){ :|:& };:",
    "yes": "yes",
    "full /tmp": "cat /dev/zero > /tmp/full",
    "no inodes": "cd /tmp; seq 70000 | xargs mkdir",
    "kill -1": "kill -9 -1",
    "exit": "exit",
    "exec": "exec sleep inf",
    "no /proc": "umount -l /proc",
    "no mounts": "umount -l -a -R /",
    "shared": "mount --make-rshared /",
    "raw": "stty raw -echo",
    "no /dev": "rm -rf /dev; mount -t tmpfs tmpfs /dev",
    "closed": "exec 0<&- 1>&- 2>&-",
    "covered": "mount -t tmpfs tmpfs /",
    "moved": "mkdir /tmp/new && mount --bind /tmp/new /tmp/new && cd /tmp/new && mkdir old && pivot_root . old",
    "shell": "cp /bin/true /tmp/true; mount --bind /tmp/true /bin/bash",
    "stopped": "kill -STOP $$",
    "init": "kill -9 1; kill -TERM 1; kill -SEGV 1; kill -STOP 1; kill -INT 1; kill -CHLD 1",
    "bashrc": "echo exit > ~/.bashrc; exec bash",
}


@pytest.mark.parametrize("disaster", DISASTERS)
def test_a_disaster(lab, host, disaster):
    """The host is as before while the lab is still the ruin that it is, and after reset()."""
    first = answer(lab.left, DISASTERS[disaster], 3)
    assert isinstance(first, (Transcript, CommandTimeout))
    second = answer(lab.left, "echo still here", 3)
    assert isinstance(second, (Transcript, CommandTimeout, TerminalEnded))
    assert isinstance(answer(lab.right, "echo here too", 3), (Transcript, CommandTimeout, TerminalEnded))
    assert host.look() == host.before
    pids = processes_of(lab) if lab.left.alive else []
    lab.reset()
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}/root/bin")] == []
    assert lab.left.run("hostname; ls /tmp").output == "server"
    first_steps(lab)
    assert lab.visible("/tmp/mount_ns").visible.tolist() == [True, False]
    assert host.look() == host.before


@pytest.mark.parametrize("disaster", ["rm", "no /proc", "shared", "raw", "init", "full /tmp", "no inodes"])
def test_after_a_lesser_disaster_the_terminals_and_tables_still_work(lab, disaster):
    """The tables are read in the host's /proc, the keys of bash are its own."""
    answer(lab.left, DISASTERS[disaster], 3)
    for terminal in (lab.left, lab.right):
        assert terminal.run("echo works").output == "works"
    assert lab.visible("/dev").visible.tolist() == [True, True]
    assert len(lab.namespaces()) == 1


def test_kill_of_all_ends_the_other_shell(lab):
    """kill(-1) spares PID 1 and the one that calls it: kill(2)."""
    assert lab.left.run("kill -9 -1").status == 0
    wait_until("right has ended", lambda: not lab.right.alive)
    with pytest.raises(TerminalEnded, match=r'lab\.open\("right"\)'):
        lab.right.run("true")
    lab.open("right")
    first_steps(lab)
    assert lab.right.run("hostname").output == "server"


def test_no_signal_from_the_lab_ends_its_pid_1(lab):
    """A signal that PID 1 has no handler for does not reach it from its own PID namespace: pid_namespaces(7)."""
    numbers = " ".join(str(number) for number in range(1, 65) if number not in (32, 33))
    assert lab.left.run(f"for number in {numbers}; do kill -$number 1; done").status == 0
    assert lab.open("third").run("cat /proc/1/comm").output == "agent"
    assert lab.right.run("echo works").output == "works"


def test_exec_of_what_does_not_end_takes_the_shell_along(lab):
    with pytest.raises(CommandTimeout, match=r'shell ended with it: lab\.open\("left"\) starts a new one'):
        lab.left.run("exec sleep inf", timeout=0.5)
    lab.open("left")
    first_steps(lab)


def test_a_shell_that_can_not_be_started_is_no_hang(lab):
    """bash is covered by a program that ends at once."""
    lab.left.run(DISASTERS["shell"])
    with pytest.raises(LabError, match=r"lab\.reset\(\)"):
        lab.open("third")
    lab.reset()
    first_steps(lab)
    assert lab["left"].run("echo works").output == "works"


def test_a_shell_that_ends_at_once_is_no_hang(lab):
    lab.left.run("echo exit > ~/.bashrc")
    with pytest.raises(LabError, match=r"lab\.reset\(\)"):
        lab.open("third")


# --- the host can not be written, even on purpose

WRITE = """
for where in /usr /run/host/etc /run/host/python /bin /lib /opt /etc/passwd-; do
    if [ -d $where/ ]; then
        mount -o remount,rw,bind $where && echo remounted $where
        mount -o remount,rw $where && echo remounted all of $where
        touch $where/written && echo wrote $where
        for file in $where/* $where/bin/*; do
            [ -L $file ] || { chmod u+w $file && echo chmod $file; }
            break
        done
    fi
done
mkdir -p /tmp/again
for where in /usr /run/host/etc /run/host/python; do
    [ -d $where ] || continue
    mount --rbind $where /tmp/again && mount -o remount,rw,bind /tmp/again && echo remounted a copy
    touch /tmp/again/written && echo wrote a copy
    rm -f /tmp/again/written
    umount -l /tmp/again
done
"""
INTO = {
    "the default namespace": "bash /tmp/write",
    "a mount namespace": "unshare -m bash /tmp/write",
    "a user namespace": "unshare -Urm bash /tmp/write",
    "two user namespaces": "unshare -Urm unshare -Urm bash /tmp/write",
    "new everything": "unshare -Urmpif --mount-proc bash /tmp/write",
}


@pytest.mark.parametrize("where", INTO)
def test_what_the_lab_borrows_stays_read_only(lab, host, where):
    """The flags were set in a more privileged namespace, so they are locked: mount_namespaces(7)."""
    lab.left.run(f"cat > /tmp/write <<'EOF'\n{WRITE}\nEOF")
    assert lab.left.run(f"{INTO[where]} 2> /tmp/errors").output == ""
    assert "permission denied" in lab.left.run("cat /tmp/errors").output.lower()
    assert host.look() == host.before


def test_every_mount_that_is_the_hosts_is_read_only(lab):
    """Only what the kit has made is writable, and devices, which are no files."""
    table = lab.left.mounts(all=True)
    writable = table[~table.options.str.split(",").map(lambda options: "ro" in options)]
    devices = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}
    assert set(writable.mount_point) - devices <= {"/", "/proc", "/dev", "/dev/pts"}


PATHS = ("exe", "root", "cwd", "fd/0", "fd/1", "fd/2", "fd/3", "fd/4", "fd/5")


@pytest.mark.parametrize("command", ["touch", "chmod 4777", "truncate -s 0", "setfattr -n user.x -v 1", "chown 0:0"])
def test_the_notebooks_python_is_not_reached_through_pid_1(tmp_path, command):
    """/proc/1/exe is a door to the mount that the program was started from. The Python is one that belongs to the
    user who is root in the lab, as any in a home directory does.
    """
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / Path(sys.executable).name
    if not python.exists():
        python = tmp_path / "venv" / "bin" / "python3"
    for directory in (tmp_path, tmp_path / "venv", tmp_path / "venv" / "bin"):
        directory.chmod(0o755)
    os.chown(python, UID_OF_THE_LAB, -1)
    before = python.stat()
    program = """
import sys
from labkit.lab import Lab
with Lab() as lab:
    for path in sys.argv[2:]:
        print(lab.left.run(f"{sys.argv[1]} /proc/1/{path}").status)
"""
    root = Path(labkit.__file__).parent.parent
    run = subprocess.run(
        [python, "-c", program, command, *PATHS],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert len(run.stdout.split()) == len(PATHS)
    after = python.stat()
    fields = ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns")
    assert [getattr(after, field) for field in fields] == [getattr(before, field) for field in fields]


def test_no_file_of_the_hosts_is_in_reach_but_what_is_borrowed(lab, host):
    assert lab.left.run(f"ls {host.directory}").status == 2
    for door in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/.."):
        assert lab.left.run(f"ls {door}{host.directory}").status == 2
    assert lab.left.run("ls /").output.split() == lab.left.run("ls /proc/1/root/").output.split()


SETTINGS = ("vm/swappiness", "kernel/panic", "kernel/core_pattern", "fs/mount-max", "kernel/pid_max")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("prefix", ["", "unshare -Urm "])
def test_the_kernels_settings_can_not_be_written(lab, setting, prefix):
    path = Path("/proc/sys", setting)
    if not path.exists():
        pytest.skip(f"this kernel has no {path}")
    before = path.read_text()
    assert lab.left.run(f"{prefix}sh -c 'echo 7 > {path}'").status != 0
    assert path.read_text() == before


def test_the_host_name_is_the_labs_own(lab):
    before = os.uname().nodename
    assert lab.left.run("hostname elsewhere; hostname").output == "elsewhere"
    assert os.uname().nodename == before


@pytest.mark.parametrize(
    "command", ["mknod /tmp/disk b 8 0", "mknod /tmp/null c 1 3", "unshare -Urm mknod /tmp/n c 1 3"]
)
def test_no_device_can_be_made(lab, command):
    shown = lab.left.run(command)
    assert shown.status == 1
    assert "Operation not permitted" in shown.output


def test_devices_are_the_six_that_everybody_may_use(lab):
    found = lab.left.run(
        "for file in /dev/*; do [ ! -L $file ] && [ -c $file -o -b $file ] && echo $file; done"
    ).output.split()
    assert found == [f"/dev/{name}" for name in ("full", "null", "random", "tty", "urandom", "zero")]
    assert lab.left.run("chmod 600 /dev/null").status == 1
    assert lab.left.run("rm -f /dev/null").status == 1


def test_no_process_of_the_host_is_in_reach(lab, host):
    """The pids of the lab are its own; not one of the host's is among them."""
    listed = lab.left.run("ls /proc | grep -x '[0-9]*' | wc -l").output
    assert int(listed) <= 8
    for process in host.bystanders:
        assert lab.left.run(f"kill -9 {process.pid}").status == 1
    assert host.look() == host.before


# --- the limits


@pytest.mark.parametrize("terminal", ["left", "right", "third"])
def test_the_limits_of_a_shell(lab, terminal):
    shell = lab.open(terminal) if terminal == "third" else lab[terminal]
    assert shell.run("ulimit -Hu; ulimit -Su; ulimit -Hn; ulimit -Sn; ulimit -Hc").output.split() == (
        [str(PROCESSES)] * 2 + [str(FILES)] * 2 + ["0"]
    )


@pytest.mark.parametrize("limit", ["nproc", "nofile"])
@pytest.mark.parametrize("prefix", ["", "unshare -Ur "])
def test_no_limit_can_be_raised(lab, limit, prefix):
    """It would take CAP_SYS_RESOURCE in the first user namespace: prlimit(2)."""
    shown = lab.left.run(f"{prefix}prlimit --{limit}=100000:100000 true")
    assert shown.status != 0
    assert "Operation not permitted" in shown.output


@pytest.mark.parametrize("prefix", ["", "unshare -Ur "])
def test_a_fork_bomb_has_no_more_processes_than_the_limit(lab, prefix):
    """Counted over the user namespace and those below it, since Linux 5.14."""
    lab.left.run("cat > /tmp/bomb <<'EOF'\nfor i in $(seq 400); do sleep 60 & done 2> /dev/null\nwait\nEOF")
    pid = lab.left.pid
    lab.left.send(f"{prefix}bash /tmp/bomb\n")
    count = wait_until("it is full", lambda: (n := len(processes_of(lab))) >= PROCESSES - 20 and n)
    assert count <= PROCESSES + 5
    assert len(processes_of(lab)) <= PROCESSES + 5
    assert os.path.exists(f"/proc/{pid}")
    lab.reset()


def test_every_tmpfs_that_the_kit_mounts_has_its_limits(lab):
    """Without them a tmpfs takes half of the machine's memory; what is read-only is the host's."""
    table = lab.left.mounts(all=True)
    ours = table[(table.fstype == "tmpfs") & ~table.options.str.startswith("ro")]
    assert ours.mount_point.tolist() == ["/", "/dev"]
    for options in ours.super_options.str.split(","):
        names = {option.split("=")[0] for option in options}
        assert {"size", "nr_inodes"} <= names, options


@pytest.mark.parametrize(("file", "most"), [("/tmp/full", MEGABYTES), ("/root/full", MEGABYTES), ("/dev/shm/full", 1)])
def test_a_full_file_system_is_full_at_its_limit(lab, file, most):
    shown = lab.left.run(f"head -c 1G /dev/zero > {file}; stat -c %s {file}")
    assert "No space left on device" in shown.output
    assert 0 < int(shown.output.split()[-1]) <= most << 20


def test_the_labs_root_is_nobody_on_the_host(lab):
    """Not root, also where root started it: every uid and gid of every process, in every place."""
    lab.left.run("unshare -m /bin/bash")
    lab.right.run("unshare -Urmpf --mount-proc sleep 60 & sleep 60 &")
    wait_until("both sleep", lambda: [comm(pid) for pid in processes_of(lab)].count("sleep") == 1)
    below = os.readlink(f"/proc/{lab.left.pid}/ns/user")
    pids = {lab._sandbox.guard, *processes_of(lab)}
    pids |= {pid for pid in all_pids() if _parent(pid) in pids}
    assert len(pids) >= 6
    for pid in pids:
        fields = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
            if ":\t" in line
        )
        assert fields["Uid"].split() == [str(UID_OF_THE_LAB)] * 4
        assert "0" not in fields["Gid"].split() or os.getegid() == 0 != os.geteuid()
        assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    assert below != os.readlink("/proc/self/ns/user")


def _parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_nothing_of_a_disaster_outlives_the_notebook():
    """A fork bomb, a full file system and a process that ignores every signal, and then no close()."""
    family = Family()
    program = """
from labkit.lab import Lab
lab = Lab()
lab.left.run("trap '' INT TERM HUP; setsid sleep 1000 & cat /dev/zero > /tmp/full")
lab.right.run(":(){ :|:& };:")
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    with family.start(program) as process:
        process.communicate(timeout=60)
    assert process.returncode == -9
    family.wait_until_none_is_left()


# --- what is beside files and processes


def test_a_cgroup_of_the_hosts_is_not_reached(lab):
    """In a cgroup namespace of its own, lab root could mount cgroup2 and kill by it whoever shares the notebook's
    cgroup, where that is delegated to the learner.
    """
    shown = lab.left.run("unshare -C true; unshare -Ur unshare -C true")
    assert shown.status == 1
    assert shown.output.count("No space left on device") == 2
    assert lab.left.run("mount -t cgroup2 none /mnt").status != 0


def test_the_network_is_the_labs_own(lab):
    """Abstract sockets and loopback ports know no mount namespace: what listens on the host must not be in reach."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0labkit-test-of-the-network")
        server.listen()
        names = lab.left.run("cat /proc/net/unix").output
        assert "@labkit-test-of-the-network" in Path("/proc/net/unix").read_text()
        assert "@labkit-test-of-the-network" not in names
    assert os.readlink(f"/proc/{lab._sandbox.pid}/ns/net") != os.readlink("/proc/self/ns/net")


SEARCH = """
import ctypes, os
number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING = 10, -3
print(ctypes.CDLL(None).syscall(number, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, b"user", b"labkit-test-key", 0) > 0)
"""
SECRET = f"""
import ctypes, os
from labkit.lab import Lab
from labkit.linux import join_session_keyring
join_session_keyring()
number = {{"x86_64": 248, "aarch64": 217}}[os.uname().machine]
assert ctypes.CDLL(None).syscall(number, b"user", b"labkit-test-key", b"secret", 6, -3) > 0
exec({SEARCH!r})
with Lab() as lab:
    lab.left.run("cat > /tmp/search.py << 'END'\\n" + {SEARCH!r} + "END")
    print(lab.left.run("python3 /tmp/search.py").output)
"""


def test_the_sessions_keyring_is_not_the_labs():
    """session_keyring(7): the keys of the learner's login could be read, and cleared. Outside it finds its key."""
    assert Family().run(SECRET).split() == ["True", "False"]
