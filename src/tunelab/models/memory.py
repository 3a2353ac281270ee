"""Let the C allocator keep what is freed.

By default glibc hands large blocks back to the kernel and asks for them again a moment later, in every layer of
every step; on a CPU that costs as much time as the arithmetic. Only glibc knows these settings; elsewhere
nothing is done. Results do not change.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
LARGEST = 2**31 - 1
TOP_PAD = 256 << 20


@cache
def keep_freed_memory() -> bool:
    """Raise the thresholds at which freed memory goes back to the kernel; say whether that was possible."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, LARGEST), (M_TOP_PAD, TOP_PAD))
    taken = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(taken)
