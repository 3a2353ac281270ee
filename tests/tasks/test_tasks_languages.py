"""Multiple choice and word problems in several languages: what is asked, what rows are, what the real rows hold."""

import json
import os
from collections import Counter

import pytest

from tunelab.data.sample import Sample
from tunelab.data.sources import BuiltinSource, FileSource, mirror_source
from tunelab.errors import DataError
from tunelab.scoring.letters import LETTERS
from tunelab.scoring.score import Outcome
from tunelab.tasks.find import find_task
from tunelab.tasks.languages import ASK_LETTER, ASK_NUMBER, language_of
from tunelab.tasks.multiple_choice import CATEGORIES
from tunelab.tasks.samples import load_samples, question_text

LETTERED = ("exams", "mmlu", "mmmlu")
BY_LANGUAGE = {"exams": ("de", "fr"), "mgsm": ("de", "en", "fr"), "mmmlu": ("de", "fr")}
MMLU_ROW = {"question": "2 + 2?", "subject": "anatomy", "choices": ["3", "4"], "answer": 1}
MMMLU_ROW = {"Unnamed: 0": 7, "Question": "2 + 2?", "A": "3", "B": "4", "C": "5", "D": "6", "Answer": "B"}
EXAMS_ROW = {
    "id": "x",
    "question": {"stem": "2 + 2?", "choices": {"text": ["3", "4", "5"], "label": ["A", "B", "C"]}},
    "answerKey": "B",
    "info": {"subject": "Physics", "language": "German"},
}


def shipped(name, split):
    return load_samples(find_task(name), split, BuiltinSource(name))


def from_rows(tmp_path, name, split, *rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_samples(find_task(name), split, FileSource({split: file}))


@pytest.mark.parametrize("name", LETTERED)
def test_a_question_shows_its_options_by_letter_and_asks_in_its_language(name):
    task = find_task(name)
    for sample in shipped(name, task.test_split):
        asked = task.messages(sample)[0].content
        assert asked.startswith(sample.fields["question"])
        assert asked.endswith(ASK_LETTER[sample.metadata["language"]])
        letters = task.choices(sample)
        assert "".join(letters) == LETTERS[: len(letters)]
        assert all(f"\n{letter}. {sample.fields[letter]}\n" in asked for letter in letters)
        assert task.target(sample) in letters


@pytest.mark.parametrize("name", LETTERED)
def test_every_letter_scores_and_only_the_target_is_right(name):
    task = find_task(name)
    for sample in shipped(name, task.test_split):
        scores = {
            letter: task.score(sample, f"**{letter})** {sample.fields[letter]}") for letter in task.choices(sample)
        }
        assert {letter: score.answer for letter, score in scores.items()} == {letter: letter for letter in scores}
        right = [letter for letter, score in scores.items() if score.outcome is Outcome.CORRECT]
        assert right == [task.target(sample)]


@pytest.mark.parametrize("name", [*LETTERED, "mgsm"])
def test_what_results_are_grouped_by_is_in_the_metadata(name):
    task = find_task(name)
    for sample in shipped(name, task.test_split):
        assert {*task.groups, "cluster"} <= set(sample.metadata)


@pytest.mark.parametrize("name", BY_LANGUAGE)
def test_the_test_split_joins_the_default_languages_with_the_same_samples(name):
    parts = [shipped(name, f"test_{language}") for language in BY_LANGUAGE[name]]
    assert shipped(name, "test") == [sample for part in parts for sample in part]
    for language, samples in zip(BY_LANGUAGE[name], parts, strict=True):
        assert {sample.metadata["language"] for sample in samples} == {language}


@pytest.mark.parametrize("name", ["mgsm", "mmmlu"])
def test_a_question_in_several_languages_is_one_cluster(name):
    clusters = Counter(sample.metadata["cluster"] for sample in shipped(name, "test"))
    assert set(clusters.values()) == {len(BY_LANGUAGE[name])}
    targets = {(sample.metadata["cluster"], sample.targets) for sample in shipped(name, "test")}
    assert len(targets) == len(clusters)


def test_a_question_of_mmmlu_is_that_of_mmlu():
    assert (
        shipped("mmlu", "test")[3].metadata["cluster"] == shipped("mmmlu", "test_fr")[3].metadata["cluster"] == "test-3"
    )


def test_the_prompts_have_words_for_every_language_that_is_declared():
    lettered = {language_of(part) for name in ("exams", "mmmlu") for part in find_task(name).dataset.splits}
    assert lettered - {"train", "validation"} <= set(ASK_LETTER)
    assert {language_of(part) for part in find_task("mgsm").dataset.splits} <= set(ASK_NUMBER)
    assert len(find_task("mmmlu").dataset.splits) == 14
    assert len(set(ASK_LETTER.values())) == 15


def test_questions_that_differ_in_their_options_only_are_two_questions():
    first, second = (Sample("x", {"question": "True?", "A": a, "B": "no"}, ("A",)) for a in ("yes", "maybe"))
    task = find_task("mmlu")
    assert question_text(task, first) != question_text(task, second)


def test_the_index_of_mmmlu_names_the_question_and_an_option_called_none_is_no_missing_one(tmp_path):
    row = MMMLU_ROW | {"D": None, "Subject": "virology"}
    (sample,) = from_rows(tmp_path, "mmmlu", "test_ja", row)
    assert (sample.id, sample.fields["D"]) == ("test-7-ja", "None")
    assert sample.metadata == {"language": "ja", "cluster": "test-7", "subject": "virology", "category": "other"}


BAD = {
    "an unknown subject": (
        "mmlu",
        "test",
        MMLU_ROW | {"subject": "alchemy"},
        "got the subject 'alchemy', expected one",
    ),
    "an option too few": ("mmlu", "test", MMLU_ROW | {"choices": ["3"]}, r"got the options \['3'\], expected 2 to 5"),
    "a missing option": ("mmlu", "test", MMLU_ROW | {"choices": ["3", None]}, r"got the options \['3', None\]"),
    "an answer beyond": ("mmlu", "test", MMLU_ROW | {"answer": 2}, "row 1: got label 2, expected 0 to 1"),
    "a letter beyond": ("exams", "test_de", EXAMS_ROW | {"answerKey": "D"}, "row 1: got the answer 'D', expected the"),
    "no letter": ("mmmlu", "test_de", MMMLU_ROW | {"Subject": "anatomy", "Answer": None}, "got the answer None"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_row_that_cannot_be_asked_is_refused_with_its_place(tmp_path, case):
    name, split, row, expected = BAD[case]
    with pytest.raises(DataError, match=expected) as refused:
        from_rows(tmp_path, name, split, row)
    assert str(refused.value).startswith(f"task {name}, split {split}, row 1: ")


def test_a_question_of_exams_without_a_known_answer_or_in_another_language_is_left_out(tmp_path):
    unknown = EXAMS_ROW | {"id": "y", "answerKey": "@"}
    french = EXAMS_ROW | {"id": "z", "info": {"subject": "Physics", "language": "French"}}
    polish = EXAMS_ROW | {"id": "p", "info": {"subject": "Physics", "language": "Polish"}}
    rows = (EXAMS_ROW, unknown, french, polish)
    assert [sample.id for sample in from_rows(tmp_path, "exams", "test_de", *rows)] == ["x"]
    assert [sample.id for sample in from_rows(tmp_path, "exams", "train", *rows)] == ["x", "z"]


def test_an_answer_in_words_of_the_language_scores():
    task = find_task("mgsm")
    house = {sample.metadata["language"]: sample for sample in shipped("mgsm", "test") if sample.targets == ("275000",)}
    said = {
        "de": "10 Prozent sind 25.000. Antwort: 275.000 Euro (Schritt 2)",
        "en": "10 percent is 25,000. Answer: 275,000 euros (step 2)",
        "fr": "10 pour cent font 25 000. Réponse : 275 000 euros (étape 2)",
    }
    for language, output in said.items():
        score = task.score(house[language], output)
        assert (score.outcome, score.answer) == (Outcome.CORRECT, "275000")


@pytest.fixture
def real():
    """Load a task's real rows."""
    if not os.environ.get("TUNELAB_DATA"):
        pytest.skip("TUNELAB_DATA is not set")

    def load(name, split):
        task = find_task(name)
        return load_samples(task, split, mirror_source(task.dataset))

    return load


def test_the_real_rows_of_mmlu(real):
    test, dev = real("mmlu", "test"), real("mmlu", "dev")
    assert (len(test), len(dev)) == (14042, 285)
    assert Counter(s.targets[0] for s in test) == {"A": 3222, "B": 3462, "C": 3582, "D": 3776}
    assert Counter(s.metadata["subject"] for s in dev) == dict.fromkeys(CATEGORIES, 5)
    categories = Counter(s.metadata["category"] for s in test)
    assert categories == {"stem": 3018, "humanities": 4705, "social sciences": 3077, "other": 3242}


def test_the_real_rows_of_exams(real):
    samples = real("exams", "test")
    assert Counter(s.metadata["language"] for s in samples) == {"de": 575, "fr": 318}
    french = [s for s in samples if s.metadata["language"] == "fr"]
    assert Counter(s.targets[0] for s in french) == {"A": 89, "B": 83, "C": 104, "D": 41, "E": 1}
    assert Counter(len(find_task("exams").choices(s)) for s in french) == {3: 177, 4: 128, 5: 13}
    assert len({s.metadata["subject"] for s in samples}) == 7


def test_the_real_rows_of_mgsm_are_the_same_problems_in_each_language(real):
    samples = real("mgsm", "test")
    assert Counter(s.metadata["language"] for s in samples) == {"de": 250, "en": 250, "fr": 250}
    answers = {(s.metadata["cluster"], s.targets) for s in samples}
    assert len(answers) == 250
    gold = [s.targets[0] for s in samples if s.metadata["language"] == "en"]
    gsm8k = find_task("gsm8k")
    for sample, number in zip(real("gsm8k", "test"), gold, strict=False):
        assert gsm8k.score(sample, f"#### {number}").outcome is Outcome.CORRECT


@pytest.mark.parametrize("name", ["mmlu", "mgsm"])
def test_ids_come_from_what_rows_say_and_clusters_from_their_place(tmp_path, name):
    split = {"mmlu": "test", "mgsm": "test_fr"}[name]
    rows = [{**row, "split": split} for row in BuiltinSource(name).rows(split)]
    found = from_rows(tmp_path, name, split, *rows)
    again = from_rows(tmp_path, name, split, *reversed(rows))
    assert {s.id: (s.fields, s.targets) for s in again} == {s.id: (s.fields, s.targets) for s in found}
    assert [s.metadata["cluster"] for s in again] == [s.metadata["cluster"] for s in found]
    assert [s.id for s in again] == [s.id for s in found][::-1]


def test_equal_rows_are_numbered_and_rows_that_differ_in_anything_have_ids_of_their_own(tmp_path):
    changes = [{}, {"answer": 0}, {"subject": "virology"}, {"choices": ["3", "5"]}, {"question": "2 + 3?"}, {}]
    found = [s.id for s in from_rows(tmp_path, "mmlu", "test", *(MMLU_ROW | change for change in changes))]
    assert len(set(found)) == 6
    assert found[5] == found[0].removesuffix("-en") + "-2-en"
