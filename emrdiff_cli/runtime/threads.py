"""Number of threads that a computation may take: what the user says, else what the process may have."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")


def thread_count(asked: int | None = None) -> int:
    """As asked; else OMP_NUM_THREADS; else the cores that this process may run on, within its group's quota."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked is None and told.isascii() and told.isdigit() and int(told) > 0:
        return int(told)
    return asked or usable_cores()


def usable_cores() -> int:
    """The cores that this process may run on, within its group's quota."""
    # Not every system tells which cores a process may run on.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, group_quota() or cores)


def group_quota(group: Path = _GROUP) -> int | None:
    """Cores' worth of time that a control group (version 2, or 1) allows, at least 1; None without a limit."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((group / "cpu" / name).read_text(encoding="ascii") for name in names)
        return max(1, math.ceil(int(quota) / int(period))) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
