"""MATH (Hendrycks et al. 2021): problems of mathematics competitions with worked solutions.

Two readings are kept of every answer. The headline and reward is ``equivalent``: equal as mathematics, by math-verify
in a process of its own (see ``tunelab.scoring.latex``); ``exact`` is equality as text, as the authors have it. The hub
has a config for each of the seven subjects; ``all`` is the seven together.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.latex.answers import marked
from tunelab.scoring.latex.scored import METRICS, solution_score
from tunelab.scoring.score import Score
from tunelab.tasks import math_problems as mp

SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


class Math:
    """EleutherAI/hendrycks_math: 7500 training and 5000 test problems."""

    name = "math"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="EleutherAI/hendrycks_math",
        config="all",
        revision="21a5633873b6a120296cce3e2df9d5550074f4a3",
        splits={"train": "train", "test": "test"},
        columns=("problem", "level", "type", "solution"),
        sizes={"train": 7500, "test": 5000},
        pieces={"all": SUBJECTS},
    )
    train_split = "train"
    test_split = "test"
    metrics = METRICS
    groups = mp.GROUPS
    stop: tuple[str, ...] = ()
    max_new_tokens = mp.MAX_NEW_TOKENS
    answer_type = "expression"

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        return mp.solved(self, split, source, "type")

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
