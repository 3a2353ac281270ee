"""What a task's rows are like, against pandas, collections and the tokenizer called row by row."""

import json
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pandas
import pytest

from tunelab.data.sources import FileSource
from tunelab.errors import DataError, ModelError
from tunelab.models.load import load_tokenizer
from tunelab.models.spec import resolve
from tunelab.study.explore import Question, explore
from tunelab.study.preview import Subject
from tunelab.study.spec import Data
from tunelab.tasks.find import find_task
from tunelab.tasks.mmmlu import CONFIGS, INDEX
from tunelab.tasks.samples import load_samples

MIRROR = os.environ.get("TUNELAB_DATA")
ROWS = 200
SUBJECTS = ("anatomy", "virology", "philosophy", "astronomy")
LETTERS = {"ar": "ابتثجح", "hi": "कखगघङच", "ja": "あいうえお", "ko": "가나다라마", "zh": "的一是不了"}


def mmmlu_row(index, language, shared):
    """A question whose subject, answer and length are those of its translations."""
    own = random.Random(f"{language}{index}")
    alphabet = LETTERS.get(language, "abcdefghij")
    words = ["".join(own.choices(alphabet, k=own.randint(1, 8))) for _ in range(shared.randint(3, 60))]
    options = {letter: f"{words[0]} {number}" for number, letter in enumerate("ABCD")}
    answer, subject = shared.choice("AABCD"), shared.choice(SUBJECTS)
    return {INDEX: index, "Question": " ".join(words), **options, "Answer": answer, "Subject": subject}


def mmmlu_rows(language, count=ROWS):
    shared = random.Random(0)
    return [mmmlu_row(index, language, shared) for index in range(count)]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def subject(folder, task="mmmlu", **files):
    return Subject(task, "tiny", {}, Data(files=files), folder)


@pytest.fixture(scope="module")
def languages(tmp_path_factory):
    """Fourteen languages as files, with one question asked twice in German and once more with another answer."""
    folder = tmp_path_factory.mktemp("languages")
    rows = {split: mmmlu_rows(split[-2:]) for split in CONFIGS}
    asked = [rows["test_de"][0][name] for name in ("Question", *"ABCD")]
    for place, answer in ((5, rows["test_de"][0]["Answer"]), (6, "D" if rows["test_de"][0]["Answer"] != "D" else "C")):
        rows["test_de"][place] |= dict(zip(("Question", *"ABCD"), asked, strict=True), Answer=answer)
    rows["test_fr"][1] = dict(rows["test_fr"][0])
    rows["test_fr"][1][INDEX] = 1
    files = {split: write(folder / f"{split}.jsonl", found) for split, found in rows.items()}
    samples = {s: load_samples(find_task("mmmlu"), s, FileSource({s: folder / f"{s}.jsonl"})) for s in files}
    return folder, files, samples


@pytest.fixture(scope="module")
def found(languages):
    folder, files, _ = languages
    return explore(subject(folder, **files), Question(limits=(64, 256), by=("language",)))


def line(found, text, unit, group="all"):
    [one] = [x for x in found["lengths"] if (x["text"], x["unit"], x["group"]) == (text, unit, group)]
    return one


def prompts(samples):
    return ["\n\n".join(m.content for m in find_task("mmmlu").messages(s)) for s in samples]


@pytest.mark.parametrize("group", ["all", "zh", "de"])
def test_lengths_are_those_of_the_tokenizer_called_row_by_row(languages, found, group):
    chosen = [s for split, rows in languages[2].items() for s in rows if group in ("all", split[-2:])]
    tokenizer = load_tokenizer(resolve("tiny"))
    texts = prompts(chosen)
    for unit, lengths in {
        "characters": [len(text) for text in texts],
        "tiny": [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts],
    }.items():
        oracle, one = pandas.Series(lengths), line(found, "prompt", unit, group)
        assert one["rows"] == len(lengths)
        assert one["mean"] == pytest.approx(oracle.mean())
        assert one["within"] == {str(limit): pytest.approx((oracle <= limit).mean()) for limit in (64, 256)}
        for name, share in {"min": 0, "median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1}.items():
            assert one[name] == min(x for x in lengths if (oracle <= x).mean() >= share - 1e-12)


def test_a_histogram_holds_every_row_in_the_bin_of_its_length(languages, found):
    texts = prompts(s for rows in languages[2].values() for s in rows)
    bars = line(found, "prompt", "characters")["histogram"]
    oracle = Counter(len(text) // bars["width"] for text in texts)
    assert bars["counts"] == [oracle[i] for i in range(len(bars["counts"]))]
    assert bars["above"] == sum(n for place, n in oracle.items() if place >= len(bars["counts"]))


def test_distributions_are_those_of_the_samples(languages, found):
    samples = [s for rows in languages[2].values() for s in rows]
    assert found["samples"] == len(samples) == 14 * ROWS
    for name in ("subject", "category", "language"):
        oracle = Counter(s.metadata[name] for s in samples)
        assert {x["value"]: x["rows"] for x in found["distributions"][name]} == oracle
    answers = Counter(s.targets[0] for s in samples)
    assert [(x["value"], x["rows"]) for x in found["distributions"]["answer"]] == sorted(answers.items())
    assert found["distributions"]["choices"] == [{"value": "4", "rows": 14 * ROWS, "share": 1.0}]


def test_places_count_each_question_once_however_many_languages_it_has(languages, found):
    first = {s.metadata["cluster"]: s for rows in reversed(languages[2].values()) for s in rows}
    oracle = Counter("ABCD".index(s.targets[0]) + 1 for s in first.values())
    assert {x["place"]: x["questions"] for x in found["places"]["places"]} == oracle
    assert found["places"]["test"]["questions"] == ROWS


def test_repeats_are_counted_within_each_split_and_over_all(languages, found):
    def key(sample):
        return tuple(sample.fields.items())

    for one in found["repeats"]:
        samples = [s for split, rows in languages[2].items() for s in rows if one["split"] in ("all", split)]
        asked = pandas.Series([key(s) for s in samples])
        answers = {q: {s.targets for s in samples if key(s) == q} for q in asked[asked.duplicated()]}
        assert one["repeated_questions"] == asked.duplicated().sum()
        assert one["answered_differently"] == sum(len(found) > 1 for found in answers.values())
    assert {x["split"]: x["repeated_questions"] for x in found["repeats"]} | {"test_de": 2, "test_fr": 1} == {
        x["split"]: x["repeated_questions"] for x in found["repeats"]
    }


def test_columns_are_those_of_the_raw_rows(tmp_path):
    rows = mmmlu_rows("de", 20)
    rows[1]["A"] = None
    rows[2] |= {"source": {"year": 1999, "names": ["x", 1]}, "note": " "}
    rows[3] |= {"note": float("nan")}
    rows += [dict(rows[0], **{INDEX: 0})]
    refused = explore(subject(tmp_path, test_de=write(tmp_path / "de.jsonl", rows)), Question(tokenizers=()))
    columns = {x["column"]: x for x in refused["columns"]}
    assert columns["A"] == {"column": "A", "types": {"string": 20}, "nulls": 1, "empty": 0, "absent": 0}
    assert columns[INDEX]["types"] == {"integer": 21}
    assert columns["source.year"] == {
        "column": "source.year",
        "types": {"integer": 1},
        "nulls": 0,
        "empty": 0,
        "absent": 20,
    }
    assert columns["source.names"]["types"] == {"list of integer or string": 1}
    assert (columns["note"]["nulls"], columns["note"]["empty"], columns["note"]["absent"]) == (1, 1, 19)
    assert refused["rows"] == {"rows": 21, "repeated": 1}


def test_a_row_that_the_task_refuses_ends_its_split_and_is_reported(tmp_path):
    rows = mmmlu_rows("de", 10)
    rows[6]["Answer"] = "F"
    files = {
        "test_de": write(tmp_path / "de.jsonl", rows),
        "test_fr": write(tmp_path / "fr.jsonl", mmmlu_rows("fr", 10)),
    }
    found = explore(subject(tmp_path, **files), Question(tokenizers=()))
    assert "row 7: got the answer 'F'" in found["refused"]["test_de"]
    assert [(x["split"], x["rows"], x["samples"]) for x in found["splits"]] == [("test_de", 10, 6), ("test_fr", 10, 10)]


def test_rows_that_are_not_there_are_an_error_when_asked_for_and_a_remark_otherwise(tmp_path, monkeypatch):
    folder = tmp_path / "mirror" / "openai" / "gsm8k" / "main"
    folder.mkdir(parents=True)
    write(folder / "test.jsonl", [{"question": "How many?", "answer": "#### 2"}])
    monkeypatch.setenv("TUNELAB_DATA", str(tmp_path / "mirror"))
    found = explore(subject(tmp_path, "gsm8k"), Question())
    assert "the split 'train' is missing" in found["absent"]["train"]
    assert [x["split"] for x in found["splits"]] == ["test"]
    with pytest.raises(DataError, match="the split 'train' is missing"):
        explore(subject(tmp_path, "gsm8k"), Question(splits=("train",)))


def test_a_text_that_is_null_is_counted_and_not_measured_as_a_word(tmp_path):
    path = write(tmp_path / "t.jsonl", [{"question": None, "answer": "#### 2"}, {"question": "How?", "answer": None}])
    found = explore(subject(tmp_path, "gsm8k", test=path), Question())
    assert found["blank"] == {"prompt": 1, "target": 1}
    assert [line(found, text, "tiny")["min"] for text in ("prompt", "target")] == [0, 0]


def test_two_splits_that_share_a_file_count_its_columns_once(tmp_path):
    info = {"subject": "Physics", "grade": 10}
    asked = {"stem": "Was?", "choices": {"text": ["x", "y", "z"]}}
    rows = [
        {"id": str(i), "question": asked, "answerKey": "ABC"[i], "info": {**info, "language": language}}
        for i, language in enumerate(("German", "French", "German"))
    ]
    path = write(tmp_path / "test.jsonl", rows)
    found = explore(subject(tmp_path, "exams", test_de=path, test_fr=path), Question(splits=("test", "test_de")))
    assert found["rows"] == {"rows": 3, "repeated": 0}
    assert [(x["split"], x["rows"], x["samples"]) for x in found["splits"]] == [("test_de", 3, 2), ("test_fr", 3, 1)]
    assert found["repeats"][-1]["repeated_questions"] == 2


def test_a_task_that_makes_its_rows_is_known_by_its_fields(tmp_path):
    found = explore(subject(tmp_path, "arithmetic"), Question(splits=("test",), tokenizers=(), by=("split",)))
    assert [(x["column"], x["types"]) for x in found["columns"]] == [("question", {"string": 1000})]
    assert found["places"] is None
    assert line(found, "prompt", "characters", "test")["rows"] == 1000


def test_a_group_that_samples_lack_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"--by: got 'langage', expected .* did you mean 'language'"):
        explore(subject(tmp_path, test_de=write(tmp_path / "de.jsonl", mmmlu_rows("de", 2))), Question(by=("langage",)))


def test_a_folder_with_a_tokenizer_alone_is_enough_and_a_vocabulary_alone_is_not(tmp_path):
    tiny = resolve("tiny").location
    (tmp_path / "alone").mkdir()
    shutil.copy(f"{tiny}/tokenizer.json", tmp_path / "alone")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vocab.json").write_text("{}")
    asked = subject(tmp_path, test_de=write(tmp_path / "de.jsonl", mmmlu_rows("de", 30)))
    found = explore(asked, Question(tokenizers=("tiny", "./alone")))
    assert line(found, "prompt", "./alone") == {**line(found, "prompt", "tiny"), "unit": "./alone"}
    with pytest.raises(ModelError, match="as a vocabulary does not"):
        explore(asked, Question(tokenizers=("./words",)))


def test_memory_is_that_of_one_split_however_many_are_read(tmp_path):
    rows = [row | {"Question": row["Question"] * 40} for row in mmmlu_rows("de", 300)]
    files = {split: write(tmp_path / f"{split}.jsonl", [row | {"A": split} for row in rows]) for split in CONFIGS}

    def peak(**chosen):
        tracemalloc.start()
        explore(subject(tmp_path, **chosen), Question(tokenizers=()))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    alone = peak(test_ar=files["test_ar"])
    assert alone > 2e6
    assert peak(**files) < 1.5 * alone


MEASURED = """
import json, sys
from pathlib import Path
from tunelab.study.explore import Question, explore
from tunelab.study.preview import Subject
from tunelab.study.spec import Data
files = {path.stem: str(path) for path in Path(sys.argv[1]).glob(sys.argv[2])}
found = explore(Subject("mmmlu", "tiny", {}, Data(files=files), Path(".")), Question(tokenizers=(), by=("language",)))
[peak] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(json.dumps({"found": found, "peak": int(peak) * 1024}))
"""
"""A process of its own, whose peak memory is not that of the tests; the kernel counts it from its start."""


def measured(folder, pattern):
    command = [sys.executable, "-c", MEASURED, str(folder), pattern]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_all_of_mmmlu_is_counted_in_the_memory_of_one_language(tmp_path):
    """Of the rows only counts, lengths and hashes stay: less than half of what they are on disk."""
    rows = [row | {"Question": row["Question"] * 4} for row in mmmlu_rows("de", 14_042)]
    files = [tmp_path / f"{split}.jsonl" for split in CONFIGS]
    for path in files:
        write(path, [row | {"A": f"{path.stem} {row['A']}"} for row in rows])
    alone, whole = measured(tmp_path, "test_de.jsonl"), measured(tmp_path, "test_*.jsonl")
    assert (alone["found"]["samples"], whole["found"]["samples"]) == (14_042, 196_588)
    assert whole["found"]["places"]["test"]["questions"] == 14_042
    assert {x["rows"] for x in whole["found"]["distributions"]["language"]} == {14_042}
    size = sum(path.stat().st_size for path in files)
    assert size > 140e6
    assert whole["peak"] - alone["peak"] < size / 2


@pytest.mark.skipif(MIRROR is None, reason="TUNELAB_DATA is unset: the real rows are not here")
@pytest.mark.parametrize(("task", "samples"), [("mmlu", 14_327), ("exams", 893), ("gsm8k", 8_792)])
def test_real_rows_are_counted(tmp_path, monkeypatch, task, samples):
    monkeypatch.setenv("TUNELAB_DATA", str(MIRROR))
    found = explore(subject(tmp_path, task), Question())
    assert (found["samples"], found["refused"]) == (samples, {})
