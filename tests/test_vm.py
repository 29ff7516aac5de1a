"""The virtual machine, as far as that can be told without booting it; `make vm-test` boots it."""

import json
import os
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from labkit.checkup import PROGRAMS
from tools import vm_test

ROOT = Path(__file__).resolve().parent.parent
VM = ROOT / "vm"
SCRIPTS = [path for path in sorted(VM.iterdir()) if path.is_file() and path.read_text().startswith("#!/bin/bash\n")]
PACKAGES = [line for line in (VM / "packages.txt").read_text().splitlines() if not line.startswith("#")]
BOX = "build/mount-namespace-lab.box"


@pytest.fixture
def copy(tmp_path):
    """A directory with the Vagrantfile and what it names, and no box."""
    if not (shutil.which("vagrant") and shutil.which("ruby")):
        pytest.skip("vagrant or Ruby is not installed: apt install --no-install-recommends vagrant")
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    shutil.copytree(VM, tmp_path / "vm")
    return tmp_path


@pytest.fixture
def settings(copy):
    """What the Vagrantfile sets, with these variables in the environment."""

    def evaluate(**variables):
        command = ["ruby", str(ROOT / "tests" / "vagrantfile.rb"), str(copy / "Vagrantfile")]
        result = subprocess.run(command, env=environment(**variables), check=True, capture_output=True, text=True)
        return json.loads(result.stdout)

    return evaluate


def environment(**variables):
    """Ours without settings for Vagrant, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "VAGRANT_"))}
    return {**kept, **variables}


@pytest.mark.parametrize(("cpus", "memory"), [("2", "2048"), ("4", "4096")])
def test_each_provider_gives_the_processors_and_the_memory(settings, cpus, memory):
    """2 and 2 GiB are the defaults. Which names a provider has for them is in its plugin's documentation."""
    given = {} if cpus == "2" else {"LABKIT_CPUS": cpus, "LABKIT_MEMORY": memory}
    provider = settings(**given)["vm"]["provider"]
    assert set(provider) == {"virtualbox", "vmware_desktop", "parallels", "libvirt"}
    numbers = {"cpus": int(cpus), "memory": int(memory)}
    assert provider["virtualbox"] == numbers
    assert provider["vmware_desktop"] == {"vmx": {"numvcpus": cpus, "memsize": memory}}
    assert provider["parallels"] == numbers
    machine, _override = provider["libvirt"]
    assert machine.items() >= numbers.items()


def test_libvirt_opens_no_screen_and_emulates_where_there_is_no_kvm(settings):
    """A screen would be a VNC port on the host. On qemu64, the emulator's own model, numpy's wheel ends by SIGILL."""
    machine, _override = settings()["vm"]["provider"]["libvirt"]
    assert machine["graphics_type"] == "none"
    emulated = {"driver": "qemu", "cpu_mode": "custom", "cpu_model": "Nehalem"}
    can = os.path.exists("/dev/kvm") and re.search(r"\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text())
    expected = {} if can or os.uname().machine != "x86_64" else emulated
    assert {name: machine[name] for name in emulated if name in machine} == expected


@pytest.mark.parametrize(("given", "port"), [({}, 8888), ({"LABKIT_PORT": "9000"}, 9000)])
def test_the_port_is_forwarded_on_this_computer_only_and_is_the_one_in_the_address(settings, given, port):
    found = settings(**given)
    assert found["vm"]["network"] == [["forwarded_port", {"guest": 8888, "host": port, "host_ip": "127.0.0.1"}]]
    (trigger,) = found["trigger"]["after"].values()
    assert trigger["run_remote"] == {"path": "vm/address.sh", "args": [str(port)]}


def test_the_box_is_the_public_one_and_with_libvirt_our_own(settings, copy):
    (copy / "build").mkdir()
    (copy / BOX).touch()
    vm = settings()["vm"]
    assert (vm["box"], vm.get("box_url")) == ("bento/debian-13", None)
    _machine, override = vm["provider"]["libvirt"]
    assert override["vm"]["box_url"] == f"file://{copy / BOX}"

    os.utime(copy / BOX, (0, 0))
    _machine, of_another_time = settings()["vm"]["provider"]["libvirt"]
    assert override["vm"]["box"] != of_another_time["vm"]["box"], "Vagrant would go on with the box that it knows"


@pytest.mark.parametrize("given", [{"LABKIT_BOX": "a/box"}, {"LABKIT_BOX_URL": "file:///a.box"}])
def test_the_box_and_where_it_comes_from_can_be_set_for_every_provider(settings, given):
    vm = settings(**given)["vm"]
    assert vm["box"] == given.get("LABKIT_BOX", "bento/debian-13")
    assert vm.get("box_url") == given.get("LABKIT_BOX_URL")
    _machine, override = vm["provider"]["libvirt"]
    assert override == {}


@pytest.mark.parametrize("wrong", [False, True])
def test_vagrant_finds_the_vagrantfile_valid(copy, wrong):
    """It has the plugin for VirtualBox, and looks at that block if there is a VBoxManage; a wrong name proves that."""
    program = copy / "bin" / "VBoxManage"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 7.0.20r163906\n")
    program.chmod(0o755)
    if wrong:
        text = (copy / "Vagrantfile").read_text()
        (copy / "Vagrantfile").write_text(text.replace("virtualbox.cpus", "virtualbox.processors"))
    variables = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(copy),
        "VAGRANT_HOME": str(copy / "home"),
        "VAGRANT_DEFAULT_PROVIDER": "virtualbox",
        "VAGRANT_CHECKPOINT_DISABLE": "1",
    }
    command = ["vagrant", "validate"]
    result = subprocess.run(command, cwd=copy, env=environment(**variables), capture_output=True, text=True)
    assert (result.returncode == 0, "processors" in result.stderr) == (not wrong, wrong), result.stdout + result.stderr


def test_the_folder_that_is_copied_has_all_that_is_installed_and_nothing_heavy(settings):
    ((_host, guest, options),) = settings()["vm"]["synced_folder"]
    assert (guest, options["type"]) == ("/vagrant", "rsync")
    installed = [ROOT / "pyproject.toml", ROOT / "constraints.txt", ROOT / "README.md", ROOT / "LICENSE"]
    for directory in ("labkit", "notebooks", "vm"):
        installed += [path for path in (ROOT / directory).rglob("*") if is_ours(path)]
    excluded = options["rsync__exclude"]
    assert [path for path in installed if is_excluded(path.relative_to(ROOT), excluded)] == []
    for path in (".git", ".venv/bin/python", "labkit/screen/js/node_modules/a", "labkit/__pycache__/a.pyc", BOX):
        assert is_excluded(Path(path), excluded), path


def is_ours(path):
    return not {"node_modules", "__pycache__", ".ipynb_checkpoints"} & set(path.parts)


def is_excluded(path, patterns):
    """By rsync's rules: a pattern that begins with / is for the top, another one for every part of the path."""
    return any(
        fnmatch(path.parts[0], pattern[1:])
        if pattern.startswith("/")
        else any(fnmatch(part, pattern) for part in path.parts)
        for pattern in patterns
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_no_syntax_error_ends_at_the_first_failure_and_can_be_run(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert "\nset -euo pipefail\n" in script.read_text()
    assert os.access(script, os.X_OK)


def test_the_provision_knows_no_provider():
    for name in ("provision.sh", "install-kit", "address.sh", "jupyterlab.service"):
        assert re.findall("virtualbox|vmware|parallels|libvirt|qemu", (VM / name).read_text(), re.I) == [], name


def test_one_list_of_packages_serves_the_box_and_the_provision_and_has_what_the_doctor_looks_for():
    assert sorted(set(PACKAGES), key=PACKAGES.index) == PACKAGES
    for name in ("make-box", "provision.sh"):
        assert "vm/packages.txt" in (VM / name).read_text(), name
    assert set(PROGRAMS.values()) <= set(PACKAGES)


def test_the_pins_are_those_of_the_project_in_the_box_and_in_the_provision():
    assert "PIP_CONSTRAINT=constraints.txt" in (VM / "install-kit").read_text()
    for name in ("customize-box", "provision.sh"):
        text = (VM / name).read_text()
        assert "vm/install-kit" in text, name
        assert "pip install" not in text, name


def test_the_service_neither_makes_nor_forbids_namespaces():
    """systemd.exec(5): Private*, Protect* and Restrict* give a service a mount namespace, or forbid it calls."""
    options = r"(?m)^(?:Private|Protect|Restrict|SystemCall|NoNewPriv)\w*="
    assert re.findall(options, (VM / "jupyterlab.service").read_text()) == []


def test_the_test_that_boots_it_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo make vm-test" in vm_test.what_is_missing()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(vm_test, "PATH", "/nowhere")
    assert (
        "apt install --no-install-recommends vagrant vagrant-libvirt libvirt-daemon-system" in vm_test.what_is_missing()
    )
