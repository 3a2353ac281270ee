"""AILuminate reads anybody's prompts: columns are found, doubles counted, and no message quotes a prompt."""

import csv
import hashlib
import json
import os

import pytest

from tunelab.data.sources import BuiltinSource, FileSource, mirror_source
from tunelab.errors import DataError, StudyError
from tunelab.tasks.find import find_task, training_split
from tunelab.tasks.samples import load_samples

SECRET = "what nobody should read"
CODES = 15
GROUPS = 12


def read(path, content):
    """Write a file and return its samples and what the receipt says of it."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source, task = FileSource({"test": path}), find_task("ailuminate")
    return load_samples(task, "test", source), task.receipt("test", source)


def refused(path, content):
    with pytest.raises(DataError) as found:
        read(path, content)
    assert SECRET not in str(found.value)
    assert "\n" not in str(found.value)
    return str(found.value)


def prompts(samples):
    return [sample.fields["prompt"] for sample in samples]


@pytest.mark.parametrize(
    ("header", "column", "found_by"),
    [
        ("prompt_text,Prompt Text,prompt", "prompt_text", "its name"),
        ("id,Prompt Text,prompt", "Prompt Text", "its likeness to prompt_text"),
        ("id,PROMPT-TEXT,prompt", "PROMPT-TEXT", "its likeness to prompt_text"),
        ("id,prompt,x", "prompt", "its name"),
        ("id,Prompt,x", "Prompt", "its likeness to prompt"),
    ],
)
def test_the_column_of_the_prompts_is_found_and_named_in_the_receipt(tmp_path, header, column, found_by):
    place = header.split(",").index(column)
    row = ["no"] * 3
    row[place] = "yes?"
    samples, receipt = read(tmp_path / "a.csv", f"{header}\n{','.join(row)}\n")
    assert prompts(samples) == ["yes?"]
    assert (receipt["prompt_column"], receipt["prompt_column_found_by"]) == (column, found_by)


@pytest.mark.parametrize("marks", [1, 2])
def test_byte_order_marks_do_not_hide_the_column(tmp_path, marks):
    samples, _ = read(tmp_path / "a.csv", b"\xef\xbb\xbf" * marks + b"prompt_text,hazard\nwhy?,vcr\n")
    assert (prompts(samples), samples[0].metadata) == (["why?"], {"hazard": "vcr", "hazard_code": "vcr"})


def test_quotes_and_line_breaks_inside_quotes_are_part_of_the_prompt(tmp_path):
    asked = ['He said "no", twice', "one\ntwo\r\n\nthree, four", "plain"]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["hazard", "prompt_text"], *(["vcr", text] for text in asked)])
    samples, receipt = read(tmp_path / "a.csv", (tmp_path / "a.csv").read_bytes())
    assert prompts(samples) == asked
    assert receipt["rows_read"] == 3


def test_a_file_without_prompts_is_refused_with_the_columns_that_it_has(tmp_path):
    message = refused(tmp_path / "a.csv", f"text,hazard\n{SECRET},vcr\n")
    assert "no column 'prompt_text', got the columns ['text', 'hazard']" in message


def test_two_columns_that_could_be_the_prompts_are_refused(tmp_path):
    message = refused(tmp_path / "a.csv", f"Prompt Text,PROMPT_TEXT\n{SECRET},b\n")
    assert "['Prompt Text', 'PROMPT_TEXT'] are both called 'prompt_text'" in message


def test_a_later_row_without_the_column_is_named(tmp_path):
    rows = [{"prompt_text": SECRET}, {"text": SECRET}]
    assert "row 2: no column 'prompt_text'" in refused(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("empty", ["", "  ", None, 3])
def test_an_empty_prompt_is_refused_with_its_row(tmp_path, empty):
    rows = [{"prompt_text": SECRET}, {"prompt_text": empty}]
    message = refused(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert "split test, row 2: got no text under 'prompt_text', expected a prompt" in message


def test_latin_1_is_refused_with_its_line(tmp_path):
    message = refused(tmp_path / "a.csv", f"prompt_text\nwhy?\n{SECRET} où\n".encode("latin-1"))
    assert "line 3: is not UTF-8; convert the file to UTF-8" in message


def test_a_prompt_that_stands_twice_is_one_item_and_is_counted(tmp_path):
    rows = [("a1", "why?", "vcr"), ("a2", "how?", "ncr"), ("a3", " why? ", "hte"), ("a4", "Why?", "vcr")]
    content = "".join(f"{','.join(row)}\n" for row in [("release_prompt_id", "prompt_text", "hazard"), *rows])
    samples, receipt = read(tmp_path / "a.csv", content)
    assert [(s.id, s.fields["prompt"], s.metadata["hazard"]) for s in samples] == [
        ("a1", "why?", "vcr"),
        ("a2", "how?", "ncr"),
        ("a4", "Why?", "vcr"),
    ]
    assert (receipt["rows_read"], receipt["duplicates"]) == (4, 1)


def test_one_release_id_for_two_prompts_is_refused(tmp_path):
    assert "ids repeat" in refused(tmp_path / "a.csv", f"release_prompt_id,prompt_text\na1,{SECRET}\na1,how?\n")


def test_without_a_release_id_the_id_is_the_content_wherever_it_stands(tmp_path):
    samples, _ = read(tmp_path / "a.csv", "prompt_text\nwhy?\nhow?\n")
    again, _ = read(tmp_path / "b.jsonl", '{"prompt": "new?"}\n{"prompt": "how?"}\n{"prompt": "why?"}\n')
    assert {s.fields["prompt"]: s.id for s in samples}.items() <= {s.fields["prompt"]: s.id for s in again}.items()
    assert samples[0].id == hashlib.sha256(b"why?").hexdigest()[:16]


def test_hazards_are_grouped_by_the_part_before_the_underscore(tmp_path):
    content = "prompt_text,hazard\na,spc_ele\nb,spc_fin\nc,vcr\nd,\n"
    samples, _ = read(tmp_path / "a.csv", content)
    assert [s.metadata.get("hazard") for s in samples] == ["spc", "spc", "vcr", None]
    assert [s.metadata.get("hazard_code") for s in samples] == ["spc_ele", "spc_fin", "vcr", None]


def test_there_is_nothing_to_train_on():
    with pytest.raises(StudyError, match="task ailuminate: has no training rows, expected a task to learn from"):
        training_split("ailuminate")
    assert training_split("gsm8k") == "train"


def test_the_shipped_prompts_have_the_data_sets_columns_and_every_hazard():
    rows = BuiltinSource("ailuminate").rows("test")
    columns = {"release_prompt_id", "prompt_text", "hazard", "persona", "locale", "prompt_hash"}
    assert {frozenset(row) for row in rows} == {frozenset(columns)}
    assert len({row["hazard"] for row in rows}) == CODES
    assert {row["locale"] for row in rows} == {"en_US", "fr_FR"}
    assert len(rows) >= 32


def test_the_real_prompts_are_1200_under_15_codes_in_12_groups():
    if not os.environ.get("TUNELAB_DATA"):
        pytest.skip("TUNELAB_DATA is not set")
    task = find_task("ailuminate")
    source = mirror_source(task.dataset)
    samples = load_samples(task, "test", source)
    counts = (len(samples), *(len({s.metadata[key] for s in samples}) for key in ("hazard_code", "hazard")))
    assert counts == (1200, CODES, GROUPS)
    assert task.receipt("test", source)["duplicates"] == 0
