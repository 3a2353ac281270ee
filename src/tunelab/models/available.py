"""How much memory there is to compute in: a GPU's own, or what this machine and this container still have."""

from __future__ import annotations

import os
from pathlib import Path

from tunelab.models.device import Device

STATUS = Path("/proc/self/statm")
MEMINFO = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_memory(device: Device) -> int | None:
    """Return the bytes that a step could take on a device, or None where that is not known.

    A GPU is counted whole. On the CPU it is what can be had without swapping, or what the container's limit leaves
    of it.
    """
    if device == "cuda":
        import torch

        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    if device == "mps" or not MEMINFO.is_file():
        return None
    free = free_of(MEMINFO.read_text())
    left = left_of(CONTROL_GROUP)
    return free if left is None or free is None else min(free, left)


def own_memory(device: Device) -> int:
    """Return the bytes that this process holds of what ``available_memory`` no longer counts: none on a GPU."""
    if device != "cpu" or not STATUS.is_file():
        return 0
    return int(STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_of(meminfo: str) -> int | None:
    """Return MemAvailable of ``/proc/meminfo`` in bytes."""
    found = [line.split() for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def left_of(group: Path) -> int | None:
    """Return what a control group's limit leaves to its processes; None without a limit.

    Its inactive files are counted as free: the kernel gives them up first.
    """
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(statistics.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
