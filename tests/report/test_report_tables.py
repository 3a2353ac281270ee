"""The CSV says what comparison.json says, digit by digit."""

import csv
import io

import pytest
from report_fakes import build, report_step

from tunelab.files import read_json
from tunelab.report.tables import flatten


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
