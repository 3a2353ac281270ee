"""The machine under a study: its device, its models, and the few hardware settings that can change a result.

Batch sizes and engines are circumstance until rounding, dropout or another engine's draws make them count; where
they do is decided here, once, for all kinds of steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tunelab.errors import ModelError, StudyError
from tunelab.models import device as devices
from tunelab.models.spec import ModelRef, resolve
from tunelab.study.entries import Evaluate, Train
from tunelab.study.spec import Hardware


@dataclass
class Machine:
    """What a study declares about hardware, met with what there is."""

    declared: Hardware
    folder: Path
    _models: dict[str, ModelRef | str] = field(default_factory=dict[str, "ModelRef | str"])

    @cached_property
    def device(self) -> devices.Device:
        chosen, found = self.declared.device, devices.detect()
        if chosen not in ("auto", "cpu", found):
            raise StudyError(f"hardware.device: got {chosen!r}, but this machine has {found!r}; use auto")
        return found if chosen == "auto" else chosen

    def micro_batch_that_matters(self, train: Train, precision: str) -> int | None:
        """The micro batch where it decides about a result.

        Dropout draws by it, bf16 rounds by it, and bnpo takes the mean over the tokens of each.
        """
        dropout = train.adaptation == "lora" and train.lora.dropout > 0
        normalised = train.method == "grpo" and train.grpo.loss_type == "bnpo"
        return self.declared.micro_batch_size if dropout or normalised or precision != "fp32" else None

    def rollouts(self, train: Train) -> dict[str, str]:
        """What draws the completions of GRPO: another engine draws other text. Raises StudyError without vLLM."""
        if train.method != "grpo":
            return {}
        chosen = self.declared.rollouts
        if chosen == "vllm" and (reason := devices.without_vllm(self.device)):
            raise StudyError(f"hardware.rollouts: got 'vllm', but {reason}")
        return {"backend": "transformers" if chosen == "local" else chosen}

    def batch_that_matters(self, settings: Evaluate) -> int | None:
        """The generation batch where rounding by it can change an answer: sampled text, and everything but fp32."""
        return self.batch_that_matters_to(settings.temperature, settings.precision)

    def batch_that_matters_to(self, temperature: float, precision: str) -> int | None:
        """The same for any text that a model writes."""
        exact = temperature == 0 and self.precision(precision) == "fp32"
        return None if exact else self.declared.generation_batch_size

    def precision(self, declared: str) -> str:
        """Resolve auto: what is computed in another precision is another result."""
        return devices.default_precision(self.device) if declared == "auto" else declared

    def model(self, name: str) -> tuple[dict[str, Any], str | None]:
        """Return a model's circumstance, and why it cannot be used, if it cannot."""
        if name not in self._models:
            try:
                self._models[name] = resolve(name, self.folder)
            except ModelError as error:
                self._models[name] = str(error)
        ref = self._models[name]
        if isinstance(ref, str):
            return {"name": name, "location": name, "revision": None, "identity": {"unresolved": name}}, ref
        return {"name": name, "location": ref.location, "revision": ref.revision, "identity": ref.identity}, None

    def hardware(self) -> dict[str, Any]:
        """Return the circumstances that every step with a model has."""
        settings = self.declared.model_dump(mode="json")
        return {"hardware": settings | {"device": self.device}, "folder": str(self.folder)}
