"""``tunelab power``: the figures are those of the statistics, in points, and a finished study lends its own."""

import json
from pathlib import Path

import pytest
from statsmodels.stats.power import TTestPower
from typer.testing import CliRunner

from tunelab.cli.app import app
from tunelab.errors import UserError
from tunelab.stats import items_needed, mcnemar_power, minimum_detectable_effect


def power(*arguments):
    result = CliRunner().invoke(app, ["power", *arguments], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def found(*arguments):
    return json.loads(power(*arguments, "--json"))["found"]


def test_an_effect_is_answered_with_items_and_the_power_of_the_exact_test():
    [row] = found("--effect", "2")
    n = items_needed(0.02, 0.1)
    assert row["items"] == {"n": None, "needed": n, "sees": None, "power": mcnemar_power(0.02, n, 0.1)}
    text = power("--effect", "2")
    assert f"2 points are seen in 80% of studies on {n:,} items if 10.0% of the items change" in text


def test_a_number_of_items_is_answered_with_the_smallest_effect():
    [row] = found("--n", "1319", "--discordance", "0.2", "--alpha", "0.01", "--power", "0.9")
    assert row["items"]["sees"] == 100 * minimum_detectable_effect(1319, 0.2, 0.9, 0.01)
    assert "1,319 items see 2.4 points in 80% of studies" in power("--n", "1319")


def test_graded_scores_are_planned_by_their_spread():
    [row] = found("--effect", "2", "--sd", "30", "--n", "400")
    exact = TTestPower().solve_power(effect_size=2 / 30, power=0.8, alpha=0.05)
    assert 0 <= exact - row["items"]["needed"] < 5
    assert row["items"]["sees"] == pytest.approx(
        30 * TTestPower().solve_power(nobs=400, power=0.8, alpha=0.05), rel=0.01
    )


def test_seeds_are_planned_by_their_spread():
    [row] = found("--effect", "2", "--seed-sd", "1.2", "--seeds", "5")
    seeds = row["seeds"]["needed"]
    exact = [1.2 * TTestPower().solve_power(nobs=n, power=0.8, alpha=0.05) for n in (seeds - 1, seeds, 5)]
    assert exact[1] <= 2 < exact[0]
    assert row["seeds"]["sees"] == pytest.approx(exact[2], rel=1e-4)
    assert "6 seeds of a recipe if seeds lie 1.2 points (SD) apart, however many items there are" in power(
        "--effect", "2", "--seed-sd", "1.2"
    )


def test_items_that_hide_an_effect_are_named_instead_of_seeds():
    assert found("--effect", "2", "--seed-sd", "1.2", "--n", "263")[0]["seeds"]["needed"] is None
    assert (
        "no number of seeds sees 2 points if seeds lie 1 point (SD) apart, with the items' error on 263 items: "
        "more items are needed"
    ) in power("--effect", "2", "--seed-sd", "1", "--n", "263")


def test_fewer_items_than_the_exact_test_needs_see_nothing():
    [row] = found("--n", "5")
    assert row["items"]["sees"] is None
    assert power("--n", "5") == "no difference can be seen with fewer than 6 items: got 5\n"
    assert "fewer than 8 items: got 7" in power("--n", "7", "--alpha", "0.01")
    assert "6 items see 96.3 points" in power("--n", "6")


def against(**fields):
    row = {"cell": "sft/e", "baseline": "base/e", "n": 200, "test": "mcnemar_exact", "discordant": 0.25, "se": 0.035}
    return {**row, **fields}


RECIPE = {"recipe": "sft", "evaluation": "e", "baseline": "base", "seeds": [0, 1, 2], "verdict": "undecided",
          "between_seed_sd": 0.012, "se": 0.02, "difference_n": 200}  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """Results of a study with a comparison of each kind and a recipe."""
    (tmp_path / "done").mkdir()
    rows = [against(), against(cell="same/e", discordant=0.0), against(cell="f1/e", test="paired_t", se=0.02)]
    refused = {"cell": "x/e", "baseline": "base/e", "refused": "no"}
    comparison = {"alpha": 0.01, "comparisons": [*rows, refused], "contrasts": [], "recipes": [RECIPE]}
    (tmp_path / "done" / "comparison.json").write_text(json.dumps(comparison), encoding="utf-8")
    return tmp_path


def test_a_finished_study_lends_what_it_observed(results):
    binary, graded, recipe = found("--effect", "5", "--study", "done", "--results", str(results))
    assert binary["name"] == "sft/e - base/e"
    assert binary["discordance"] == 0.25
    assert binary["items"]["needed"] == items_needed(0.05, 0.25, alpha=0.01)
    assert binary["items"]["sees"] == 100 * minimum_detectable_effect(200, 0.25, alpha=0.01)
    assert graded["sd"] == pytest.approx(100 * 0.02 * 200**0.5)
    assert recipe["seeds"]["sd"] == pytest.approx(1.2)
    assert recipe["seeds"]["seeds"] == 3
    assert recipe["seeds"]["sees"] > 100 * 0.02 * 2.8
    text = power("--effect", "5", "--study", "done", "--results", str(results))
    assert "sft/e - base: no number of seeds sees 5 points if seeds lie 1.2 points (SD) apart" in text
    assert "with the items' error on 200 items" in text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "neither --effect nor --n"),
        (("--effect", "0"), "got --effect 0"),
        (("--effect", "200"), "got --effect 200"),
        (("--effect", "2", "--seeds", "3"), "got --seeds without --seed-sd"),
        (("--effect", "2", "--alpha", "0"), "--alpha: got 0, expected"),
        (("--effect", "2", "--power", "1"), "--power: got 1, expected"),
        (("--seeds", "2", "--seed-sd", "1.2"), "--seeds: got 2, expected at least 3"),
        (("--study", "gone"), "'gone' has no results"),
    ],
)
def test_questions_without_an_answer_are_refused_in_one_line(arguments, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        power(*arguments, "--results", str(tmp_path))


def test_the_page_on_comparisons_gives_the_figures_that_the_command_gives():
    page = (Path(__file__).parents[2] / "docs" / "comparisons.md").read_text(encoding="utf-8")
    section = page[page.index("## Power") : page.index("## What was simulated")]
    shown = [
        ("`tunelab power --effect 2` (1,955", f"{found('--effect', '2')[0]['items']['needed']:,}"),
        ("`tunelab power --n 263` (5.4", f"{found('--n', '263')[0]['items']['sees']:.1f}"),
        ("--seed-sd 1.2` (6)", str(found("--effect", "2", "--seed-sd", "1.2")[0]["seeds"]["needed"])),
        ("--seed-sd 1.2` (3.9", f"{found('--seeds', '3', '--seed-sd', '1.2')[0]['seeds']['sees']:.1f}"),
    ]
    for text, figure in shown:
        assert text in section
        assert text.rstrip(")").endswith(figure)
