"""The tiny model, a few rows, and trainings small enough for a test."""

import dataclasses
from pathlib import Path

import pytest
import torch

from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.load import load_model, load_tokenizer
from tunelab.models.spec import resolve
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Lora, Recipe
from tunelab.training.rows import supervised_rows
from tunelab.training.sft import train_sft


@dataclasses.dataclass(frozen=True)
class Bench:
    """Trains the tiny model in folders of a test."""

    root: Path
    renderer: Renderer
    samples: list

    def rows(self, loss="completion", n=24, **limits):
        limits = {"max_length": 512, "max_too_long": 0.0, **limits}
        return supervised_rows(self.samples[:n], find_task("arithmetic"), self.renderer, loss, **limits)

    def train(
        self,
        name,
        *,
        n=24,
        micro=8,
        seed=0,
        packing="auto",
        checkpointing=False,
        precision="fp32",
        progress=lambda *_: None,
        model=None,
        **recipe,
    ):
        """Train in the folder ``name``, which may hold an interrupted attempt; return the facts.

        ``model`` is what is trained, the tiny one in full weights where none is given.
        """
        settings = {
            "method": "sft",
            "adaptation": "full",
            "loss": "completion",
            "lr": 1e-3,
            "epochs": 1,
            "batch_size": 8,
            "schedule": "constant",
            "lora": Lora(rank=4, alpha=8, dropout=0.1),
            **recipe,
        }
        job = Job(
            recipe=Recipe(**settings),
            precision=precision,
            seed=seed,
            hardware=Hardware("cpu", micro, checkpointing, (), packing=packing),
            directory=self.root / name,
            scratch=self.root / name / "scratch",
            progress=progress,
        )
        job.scratch.mkdir(parents=True, exist_ok=True)
        model = model or load_model(resolve("tiny"), "cpu", "fp32")
        return train_sft(job, self.rows(settings["loss"], n), model, self.renderer.tokenizer)

    def weights(self, name, adapter=False):
        """The trained weights, as they are loaded for generation."""
        ref, folder = resolve("tiny"), self.root / name / "model"
        if not adapter:
            ref = dataclasses.replace(ref, location=str(folder))
        return dict(load_model(ref, "cpu", "fp32", folder if adapter else None).named_parameters())


@pytest.fixture
def bench(tmp_path):
    """A bench on the chat format."""
    renderer = Renderer(load_tokenizer(resolve("tiny")), Format(template="chat"))
    return Bench(tmp_path, renderer, load_samples(find_task("arithmetic"), "train", None)[:24])


@pytest.fixture
def same():
    """Compare two sets of weights; return the largest difference."""

    def largest(one, other):
        assert one.keys() == other.keys()
        return max(float((one[k] - other[k]).detach().abs().max()) for k in one)

    torch.manual_seed(0)
    return largest
