"""The lab as the kernel sees it: the agent (PID 1), its root file system, and how a notebook starts and ends them.

Standard library only. `launch` runs in the notebook's kernel, `agent` and `rootfs` run in the lab, `protocol` between
them.
"""
