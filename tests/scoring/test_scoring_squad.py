"""Short answers: the recorded BERT answers with their official scores, and the traps by hand."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.scoring.squad import abstains, exact, f1, hotpot_exact, hotpot_f1, normalised

PARITY = Path(os.environ.get("TUNELAB_DATA", "/nowhere")).parent / "parity" / "squad_v2"
WORDS = st.lists(st.sampled_from(["the", "red", "fox", "fox.", "A", "ran", "-"]), max_size=6).map(" ".join)


@pytest.mark.skipif(not PARITY.exists(), reason="TUNELAB_DATA is unset: the recorded SQuAD answers are not here")
def test_recorded_answers_score_as_the_official_script_scored_them():
    articles = json.loads((PARITY / "dev-half.json").read_text())["data"]
    said = json.loads((PARITY / "bert-predictions.json").read_text())
    asked = [(q, [a["text"] for a in q["answers"]]) for d in articles for p in d["paragraphs"] for q in p["qas"]]
    groups = {"all": asked, "HasAns": [q for q in asked if q[1]], "NoAns": [q for q in asked if not q[1]]}
    found = {
        name: tuple(100 * sum(metric(golds, said[q["id"]]) for q, golds in of) / len(of) for metric in (exact, f1))
        for name, of in groups.items()
    }
    assert {name: len(of) for name, of in groups.items()} == {"all": 6078, "HasAns": 2910, "NoAns": 3168}
    assert found["all"] == pytest.approx((78.97334649555775, 81.82635533198284), abs=1e-11)
    assert found["HasAns"] == pytest.approx((75.39518900343643, 81.35415385147485), abs=1e-11)
    assert found["NoAns"] == pytest.approx((82.26010101010101, 82.26010101010101), abs=1e-11)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The U.S.  Navy", "us navy"),
        ("a-the", "athe"),
        ("an apple, the pear", "apple pear"),
        ("“quoted”", "“quoted”"),
        ("theatre and another", "theatre and another"),
        ("A.", ""),
    ],
)
def test_punctuation_goes_before_articles_and_only_ascii_counts_as_such(text, expected):
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("golds", "said", "em", "overlap"),
    [
        (["the cat sat"], "cat sat down", 0, 0.8),
        (["red fox", "fox"], "The fox!", 1, 1),
        (["a b b"], "b b b", 0, 0.8),
        ([], "", 1, 1),
        ([], "?", 1, 1),
        ([""], "something", 0, 0),
        (["."], "", 1, 1),
        ([".", "fox"], "", 0, 0),
        (["fox"], "the", 0, 0),
    ],
)
def test_exact_match_and_f1_by_hand(golds, said, em, overlap):
    assert (exact(golds, said), f1(golds, said)) == (em, pytest.approx(overlap))


@given(WORDS, WORDS)
def test_f1_is_symmetric_and_one_for_the_same_words_in_any_order(one, other):
    assert f1([one], other) == f1([other], one)
    assert f1([one], " ".join(reversed(one.split()))) == 1


@pytest.mark.parametrize(
    ("gold", "said", "em", "overlap"),
    [
        ("yes", "Yes.", 1, 1),
        ("yes", "yes it was", 0, 0),
        ("Paris yes", "yes", 0, 0),
        ("no", "yes", 0, 0),
        ("Turku in Finland", "Turku", 0, 0.5),
        ("Turku", "", 0, 0),
        ("Turku", "noanswer", 0, 0),
    ],
)
def test_hotpot_gives_yes_and_no_no_partial_credit(gold, said, em, overlap):
    assert (hotpot_exact(gold, said), hotpot_f1(gold, said)) == (em, pytest.approx(overlap))


def test_hotpot_gives_nothing_where_neither_side_has_a_token():
    assert hotpot_f1("The The", "the") == 0
    assert f1(["The The"], "the") == 1


@pytest.mark.parametrize(
    "text",
    ["", " \n", "Unanswerable", "unanswerable.", "**Unanswerable**", "No answer", "The question is unanswerable.",
     "This question cannot be answered from the passage.", "The passage does not say who commanded her."],
)  # fmt: skip
def test_words_that_decline_to_answer_are_an_abstention(text):
    assert abstains(text)


@pytest.mark.parametrize(
    "text", ["no", "none", "unknown", "answerable", "an unanswerable riddle", "the passage", "no answers"]
)
def test_other_words_are_an_answer(text):
    assert not abstains(text)
