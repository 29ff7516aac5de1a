"""The Linux system calls behind mount namespaces, callable from Python and readable in one sitting.

    from labkit.linux import clone, unshare, mount, CLONE_NEWNS

Standard library only. `syscalls` holds the calls and their constants, `failures` what the kernel's refusals mean,
`mountinfo` and `namespaces` read what the kernel says of any process. Runs on x86-64 and arm64.
"""

from .failures import SyscallError as SyscallError
from .syscalls import AT_FDCWD as AT_FDCWD
from .syscalls import CONSTANTS as _CONSTANTS
from .syscalls import chroot as chroot
from .syscalls import clone as clone
from .syscalls import join_session_keyring as join_session_keyring
from .syscalls import mount as mount
from .syscalls import mount_setattr as mount_setattr
from .syscalls import pidfd_open as pidfd_open
from .syscalls import pivot_root as pivot_root
from .syscalls import prctl as prctl
from .syscalls import sethostname as sethostname
from .syscalls import setns as setns
from .syscalls import umount2 as umount2
from .syscalls import unshare as unshare

globals().update(_CONSTANTS)
TYPE_CHECKING = False
if TYPE_CHECKING:

    def __getattr__(name: str) -> int: ...
