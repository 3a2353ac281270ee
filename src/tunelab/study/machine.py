"""The machine under a study: its device, its models, and the few hardware settings that can change a result.

Batch sizes and engines are circumstance until rounding, dropout or another engine's draws make them count; where
they do is decided here, once, for all kinds of steps. So is what happens where weights of 4 bits cannot be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tunelab.errors import ModelError, StudyError, nearest
from tunelab.generation.address import find_address
from tunelab.generation.decoding import DRAWS
from tunelab.models import device as devices
from tunelab.models.checkpoint import resolve_checkpoint
from tunelab.models.kind import Kind, declared_kind
from tunelab.models.spec import ModelRef, known_config, resolve, resolve_tokenizer
from tunelab.study.endpoint_model import EndpointModel
from tunelab.study.entries import Evaluate, Train
from tunelab.study.spec import Hardware
from tunelab.training.recipe import Qlora
from tunelab.training.sizes import DRAWN_TOGETHER

MEASURED: tuple[devices.Device, ...] = ("cpu", "cuda")
"""Devices where the engine was shown to be faster than plain generation."""
UNRESOLVED = "unresolved"
"""The identity of a model that could not be found has this key alone."""


@dataclass(frozen=True)
class Untouched:
    """How untouched models are loaded: in 4-bit ``weights``, or in full where there are none."""

    weights: dict[str, Any] | None = None
    blocked: str | None = None
    notice: str | None = None


@dataclass
class Machine:
    """What a study declares about hardware, met with what there is."""

    declared: Hardware
    folder: Path
    stand_ins: Mapping[str, str] = field(default_factory=dict[str, str])
    """Models that are loaded in place of others, by the others' names."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a study's short names of models mean."""
    _models: dict[str, ModelRef | str] = field(default_factory=dict[str, "ModelRef | str"])

    @cached_property
    def device(self) -> devices.Device:
        chosen = devices.take(self.declared.device)
        found = devices.detect()
        if chosen not in ("auto", "cpu", found):
            raise StudyError(f"hardware.device: got {self.declared.device!r}, but this machine has {found!r}; use auto")
        return "cpu" if chosen == "cpu" else found

    @property
    def generation(self) -> Literal["auto", "plain"]:
        """What answers here: plain, or auto for the engine, which was measured on CPUs and CUDA alone."""
        declared = self.declared.generation
        unknown = declared == "auto" and self.device not in MEASURED
        return "plain" if declared == "plain" or unknown else "auto"

    def micro_batch_that_matters(self, train: Train, precision: str) -> int | None:
        """The micro batch where it decides about a result.

        Dropout draws by it (T5 has its own), bf16 rounds by it, and bnpo takes the mean over the tokens of each.
        """
        normalised = train.method == "grpo" and train.grpo.loss_type == "bnpo"
        return self.declared.micro_batch_size if normalised or _draws_or_rounds(train, precision) else None

    def packing_that_matters(self, train: Train, precision: str) -> dict[str, str]:
        """Packing where it is done and decides about a result: dropout draws and bf16 rounds by it.

        GRPO's is called otherwise, as it once dealt completions to passes as TRL does.
        """
        done = (train.method == "sft" and train.head == "lm") or (train.method == "grpo" and not train.grpo.beta)
        matters = done and self.declared.packing == "auto" and _draws_or_rounds(train, precision)
        return {"packing": "by prompt" if train.method == "grpo" else "auto"} if matters else {}

    def settled(self, train: Train) -> tuple[Train, str | None]:
        """Return an entry as it runs here, and why it runs otherwise than asked, where it does."""
        if train.adaptation != "qlora":
            return train, None
        lacking = devices.without_four_bits(self.device)
        if lacking and train.qlora.fallback == "lora":
            return train.model_copy(update={"adaptation": "lora"}), f"asked qlora, plain lora runs: {lacking}"
        return train.model_copy(update={"qlora": self._computing(train.qlora)}), None

    def without_qlora(self, train: Train) -> str | None:
        """Return why a settled entry can be neither trained nor loaded here, where it cannot."""
        lacking = devices.without_four_bits(self.device) if train.adaptation == "qlora" else None
        return lacking and f"recipe.adaptation: got qlora, but {lacking}, or set qlora.fallback: lora"

    def untouched(self, declared: str, trained: Iterable[Train]) -> Untouched:
        """How untouched models are loaded; in full where all that is trained by qlora may fall back to lora."""
        if declared == "full":
            return Untouched()
        weights = self._computing(Qlora()).identity()
        if (lacking := devices.without_four_bits(self.device)) is None:
            return Untouched(weights)
        if {train.qlora.fallback for train in trained if train.adaptation == "qlora"} == {"lora"}:
            return Untouched(notice=f"asked base_weights: nf4, full weights are loaded: {lacking}")
        return Untouched(weights, f"base_weights: got nf4, but {lacking}, or set base_weights: full")

    def _computing(self, qlora: Qlora) -> Qlora:
        compute = devices.default_compute(self.device) if qlora.compute == "auto" else qlora.compute
        return qlora.model_copy(update={"compute": compute})

    def rollouts(self, train: Train) -> dict[str, Any]:
        """What draws the completions of GRPO: another engine draws other text, and so may another batch, by rounding.

        Raises StudyError without vLLM.
        """
        if train.method != "grpo":
            return {}
        chosen = self.declared.rollouts
        if chosen == "vllm" and train.adaptation == "qlora":
            raise StudyError("hardware.rollouts: got 'vllm' with adaptation qlora, expected local")
        if chosen == "vllm" and (reason := devices.without_vllm(self.device)):
            raise StudyError(f"hardware.rollouts: got 'vllm', but {reason}")
        together = self.declared.rollout_batch_size
        counts = {"drawn_together": together} if together != DRAWN_TOGETHER else {}
        if chosen != "local":
            return {"backend": chosen}
        return {"backend": "transformers", **self.engine_that_matters(together, train.grpo.temperature), **counts}

    def batch_that_matters(self, settings: Evaluate, weights: Mapping[str, Any] | None = None) -> int | None:
        """The generation batch where rounding by it can change an answer: sampled text, and everything but fp32.

        ``weights`` are those of 4 bits, which are multiplied in a type of their own.
        """
        rounded = weights is not None and weights["compute"] != "fp32"
        return self.batch_that_matters_to(settings.temperature, "bf16" if rounded else settings.precision)

    def batch_that_matters_to(self, temperature: float, precision: str) -> int | None:
        """The same for any text that a model writes."""
        exact = temperature == 0 and self.precision(precision) == "fp32"
        return None if exact else self.declared.generation_batch_size

    def engine_that_matters(self, batch: int | None, temperature: float) -> dict[str, Any]:
        """What answers, where rounding by it can change an answer, and the version of drawing where text is drawn.

        That is where the ``batch`` can.
        """
        return {} if batch is None else {"generation": self.generation, **drawing(temperature)}

    def precision(self, declared: str) -> str:
        """Resolve auto: what is computed in another precision is another result."""
        return devices.default_precision(self.device) if declared == "auto" else declared

    def model(self, name: str) -> tuple[dict[str, Any], str | None]:
        """Return a model's circumstance, and why it cannot be used, if it cannot."""
        return self._found(self.stand_ins.get(name, name), resolve)

    def tokenizer(self, name: str) -> tuple[dict[str, Any], str | None]:
        """Return the same of a tokenizer, of which a folder needs no more."""
        return self._found(name, resolve_tokenizer)

    def kind(self, name: str) -> Kind | None:
        """Return what kind a model is, where its configuration is on this machine."""
        found, blocked = self.model(name)
        config = None if blocked else known_config(ModelRef(**found))
        return None if config is None else declared_kind(config)

    def checkpoint(self, name: str) -> tuple[dict[str, Any], str | None]:
        """Return the same of a checkpoint to adopt."""
        return self._found(name, resolve_checkpoint)

    def endpoint(self, model: EndpointModel) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """Return identity and circumstance of a model behind a server, and why it cannot be asked, if it cannot."""
        url, blocked = self.address(model.endpoint)
        at = {"url": url} if model.server is None else {"server": model.server}
        return {"served": model.name, **at}, {"name": model.name, "url": url, **model.patience()}, blocked

    def address(self, endpoint: str | None) -> tuple[str | None, str | None]:
        """Return where a server is, and why it cannot be asked: no address, or none of its key."""
        try:
            return find_address(endpoint).url, None
        except StudyError as error:
            return endpoint, str(error)

    def _found(self, name: str, find: Callable[[str, Path], ModelRef]) -> tuple[dict[str, Any], str | None]:
        meant = "" if name in self.names or not self.names or "/" in name else nearest(name, self.names)
        name = self.names.get(name, name)
        key = f"{find.__name__} {name}"
        if key not in self._models:
            try:
                self._models[key] = find(name, self.folder)
            except ModelError as error:
                self._models[key] = f"{error}{meant}"
        ref = self._models[key]
        if isinstance(ref, str):
            return {"name": name, "location": name, "revision": None, "identity": {UNRESOLVED: name}}, ref
        return {"name": name, "location": ref.location, "revision": ref.revision, "identity": ref.identity}, None

    def hardware(self) -> dict[str, Any]:
        """Return the circumstances that every step with a model has."""
        settings = self.declared.model_dump(mode="json")
        settings |= {"device": self.device, "generation": self.generation}
        return {"hardware": settings, "folder": str(self.folder)}


def drawing(temperature: float) -> dict[str, Any]:
    """Return the version of what a random number draws, for the identity of text that is drawn by one."""
    return {"draws": DRAWS} if temperature > 0 else {}


def _draws_or_rounds(train: Train, precision: str) -> bool:
    """Say whether a training's dropout draws, or its numbers are rounded, by how rows are laid out."""
    dropout = train.method == "seq2seq" or (train.adapter and train.lora.dropout > 0)
    return dropout or precision != "fp32" or (train.adaptation == "qlora" and train.qlora.compute != "fp32")
