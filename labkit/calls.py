"""What strace(1) prints, taken apart, and each call in words: for lessons about what a program asks of the kernel."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

# The calls that change namespaces, mounts and roots, and those that start programs and processes.
TRACED = (
    "execve", "clone", "clone3", "fork", "vfork", "unshare", "setns", "chroot", "pivot_root", "mount", "umount2",
    "fsopen", "fspick", "fsconfig", "fsmount", "open_tree", "move_mount", "mount_setattr",
)  # fmt: skip
LINE = re.compile(
    r"(?P<pid>\d+)\s+(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\w+)(?: (?P<error>E\w+) .*| .*)?"
)
BEGUN = re.compile(r"(?P<pid>\d+)\s+(?P<begin>\w+\(.*) <unfinished \.\.\.>")
RESUMED = re.compile(r"(?P<pid>\d+)\s+<\.\.\. \w+ resumed>(?P<end>.*)")
ARGUMENT = re.compile(r'"(?:[^"\\]|\\.)*"(?:\.\.\.)?|\[[^]]*\]|\{[^}]*\}|[^,"\[{]+')
COMMENT = re.compile(r" /\* .*? \*/")
ADDRESS = re.compile(r"0x[0-9a-f]{8,}")  # of memory: another one each time, and nobody's business

KINDS = {
    "CLONE_NEWNS": "mount", "CLONE_NEWUSER": "user", "CLONE_NEWPID": "PID", "CLONE_NEWUTS": "UTS",
    "CLONE_NEWIPC": "IPC", "CLONE_NEWNET": "network", "CLONE_NEWCGROUP": "cgroup", "CLONE_NEWTIME": "time",
}  # fmt: skip
PROPAGATIONS = {
    "MS_PRIVATE": "private", "MS_SHARED": "shared", "MS_SLAVE": "a slave", "MS_UNBINDABLE": "unbindable",
}  # fmt: skip


class Call(NamedTuple):
    """One system call, as strace writes it, but for addresses: `result` is a number, or the name of an error."""

    pid: int
    name: str
    arguments: tuple[str, ...]
    result: str

    @property
    def words(self) -> str:
        """What was asked for, for somebody who does not know the flags."""
        asked = _words(self.name, self.arguments)
        return f"refused: {asked}" if self.result.startswith("E") else asked


def command(line: str, file: str) -> str:
    """The command that traces `line`, one program with its arguments, into `file`.

    Errors: ValueError where `line` is more than that: the shell would end the traced command there.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    if not words or "\n" in line or any(set(word) <= set("();<>|&") for word in words):
        raise ValueError(f"syscalls() traces one program with its arguments, without |, ;, > or &: not {line!r}")
    return f"strace -f -qq -s 200 -o {file} -e trace={','.join(TRACED)} -e signal=none -- {line}"


def parse(text: str) -> list[Call]:
    """The calls of `strace -f -o FILE`, in the order in which they began; not the places where a program was sought in
    vain.
    """
    calls: list[Call | None] = []
    begun: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        at = len(calls)
        if found := BEGUN.fullmatch(line):
            begun[found["pid"]] = at, f"{found['pid']} {found['begin']}"
            calls.append(None)
            continue
        if (found := RESUMED.fullmatch(line)) and found["pid"] in begun:
            at, begin = begun.pop(found["pid"])
            line = begin + found["end"]
        if not (found := LINE.fullmatch(COMMENT.sub("", line))):
            continue
        call = Call(int(found["pid"]), found["name"], _arguments(found["arguments"]), found["error"] or found["result"])
        if (call.name, call.result) == ("execve", "ENOENT"):
            continue
        calls[at : at + 1] = [call]
    return [call for call in calls if call]


def _arguments(text: str) -> tuple[str, ...]:
    return tuple(ADDRESS.sub("…", each.strip()) for each in ARGUMENT.findall(text) if each.strip())


def _words(name: str, arguments: tuple[str, ...]) -> str:
    match name, arguments:
        case "execve", (program, *_):
            return f"become the program {_plain(program)}"
        case ("unshare", (flags,)):
            return f"get {_kinds(flags) or 'nothing'} of its own"
        case (("clone" | "clone3" | "fork" | "vfork"), _):
            kinds = _kinds(" ".join(arguments))
            return f"start a process{f' with {kinds} of its own' if kinds else ''}"
        case "setns", (_, flags):
            return f"enter another {_kinds(flags).removeprefix('an ').removeprefix('a ') or 'namespace'}"
        case "chroot", (path,):
            return f"let path names begin at {_plain(path)}"
        case "pivot_root", (new, old):
            return f"make {_plain(new)} the root mount, and move the old one to {_plain(old)}"
        case "mount", (source, target, fstype, flags, *data):
            return _mount(source, target, fstype, set(flags.split("|")), data)
        case "umount2", (target, flags):
            lazily = ", as soon as nobody uses it" if "MNT_DETACH" in flags else ""
            return f"take the mount at {_plain(target)} away{lazily}"
        case "fsopen", (fstype, *_):
            return f"begin a new {_plain(fstype)}"
        case "fspick", _:
            return "take hold of a mounted file system"
        case "fsconfig", (_, what, key, value, *_):
            done = {"FSCONFIG_CMD_CREATE": "create it", "FSCONFIG_CMD_RECONFIGURE": "apply the changes"}
            return done.get(what) or f"set its option {_plain(key)} {_plain(value)}".removesuffix(" NULL")
        case "fsmount", _:
            return "make a mount of it, which is nowhere yet"
        case "open_tree", (_, path, flags, *_):
            copied = "OPEN_TREE_CLONE" in flags
            return f"{'make a copy of' if copied else 'take hold of'} the mount at {_plain(path)}"
        case "move_mount", (_, _, _, target, *_):
            return f"put the mount at {_plain(target)}"
        case "mount_setattr", ("-1", "NULL", *_):  # mount(8) since util-linux 2.39: EINVAL is the answer it hopes for
            return "a change of no mount, to find out whether the kernel has this call"
        case "mount_setattr", (_, path, _, attributes, *_):
            where = f" at {_plain(path)}" if _plain(path) else ""  # else the descriptor says which
            return f"change the mount{where}: {attributes.strip('{}')}"
    return ""


def _mount(source: str, target: str, fstype: str, flags: set[str], data: list[str]) -> str:
    where = _plain(target)
    below = " and all below it" if "MS_REC" in flags else ""
    for flag, kind in PROPAGATIONS.items():
        if flag in flags:
            return f"make the mount at {where}{below} {kind}"
    if "MS_REMOUNT" in flags:
        return f"change the options of the mount at {where}"
    if "MS_MOVE" in flags:
        return f"move the mount at {_plain(source)} to {where}"
    if "MS_BIND" in flags:
        return f"show {_plain(source)}{below} at {where} too"
    options = "" if not data or data[0] in ("NULL", '""') else f" with {_plain(data[0])}"
    return f"mount a {_plain(fstype)} at {where}{options}"


def _kinds(flags: str) -> str:
    kinds = [kind for flag, kind in KINDS.items() if re.search(rf"\b{flag}\b", flags)]
    if len(kinds) > 1:
        return f"{' and '.join(kinds)} namespaces"
    article = "an" if kinds == ["IPC"] else "a"
    return f"{article} {kinds[0]} namespace" if kinds else ""


def _plain(text: str) -> str:
    return text[1:-1] if text[:1] == '"' and text[-1:] == '"' else text
