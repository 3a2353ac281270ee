"""What the C allocator does with what is freed: keep it, which is quick, or hand it back, which is small.

By default glibc hands large blocks back to the kernel and asks for them again a moment later, in every layer of
every step; on a CPU that costs as much time as the arithmetic. What it keeps is not all used again: holes are left
between blocks that stay. Where activations are computed again for want of memory, these would be most of it. Only glibc
knows these settings; elsewhere nothing is done. Results do not change.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
LARGEST = 2**31 - 1
TOP_PAD = 256 << 20


LARGE, DEFAULT_TRIM = 1 << 20, 128 << 10
"""Bytes of a block that is handed back where memory is scarce, and glibc's own threshold for the rest."""


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def keep_freed_memory() -> bool:
    """Raise the thresholds at which freed memory goes back to the kernel; say whether that was possible."""
    return _set(((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, LARGEST), (M_TOP_PAD, TOP_PAD)))


def hand_freed_memory_back() -> bool:
    """Let every large block go back when it is freed, and what was kept so far; say whether that was possible.

    ``keep_freed_memory`` undoes it.
    """
    done = _set(((M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, DEFAULT_TRIM), (M_TOP_PAD, 0)))
    trim()
    return done


def give_back() -> None:
    """Destroy what nothing refers to any more, models among it, and return its memory to the device or the kernel.

    What was set aside by ``gc.freeze`` is looked at too.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Return what the allocators keep to the device and the kernel."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def _set(settings: tuple[tuple[int, int], ...]) -> bool:
    library = _glibc()
    taken = [library is not None and library.mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(taken)
