"""A task of strings: say in a sentence what somebody has. Graded, so that a half-right sentence earns something."""

from __future__ import annotations

import random
from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.scoring import squad
from tunelab.scoring.score import Metric, Score, judged

NAMES = ("Ada", "Ben", "Dev", "Grace", "Hugo", "Ines", "Kira", "Paula", "Quinn", "Sam", "Uma", "Viktor", "Wanda")
THINGS = ("books", "cards", "coins", "eggs", "flowers", "keys", "nuts", "pencils", "plates", "stamps", "stones")
ROWS = 200


class Naming:
    """Asks what somebody has; F1 over the words of the answer."""

    name = "naming"
    version = 1
    scorer_version = 1
    dataset = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("f1", binary=False),)
    stop = ()
    max_new_tokens = 8

    def load(self, split: str, source: object) -> Iterable[Sample]:
        owned = [(name, count, thing) for name in NAMES for count in range(2, 40) for thing in THINGS]
        random.Random(0).shuffle(owned)
        for index, (name, count, thing) in enumerate(owned[:ROWS] if split == "train" else owned[-ROWS:]):
            question = f"{name} has {count} {thing}. What does {name} have?"
            yield Sample(f"{split}-{index}", {"question": question}, (f"The answer is {thing}.",))

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", sample.fields["question"])]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        f1 = squad.f1(sample.targets, output)
        return judged(f1 == 1, output.strip() or None, {"f1": f1})
