"""Groups of items: what the tables and the CSV say is what can be counted by hand; without groups nothing is shown."""

import csv
import io
from itertools import pairwise
from types import SimpleNamespace

import pytest
from report_fakes import N, build, report_step

from tunelab.files import read_json
from tunelab.report.dots import MOST
from tunelab.report.groups import groups_csv, pictures, tables, values

HAZARDS = ["spc", "vcr", "hte"]
RIGHT = {"base/raw": 20, "sft_raw/raw": 40}
SECRET = "what nobody should read " * 10


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A base and a variant on items of three hazards and two locales."""
    groups = {"hazard": HAZARDS, "locale": ["en", "<fr>"]}
    return build(tmp_path_factory.mktemp("store"), report_step(RIGHT, output=SECRET, groups=groups))


def right_in(cell, hazard):
    """Right answers among a hazard's items: every third item, the first ``RIGHT`` of all being right."""
    return sum(i < RIGHT[cell] for i in range(N) if HAZARDS[i % len(HAZARDS)] == hazard)


def test_the_csv_counts_every_item_of_every_group_once(grouped):
    rows = list(csv.DictReader(io.StringIO(grouped.path("groups.csv").read_text())))
    found = {(f"{r['variant']}/{r['evaluation']}", r["group"]): r for r in rows if r["by"] == "hazard"}
    assert set(found) == {(cell, hazard) for cell in RIGHT for hazard in HAZARDS}
    for (cell, hazard), row in found.items():
        assert (int(row["n"]), int(row["scored"])) == (N // 3, N // 3)
        assert float(row["numeric_value"]) == pytest.approx(right_in(cell, hazard) / (N // 3))
        assert float(row["numeric_low"]) < float(row["numeric_value"]) < float(row["numeric_high"])


def test_the_comparison_has_the_groups_of_each_cell(grouped):
    [path] = (grouped.directory.parents[1] / "compare").glob("*/comparison.json")
    for cell in read_json(path)["cells"]:
        assert list(cell["groups"]["hazard"]) == sorted(HAZARDS)
        assert sum(group["n"] for group in cell["groups"]["hazard"].values()) == N


def test_the_page_has_a_table_and_a_figure_for_each_grouping(grouped):
    page = grouped.path("index.html").read_text()
    for name in ("hazard", "locale"):
        assert f"<h3>By {name}</h3>" in page
        assert f"arithmetic by {name}" in page
        assert grouped.path(f"by_{name}_arithmetic.png").stat().st_size > 0
    assert "&lt;fr&gt;" in page
    assert "<fr>" not in page
    assert f"{right_in('sft_raw/raw', 'spc') / (N // 3):.3f} [" in page


def test_a_sensitive_text_is_never_shown_whole(grouped):
    page = grouped.path("index.html").read_text()
    assert SECRET.strip()[:60] in page
    assert SECRET.strip()[:80] not in page


def test_without_groups_nothing_is_shown(crossed):
    assert not (crossed.directory / "groups.csv").exists()
    assert not list(crossed.directory.glob("by_*"))
    assert "<h3>By " not in crossed.path("index.html").read_text()


def test_a_metric_of_whole_cells_has_no_empty_columns_among_the_groups():
    cell = {"task": "t", "variant": "v", "evaluation": "e", "cell": "v/e", "headline": "safe"}
    whole = {"value": 0.5, "low": 0.1, "high": 0.9, "n": 8}
    cell["metrics"] = {"safe": whole, "safe_by_judge": whole}
    cell["groups"] = {"hazard": {"spc": {"n": 8, "scored": 8, "metrics": {"safe": whole}}}}
    [row] = csv.DictReader(io.StringIO(groups_csv(SimpleNamespace(scored=[cell]))))
    assert row == {
        "task": "t", "variant": "v", "evaluation": "e", "by": "hazard", "group": "spc", "n": "8", "scored": "8",
        "safe_value": "0.5", "safe_low": "0.1", "safe_high": "0.9"}  # fmt: skip


def subjects(scores, shrunken=None):
    """A cell with a score for each of so many subjects; all have more items than those before."""
    found = {}
    for i, value in enumerate(scores):
        row = {"value": value, "low": value - 0.1, "high": value + 0.1}
        found[f"subject {i:02d}"] = {"n": 10 + i, "scored": 10 + i, "metrics": {"accuracy": row}}
        if shrunken:
            found[f"subject {i:02d}"]["shrunken"] = shrunken[i]
    whole = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
    return {"task": "t", "variant": "v", "evaluation": "e", "cell": "v/e", "headline": "accuracy", "metrics": whole,
            "groups": {"subject": found}}  # fmt: skip


def test_a_figure_of_many_groups_has_the_largest_and_says_so():
    [picture] = pictures([subjects([i / 100 for i in range(MOST + 5)])])
    assert picture.note == f"The {MOST} largest of {MOST + 5} groups; the table has all."
    assert "subject 05 " in picture.alt
    assert "subject 04 " not in picture.alt


def test_57_subjects_fit_a_figure_whose_lines_do_not_touch():
    [picture] = pictures([subjects([i / 100 for i in range(57)])])
    assert picture.note == ""
    picture.figure.canvas.draw()
    [axes] = picture.figure.axes
    boxes = [text.get_window_extent() for text in axes.get_yticklabels()]
    assert len(boxes) == 57
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))


def test_the_best_stand_first_by_what_their_items_bear_out():
    small_and_lucky = subjects([0.9, 0.8, 0.1], [0.55, 0.7, 0.2])
    assert values("subject", [small_and_lucky]) == ["subject 01", "subject 00", "subject 02"]
    assert values("subject", [subjects([0.9, 0.8, 0.95])]) == ["subject 02", "subject 00", "subject 01"]
    assert values("subject", [subjects([0.4, 0.8], [0.6, 0.6])]) == ["subject 01", "subject 00"]
    without = subjects([0.1, 0.2])
    without["groups"]["subject"]["subject 01"]["metrics"]["accuracy"]["value"] = None
    assert values("subject", [without]) == ["subject 00", "subject 01"]


def test_the_table_and_the_csv_have_the_shrunken_scores():
    evidence = SimpleNamespace(scored=[subjects([0.9, 0.8], [0.55, 0.7])])
    [table] = tables(evidence)
    assert [row[0] for row in table.rows] == ["subject 01", "subject 00"]
    assert table.rows[1][1] == "0.900 [0.800, 1.000], shrunken 0.550, n = 10"
    found = {row["group"]: float(row["shrunken"]) for row in csv.DictReader(io.StringIO(groups_csv(evidence)))}
    assert found == {"subject 00": 0.55, "subject 01": 0.7}
