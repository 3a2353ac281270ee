"""MATH-500 (Lightman et al. 2023): 500 of the test problems of MATH, evaluated only; scored as ``math`` is."""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.latex.answers import marked
from tunelab.scoring.latex.scored import METRICS, solution_score
from tunelab.scoring.score import Score
from tunelab.tasks import math_problems as mp


class Math500:
    """HuggingFaceH4/MATH-500: 500 test problems."""

    name = "math500"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="HuggingFaceH4/MATH-500",
        config="default",
        revision="main",
        splits={"test": "test"},
        columns=("problem", "solution", "subject", "level"),
        sizes={"test": 500},
    )
    train_split = ""
    test_split = "test"
    metrics = METRICS
    groups = mp.GROUPS
    stop: tuple[str, ...] = ()
    max_new_tokens = mp.MAX_NEW_TOKENS
    answer_type = "expression"

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        return mp.solved(self, split, source, "subject")

    def messages(self, sample: Sample) -> list[Message]:
        return mp.asked(sample)

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def accepted(self, sample: Sample) -> tuple[str, ...]:
        return mp.accepted(sample)

    def explicit(self, output: str) -> bool:
        return marked(output) is not None

    def score(self, sample: Sample, output: str) -> Score:
        return solution_score(sample.targets, output)
