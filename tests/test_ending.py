"""What close() tells: what there was, and that it is gone."""

import os
import signal

from labkit import Lab
from labkit.ending import Inventory


def test_what_there_was_is_told_and_gone():
    lab = Lab()
    lab.left.run("unshare -m /bin/bash")
    assert repr(lab.close()) == (
        "The lab had 4 processes (agent 1, bash 2, bash 4, bash 3) in 2 mount namespaces. None of them is left, and "
        "with the last one the kernel has freed all namespaces and mounts."
    )
    assert repr(lab.close()) == "The lab had ended already."
    lab.reset()
    os.kill(lab._sandbox.pid, signal.SIGKILL)
    assert lab.close().left == ()


def test_who_lives_is_named():
    with Lab() as lab:
        lab.left.run("for i in $(seq 20); do sleep 1000 & done")
        with Inventory(lab._sandbox.pid) as inventory:
            ending = inventory.ending()
        assert len(ending.left) == len(ending.processes) >= 23
        assert repr(ending).startswith(f"The lab had {len(ending.processes)} processes (agent 1, bash 2, ")
        assert ", …) in 1 mount namespace. Left of them: agent 1, bash 2, " in repr(ending)
