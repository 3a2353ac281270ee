"""What the allocator keeps of what is freed, and that it goes back when it is told to."""

import platform
import subprocess
import sys

import pytest

CODE = """
import torch
from pathlib import Path
from tunelab.models.memory import {first}, trim

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

{first}()
before = resident()
pieces = [torch.ones(1 << 20) for _ in range(64)]  # 4 MiB each
kept = pieces[1::2]
del pieces
print(resident() - before >> 20, end=" ")
trim()
print(resident() - before >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
@pytest.mark.parametrize(("first", "at_once"), [("keep_freed_memory", False), ("hand_freed_memory_back", True)])
def test_freed_memory_is_kept_or_goes_back(first, at_once):
    code = CODE.format(first=first)
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    freed, trimmed = map(int, made.split())
    assert (freed < 160) is at_once, "of 256 MiB half is freed"
    assert trimmed < 160
