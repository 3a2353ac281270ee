"""Changes by group, languages side by side and confusion matrices, as the page shows them."""

import re

import pytest
from report_fakes import N, build, report_step

from tunelab.files import read_json
from tunelab.report import confusion, group_differences

SUBJECTS = [f"subject {i:02d}" for i in range(15)]
LETTERS = {"cell": "base/x", "task": "mmlu", "gold": ["A", "B"], "answered": ["A", "B", "E"]}


def change(group, difference, verdict, cell="sft/x", n=20, **more):
    return {"cell": cell, "task": "mmlu", "by": "subject", "group": group, "difference": difference,
            "low": difference - 0.1, "high": difference + 0.1, "p_value": 0.01, "p_adjusted": 0.02,
            "test": "clustered_t", "n": n, "verdict": verdict} | more  # fmt: skip


ROWS = [
    change("anatomy", -0.2, "worse"),
    change("law", 0.1, "undecided"),
    change("physics", 0.3, "better"),
    change("virology", 0.4, "better"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A base and a variant on items of 15 subjects, 4 each."""
    step = report_step({"base/raw": 20, "sft_raw/raw": 40}, groups={"subject": SUBJECTS})
    return build(tmp_path_factory.mktemp("store"), step)


def test_which_gained_and_lost_is_said_in_a_sentence_and_the_largest_gain_stands_first():
    [found] = group_differences.changes(ROWS)
    assert found.answers == [
        "sft/x: 2 of 4 gained: virology (+0.400) and physics (+0.300); 1 of 4 lost: anatomy (-0.200)"
    ]
    assert [row[1] for row in found.table.rows] == ["virology", "physics", "law", "anatomy"]
    assert found.table.rows[3][2:] == ["-0.200", "[-0.300, -0.100]", "0.02", "clustered t", 20, "▼ lost"]


def test_a_cell_in_which_nothing_is_sure_says_so():
    [found] = group_differences.changes([change("law", 0.1, "undecided"), change("anatomy", -0.1, "undecided")])
    assert found.answers == ["sft/x: none of 2 surely gained or lost"]


def test_languages_side_by_side_name_both():
    pair = change("de", 0.1, "better", by="language", other="fr")
    [table] = group_differences.side_by_side([pair])
    assert table.rows == [["sft/x", "de − fr", "+0.100", "[+0.000, +0.200]", "0.02", "clustered t", 20, "▲ higher"]]


def test_two_contrasts_of_one_cell_are_told_apart():
    rows = [change("law", d, "worse", baseline=other) for d, other in ((-0.1, "large/x"), (-0.2, "larger/x"))]
    [table] = group_differences.contrasts(rows)
    assert [(row[0], row[2], row[-1]) for row in table.rows] == [
        ("sft/x − large/x", "-0.100", "▼ lower"), ("sft/x − larger/x", "-0.200", "▼ lower")
    ]  # fmt: skip
    [picture] = group_differences.pictures({"group_changes": [], "group_contrasts": rows, "group_pairs": []})
    assert picture.name == "contrast_by_subject_mmlu"
    assert {name.get_text() for name in picture.figure.axes[0].get_legend().get_texts()} == {
        row[0] for row in table.rows
    }


def test_a_figure_has_a_dot_per_cell_and_group_around_zero():
    other = [change(row["group"], -row["difference"], "undecided", cell="dpo/x") for row in ROWS]
    [picture] = group_differences.pictures({"group_changes": ROWS + other, "group_contrasts": [], "group_pairs": []})
    [axes] = picture.figure.axes
    assert [len(drawn.lines[0].get_xdata()) for drawn in axes.containers] == [4, 4]
    low, high = axes.get_xlim()
    assert low < 0 < high
    assert "sft/x: " in picture.alt
    assert "virology 0.400 (0.300 to 0.500)" in picture.alt


def test_a_confusion_matrix_has_a_column_for_no_answer_and_shares_of_its_lines():
    matrix = LETTERS | {"counts": [[6, 1, 0], [2, 2, 1]], "no_answer": [1, 5]}
    [table] = confusion.tables([matrix])
    assert table.columns == ("right", "A", "B", "E", "no answer")
    assert table.rows == [["A", 6, 1, 0, 1], ["B", 2, 2, 1, 5]]
    [picture] = confusion.pictures([matrix])
    assert picture.name == "confusion_mmlu"
    [axes] = picture.figure.axes
    assert [text.get_text() for text in axes.texts] == ["0.75", "0.12", "0.00", "0.12", "0.20", "0.20", "0.10", "0.50"]


def test_the_page_folds_many_groups_and_its_sentence_is_that_of_the_comparison(trained):
    [path] = (trained.directory.parents[1] / "compare").glob("*/comparison.json")
    rows = read_json(path)["group_changes"]
    assert sorted(row["group"] for row in rows) == SUBJECTS
    assert sum(row["n"] for row in rows) == N
    page = trained.path("index.html").read_text()
    assert "<h3>Change by subject</h3>" in page
    folded = re.findall(r"<details><summary>([^<]*)</summary>", page)
    assert any(text.startswith("arithmetic: change by subject") for text in folded)
    assert any(text.startswith("arithmetic: numeric by subject") for text in folded)
    assert trained.path("change_by_subject_arithmetic.png").stat().st_size > 0


def test_without_groups_and_choices_nothing_is_shown(crossed):
    page = crossed.path("index.html").read_text()
    for words in ("Change by", "Side by side", "Right and given answers"):
        assert words not in page
    assert not list(crossed.directory.glob("c[oh]*_arithmetic.png"))
