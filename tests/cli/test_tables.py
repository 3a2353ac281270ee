"""Tables on the terminal: numbers are whole at every width."""

import pytest
from rich.console import Console

from tunelab.cli.tables import print_comparison

LONG = "sft_chat_mask_q@system=Be brief and show your work.,lr=1e-4"


def comparison():
    """A baseline and a variant with a long name under an evaluation with one."""
    score = {"headline": "m", "scored": 60, "metrics": {"m": {"value": 0.483, "low": 0.362, "high": 0.607}}}
    base = {"cell": "base/e", "variant": "base", "evaluation": "e", "baseline": None, "matched": None}
    other = {"cell": "long/e", "variant": LONG, "evaluation": f"chat@{LONG}", "baseline": "base/e", "matched": False}
    against = {"difference": 0.017, "low": -0.072, "high": 0.106, "p_adjusted": 0.00012, "verdict": "undecided"}
    return {
        "cells": [base | score, other | score],
        "comparisons": [{"cell": "long/e", "minimum_detectable_effect": 0.116, **against}],
        "contrasts": [],
        "effects": [],
        "thresholds": [],
        "holes": [],
    }


@pytest.mark.parametrize("width", [80, 110, 140, 250])
def test_a_long_name_never_cuts_a_number_or_is_cut_itself(width, capsys):
    print_comparison(Console(width=width), comparison(), "Why?")
    text = capsys.readouterr().out
    for number in ("0.362 … 0.607", "-0.072 … 0.106", "+0.017", "sees 0.116"):
        assert number in text
    assert text.count("…") == 3, "one in each interval, none where a text was cut"


@pytest.mark.parametrize("width", [80, 140])
def test_a_contrast_names_both_cells_and_one_without_a_result_is_named_below(width, capsys):
    found = comparison()
    of = {"cell": "long/e", "baseline": "large/served", "difference": -0.217, "low": -0.372, "high": -0.06}
    lost = {"cell": "base/e", "baseline": "gone/served", "refused": "gone/served has no result"}
    found["contrasts"] = [{**of, "n": 57, "p_adjusted": 0.013, "verdict": "worse"}, lost]
    print_comparison(Console(width=width), found, "Why?")
    text = capsys.readouterr().out
    assert "long/e" in text
    assert "− large/served" in text
    for part in ("-0.217", "-0.372 … -0.060", "worse", *(["0.013", "57"] if width == 140 else [])):
        assert part in text
    assert max(map(len, text.splitlines())) <= width
    assert "not compared: base/e with gone/served: gone/served has no result" in " ".join(text.split())


@pytest.mark.parametrize(
    ("why", "mark"), [({"no_verdicts": {"guard": "is nowhere"}}, "missing"), ({"error": "n: 9"}, "wrong n")]
)
def test_a_score_that_is_not_there_is_a_dash_and_a_word_never_a_number(why, mark, capsys):
    found = comparison()
    found["cells"][1] |= {"scored": 0, "metrics": {"m": {"value": None, "low": None, "high": None}}, **why}
    found["comparisons"] = [{"cell": "long/e", "baseline": "base/e", "refused": "no item was scored on both sides"}]
    print_comparison(Console(width=250), found, "Why?")
    [row] = [line for line in capsys.readouterr().out.splitlines() if LONG in line and mark in line]
    assert "0.000" not in row
