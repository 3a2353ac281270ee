"""Questions with lettered options: how they are asked, and which letters they have.

The options are fields of a sample under their letters, so that what a sample asks includes them: many questions
("Which of these is true?") differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunelab.data.sample import Message, Sample
from tunelab.errors import DataError
from tunelab.scoring.labels import ACCURACY
from tunelab.scoring.letters import LETTERS, explicit_letter, judged_letter
from tunelab.scoring.score import Score
from tunelab.tasks.languages import ASK_LETTER
from tunelab.tasks.task import Task

GROUPS = ("subject", "category", "language")
MAX_NEW_TOKENS = 32
"""Room for a letter and a few words around it."""

SUBJECTS = {
    "stem": (
        "abstract_algebra astronomy college_biology college_chemistry college_computer_science college_mathematics "
        "college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics "
        "high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics "
        "high_school_physics high_school_statistics machine_learning"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history high_school_world_history "
        "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory "
        "professional_law world_religions"
    ),
    "social sciences": (
        "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics "
        "high_school_microeconomics high_school_psychology human_sexuality professional_psychology "
        "public_relations security_studies sociology us_foreign_policy"
    ),
    "other": (
        "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing "
        "medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology"
    ),
}
CATEGORIES = {subject: category for category, subjects in SUBJECTS.items() for subject in subjects.split()}
"""The category of each of MMLU's 57 subjects, as Hendrycks et al. 2021 group them."""


def category_of(subject: str, where: str) -> str:
    """Return the category of one of MMLU's subjects. Raises DataError for another subject."""
    if subject not in CATEGORIES:
        raise DataError(f"{where}: got the subject {subject!r}, expected one of MMLU's {len(CATEGORIES)}")
    return CATEGORIES[subject]


def lettered(question: Any, options: Sequence[Any], where: str) -> dict[str, Any]:
    """Return a sample's fields: the question, and each option under its letter.

    Raises DataError for an option that is missing or empty, or for fewer than 2 or more than 5 of them.
    """
    texts = [str(option).strip() for option in options if option is not None]
    if len(texts) != len(options) or not all(texts) or not 2 <= len(texts) <= len(LETTERS):
        raise DataError(f"{where}: got the options {list(options)!r}, expected 2 to {len(LETTERS)} texts")
    asked = question.strip() if isinstance(question, str) else question
    return {"question": asked, **dict(zip(LETTERS, texts, strict=False))}


def letters_of(sample: Sample) -> tuple[str, ...]:
    """Return the letters of a sample's options: all of them for an output that comes without its question."""
    return tuple(letter for letter in LETTERS if letter in sample.fields) or tuple(LETTERS)


def checked_letter(letter: Any, fields: dict[str, Any], where: str) -> str:
    """Return the letter of the right option. Raises DataError when there is no such option."""
    if not isinstance(letter, str) or letter not in LETTERS or letter not in fields:
        raise DataError(f"{where}: got the answer {letter!r}, expected the letter of an option")
    return letter


def question_with_options(sample: Sample) -> list[Message]:
    """Ask a question with its lettered options, and for the letter, in the question's language."""
    options = "\n".join(f"{letter}. {sample.fields[letter]}" for letter in letters_of(sample))
    asked = ASK_LETTER[sample.metadata["language"]]
    return [Message("user", f"{sample.fields['question']}\n\n{options}\n\n{asked}")]


def row_name(task: Task, split: str, number: int) -> str:
    """Say which row an error is about, counting from 1."""
    return f"task {task.name}, split {split}, row {number + 1}"


class Lettered:
    """What tasks with lettered options share once their rows are samples: how they ask, and how they read a letter."""

    metrics = (ACCURACY,)
    stop: tuple[str, ...] = ()
    max_new_tokens = MAX_NEW_TOKENS

    def messages(self, sample: Sample) -> list[Message]:
        """Ask for the letter of an option, in the question's language."""
        return question_with_options(sample)

    def choices(self, sample: Sample) -> tuple[str, ...]:
        """Return the letters that the question has."""
        return letters_of(sample)

    def target(self, sample: Sample) -> str:
        """Return the letter of the right option."""
        return sample.targets[0]

    def explicit(self, output: str) -> bool:
        """Say whether the letter stands behind a marker."""
        return explicit_letter(output) is not None

    def score(self, sample: Sample, output: str) -> Score:
        """Compare the letter that the output gives."""
        return judged_letter(output, self.choices(sample), sample.targets)
