"""The container's recipe: its pins and its seccomp profile are read, its run options printed by an engine for that."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from labkit import refusals
from tools import seccomp

ROOT = Path(__file__).resolve().parent.parent
CONTAINER = ROOT / "container"
RECIPE = (CONTAINER / "Containerfile").read_text()
PROFILE = json.loads((CONTAINER / "seccomp.json").read_text())

# What a lab and its lessons call; the lab's agent (labkit/linux, labkit/sandbox), util-linux of Debian 13, strace.
NEEDED = """
unshare clone clone3 setns mount umount2 mount_setattr open_tree move_mount fsopen fsconfig fsmount fspick pivot_root
chroot sethostname pidfd_open ptrace statmount listmount prctl execve wait4 kill prlimit64
""".split()
DANGEROUS = """
bpf kexec_load kexec_file_load init_module finit_module delete_module perf_event_open userfaultfd io_uring_setup
reboot swapon settimeofday open_by_handle_at add_key request_key
""".split()


def rules(name):
    return [rule for rule in PROFILE["syscalls"] if name in rule["names"]]


@pytest.mark.parametrize("name", NEEDED)
def test_the_profile_allows_what_a_lab_calls(name):
    assert [(rule["action"], rule.get("args")) for rule in rules(name)] == [("SCMP_ACT_ALLOW", None)]


@pytest.mark.parametrize("name", DANGEROUS)
def test_the_profile_refuses_what_nobody_needs(name):
    assert [(rule["action"], rule["errnoRet"]) for rule in rules(name)] == [("SCMP_ACT_ERRNO", 1)]


def test_a_key_ring_may_be_left_and_nothing_else_done_with_keys():
    """KEYCTL_JOIN_SESSION_KEYRING is 1: keyctl(2). The agent calls it."""
    assert [(rule["action"], [(arg["index"], arg["value"]) for arg in rule["args"]]) for rule in rules("keyctl")] == [
        ("SCMP_ACT_ALLOW", [(0, 1)])
    ]


def test_an_unknown_call_is_one_that_this_kernel_does_not_have():
    """ENOSYS: libc then does it in the older way; EPERM would be taken for an answer."""
    assert (PROFILE["defaultAction"], PROFILE["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert set(PROFILE["architectures"]) == {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"}


def test_the_profile_is_what_the_rules_make_of_its_calls():
    text = (CONTAINER / "seccomp.json").read_text()
    assert seccomp.written(seccomp.listed(text)) == text


@pytest.fixture
def told(tmp_path):
    """What an engine is told by container/run."""

    def ask(engine, *command, **environment):
        program = tmp_path / engine
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
        done = subprocess.run(
            [CONTAINER / "run", program, *command],
            env={"PATH": "/usr/bin:/bin", **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.splitlines()

    return ask


COMMON = [
    "run",
    "--rm",
    f"--security-opt=seccomp={CONTAINER / 'seccomp.json'}",
    "--security-opt=apparmor=unconfined",
    "--security-opt=no-new-privileges",
    "--cap-drop=all",
    "--env=PORT=8888",
    "--publish=127.0.0.1:8888:8888",
    "--volume=mount-namespace-lab:/home/student",
    "mount-namespace-lab",
]


@pytest.mark.parametrize(
    ("engine", "unmask"), [("podman", "--security-opt=unmask=ALL"), ("docker", "--security-opt=systempaths=unconfined")]
)
def test_the_run_options_are_these_and_no_others(told, engine, unmask):
    """No privilege is given: less is forbidden, and the page is on the host's loopback alone."""
    assert sorted(told(engine)) == sorted([*COMMON, unmask])
    *options, _image, program, argument = told(engine, "labkit", "doctor")
    assert (program, argument) == ("labkit", "doctor")
    assert "publish" not in " ".join(options)
    assert {"--env=PORT=9000", "--publish=127.0.0.1:9000:9000"} < set(told(engine, PORT="9000"))
    assert told(engine, IMAGE="another", VOLUME="mine")[-2:] == ["--volume=mine:/home/student", "another"]


def test_another_engine_is_refused():
    done = subprocess.run([CONTAINER / "run", "lxc"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "container/run: podman or docker, not lxc\n")


def test_the_options_that_a_refusal_advises_are_those_of_the_script(told):
    for options, engine in ((refusals.DOCKER_OPTIONS, "docker"), (refusals.PODMAN_OPTIONS, "podman")):
        given = {word.removeprefix("--security-opt=") for word in told(engine)}
        advised = options.replace("container/seccomp.json", str(CONTAINER / "seccomp.json")).split()
        assert {word for word in advised if word != "--security-opt"} <= given


def test_the_recipe_has_the_pins_the_lessons_programs_and_no_privileged_user():
    assert "ARG BASE=debian:13\nFROM ${BASE}\n" in RECIPE
    assert "PIP_CONSTRAINT=/tmp/kit/constraints.txt" in RECIPE
    assert "$(grep -v '^#' /tmp/packages.txt)" in RECIPE
    assert re.search(r"^USER student$(.|\n)*^CMD exec labkit start --ip 0\.0\.0\.0 ", RECIPE, re.M)


def test_the_recipe_copies_what_is_installed_and_is_given_nothing_else():
    """.dockerignore leaves out all but that."""
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", RECIPE, re.M) for name in line.split()]
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)
