"""Names and outputs with escape sequences do nothing to a terminal."""

import json

import pytest

from tunelab.cli.tables import console, print_comparison

ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e"
SHOWN = "⟨U+001B⟩[2J⟨U+001B⟩]0;owned⟨U+0007⟩⟨U+202E⟩"


def comparison():
    """Two cells, one of them missing, with escapes in all their names."""
    score = {"headline": "m", "scored": 6, "metrics": {"m": {"value": 0.5, "low": 0.3, "high": 0.6}}}
    cell = {"cell": f"{ESCAPES}/e", "variant": ESCAPES, "evaluation": ESCAPES, "baseline": None, "matched": None}
    refused = {"cell": ESCAPES, "baseline": ESCAPES, "refused": ESCAPES}
    tables = {"comparisons": [refused], "contrasts": [], "effects": [], "thresholds": [], "holes": [ESCAPES]}
    return {"cells": [cell | score], **tables}


def plain(text):
    """Whether a terminal would only show the text."""
    return not any(letter in text for letter in ("\x1b", "\x07", "\u202e"))


def test_tables_show_escapes_as_text(capsys):
    print_comparison(console(), comparison(), ESCAPES)
    text = capsys.readouterr().out
    assert plain(text)
    assert text.count(SHOWN) >= 5


def test_show_names_a_study_with_escapes(tunelab, tmp_path):
    folder = tmp_path / "results" / "quiet"
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text(json.dumps(comparison()))
    shown = tunelab("show", "quiet").stdout
    assert plain(shown)
    assert SHOWN in shown
    refused = tunelab("show", ESCAPES.replace("\x07", "")).stderr
    assert plain(refused)
    assert "⟨U+001B⟩" in refused or "\\x1b" in refused


@pytest.mark.parametrize("masks", [(), ("--masks",)])
def test_data_show_shows_escapes_as_text(tunelab, tmp_path, masks):
    row = {"question": f"How many {ESCAPES} mice?", "answer": "#### 2"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row) + "\n")
    shown = tunelab("data", "show", "gsm8k", "--file", "train=mine.jsonl", "--rows", "1", *masks).stdout
    assert plain(shown)
    assert masks or SHOWN in shown


def test_score_shows_escapes_as_text(tunelab, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"output": "#### 4", "target": "4", "id": ESCAPES}) + "\n")
    assert "1 item\n" in tunelab("score", "gsm8k", "rows.jsonl").stdout
    (tmp_path / "bad.jsonl").write_text(json.dumps({"output": "#### 4", "id": ESCAPES}) + "\n")
    assert plain(tunelab("score", "gsm8k", "bad.jsonl", "--split", ESCAPES).stderr)
