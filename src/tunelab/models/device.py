"""Where to compute and in which precision, decided in one place and recorded.

``detect`` answers without importing torch on machines that have no accelerator, so that planning stays quick.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from tunelab.errors import StudyError

Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16"]


def detect() -> Device:
    """Return the best device that this process can use."""
    if sys.platform == "darwin":
        import torch

        return "mps" if torch.backends.mps.is_available() else "cpu"
    if not Path("/dev/nvidiactl").exists() or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


PROCESSORS = Path("/proc/cpuinfo")


@cache
def wide_amd() -> bool:
    """Say whether the processor is AMD's and has AVX-512, which the library that torch multiplies by leaves unused."""
    if not PROCESSORS.exists():
        return False
    first = PROCESSORS.read_text().partition("\n\n")[0]
    said = {name.strip(): value.split() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return said.get("vendor_id") == ["AuthenticAMD"] and "avx512f" in said.get("flags", ())


VISIBLE = "CUDA_VISIBLE_DEVICES"
_taken: dict[str, str] = {}
"""The GPU that this process computes on, where a study named one, by what it was called."""


def take(declared: str) -> str:
    """Return a declared device without a GPU's number; with one, hide the other GPUs from this process.

    The number counts the GPUs that are visible. Raises StudyError for one that is not, and where this process already
    computes on another: CUDA reads the variable once.
    """
    kind, _, number = declared.partition(":")
    if not number or declared in _taken:
        return kind
    if _taken:
        raise StudyError(
            f"hardware.device: got {declared!r}, but this process computes on {next(iter(_taken))}; run studies on "
            "other GPUs in processes of their own"
        )
    visible = [name for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    if visible and int(number) >= len(visible):
        raise StudyError(f"hardware.device: got {declared!r}, expected a GPU of {VISIBLE}={','.join(visible)}")
    _taken[declared] = os.environ[VISIBLE] = visible[int(number)] if visible else number
    return kind


def without_vllm(device: Device) -> str | None:
    """Return why vLLM cannot run here and what to do, or None where it can."""
    if device != "cuda":
        return f"vllm needs device cuda and this study runs on {device}; use local"
    if importlib.util.find_spec("vllm") is None:
        return "vllm is not installed; pip install 'tunelab[vllm]', or use local"
    return None


def without_four_bits(device: Device) -> str | None:
    """Return why weights of 4 bits cannot be had here, or None where they can."""
    if device == "mps":
        return "bitsandbytes has no 4-bit weights for device mps"
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed; pip install 'tunelab[qlora]'"
    return None


def default_compute(device: Device) -> Precision:
    """Return what weights of 4 bits are multiplied in: bf16 on a GPU that has it, else fp32."""
    if device != "cuda":
        return "fp32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported() else "fp32"


def default_precision(device: Device) -> Precision:
    """Return bf16 on a GPU and fp32 elsewhere."""
    return "bf16" if device == "cuda" else "fp32"
