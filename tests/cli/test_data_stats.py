"""``tunelab data stats`` as a user meets it: tables, files and a page that needs no network."""

import csv
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

ASKED = {"A": "vier", "B": "fünf", "C": "sechs", "D": "<b>sieben</b>", "Subject": "anatomy"}


def write_german(folder):
    """Write twenty questions in German, of which one is long and one repeats another in every column."""
    rows = [
        {"Unnamed: 0": i, "Question": f"Wie viel ist {i} + 2?", "Answer": "ABCD"[i % 4], **ASKED} for i in range(19)
    ]
    rows[3]["Question"] = "Warum? " * 80
    (folder / "de.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))


@pytest.fixture
def german(tmp_path):
    write_german(tmp_path)
    return ("data", "stats", "mmmlu", "--file", "test_de=de.jsonl")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command printed, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("made")
    write_german(folder)
    command = [sys.executable, "-c", "from tunelab.cli import main; main()", "data", "stats", "mmmlu"]
    command += ["--file", "test_de=de.jsonl", "--by", "language", "--limit", "64"]
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True, text=True)
    return result.stdout, folder / "results" / "data" / "mmmlu", folder / "de.jsonl"


class Page(HTMLParser):
    """What a page loads, what its images say, and the text of its tables."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.alts, self.fields = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.loaded += [found[name] for name in ("src", "href") if name in found]
        self.alts += [found["alt"]] if tag == "img" else []
        assert tag != "script"


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_prints_tables_and_writes_json_csv_and_figures(made):
    printed, folder, rows = made
    assert printed.splitlines()[-1] == "results/data/mmmlu/index.html"
    assert "1 of the source's 20 rows repeat an earlier one in every column" in " ".join(printed.split())
    assert re.search(r"prompt +tiny +language +de +20 ", printed)
    [line] = [x for x in table(folder / "lengths.csv") if (x["text"], x["unit"], x["by"]) == ("prompt", "tiny", "")]
    stats = json.loads((folder / "stats.json").read_text())
    assert (line["rows"], float(line["≤ 64"])) == ("20", stats["lengths"][2]["within"]["64"])
    assert {x["value"]: x["rows"] for x in table(folder / "distributions.csv") if x["name"] == "answer"} == {
        "A": "6",
        "B": "5",
        "C": "5",
        "D": "4",
    }
    assert [x["column"] for x in table(folder / "columns.csv")] == list(json.loads(rows.read_text().splitlines()[0]))
    for name in ("lengths_prompt", "distribution_answer", "places"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{name}.svg").read_text()


def test_the_page_loads_nothing_and_says_in_words_what_its_figures_show(made):
    text = (made[1] / "index.html").read_text()
    page = Page(text)
    assert all(place.startswith(("#", "data:")) for place in page.loaded)
    assert not re.search(r"(?:src|url)\W+https?:", text)
    assert any("median" in alt for alt in page.alts)
    assert any("A: 6; B: 5" in alt for alt in page.alts)
    assert all(page.alts)


def test_json_is_the_file_and_nothing_else(tunelab, german, tmp_path):
    result = tunelab(*german, "--json", "--out", "stats")
    assert json.loads(result.stdout) == json.loads((tmp_path / "stats" / "stats.json").read_text())


def test_a_row_that_the_task_refuses_ends_with_one_after_everything_is_written(tunelab, german, tmp_path):
    with (tmp_path / "de.jsonl").open("a") as file:
        file.write(json.dumps({"Unnamed: 0": 20, "Question": "?", "Answer": "E", **ASKED}) + "\n")
    result = tunelab(*german)
    assert result.returncode == 1
    assert "got the answer 'E'" in " ".join(result.stdout.split())
    assert "got the answer" in (tmp_path / "results" / "data" / "mmmlu" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("mmmlu", "--source", "builtin", "--split", "test_xx"), "no built-in rows for the split 'test_xx'"),
        (("arithmetic", "--by", "topic"), "--by: got 'topic', expected a name of the samples' metadata"),
        (("arithmetic", "--out", "de.jsonl"), "is a file, expected a folder"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tunelab, german, tmp_path, arguments, expected):
    result = tunelab("data", "stats", *arguments)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert expected in line
    assert [path.name for path in tmp_path.iterdir()] == ["de.jsonl"]


def test_a_study_gives_its_task_and_its_files(tunelab, german, tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.yaml").write_text(
        "study: mine\nquestion: Does it?\nmodel: no/such-model\ntask: mmmlu\nformats: {chat: {template: chat}}\n"
        "evaluate: {chat: {format: chat}}\ndata: {files: {test_de: ../de.jsonl}}\n"
    )
    found = json.loads(tunelab("data", "stats", "studies/mine.yaml", "--json").stdout)
    assert (found["task"], found["samples"]) == ("mmmlu", 20)
