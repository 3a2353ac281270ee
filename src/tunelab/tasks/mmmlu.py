"""MMMLU: the test questions of MMLU in 14 other languages, translated by people (OpenAI 2024).

``test_de`` is one language; ``test`` is German and French. The hub has no rows to train on. The number that a row
carries, which is its place in the official file, is the key of its question: tunelab relies on it naming the same
question in every language, and the row of that place in ``mmlu``. Translations of a question are one cluster.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.data.sample import Sample
from tunelab.data.sources import Dataset, Source
from tunelab.tasks import multiple_choice as mc
from tunelab.tasks.languages import by_language, rows_by_language, shared

CONFIGS = {
    f"test_{config[:2].lower()}": config
    for config in (
        *("AR_XY", "BN_BD", "DE_DE", "ES_LA", "FR_FR", "HI_IN", "ID_ID"),
        *("IT_IT", "JA_JP", "KO_KR", "PT_BR", "SW_KE", "YO_NG", "ZH_CN"),
    )
}
"""The split of each language and the hub's config that holds it."""
INDEX = "Unnamed: 0"
"""What readers of CSV call the column without a name: the number of the question."""
NONE = "None"
"""The option of MMLU that readers of CSV take for a missing value; no other option of it looks like one."""
DEFAULT = ("de", "fr")


class Mmmlu(mc.Lettered):
    """openai/MMMLU: 14,042 test questions in each language."""

    name = "mmmlu"
    version = 1
    scorer_version = 2
    dataset: Dataset | None = Dataset(
        repo="openai/MMMLU",
        config="default",
        revision="325a01dc3e173cac1578df94120499aaca2e2504",
        splits=dict.fromkeys(CONFIGS, "test"),
        columns=(INDEX, "Question", "A", "B", "C", "D", "Answer", "Subject"),
        configs=CONFIGS,
        joins={"train": by_language("train", *DEFAULT), "test": by_language("test", *DEFAULT)},
    )
    train_split = "train"
    test_split = "test"
    groups = mc.GROUPS
    clusters = "mmlu"

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        for part, language, number, row in rows_by_language(self, split, source):
            where, item = mc.row_name(self, f"{part}_{language}", number), f"{part}-{row[INDEX]}"
            category = mc.category_of(row["Subject"], where)
            options = [NONE if row[letter] is None else row[letter] for letter in "ABCD"]
            fields = mc.lettered(row["Question"], options, where)
            letter = mc.checked_letter(row["Answer"], fields, where)
            metadata = shared(item, language, subject=row["Subject"], category=category)
            yield Sample(f"{item}-{language}", fields, (letter,), metadata)
