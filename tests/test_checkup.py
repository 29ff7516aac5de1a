"""labkit.doctor(): each thing that a lab and its lessons need is tried or read, and what is missing is named with its
mend; after the mend the same machine can run a lab.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from IPython.lib.pretty import pretty

from labkit import checkup, cli, lessons, serving
from labkit.checkup import doctor
from labkit.findings import LASTS, Checkup, Finding
from labkit.host import Host
from tests.harness import Family
from tests.leaks import Watch
from tests.test_refusals import FILTER, NUMBERS, PROLOGUE, output_of


def test_this_machine_can_run_the_lessons(tmp_path):
    """What lesson 00 asks. The lab was a real one, and nothing of it is left."""
    watch = Watch(tmp_path)
    found = doctor()
    assert [finding for finding in found.findings if not finding.ok] == []
    assert (found.able, found.status) == (True, 0)
    assert str(found).startswith("Yes: this machine can run the lessons.")
    assert pretty(found) == str(found)
    assert watch.wait_until_nothing_is_left() == []


def test_every_step_of_the_agent_belongs_to_a_part():
    """The names in PARTS are those that the agent uses: one that is spelt otherwise would be part of the one before."""
    folder = Path(checkup.__file__).parent / "sandbox"
    begun = {step for path in folder.glob("*.py") for step in re.findall(r'begin\("([^"]+)"\)', path.read_text())}
    assert begun > set(checkup.PARTS)


# --- a machine that refuses, and its mend


def doctored(before, mend, *arguments, in_a_user_namespace=True):
    """A machine made to fail by `before`: what the doctor finds, and what it finds after `mend`, Python that may use
    the finding's own words in `refused`. Both in one process.
    """
    program = f"""
{"in_a_user_namespace()" if in_a_user_namespace else ""}
{before}
first = doctor()
refused = next(finding for finding in first.findings if finding.ok is False)
{mend}
print(json.dumps([json.loads(first.json()), json.loads(doctor().json())]))
"""
    first, second = json.loads(output_of(program, *arguments))
    assert second["able"], second
    return first, next(finding for finding in first["findings"] if finding["ok"] is False)


BY_SYSCTL = """
name, value = refused.mend.removeprefix("sudo sysctl ").split("=")
with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
    file.write(value)
"""


@pytest.mark.parametrize("kind", ["user", "mnt", "pid", "uts", "ipc", "net"])
def test_a_limit_on_namespaces_and_the_command_that_lifts_it(kind):
    """The mend's own words are carried out. Every user namespace has limits of its own: namespaces(7)."""
    before = f'with open("/proc/sys/user/max_{kind}_namespaces", "w") as file: file.write("0")'
    first, refused = doctored(before, BY_SYSCTL)
    assert (first["able"], first["status"]) == (False, 1)
    assert f"user.max_{kind}_namespaces is 0" in refused["why"]
    assert refused["lasts"] is False


def test_a_masked_proc_and_the_same_without_the_mask():
    """As `systempaths=unconfined` and `unmask=ALL` leave it."""
    unmask = "from labkit.linux import umount2; umount2('/proc/version')"
    first, refused = doctored('mount("/dev/null", "/proc/version", None, MS_BIND)', unmask)
    assert first["status"] == 1
    assert refused["what"] == "a fresh /proc"
    assert "parts of its /proc are masked" in refused["why"]
    assert "systempaths=unconfined" in refused["mend"]
    assert "unmask=ALL" in refused["mend"]


def test_a_limit_on_processes_and_the_same_without_it():
    """RLIMIT_NPROC, the soft one, as `ulimit -Su` sets it: counted in the user namespace since Linux 5.14."""
    limit = "hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]; resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))"
    first, refused = doctored(limit, "resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))")
    assert first["status"] == 1
    assert "RLIMIT_NPROC" in refused["why"]
    assert "ulimit -u" in refused["mend"]


def test_so_few_open_files_that_no_shell_is_started_and_more():
    """RLIMIT_NOFILE, the soft one, as `ulimit -Sn` sets it."""
    limit = (
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (11, hard))"
    )
    more = "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))"
    first, refused = doctored(limit, more, in_a_user_namespace=False)
    assert first["status"] == 1
    assert refused["what"] == checkup.SHELL
    assert "RLIMIT_NOFILE" in refused["why"]
    assert "ulimit -n" in refused["mend"]


def test_a_limit_on_open_files_and_the_same_without_it():
    limit = """
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
"""
    mend = 'resource.setrlimit(resource.RLIMIT_NOFILE, (int(refused.mend.split()[2].rstrip(",")), hard))'
    first, refused = doctored(limit, mend, in_a_user_namespace=False)
    assert (first["able"], first["status"]) == (True, 3)
    assert refused["what"] == "limits that leave room for a few labs"
    assert refused["why"] == "RLIMIT_NOFILE is 100"


def test_a_hard_limit_is_raised_by_root():
    [finding] = [each for each in facts(limits={"RLIMIT_NOFILE": (100, 100)}) if not each.ok]
    assert "* hard nofile 256" in finding.mend
    assert "ulimit" not in finding.mend
    assert finding.lasts is True


def test_user_namespaces_nested_32_deep():
    """user_namespaces(7): 32 levels. The first of the lab's two fits, the second does not; two levels up it works."""
    program = f"""{PROLOGUE}
def deeper():
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    for name, content in (("setgroups", "deny"), ("uid_map", f"1000 {{uid}} 1"), ("gid_map", f"1000 {{gid}} 1")):
        with open(f"/proc/self/{{name}}", "w") as file:
            file.write(content)
answers = []
for level in range(40):
    if level > 27:
        found = doctor()
        answers.append([found.able, next((f.why for f in found.findings if f.ok is False), "")])
        if not found.able:
            break
    while len(os.listdir("/proc/self/task")) > 1:  # readers of terminals: unshare(2) refuses them
        os.sched_yield()
    deeper()
print(json.dumps(answers))
"""
    *before, last = json.loads(Family().run(program))
    assert all(able for able, _ in before)
    assert before
    assert "nested 32 deep" in last[1]


def test_a_chroot():
    """CLONE_NEWUSER is EPERM in a chroot: unshare(2)."""
    before = 'from labkit.linux import chroot, MS_REC\nroot = os.open("/", os.O_RDONLY)\n'
    before += 'mount("/", "/mnt", None, MS_BIND | MS_REC); chroot("/mnt"); os.chdir("/")'
    first, refused = doctored(before, 'os.fchdir(root); chroot(".")')
    assert first["status"] == 1
    assert "chroot" in refused["why"]


@pytest.mark.parametrize(
    ("call", "number", "what", "cause"),
    [
        ("mount_setattr", 38, "the host's mounts made read-only", "the kernel ("),
        ("pivot_root", 1, "a root of its own, by pivot_root", "a seccomp filter forbids the call"),
    ],
)
def test_a_seccomp_filter_is_named_where_it_meets(call, number, what, cause):
    """A filter can not be taken away: the mend is to run without it, as this test's own process does."""
    program = PROLOGUE + FILTER.replace("try_it()", "print(doctor().json())")
    found = json.loads(Family().run(program, NUMBERS[call], number))
    [refused] = [finding for finding in found["findings"] if finding["ok"] is False]
    assert found["status"] == 1
    assert refused["what"] == what
    assert refused["why"].startswith(cause)


# --- what is read


def of(what, findings):
    [finding] = [finding for finding in findings if what in finding.what]
    return finding


ROOMY = Host(
    release="6.1.0-28-amd64",
    machine="aarch64",
    distribution="debian",
    memory=8 << 30,
    settings={"user.max_user_namespaces": "95000"},
    limits={"RLIMIT_NPROC": (-1, -1), "RLIMIT_NOFILE": (1024, 524288)},
)


def facts(**differences):
    return tuple(checkup._facts(Host(**{**ROOMY.__dict__, **differences})))


def test_a_roomy_machine_has_all_that_is_read():
    assert [finding for finding in facts() if not finding.ok] == []


@pytest.mark.parametrize(
    ("differences", "what", "why", "mend", "needed"),
    [
        ({"release": "5.10.0-33-amd64"}, "Linux", "this is Linux 5.10.0-33-amd64", "newer kernel", False),
        ({"release": "4.18.0"}, "Linux", "this is Linux 4.18.0", "newer kernel", False),
        ({"machine": "riscv64"}, "processor", "this is riscv64", "such a machine", False),
        ({"memory": 100 << 20}, "memory", "100 MiB are free", "close other programs", False),
        ({"limits": {"RLIMIT_NPROC": (64, -1)}}, "limits", "RLIMIT_NPROC is 64", "ulimit -Su 200", False),
        (
            {"settings": {"user.max_mnt_namespaces": "8"}},
            "limits",
            "_namespaces is 8",
            "sudo sysctl user.max_mnt",
            False,
        ),
    ],
)
def test_what_is_too_little_is_named(differences, what, why, mend, needed):
    finding = of(what, facts(**differences))
    assert finding.ok is False
    assert why in finding.why
    assert mend in finding.mend
    assert finding.needed is needed


@pytest.mark.parametrize(
    ("distribution", "mend"),
    [
        ("debian", "sudo apt install"),
        ("ubuntu debian", "sudo apt install"),
        ("fedora", "this system's package manager"),
    ],
)
def test_missing_programs_are_named_with_what_installs_them(monkeypatch, tmp_path, distribution, mend):
    for name in checkup.PROGRAMS:
        if name not in ("gcc", "stdio.h"):
            (tmp_path / name).touch(0o755)
    monkeypatch.setattr(checkup, "PATH", str(tmp_path))
    monkeypatch.setattr(checkup, "HEADERS", str(tmp_path))
    finding = of("programs that", facts(distribution=distribution))
    assert "not here: gcc, stdio.h" in finding.why
    assert mend in finding.mend
    assert ("gcc libc6-dev" in finding.mend) is ("apt" in mend)
    assert (finding.needed, finding.lasts) == (False, True)


def test_the_programs_are_those_that_the_lessons_ask_for():
    """What a cell says that it needs, and what Debian has in a package that is not on every system."""
    asked = set()
    for lesson in lessons.source().glob("*.ipynb"):
        for cell in nbformat.read(lesson, as_version=4).cells:
            if found := re.match(r"%%needs (.*)", cell.source):
                asked |= {need for need in found[1].split() if not need.startswith("linux-")}
    assert asked
    assert asked - {"python3"} <= set(checkup.PROGRAMS)  # the lab brings its own python3


@pytest.mark.skipif(not shutil.which("dpkg"), reason="not a Debian, whose packages are named")
def test_the_packages_are_those_that_the_programs_are_in():
    for name, package in checkup.PROGRAMS.items():
        path = shutil.which(name, path=checkup.PATH) or f"{checkup.HEADERS}/{name}"
        names = {path, str(Path(path).resolve()), path.removeprefix("/usr")}
        owners = subprocess.run(["dpkg", "--search", *names], capture_output=True, text=True).stdout
        # gcc-14; from Debian 14 on, util-linux-extra
        assert re.search(rf"^{package}(-\d+|-extra)?(:\w+)?: ", owners, re.M), (name, owners)


def test_a_python_without_the_kits_page_side(monkeypatch):
    monkeypatch.setattr(checkup, "jupyter_config_path", lambda: ["/nowhere"])
    monkeypatch.setattr(checkup, "jupyter_path", lambda name: [f"/nowhere/{name}"])
    findings = facts()
    assert "labkit start" in of("server extension", findings).mend
    assert "-m pip install anywidget jupyterlab-widgets" in of("extensions of JupyterLab", findings).mend


def test_a_runtime_directory_that_is_too_long(monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/tmp/" + "a" * 100)
    finding = of("sockets", facts())
    assert (finding.why, finding.mend) == serving.runtime_obstacle()
    assert "JUPYTER_RUNTIME_DIR" in finding.mend
    assert not finding.needed


def test_what_a_lesson_does_may_fail_where_a_lab_runs(monkeypatch):
    """A machine without overlayfs, say. What comes after it is not tried."""
    monkeypatch.setattr(
        checkup,
        "USES",
        (*checkup.USES[:1], checkup.Use("it", ["true", "ls /nowhere"], False, "a mend"), *checkup.USES[1:]),
    )
    found = doctor()
    [finding] = [finding for finding in found.findings if finding.what == "it"]
    said = "`ls /nowhere`: ls: cannot access '/nowhere': No such file or directory"
    assert finding == Finding("it", False, said, "a mend", needed=False)
    assert (found.able, found.status) == (True, 3)
    assert of("an overlay", found.findings).ok is None


# --- how it is shown

WELL, LACKS = Finding("one", True), Finding("two", False, "why <not>\nsaid", "do this", False, needed=False)
REFUSED, UNTRIED = Finding("three", False, "because", "do that", True), Finding("four", None)


@pytest.mark.parametrize(
    ("findings", "able", "status", "answer"),
    [
        ([WELL], True, 0, "Yes: this machine can run the lessons."),
        ([WELL, LACKS], True, 3, "Yes, a lab can run; but something that the lessons use is missing."),
        ([WELL, REFUSED], False, 1, "No: this machine can not run a lab yet."),
        ([WELL, UNTRIED], False, 1, "No: this machine can not run a lab yet."),
        ([LACKS, REFUSED], False, 1, "No: this machine can not run a lab yet."),
    ],
)
def test_the_answer_is_that_of_all_findings(findings, able, status, answer):
    found = Checkup(tuple(findings))
    assert (found.able, found.status) == (able, status)
    assert str(found).startswith(answer)
    assert answer in found._repr_html_()


def test_a_container_is_named():
    found = Checkup((REFUSED,), "Docker")
    assert str(found).splitlines()[0] == "No: this machine can not run a lab yet. (This is Docker.)"
    assert "(This is Docker.)" in found._repr_html_()
    assert "Docker" not in str(Checkup((WELL,), "Docker"))


def test_the_text_says_what_why_and_what_to_do():
    assert str(Checkup((WELL, LACKS, REFUSED, UNTRIED))).splitlines()[2:] == [
        "  yes  one",
        "  NO   two",
        "         why: why <not>",
        "             said",
        "         what to do: do this",
        "         lasts over a reboot: no; a file keeps it, in /etc/sysctl.d/ (settings), "
        "/etc/modules-load.d/ (modules), /etc/security/limits.d/ (limits)",
        "  NO   three",
        "         why: because",
        "         what to do: do that",
        "         lasts over a reboot: yes",
        "  -    four (not tried)",
    ]


class Cells(HTMLParser):
    """The texts of a table's rows."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        self.open = tag in ("td", "th")

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.rows and self.open:
            self.rows[-1][-1] += data


def test_in_a_notebook_what_is_wrong_comes_first_and_the_rest_is_folded():
    keep = LASTS[False]
    html = Checkup((WELL, LACKS, UNTRIED))._repr_html_()
    assert Cells(html).rows == [
        ["NO", "two"],
        ["why", "why <not>\nsaid"],
        ["what to do", "do this"],
        ["lasts over a reboot", keep],
        ["yes", "one"],
        ["not tried", "four"],
    ]
    assert "<details><summary>well: 1, not tried: 1</summary><table><tr><td" in html


def test_where_all_is_well_a_sentence_is_seen_and_the_rest_is_folded():
    html = Checkup((WELL, WELL))._repr_html_()
    assert Cells(html).rows == [["yes", "one"]] * 2
    assert "</strong></p><details><summary>well: 2</summary>" in html


def test_the_command_prints_it_and_exits_with_its_status(capsys):
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.startswith("Yes: this machine can run the lessons.")
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"able", "status", "place", "findings"}
    assert set(found["findings"][0]) == {"what", "ok", "why", "mend", "lasts", "needed"}


def test_the_command_fails_where_no_lab_can_run():
    """In a user namespace that may have no others."""
    program = """
in_a_user_namespace()
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
from labkit import cli
print(cli.main(["doctor"]))
"""
    *said, status = output_of(program).splitlines()
    assert status == "1"
    assert said[0] == "No: this machine can not run a lab yet."
    assert "         why: user.max_user_namespaces is 0" in said


def test_without_a_home_all_is_found_out_that_can_be():
    """A user of whom /etc/passwd knows nothing, as containers have them."""
    program = """
in_a_user_namespace()
for name in ("HOME", "XDG_DATA_HOME", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
    os.environ.pop(name, None)
import pwd
pwd.getpwuid = {}.__getitem__
print(doctor().json())
"""
    found = json.loads(output_of(program))
    assert (found["able"], found["status"]) == (True, 3)
    [refused] = [finding for finding in found["findings"] if not finding["ok"]]
    assert "no home directory" in refused["why"]
    assert "export HOME" in refused["mend"]
