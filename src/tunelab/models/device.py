"""Where to compute and in which precision, decided in one place and recorded.

``detect`` answers without importing torch on machines that have no accelerator, so that planning stays quick.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Literal

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
