"""Write container/seccomp.json: which system calls the lessons' container may make, and which it may not.

    python -m tools.seccomp HEADER...    adds the calls of these headers, <asm/unistd_64.h> of x86-64 and of arm64

What the profile lists is decided. A call that it does not list, since it is younger, gives ENOSYS, as in an older
kernel: libc and programs then do what they did before there was one. So read the difference before it is committed:
a call is allowed as soon as it is listed and stands in none of the lines below.
"""

import errno
import json
import re
import sys
from pathlib import Path
from typing import Any

PROFILE = Path(__file__).resolve().parent.parent / "container" / "seccomp.json"
DEFINED = re.compile(r"^#define __NR_(\w+) \d+$", re.MULTILINE)

# EPERM. Most of these ask for a capability of the host, which nobody in the container has; this is the second lock,
# the kernel code behind it is not even entered. What the containers' defaults refuse and a lab needs is not here: the
# namespace and mount calls, chroot, sethostname.
REFUSED = {
    "loads code into the kernel": "bpf create_module delete_module finit_module init_module kexec_file_load kexec_load",
    "shows the kernel from inside": "get_kernel_syms lookup_dcookie perf_event_open query_module syslog",
    "belongs to the machine, which is not ours": "acct adjtimex clock_adjtime clock_settime ioperm iopl nfsservctl "
    "quotactl quotactl_fd reboot settimeofday swapoff swapon vhangup",
    "places memory and pages on the machine's nodes": "mbind migrate_pages move_pages set_mempolicy "
    "set_mempolicy_home_node",
    "opens files past every mount namespace": "open_by_handle_at",
    "reports what others do with files": "fanotify_init",
    "has been a way into the kernel again and again, and no lesson needs it": "io_uring_enter io_uring_register "
    "io_uring_setup modify_ldt userfaultfd vmsplice",
    "is not confined to a namespace": "add_key request_key",
    "has no use left": "_sysctl afs_syscall getpmsg putpmsg security sysfs tuxcall uselib ustat vserver",
}

# Allowed with one of these values alone, each {argument: value}; otherwise ENOSYS. A lab's root has every capability
# over a network namespace of its own, and with it could reach the drivers of every protocol: hence the families.
LIMITED: dict[str, list[dict[int, int]]] = {
    "keyctl": [{0: 1}],  # KEYCTL_JOIN_SESSION_KEYRING: the agent leaves the session's keyring
    "personality": [{0: 0}, {0: 0xFFFFFFFF}],  # PER_LINUX, and the question which one it is
    "socket": [{0: 1}, {0: 2}, {0: 10}, {0: 16, 2: 0}],  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK for NETLINK_ROUTE
}


def profile(names: set[str]) -> dict[str, Any]:
    """Return the profile that decides on the calls `names`, as runtimes read it.

    It names the two architectures and none of their 32-bit ABIs: a call through one of those ends the program.
    """
    refused = {name for line in REFUSED.values() for name in line.split()}
    limited = [
        {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [_equals(*each) for each in values.items()]}
        for name, choices in LIMITED.items()
        for values in choices
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": sorted(names - refused - set(LIMITED)), "action": "SCMP_ACT_ALLOW"},
            *limited,
            {"names": sorted(refused), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        ],
    }


def listed(text: str) -> set[str]:
    """Return the calls that the profile `text` decides on."""
    return {name for rule in json.loads(text)["syscalls"] for name in rule["names"]}


def written(names: set[str]) -> str:
    """Return the profile's text, a line for each call, so that a difference shows calls."""
    return json.dumps(profile(names), indent=1) + "\n"


def _equals(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def main() -> None:
    """Add the calls of the headers named, apply the rules above, and say how many there are."""
    names = listed(PROFILE.read_text()) if PROFILE.exists() else set()
    for header in sys.argv[1:]:
        names |= set(DEFINED.findall(Path(header).read_text()))
    PROFILE.write_text(written(names))
    print(f"{PROFILE.name}: decides on {len(names)} calls", file=sys.stderr)


if __name__ == "__main__":
    main()
