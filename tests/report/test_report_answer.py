"""The one sentence: it claims what the verdicts say and nothing beyond."""

from dataclasses import replace

import numpy as np
import pytest
from report_fakes import METRICS, N, cell, study

from tunelab.report.answer import first_screen
from tunelab.report.wording import TOO_FEW
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import judged
from tunelab.study.comparison import compare
from tunelab.study.scored import Scored


def scored(name, right, first=0):
    """A cell whose ``right`` answers begin at item ``first``."""
    hits = np.isin(np.arange(N), np.arange(first, first + right))
    scores = {f"q{i}": [judged(bool(h), "4", {"numeric": float(h), "strict": float(h)})] for i, h in enumerate(hits)}
    return Scored(cell(name, {}), scores, summarise(scores, METRICS), "scorer")


def answer(right, holes=(), **changes):
    cells = {name: scored(name, n) for name, n in right.items()}
    return first_screen(compare(cells, 0.05) | {"holes": list(holes)}, study(**changes))


def test_a_better_variant_is_named_with_its_difference_and_interval():
    text = answer({"base/raw": 20, "sft_raw/raw": 40})
    assert text.startswith("Compared with base on the same items, sft_raw is better (+0.333 [+0.2")
    assert "with one seed this speaks of this checkpoint" in text


def test_a_worse_variant_is_called_worse():
    text = answer({"base/raw": 40, "sft_raw/raw": 20})
    assert "sft_raw is worse (-0.333 [" in text
    assert "better" not in text


def test_undecided_comes_with_the_smallest_difference_that_could_be_seen():
    text = answer({"base/raw": 20, "sft_raw/raw": 21})
    assert "is undecided" in text
    assert ", could see 0." in text
    assert "no difference" not in text


def test_too_few_items_are_said_to_show_nothing():
    found = compare({name: scored(name, n) for name, n in {"base/raw": 20, "sft_raw/raw": 21}.items()}, 0.05)
    rows = [{**row, "minimum_detectable_effect": None} for row in found["comparisons"]]
    text = first_screen(found | {"holes": [], "comparisons": rows}, study())
    assert f", {TOO_FEW}, would take " in text
    assert "could see" not in text


def test_contrasts_are_said_with_both_cells_interval_and_verdict():
    cells = {name: scored(name, n) for name, n in {"base/raw": 20, "sft_raw/raw": 40, "base/chat": 10}.items()}
    found = compare(cells, 0.05, contrasts=[("sft_raw/raw", "base/chat", []), ("base/raw", "base/chat", [])])
    text = first_screen(found | {"holes": []}, study())
    assert "sft_raw/raw minus base/chat is +0.500 [+0.3" in text
    assert "], better and base/raw minus base/chat is +0.167 [" in text
    assert "contrasted" not in first_screen(compare(cells, 0.05) | {"holes": []}, study())


CELLS = [f"{v}/{e}" for v in ("base", "sft_raw", "sft_chat") for e in ("raw", "chat")]


def crossed(raw_raw, raw_chat, chat_raw, chat_chat):
    """The answer of a study by its right answers: trained in, evaluated in."""
    return answer(dict(zip(CELLS, (20, 20, raw_raw, raw_chat, chat_raw, chat_chat), strict=True)))


def test_a_crossed_study_is_answered_by_its_factors_and_counts_its_cells():
    text = crossed(45, 20, 20, 45)
    start = "The format matters mainly when training and evaluation disagree: training in chat instead of raw changes "
    assert text.startswith(f"{start}the score by +0.000 [-0.060, +0.060] (undecided: ")
    assert "evaluating in it by +0.000 [" in text
    assert "the same format in both instead of different ones by +0.417 [" in text
    assert "; of 4 cells compared with base on the same items" in text
    assert "2 are better (+0.417 to +0.417) and 2 are undecided (" in text
    assert "these checkpoints" in text


def test_a_format_that_matters_in_training_alone_is_said_to():
    assert "The format matters mainly in training:" in crossed(15, 15, 45, 45)


def test_a_format_that_matters_in_evaluation_alone_is_said_to():
    assert "The format matters mainly in evaluation:" in crossed(15, 45, 15, 45)


def test_what_matters_in_several_places_is_listed_without_a_main_one():
    text = crossed(20, 20, 20, 45)
    where = "in training, in evaluation and when training and evaluation disagree"
    assert text.startswith(f"The format is shown to matter {where}:")


def test_formats_that_score_higher_when_they_disagree_are_reported_as_that():
    where = "when training and evaluation disagree, which scores higher"
    assert crossed(20, 45, 45, 20).startswith(f"The format matters mainly {where}:")


def test_an_undecided_crossed_study_says_so_and_what_it_would_take():
    text = crossed(20, 21, 20, 20)
    assert "Whether the format matters is undecided:" in text
    assert text.count(" (undecided: could see 0.0") == 3
    assert text.partition("; of ")[0].count(" items)") == 3
    assert "mainly" not in text


def test_evaluations_that_are_not_crossed_with_training_are_named_by_cell():
    text = answer({"base/raw": 20, "base/chat": 20, "sft_raw/raw": 45, "sft_raw/chat": 21})
    assert "sft_raw under raw is better (+0.417 [" in text
    assert "sft_raw under chat is undecided (+0.017 [" in text
    assert "training in" not in text.lower()


def test_one_task_of_two_that_is_crossed_does_not_speak_for_both():
    cells = dict(zip(CELLS, (20, 20, 45, 20, 20, 45), strict=True))
    scores = {name: scored(name, n) for name, n in cells.items()}
    scores |= {
        f"other {name}": replace(s, cell=s.cell | {"cell": f"other {name}", "task": "other", "baseline": None})
        for name, s in scores.items()
    }
    text = first_screen(compare(scores, 0.05) | {"holes": []}, study())
    assert text.startswith("Compared with base")
    assert text.count("evaluating in the training format instead of another changes the score by +0.417 [") == 2
    assert ", on other" in text


def test_effects_of_several_pairs_of_formats_are_told_apart():
    found = compare({name: scored(name, n) for name, n in zip(CELLS, (20, 20, 45, 20, 20, 45), strict=True)}, 0.05)
    [matched] = [e for e in found["effects"] if e["factors"] == ["train_format", "eval_format"]]
    pairs = [matched | {"formats": ["raw", other]} for other in ("chat", "talk")]
    text = first_screen(found | {"holes": [], "effects": pairs}, study())
    assert text.count(", between raw and chat") == text.count(", between raw and talk") == 1


@pytest.mark.parametrize(("right", "more"), [(21, True), (40, False)])
def test_what_it_would_take_is_said_only_where_it_is_more_than_there_was(right, more):
    assert (" items)" in answer({"base/raw": 20, "sft_raw/raw": right})) is more


def test_many_variants_are_counted_beyond_the_largest():
    text = answer({"base/raw": 10} | {f"sft_{i}/raw": 30 + i for i in range(6)})
    assert text.startswith(
        "Compared with base on the same items, sft_5, sft_4, sft_3, sft_2 and 2 more cells are better"
    )
    assert "(+0.333 to +0.417)" in text


def test_a_smoke_run_claims_nothing():
    text = answer({"base/raw": 20, "sft_raw/raw": 40}, smoke=True)
    assert "too small to conclude anything" in text
    assert "better" not in text


def test_without_trained_variants_the_scores_stand_alone():
    text = answer({"base/raw": 15, "base/chat": 30})
    assert text == (
        "No variant has a baseline to compare it with; base scores 0.250 under raw and base scores 0.500 under chat."
    )


def test_without_any_score_the_sentence_says_so():
    assert answer({}, holes=["base/raw", "sft/raw"]).startswith("No cell of 2 has a score")


def test_a_refused_comparison_gives_its_reason():
    cells = {"base/raw": scored("base/raw", 20), "sft/raw": scored("sft/raw", 40)}
    other = Scored(cells["sft/raw"].cell, cells["sft/raw"].scores, cells["sft/raw"].summary, "another scorer")
    text = first_screen(compare(cells | {"sft/raw": other}, 0.05) | {"holes": []}, study())
    assert "Nothing could be compared: the two were scored by different scorers" in text


def test_variants_of_two_models_are_each_compared_with_their_own():
    cells = {
        name: scored(name, n)
        for name, n in {"base/raw": 20, "sft_raw/raw": 40, "other/raw": 20, "sft_chat/raw": 41}.items()
    }
    cells["sft_chat/raw"] = replace(cells["sft_chat/raw"], cell={**cells["sft_chat/raw"].cell, "baseline": "other/raw"})
    text = first_screen(compare(cells, 0.05) | {"holes": []}, study())
    assert text.startswith("Compared with its own baseline (base and other) on the same items, ")
