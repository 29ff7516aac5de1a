r"""The mount table of a process, as the kernel writes it: /proc/PID/mountinfo.

One line is one mount, its fields separated by single spaces (proc_pid_mountinfo(5), Linux 2.6.26):

    36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue
    id parent dev root point options  [tag[:value] ...] - type source    super options
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


# A tuple: a frozen dataclass sets each field by a call, and 50,000 lines took it half as long again.
class Mount(NamedTuple):
    """One line of mountinfo: its fields in their order, then what the optional ones say."""

    mount_id: int  # unique while the mount lives, then reused
    parent_id: int  # of a mount outside this table when this one is its root
    major: int  # major and minor: st_dev of the files here, unless the file system makes its own (btrfs)
    minor: int
    root: str  # the directory of the file system that is seen here; "/" unless it is a bind or a subvolume
    mount_point: str  # relative to the process's root directory
    options: str  # of this mount: ro, nosuid, ...
    optional_fields: tuple[str, ...]  # all of them, those of future kernels too
    fstype: str  # "type" or "type.subtype"
    source: str  # what mount(2) was told: any text, even none
    super_options: str  # of the file system, the same wherever it is mounted

    @property
    def peer_group(self) -> int | None:
        """The peer group that a shared mount belongs to."""
        return self._tag("shared")

    @property
    def master(self) -> int | None:
        """The peer group that a slave receives mounts and unmounts from."""
        return self._tag("master")

    @property
    def propagate_from(self) -> int | None:
        """The nearest peer group that the process can see, where that is not the master itself."""
        return self._tag("propagate_from")

    @property
    def unbindable(self) -> bool:
        """Private, and refused as the source of a bind."""
        return "unbindable" in self.optional_fields

    @property
    def propagation(self) -> Literal["shared", "slave", "shared, slave", "private", "unbindable"]:
        """The propagation type, in the words of mount_namespaces(7)."""
        if self.peer_group is not None:
            return "shared" if self.master is None else "shared, slave"
        if self.master is not None:
            return "slave"
        return "unbindable" if self.unbindable else "private"

    @property
    def super_option_list(self) -> list[str]:
        """The super options one by one, no escape left: ro or rw, then `opt_array` of statmount(2)."""
        return [_unescape(option) for option in self.super_options.split(",")]

    def _tag(self, name: str) -> int | None:
        for field in self.optional_fields:
            tag, _, value = field.partition(":")
            if tag == name:
                return int(value)
        return None


def read(pid: int | Literal["self"] = "self") -> list[Mount]:
    """The mounts that process `pid` sees, in the kernel's order; OSError as open(2) and read(2) raise it."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        return parse(file.read())


def parse(data: bytes | str) -> list[Mount]:
    """The mounts in a mountinfo file's text; ValueError shows a line that is none.

    Bytes that are not UTF-8 become surrogates, as in every path of Python: `os.fsencode` gives them back.
    """
    text = data if isinstance(data, str) else os.fsdecode(data)
    lines = text.split("\n")  # not splitlines(): a name may hold \r
    if not lines[-1]:
        del lines[-1]  # what follows the last newline
    mounts = []
    for number, line in enumerate(lines, 1):
        try:
            mounts.append(_parse_line(line))
        except ValueError:
            raise ValueError(
                f"mountinfo line {number} is {line!r}, expected "
                "'ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAG[:VALUE] ...] - TYPE SOURCE OPTIONS'"
            ) from None
    return mounts


def _parse_line(line: str) -> Mount:
    fields = line.split(" ")  # not split(): the source may be empty, and a name may hold other white space
    separator = fields.index("-", 6)  # an earlier "-" is a name
    if separator + 4 < len(fields):  # Linux 3.9 and older leave spaces in the super options of cifs as they are
        fields[separator + 3 :] = [" ".join(fields[separator + 3 :])]
    mount_id, parent_id, device, root, point, options, *optional, _, fstype, source, super_options = fields
    major, minor = device.split(":")
    if "\\" in line:
        root, point, fstype, source = map(_unescape, (root, point, fstype, source))
        super_options = _ESCAPE_IN_LIST.sub(_character, super_options)
    numbers = int(mount_id), int(parent_id), int(major), int(minor)
    return _new(Mount, (*numbers, root, point, options, tuple(optional), fstype, source, super_options))


_new = tuple.__new__  # Mount(…) looks its eleven arguments up once more: 50,000 lines take a third longer


# The kernel writes space, tab, newline and backslash as \040 \011 \012 \134 (fs/proc_namespace.c); in type
# and source # too, as \043; in a super option comma too, and = in its name, as \054 and \075 (seq_show_option
# in include/linux/seq_file.h). Every other byte stands as it is.
_ESCAPE = re.compile(r"\\([01][0-7]{2})")

# A comma inside an option stays \054, or the list could not be split; and \134 stays with it, or an option
# that holds the four characters \054 would seem to hold a comma.
_ESCAPE_IN_LIST = re.compile(r"\\(?!054|134)([01][0-7]{2})")


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 8))
