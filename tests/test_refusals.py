"""Where the system refuses a step, Lab() says at once which one, what the kernel said, why, and what mends it; and
nothing is left.
"""

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from tests.harness import Family, mount_table

# What each program begins with: Lab() is tried under restrictions; what came of it is printed, with what was left.
PROLOGUE = """
import ctypes, json, os, resource, struct, sys, threading
from labkit.checkup import doctor
from labkit.errors import LabError, LabRefused
from labkit.lab import Lab
from labkit.linux import CLONE_NEWNS, CLONE_NEWUSER, MS_BIND, mount, unshare

def try_it():
    first, looks = None, []
    for _ in range(2):  # what one of them leaves, the look after the second one shows
        try:
            with Lab() as lab:
                said = {"kind": "none", "output": lab.left.run("echo works").output}
        except LabRefused as refused:
            said = {"kind": "LabRefused", "step": refused.step, "errno": refused.errno, "text": str(refused),
                    "cause": refused.refusal.cause, "mend": refused.refusal.mend}
        except BaseException as error:
            said = {"kind": type(error).__name__, "text": str(error), "ours": isinstance(error, LabError)}
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join(5)
        looks.append([sorted(os.listdir("/proc/self/fd")), threading.active_count(),
                      open("/proc/self/mountinfo").read(), os.readlink("/proc/self/ns/user")])
        try:
            os.waitpid(-1, os.WNOHANG)
            said["child"] = True
        except ChildProcessError:
            said["child"] = False
        first = first or said
    first["same"] = looks[0] == looks[1]
    first["doctor"] = json.loads(doctor().json())
    print(json.dumps(first))

def in_a_user_namespace():
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    print("unshared", flush=True)
    sys.stdin.readline()
"""

NUMBERS = {
    "x86_64": {"unshare": 272, "mount": 165, "mount_setattr": 442, "pivot_root": 155, "umount2": 166, "pidfd_open": 434,
               "sethostname": 170, "setsid": 112},
    "aarch64": {"unshare": 97, "mount": 40, "mount_setattr": 442, "pivot_root": 41, "umount2": 39, "pidfd_open": 434,
                "sethostname": 161, "setsid": 157},
}[os.uname().machine]  # fmt: skip

FILTER = """
def refuse(number, error):
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7FFF0000)]
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    holder = ctypes.create_string_buffer(header)
    assert libc.prctl(22, 2, ctypes.addressof(holder), 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP

refuse(int(sys.argv[1]), int(sys.argv[2]))
try_it()
"""


def output_of(program, *arguments):
    """Run a program under its restrictions, in a user namespace of its own if it asks for one; no mount is left."""
    family = Family()
    before = mount_table()
    with family.start(PROLOGUE + program, *arguments) as process:
        try:
            go = None
            if "in_a_user_namespace()" in program:
                assert process.stdout.readline() == "unshared\n", process.stderr.read()
                map_ids(process.pid)
                go = "go\n"
            output, errors = process.communicate(go, timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    family.wait_until_none_is_left()
    assert mount_table() == before
    assert errors == ""
    return output


def attempt(program, *arguments):
    """What came of Lab(), and that it left nothing in its own process."""
    said = json.loads(output_of(program, *arguments))
    assert said["same"], "descriptors, threads, mounts or namespaces of the notebook's kernel are others than before"
    assert not said["child"], "a child was not waited for"
    return said


def map_ids(pid):
    """Root may map every id; others their own one, to one that is not 0, since it is none to them either."""
    if os.geteuid() == 0:
        maps = {"uid_map": "0 0 4294967295", "gid_map": "0 0 4294967295"}
    else:
        maps = {"setgroups": "deny", "uid_map": f"1000 {os.geteuid()} 1", "gid_map": f"1000 {os.getegid()} 1"}
    for name, content in maps.items():
        Path(f"/proc/{pid}/{name}").write_text(content)


def assert_refused(said, step, number, cause, mend):
    assert said["kind"] == "LabRefused", said
    assert (said["step"], said["errno"]) == (step, number), said
    assert cause in said["cause"]
    assert mend in said["mend"]
    for part in (f"could not {step}", errno.errorcode[number], said["cause"], said["mend"]):
        assert part in said["text"]
    [told] = [line for line in said["text"].splitlines() if line.startswith("The kernel said: ")]
    assert said["text"].splitlines()[2].startswith("Why: "), "what the kernel said is one line"
    assert errno.errorcode[number] in told
    assert_doctor_finds_the_same(said)


def assert_doctor_finds_the_same(said):
    """In the same words: what is refused, why, and what mends it. What would come after it was not tried."""
    assert (said["doctor"]["able"], said["doctor"]["status"]) == (False, 1)
    needed = [finding for finding in said["doctor"]["findings"] if finding["needed"]]
    [refused] = [finding for finding in needed if finding["ok"] is False]
    assert said["cause"] in refused["why"]
    assert "The lab could not" in refused["why"]
    assert refused["mend"] == said["mend"]
    assert any(finding["ok"] is None for finding in needed)


def test_without_a_restriction_it_works():
    """The programs below are right about themselves."""
    for program in ("try_it()", "in_a_user_namespace()\ntry_it()"):
        said = attempt(program)
        assert (said["kind"], said.get("output")) == ("none", "works"), said
        assert said["doctor"]["able"], said["doctor"]


LIMIT = """
in_a_user_namespace()
with open(f"/proc/sys/user/max_{sys.argv[1]}_namespaces", "w") as file:
    file.write(sys.argv[2])
try_it()
"""


@pytest.mark.parametrize(
    ("kind", "limit", "step", "cause", "mend"),
    [
        ("user", 0, "make a user namespace", "user.max_user_namespaces is 0", "sudo sysctl user.max_user_namespaces="),
        ("mnt", 0, None, "user.max_mnt_namespaces is 0", "sudo sysctl user.max_mnt_namespaces="),
        (
            "user",
            1,
            "make the lab's namespaces",
            "user.max_user_namespaces is 1",
            "sudo sysctl user.max_user_namespaces=",
        ),
        ("pid", 0, "make the lab's namespaces", "user.max_pid_namespaces is 0", "sudo sysctl user.max_pid_namespaces="),
        ("uts", 0, "make the lab's namespaces", "user.max_uts_namespaces is 0", "sudo sysctl user.max_uts_namespaces="),
        ("ipc", 0, "make the lab's namespaces", "user.max_ipc_namespaces is 0", "sudo sysctl user.max_ipc_namespaces="),
    ],
)
def test_a_limit_on_namespaces(kind, limit, step, cause, mend):
    """ENOSPC, whoever set it: every user namespace has limits of its own, below those of its parents."""
    said = attempt(LIMIT, kind, limit)
    assert step or said["step"] in ("make Python readable for the lab", "make a user namespace")
    assert_refused(said, step or said["step"], errno.ENOSPC, cause, mend)


SEAL, USER, PROC, TMPFS, PYTHON = (
    "make the host read-only", "make a user namespace", "mount a fresh /proc", "mount a tmpfs for the lab's root",
    "make Python readable for the lab",
)  # fmt: skip


@pytest.mark.parametrize(
    ("error", "cause"), [(errno.EPERM, "a seccomp filter"), (errno.ENOSYS, "a container's filter")]
)
@pytest.mark.parametrize(
    ("call", "steps"),
    [
        ("unshare", (USER, PYTHON)),
        ("mount", (TMPFS, PYTHON)),
        ("mount_setattr", (SEAL,)),
        ("pivot_root", ("make that its root",)),
        ("umount2", ("make that its root",)),
        ("sethostname", ("name the host",)),
        ("pidfd_open", ("watch the notebook's kernel",)),
    ],
)
def test_a_seccomp_filter(call, error, cause, steps):
    """As containers set one: the cause is the filter, or a kernel without the call, and no user is told to become
    another one.
    """
    said = attempt(FILTER, NUMBERS[call], error)
    assert said["kind"] == "LabRefused", said
    assert said["step"] in steps, said
    assert_refused(said, said["step"], error, cause, "container")


MASK = """
in_a_user_namespace()
if sys.argv[1] == "tmpfs":
    mount("tmpfs", sys.argv[2], "tmpfs")
else:
    mount(sys.argv[1], sys.argv[2], None, MS_BIND)
try_it()
"""


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("/dev/null", "/proc/version"),
        ("/dev/null", "/proc/keys"),
        ("/proc/sys", "/proc/sys"),
        ("tmpfs", "/proc/irq"),
        ("tmpfs", "/proc/sys"),
    ],
)
def test_a_masked_proc(source, target):
    """As container engines make it: the kernel gives no fresh /proc that would show what this one hides."""
    if not os.path.exists(target):
        pytest.skip(f"this kernel has no {target}")
    said = attempt(MASK, source, target)
    step, number = PROC, errno.EPERM
    if (source, target) == ("tmpfs", "/proc/sys"):  # there is no limit to write to
        step, number = "forbid cgroup namespaces", errno.ENOENT
    assert_refused(said, step, number, "parts of its /proc are masked", "unmask=ALL")


PROCESSES = """
in_a_user_namespace()
resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[1]),) * 2)
try_it()
"""


@pytest.mark.parametrize("limit", range(8))
def test_a_limit_on_processes(limit):
    """Where it meets depends on the limit: Python before the agent, the agent before PID 1, PID 1 before a shell, a
    thread that reads a terminal. Each is an error of ours that names the limit, or it was no obstacle.
    """
    said = attempt(PROCESSES, limit)
    if said["kind"] == "none":
        assert said["output"] == "works"
        assert limit > 1
        return
    assert said["kind"] == "LabRefused" or said["ours"], said
    assert "RLIMIT_NPROC" in said["text"]
    assert "not known" not in said["text"]


LOWER = """
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))
with Lab() as lab:
    print(lab.left.run("ulimit -n; ulimit -u").output.split())
"""


def test_limits_below_the_labs_own_are_kept():
    """The lab's limits are upper ones: raising a hard limit takes CAP_SYS_RESOURCE, and a lab works with less."""
    assert Family().run(PROLOGUE + LOWER) == "['512', '200']\n"


FILES = """
libraries = len(os.listdir("/proc/self/fd")) - 4  # libffi 3.5 keeps a file open
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]) + libraries,) * 2)
try_it()
"""


WEAK_ROOT = """
CAPGET, CAPSET = 90 if os.uname().machine == "aarch64" else 125, 91 if os.uname().machine == "aarch64" else 126
libc = ctypes.CDLL(None, use_errno=True)
header, sets = struct.pack("=II", 0x20080522, 0), ctypes.create_string_buffer(24)
for bit in map(int, sys.argv[1:]):
    assert libc.prctl(24, bit, 0, 0, 0) == 0  # PR_CAPBSET_DROP: nor will what root starts have it
assert libc.syscall(CAPGET, header, sets) == 0
words = list(struct.unpack("=6I", sets))
for bit in map(int, sys.argv[1:]):
    words[:3] = [word & ~(1 << bit) for word in words[:3]]
assert libc.syscall(CAPSET, header, struct.pack("=6I", *words)) == 0
try_it()
"""

if os.geteuid() == 0:  # nobody else can be a root that lacks something

    @pytest.mark.parametrize(("name", "bit"), [("CAP_SYS_ADMIN", 21), ("CAP_SETGID", 6)])
    def test_a_root_without_a_capability(name, bit):
        """A container's. Python outside /usr is staged by root, and it becomes another user: capabilities(7)."""
        said = attempt(WEAK_ROOT, bit)
        if said["kind"] == "none":
            assert name == "CAP_SYS_ADMIN"
            assert sys.base_prefix == "/usr", "nothing had to be staged"
        else:
            step = PYTHON if name == "CAP_SYS_ADMIN" else "become an unprivileged user"
            assert_refused(said, step, errno.EPERM, f"a root without {name}", "as an ordinary user")


@pytest.mark.parametrize("limit", [4, 5, 6, *range(8, 16)])  # at 7 subprocess itself loses a descriptor
def test_a_limit_on_open_files(limit):
    """Either a lab, or an error of ours."""
    said = attempt(FILES, limit)
    assert said["kind"] == "none" or said.get("ours") or said["kind"] == "LabRefused", said
    assert said["kind"] != "none" or limit > 8


def test_a_user_namespace_that_maps_one_id():
    """`unshare -Ur jupyter lab`, or a container without subordinate ids: root there is an ordinary user here, and can
    become nobody else. Either it works, or it says so.
    """
    program = """
unshare(CLONE_NEWUSER)
maps = {"setgroups": "deny", "uid_map": f"0 {sys.argv[1]} 1", "gid_map": f"0 {sys.argv[2]} 1"}
for name, content in maps.items():
    with open(f"/proc/self/{name}", "w") as file:
        file.write(content)
try_it()
"""
    said = attempt(program, os.geteuid(), os.getegid())
    if said["kind"] == "none":
        assert said["output"] == "works"
    else:
        assert said["kind"] == "LabRefused"
        assert "map" in said["cause"], said["text"]


def test_a_python_that_can_not_be_started(tmp_path):
    """The environment was removed below the running notebook."""
    program = f"""
sys.executable = {str(tmp_path / "gone")!r}
try_it()
"""
    said = attempt(program)
    assert said["kind"] == "LabRefused", said
    assert "gone" in said["text"]
