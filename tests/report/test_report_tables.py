"""The CSV says what comparison.json says, digit by digit."""

import csv
import io
import re
from dataclasses import replace

import pytest
from report_fakes import build, report_step

from tunelab.cli.over_seeds import sees
from tunelab.engine.step import Step
from tunelab.files import read_json
from tunelab.report.tables import even_denominators, flatten
from tunelab.report.tabular import Table
from tunelab.report.wording import TOO_FEW, could_see, smallest_seen


def rows(artifact):
    found = csv.DictReader(io.StringIO(artifact.path("comparison.csv").read_text()))
    return {f"{row['variant']}/{row['evaluation']}": row for row in found}


def comparison(artifact):
    folder = artifact.directory.parents[1] / "compare"
    return read_json(next(folder.glob("*/comparison.json")))


def test_scores_in_the_csv_equal_the_comparison(crossed):
    found = rows(crossed)
    for cell in comparison(crossed)["cells"]:
        row = found[cell["cell"]]
        assert {k: float(row[k]) for k in ("value", "low", "high")} == {
            k: cell["metrics"]["numeric"][k] for k in ("value", "low", "high")
        }
        assert float(row["strict_low"]) == cell["metrics"]["strict"]["low"]
        assert {k: int(row[k]) for k in cell["outcomes"]} == cell["outcomes"]


def test_differences_in_the_csv_equal_the_comparison(crossed):
    found = rows(crossed)
    names = {"difference": "difference", "diff_low": "low", "diff_high": "high", "p_adjusted": "p_adjusted"}
    for compared in comparison(crossed)["comparisons"]:
        row = found[compared["cell"]]
        assert {k: float(row[k]) for k in names} == {k: compared[v] for k, v in names.items()}
        assert float(row["minimum_detectable_effect"]) == compared["minimum_detectable_effect"]
        assert row["items_needed"] == str(compared["items_needed"] or "")
        assert row["verdict"] == compared["verdict"]


def test_a_cell_without_a_result_keeps_its_row_without_numbers(tmp_path):
    found = rows(build(tmp_path, report_step({"base/raw": 20, "sft_raw/raw": 40}, fails=["sft_raw/raw"])))
    assert found["sft_raw/raw"]["verdict"] == "missing"
    assert found["sft_raw/raw"]["value"] == found["sft_raw/raw"]["correct"] == ""
    assert found["base/raw"]["verdict"] == "baseline"


@pytest.mark.parametrize("name", ["a|b", "<b>x</b>", "[x](javascript:y)"])
def test_no_name_breaks_the_markdown_table(tmp_path, name):
    artifact = build(tmp_path, report_step({"base/raw": 20, f"{name}/raw": 40}))
    lines = artifact.path("comparison.md").read_text().splitlines()
    table = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {11}
    assert not any("<b>" in line or "](" in line for line in lines)


def test_nested_settings_get_dotted_names():
    settings = {"recipe": {"lora": {"rank": 8}, "lr": 1e-5, "loss": "all"}, "kwargs": {}, "stop": ["a"]}
    expected = {"recipe.lora.rank": "8", "recipe.lr": "1e-05", "recipe.loss": "all", "kwargs": "{}", "stop": '["a"]'}
    assert flatten(settings) == expected


@pytest.mark.parametrize(("rows", "where"), [(1, "in the one cell that there is"), (2, "in each of 2 cells")])
def test_even_denominators_are_counted_in_words_that_agree(rows, where):
    row = ["base/raw", 50, 50, 50, 50, 100, None, None]
    assert f"scored, {where}: n = 50." in even_denominators(Table("", (), [row] * rows))


def test_leak_checks_of_different_trainings_are_told_apart_by_their_variants(tmp_path):
    step = report_step({"base/raw": 20, "sft_raw/raw": 40, "sft_chat/raw": 41})
    rows = Step("prepare", 1, "rows", "report_fakes:nothing", {"other": "rows"})
    late = replace(step.inputs["train/sft_chat"], settings={"recipe": {"method": "sft"}}, inputs={"rows": rows})
    check = Step("check", 1, "leaks-rows", "report_fakes:check", {"policy": "report"}, {"seen_0": rows})
    more = {"train/late": late, "check/1": check}
    text = build(tmp_path, replace(step, inputs={**step.inputs, **more})).path("index.html").read_text()
    assert re.findall("<h3>(leaks-rows.*?)</h3>", text) == ["leaks-rows: sft_raw and sft_chat", "leaks-rows: late"]


def test_the_smallest_difference_of_too_few_items_is_no_number():
    row = {"minimum_detectable_effect": None}
    assert (could_see(row), smallest_seen(row)) == (TOO_FEW, "none: too few items")
    assert (could_see({"minimum_detectable_effect": 0.04}), sees(None)) == ("could see ≥ 0.040", "nothing")
