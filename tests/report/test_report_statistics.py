"""Statistics by many groups stay readable: the largest are drawn inside the picture, and the CSV file has all."""

import csv
import json
import warnings

import pytest

from tunelab.report.statistics import write_statistics
from tunelab.report.statistics_figures import GROUPS, draw
from tunelab.study.explore import Question, explore
from tunelab.study.preview import Subject
from tunelab.study.spec import Data
from tunelab.tasks.multiple_choice import CATEGORIES

NAMES = sorted(CATEGORIES)
MANY = 57


def rows(groups):
    """Questions of subjects; the later a subject's number, the more it has."""
    choices = {"A": "one", "B": "two", "C": "three", "D": "four", "Answer": "A"}
    asked = [(group, i) for group in range(groups) for i in range(group + 1)]
    return [
        {"Unnamed: 0": n, "Question": "Why? " * (1 + i % 7) + str(n), **choices, "Subject": NAMES[group]}
        for n, (group, i) in enumerate(asked)
    ]


def statistics(folder, groups):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(groups)), encoding="utf-8")
    subject = Subject("mmmlu", "tiny", {}, Data(files={"test_de": str(path)}), folder)
    return explore(subject, Question(by=("subject",)))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return statistics(tmp_path_factory.mktemp("many"), MANY)


def lengths(stats):
    [picture] = [picture for picture in draw(stats) if picture.name == "lengths_prompt"]
    return picture


def legends(picture):
    return [legend for axes in picture.figure.axes if (legend := axes.get_legend())]


def test_of_many_groups_the_largest_are_drawn_and_the_note_says_of_how_many(many):
    picture = lengths(many)
    kept = NAMES[-GROUPS:]
    for legend in legends(picture):
        assert [text.get_text() for text in legend.get_texts()] == ["all", *kept]
    assert picture.note.endswith(f"The {GROUPS} largest of {MANY} groups; lengths.csv has all.")
    assert NAMES[0] not in picture.alt


def test_legends_lie_inside_the_picture_and_apart_and_nothing_warns(many):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = lengths(many)
        picture.figure.canvas.draw()
    upper, lower = (legend.get_window_extent() for legend in legends(picture))
    assert lower.y0 >= 0
    assert lower.y1 <= upper.y0
    assert upper.y1 <= picture.figure.bbox.y1
    assert max(upper.x1, lower.x1) <= picture.figure.bbox.x1


def test_the_page_has_the_largest_groups_and_the_file_all(many, tmp_path):
    write_statistics(many, tmp_path)
    with (tmp_path / "lengths.csv").open(newline="", encoding="utf-8") as file:
        written = [row["group"] for row in csv.DictReader(file) if row["by"] and row["text"] == "prompt"]
    assert len(written) == 2 * MANY
    page = (tmp_path / "index.html").read_text()
    section = page[page.index('<h2 id="lengths">') : page.index('<h2 id="distributions">')]
    assert f"The {GROUPS} largest of {MANY} groups" in section
    assert section.count(NAMES[-1]) == 4
    assert NAMES[0] not in section


def test_a_few_groups_are_all_shown_without_a_note(tmp_path):
    picture = lengths(statistics(tmp_path, GROUPS))
    assert [len(legend.get_texts()) for legend in legends(picture)] == [GROUPS + 1] * 2
    assert "largest" not in picture.note
