"""Recipes over seeds and the noise floor: in the page, the tables beside it, the first sentence and the terminal."""

import csv

import pytest
from report_fakes import build, report_step, study
from rich.console import Console
from test_report_answer import scored

from tunelab.cli.tables import print_comparison
from tunelab.files import read_json
from tunelab.report.answer import first_screen
from tunelab.report.evidence import TABLES, Evidence
from tunelab.report.glance import glance
from tunelab.report.over_seeds import NOISE, RECIPES, flat, floor_of, noise_table, recipes_table
from tunelab.study.comparison import compare

SEEDS = {"base/raw": 20, "sft#0/raw": 38, "sft#1/raw": 42, "sft#2/raw": 40, "dpo#0/raw": 21, "dpo#1/raw": 20,
         "dpo#2/raw": 22}  # fmt: skip
DRAWN = {
    "variant": "base",
    "task": "arithmetic",
    "metric": "numeric",
    "evaluations": ["once", "twice"],
    "seeds": [0, 1],
}
FLIPS = {**DRAWN, "flip_rate": 0.125, "low": 0.08, "high": 0.19, "n": 200, "change": -0.015}
GREEDY = {**DRAWN, "variant": "sft", "note": "0 by construction"}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """The report of two recipes with three seeds each."""
    return build(tmp_path_factory.mktemp("seeds"), report_step(SEEDS))


def evidence(**tables):
    return Evidence(study(), {}, {}, {"alpha": 0.05, **{name: [] for name in TABLES}, **tables}, {})


def compared(right, holes=()):
    return compare({name: scored(name, n) for name, n in right.items()}, 0.05) | {"holes": list(holes)}


def test_the_page_has_a_section_of_recipes(seeds):
    page = seeds.path("index.html").read_text(encoding="utf-8")
    assert '<h3 id="recipes">Recipes over seeds</h3>' in page
    assert "Noise floor" not in page
    section = page[page.index('id="recipes"') :]
    assert ">sft</th>" in section
    assert "SD between seeds" in section


def test_a_study_without_seeds_has_no_such_section(crossed):
    page = crossed.path("index.html").read_text(encoding="utf-8")
    assert "Recipes over seeds" not in page
    assert not (crossed.directory / "recipes.csv").exists()


def test_files_beside_the_page_have_the_recipes_with_every_digit(seeds):
    with seeds.path("recipes.csv").open(encoding="utf-8", newline="") as file:
        sft, dpo = csv.DictReader(file)
    assert (sft["recipe"], dpo["recipe"], sft["seeds"]) == ("sft", "dpo", "0 1 2")
    assert float(sft["difference"]) == pytest.approx(20 / 60)
    assert sft["verdict"] == "better"
    text = seeds.path("comparison.md").read_text(encoding="utf-8")
    assert "## Recipes over seeds, on the same items" in text
    assert "| sft | raw | 0.667 |" in text


def test_the_first_sentence_speaks_of_recipes():
    text = first_screen(compared(SEEDS), study())
    assert text.startswith("Compared with base on the same items, sft over 3 seeds is better (+0.333 [+0.")
    assert "dpo over 3 seeds is undecided (+0.017 [" in text
    assert "could see 0." in text
    assert "#" not in text
    assert text.endswith("with 3 seeds each this speaks of recipes, whose seeds lie up to 0.033 (SD) apart.")


def test_effects_of_formats_are_not_said_to_hold_for_other_seeds():
    cells = {f"{v}/{e}": 20 for v in ("base", "sft_raw", "sft_chat") for e in ("raw", "chat")}
    right = {name.replace("/", f"#{s}/") if "sft" in name else name: n for name, n in cells.items() for s in range(3)}
    text = first_screen(compared(right), study())
    assert "of 4 recipes compared with base" in text
    assert text.endswith("(SD) apart, but the effects of formats hold for these checkpoints.")


def test_two_seeds_speak_of_checkpoints():
    text = first_screen(compared({k: v for k, v in SEEDS.items() if "#2" not in k}), study())
    assert "sft#1 and sft#0 are better" in text
    assert text.endswith(
        "with 2 seeds this speaks of these checkpoints, not of their recipes, which takes 3 that can be compared."
    )


def test_a_variant_without_seeds_stays_beside_the_recipes():
    text = first_screen(compared({"base/raw": 20, "other_raw/raw": 5, **SEEDS}), study())
    assert "other_raw is worse" in text
    assert "sft over 3 seeds is better" in text


def test_rows_of_the_table_have_all_columns_whatever_is_missing():
    whole = compared(SEEDS)["recipes"][0]
    mean = {k: v for k, v in whole.items() if k not in ("difference", "verdict", "p_value", "baseline")}
    refused = {"recipe": "x", "evaluation": "e", "declared": 4, "refused": "2 of its 4 seeds"}
    rows = recipes_table(evidence(recipes=[whole, mean, refused, {**mean, "refused": "no"}])).rows
    assert {len(row) for row in rows} == {len(RECIPES)}
    verdicts = [row[RECIPES.index("verdict")] for row in rows]
    assert verdicts == ["▲ better", None, "× not compared: 2 of its 4 seeds", "× not compared: no"]


def test_what_was_drawn_twice_stands_beside_the_differences():
    rows = noise_table(evidence(noise=[FLIPS, GREEDY])).rows
    assert rows[0] == [
        "base",
        "once and twice",
        "arithmetic",
        "numeric",
        "0.125",
        "[0.080, 0.190]",
        200,
        "-0.015",
        None,
    ]
    assert rows[1][4:] == [None] * 4 + ["0 by construction"]
    assert {len(row) for row in rows} == {len(NOISE)}
    assert floor_of([GREEDY]) == ""
    assert floor_of([FLIPS]).startswith("drawn twice, base changes its score on 12.5% of the items [8.0%, 19.0%]")


def test_the_first_sentence_ends_with_the_noise_floor():
    text = first_screen({**compared({"base/raw": 20, "sft_raw/raw": 40}), "noise": [FLIPS]}, study())
    assert text.endswith(
        "drawn twice, base changes its score on 12.5% of the items [8.0%, 19.0%], and its mean by -0.015 "
        "(twice minus once)."
    )


def test_rows_of_a_file_have_the_same_columns():
    first, second = flat([FLIPS, GREEDY])
    assert list(first) == list(second)
    assert (first["evaluations"], second["flip_rate"]) == ("once twice", None)


@pytest.mark.parametrize("width", [70, 140])
def test_the_terminal_shows_recipes_and_noise_with_whole_numbers(seeds, width, capsys, tmp_path):
    found = compared(SEEDS) | {"noise": [FLIPS, GREEDY]}
    found["recipes"].append({"recipe": "x", "evaluation": "raw", "declared": 4, "refused": "2 of its 4 seeds have"})
    print_comparison(Console(width=width), found, "Why?")
    text = capsys.readouterr().out
    row = found["recipes"][0]
    for number in (
        f"{row['low']:.3f} … {row['high']:.3f}",
        f"{row['difference_low']:.3f} … {row['difference_high']:.3f}",
    ):
        assert number in text
    assert "sft/raw × 3" in text
    flat_text = " ".join(text.split())
    assert "not compared over seeds: x/raw: 2 of its 4 seeds have" in flat_text
    assert "12.5% of 200 items change their score (8.0% … 19.0%), the mean by -0.015 (twice minus once)" in flat_text
    assert "0 by construction" in flat_text


def test_the_comparison_of_the_report_holds_the_recipes(seeds):
    comparison = read_json(next(iter(seeds.directory.parent.parent.glob("compare/*/comparison.json"))))
    assert [row["recipe"] for row in comparison["recipes"]] == ["sft", "dpo"]


def test_the_strip_shows_recipes_and_folds_their_seeds():
    found = glance(evidence(**{k: v for k, v in compared(SEEDS).items() if k in TABLES}))
    assert [line.name for line in found.lines] == ["sft/raw over 3 seeds", "dpo/raw over 3 seeds"]
    assert sorted(line.name for line in found.folded) == sorted(name for name in SEEDS if "#" in name)
    row = compared(SEEDS)["recipes"][0]
    assert found.lines[0].amount.startswith(f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, ")


def test_without_recipes_the_strip_shows_checkpoints():
    found = glance(evidence(**{k: v for k, v in compared({"base/raw": 20, "sft_raw/raw": 40}).items() if k in TABLES}))
    assert ([line.name for line in found.lines], found.folded) == (["sft_raw/raw"], [])
