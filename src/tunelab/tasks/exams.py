"""EXAMS: questions from school-leaving exams with three to five options (Hardalov et al. 2020).

Every split holds all languages; ``test_de`` is what is German in it, ``test`` what is German or French, and the
training split is read as far as the prompts have words for its languages. A question whose answer the data set does
not know (``@``, 2 of the German ones) cannot be scored and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.scoring.labels import ACCURACY
from tunelab.scoring.letters import explicit_letter, judged_letter
from tunelab.scoring.score import Score
from tunelab.tasks import multiple_choice as mc
from tunelab.tasks.languages import by_language, language_of, shared
from tunelab.tasks.task import checked_rows

LANGUAGES = {"Arabic": "ar", "French": "fr", "German": "de", "Italian": "it", "Portuguese": "pt", "Spanish": "es"}
UNKNOWN = "@"


class Exams:
    """mhardalov/exams, multilingual: the German (577) and French (318) test questions, but for two."""

    name = "exams"
    version = 1
    scorer_version = 1
    dataset: Dataset | None = Dataset(
        repo="mhardalov/exams",
        config="multilingual",
        revision="main",
        splits={"train": "train", "validation": "validation"}
        | dict.fromkeys(by_language("test", *LANGUAGES.values()), "test"),
        columns=("id", "question", "answerKey", "info"),
        joins={"test": by_language("test", "de", "fr")},
    )
    train_split = "train"
    test_split = "test"
    metrics = (ACCURACY,)
    groups = ("subject", "language")
    stop: tuple[str, ...] = ()
    max_new_tokens = mc.MAX_NEW_TOKENS

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        assert self.dataset is not None
        for part in self.dataset.parts(split):
            wanted = {language_of(part)} & {*LANGUAGES.values()} or {*LANGUAGES.values()}
            for number, row in enumerate(checked_rows(self, part, source)):
                language = LANGUAGES.get(row["info"]["language"], "")
                if language not in wanted or row["answerKey"] == UNKNOWN:
                    continue
                where = mc.row_name(self, part, number)
                fields = mc.lettered(row["question"]["stem"], row["question"]["choices"]["text"], where)
                letter = mc.checked_letter(row["answerKey"], fields, where)
                yield Sample(row["id"], fields, (letter,), shared(row["id"], language, subject=row["info"]["subject"]))

    def messages(self, sample: Sample) -> list[Message]:
        return mc.question_with_options(sample)

    def choices(self, sample: Sample) -> tuple[str, ...]:
        return mc.letters_of(sample)

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def explicit(self, output: str) -> bool:
        return explicit_letter(output) is not None

    def score(self, sample: Sample, output: str) -> Score:
        return judged_letter(output, self.choices(sample), sample.targets)
