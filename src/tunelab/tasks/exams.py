"""EXAMS: questions from school-leaving exams with three to five options (Hardalov et al. 2020).

Every split holds all languages; ``test_de`` is what is German in it, ``test`` what is German or French, and the
training split is read as far as the prompts have words for its languages. A question whose answer the data set does
not know (``@``, 2 of the German ones) cannot be scored and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Sample
from tunelab.data.sources import Dataset, Source
from tunelab.tasks import multiple_choice as mc
from tunelab.tasks.languages import by_language, language_of, shared
from tunelab.tasks.samples import checked_rows

LANGUAGES = {"Arabic": "ar", "French": "fr", "German": "de", "Italian": "it", "Portuguese": "pt", "Spanish": "es"}
UNKNOWN = "@"


class Exams(mc.Lettered):
    """mhardalov/exams, multilingual: the German (577) and French (318) test questions, but for two."""

    name = "exams"
    version = 1
    scorer_version = 2
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
    groups = ("subject", "language")

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
