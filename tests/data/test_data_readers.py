"""Rows from files: four suffixes give the same rows, and every mistake is one line that names file and line."""

import json

import pandas as pd
import pytest

from tunelab.data.readers import read_outputs, read_rows, require_columns
from tunelab.errors import DataError

ROWS = [{"question": "Wie viel? “1,5”", "answer": "#### 1.5"}, {"question": "two\nlines\u2028three", "answer": ""}]
BOM = b"\xef\xbb\xbf"


def write(path, rows):
    """Write with pandas, an independent writer."""
    table = pd.DataFrame(rows)
    if path.suffix == ".csv":
        table.to_csv(path, index=False, encoding="utf-8-sig")
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=path.suffix == ".jsonl", force_ascii=False)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".JSONL"])
def test_every_suffix_gives_the_same_rows(tmp_path, suffix):
    lower = write(tmp_path / f"rows{suffix.lower()}", ROWS)
    assert read_rows(lower.rename(tmp_path / f"rows{suffix}")) == ROWS


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path, name):
    path = write(tmp_path / name, ROWS)
    path.write_bytes(BOM + path.read_bytes().removeprefix(BOM))
    assert set(read_rows(path)[0]) == {"question", "answer"}


def test_a_column_without_a_name_is_called_by_its_place(tmp_path):
    (tmp_path / "a.csv").write_text(",Question,\n0,Wer?,x\n")
    assert read_rows(tmp_path / "a.csv") == [{"Unnamed: 0": "0", "Question": "Wer?", "Unnamed: 2": "x"}]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', "line 3: not JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2: got list, expected an object"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2: is not UTF-8"),
        ("a.jsonl", b"x" * 10000 + b"\n\n\xe9\n", "line 3: is not UTF-8"),
        ("a.csv", b"a,b\n1,\xe9\n", "line 2: is not UTF-8"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3: not CSV (the number of fields is not that of the header, 2)"),
        ("a.csv", b"a,b\n1\n", "line 2: not CSV"),
        ("a.csv", b'a,b\n1,"2\n', "line 2: not CSV"),
        ("a.csv", b"a\n" + b"x" * 200000, "line 2: not CSV"),
        ("a.json", b'{"a": 1}', "got dict, expected a list of objects"),
        ("a.json", b"[1]", "expected a list of objects"),
        ("a.json", b"[", "not JSON"),
        ("a.parquet", b"PAR1", "not a parquet file"),
        ("a.txt", b"x", "got the suffix '.txt', expected one of .csv, .json, .jsonl, .parquet"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.csv", b"a,b\n", "holds no rows"),
        ("a.json", b"[]", "holds no rows"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_rows(path)
    message = str(raised.value)
    assert message.startswith(f"{path}")
    assert expected in message
    assert "\n" not in message


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        read_rows(tmp_path / "gone.csv")


def test_a_missing_column_names_the_row_and_what_there_is():
    rows = [json.loads('{"q": 1, "a": 2}'), {"q": 1, "b": 2}]
    with pytest.raises(DataError, match=r"mine, row 2: no column 'a', got \['b', 'q'\]; expected q, a: rename"):
        require_columns(rows, ("q", "a"), "mine")


def test_outputs_are_rows_or_one_object_from_id_to_output(tmp_path):
    path = tmp_path / "said.json"
    path.write_text('{"q1": "Turku", "q2": ""}')
    assert read_outputs(path) == [{"id": "q1", "output": "Turku"}, {"id": "q2", "output": ""}]
    assert read_outputs(write(tmp_path / "rows.json", ROWS)) == ROWS
    for content, said in (("{}", "got dict"), ("{", "not JSON"), ("3", "got int")):
        path.write_text(content)
        with pytest.raises(DataError, match=said):
            read_outputs(path)
