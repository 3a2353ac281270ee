"""The one sentence: it claims what the verdicts say and nothing beyond."""

import numpy as np
from report_fakes import METRICS, N, cell, study

from tunelab.report.answer import first_screen
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


def test_several_evaluations_are_named_and_the_match_of_formats_is_answered():
    cells = {f"{v}/{e}": 20 for v in ("base", "sft_raw", "sft_chat") for e in ("raw", "chat")}
    text = answer(cells | {"sft_raw/raw": 45, "sft_chat/chat": 45})
    assert "sft_raw under raw and sft_chat under chat are better (+0.417 to +0.417)" in text
    assert "evaluating in the training format instead of another changes the score by +0.417 [" in text
    assert "these checkpoints" in text


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
