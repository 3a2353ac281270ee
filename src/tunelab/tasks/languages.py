"""The languages in which questions are asked: what asks for an answer in each, and splits by language.

A data set with several languages has a split for each, ``test_de``, and a split ``test`` that joins the task's default
languages. tunelab relies on an item having the same number in every language: the number is what its translations
share, so they are one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunelab.data.readers import Row
from tunelab.data.sources import Source
from tunelab.tasks.samples import checked_rows
from tunelab.tasks.task import Task

ASK_LETTER = {
    "ar": "أجب بحرف الخيار الصحيح فقط.",
    "bn": "শুধু সঠিক বিকল্পের অক্ষরটি লিখে উত্তর দিন।",
    "de": "Antworte nur mit dem Buchstaben der richtigen Option.",
    "en": "Reply with the letter of the correct option only.",
    "es": "Responde solo con la letra de la opción correcta.",
    "fr": "Réponds uniquement par la lettre de la bonne option.",
    "hi": "केवल सही विकल्प का अक्षर लिखकर उत्तर दें।",
    "id": "Jawablah hanya dengan huruf pilihan yang benar.",
    "it": "Rispondi soltanto con la lettera dell'opzione corretta.",
    "ja": "正しい選択肢の文字だけで答えてください。",
    "ko": "올바른 선택지의 글자로만 답하세요.",
    "pt": "Responda apenas com a letra da opção correta.",
    "sw": "Jibu kwa herufi ya chaguo sahihi pekee.",
    "yo": "Fi lẹ́tà àṣàyàn tó tọ́ nìkan dáhùn.",
    "zh": "只用正确选项的字母作答。",
}
ASK_NUMBER = {
    "de": "Rechne Schritt für Schritt und schreibe in die letzte Zeile „Antwort:“ und die Zahl.",
    "en": 'Work it out step by step and write "Answer:" and the number in the last line.',
    "fr": "Calcule étape par étape et écris « Réponse : » et le nombre à la dernière ligne.",
}


def by_language(split: str, *languages: str) -> tuple[str, ...]:
    """Return the names of a split's parts, one for each language."""
    return tuple(f"{split}_{language}" for language in languages)


def language_of(part: str) -> str:
    """Return the language that the name of a part ends in."""
    return part.rpartition("_")[2]


def rows_by_language(task: Task, split: str, source: Source | None) -> Iterator[tuple[str, str, int, Row]]:
    """Yield split without language, language, number and row of a split by language, or of one that joins several."""
    assert task.dataset is not None
    for part in task.dataset.parts(split):
        for number, row in enumerate(checked_rows(task, part, source)):
            yield part.rpartition("_")[0], language_of(part), number, row


def shared(item: str, language: str, **more: Any) -> dict[str, Any]:
    """Return the metadata of an item in one language."""
    return {"language": language, "cluster": item, **more}
