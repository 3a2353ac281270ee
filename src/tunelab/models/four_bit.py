"""Weights of 4 bits through bitsandbytes: linear layers as NF4 or FP4 blocks, everything else as it is.

A model is quantised from weights in the type that it computes in, and only then the rest is put into the precision
that is asked for. So training, which keeps norms and embeddings in fp32, and evaluation stand on the same 4-bit
weights, whatever precision each of them has (Dettmers et al. 2023, QLoRA).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from tunelab.models.device import Device

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class FourBit:
    """How linear weights are stored and in what they are multiplied; ``double_quant`` quantises the scales too."""

    quant_type: Literal["nf4", "fp4"]
    double_quant: bool
    compute: Literal["fp32", "bf16"]

    def loading(self, device: Device) -> dict[str, Any]:
        """Return what ``from_pretrained`` is told."""
        from transformers import BitsAndBytesConfig

        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.quant_type,
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=TYPES[self.compute],
        )
        return {"dtype": TYPES[self.compute], "quantization_config": config, "device_map": {"": device}}


def from_identity(settings: Mapping[str, Any]) -> FourBit:
    """Rebuild 4-bit weights from a step's settings: quant_type, double_quant and a resolved compute."""
    return FourBit(settings["quant_type"], settings["double_quant"], settings["compute"])


def settle(model: Any, precision: torch.dtype) -> Any:
    """Put all but the 4-bit weights into ``precision``, and compute the same in training and evaluation.

    On some processors bitsandbytes repacks a weight at its first evaluation for a kernel that computes in bf16 and
    has no way back to training; that is switched off.
    """
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    for parameter in model.parameters():
        if not isinstance(parameter, Params4bit) and parameter.is_floating_point():
            parameter.data = parameter.data.to(precision)
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model
