"""Groups of items: what the tables and the CSV say is what can be counted by hand; without groups nothing is shown."""

import csv
import io
from types import SimpleNamespace

import pytest
from report_fakes import N, build, report_step

from tunelab.files import read_json
from tunelab.report.groups import MOST, groups_csv

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
    order = [page.index(f'<th scope="row">{hazard}</th>') for hazard in sorted(HAZARDS)]
    assert order == sorted(order)
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


def test_a_figure_of_many_groups_has_the_largest_and_says_so(tmp_path):
    subjects = [f"subject {i:02d}" for i in range(30)]
    report = build(tmp_path, report_step({"base/raw": 20}, groups={"subject": subjects}))
    page = report.path("index.html").read_text()
    assert f"The {MOST} largest of 30 groups; the table has all." in page
    assert all(f'<th scope="row">{subject}</th>' in page for subject in subjects)
