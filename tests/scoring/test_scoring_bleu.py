"""Three BLEU scores: the recorded CodeXGLUE figures, sacrebleu itself, and small sums by hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from tunelab.scoring import bleu

PARITY = Path(os.environ.get("TUNELAB_DATA", "/nowhere")).parent / "parity" / "codexglue"
recorded = pytest.mark.skipif(
    not PARITY.exists(), reason="TUNELAB_DATA is unset: the recorded CodeXGLUE outputs are not here"
)
TEXTS = st.lists(st.sampled_from(["int", "x", "=", "f", "(", ")", ";", "1.5", "foo_bar"]), max_size=12).map(" ".join)


def lines(name):
    return (PARITY / name).read_text(encoding="utf-8").splitlines()


def corpus(candidates, references):
    parts = [bleu.corpus_parts(c, r) for c, r in zip(candidates, references, strict=True)]
    return bleu.corpus(np.sum(parts, axis=0))


def matching(candidates, references):
    return np.mean([c.split() == r.split() for c, r in zip(candidates, references, strict=True)])


@recorded
def test_recorded_text_to_code_has_the_published_scores():
    said = lines("text_to_code/predictions.txt")
    gold = [json.loads(line)["code"] for line in lines("text_to_code/answers.json")]
    assert round(100 * corpus(said, gold), 2) == 16.68
    assert 100 * matching(said, gold) == pytest.approx(17.0)


@recorded
def test_recorded_refinement_has_the_published_scores():
    said, gold = (lines(f"code_refinement_small/small-model.{kind}") for kind in ("output", "gold"))
    assert round(100 * corpus(said, gold), 2) == 77.42
    assert round(100 * matching(said, gold), 2) == 16.4


@recorded
def test_recorded_code_to_text_has_the_published_score():
    said, gold = (
        [line.split("\t", 1)[1] for line in lines(f"code_to_text/{n}.txt")] for n in ("predictions", "reference")
    )
    scores = [bleu.sentence(s.strip(), g.strip()) for s, g in zip(said, gold, strict=True)]
    assert 100 * np.mean(scores) == pytest.approx(9.554726113590661, abs=1e-12)


@recorded
def test_recorded_outputs_have_sacrebleus_own_score():
    said, gold = (lines(f"code_refinement_small/small-model.{kind}")[:400] for kind in ("output", "gold"))
    parts = [bleu.sacrebleu_parts(s, g) for s, g in zip(said, gold, strict=True)]
    expected = sacrebleu.corpus_bleu(said, [gold]).score
    assert 100 * bleu.sacrebleu_corpus(np.sum(parts, axis=0)) == pytest.approx(expected)


def test_corpus_bleu_adds_one_at_every_order_of_the_summed_counts():
    found = corpus(["int x = 1 ;", "f ( )"], ["int x = 2 ;", "f ( x )"])
    precisions = [(4 + 3) / 8, (2 + 1) / 6, (1 + 0) / 4, 0 / 2]
    smoothed = [(8 * precisions[0] + 1) / 9, (6 * precisions[1] + 1) / 7, (4 * precisions[2] + 1) / 5, 1 / 3]
    assert found == pytest.approx(math.exp(1 - 9 / 8) * math.prod(smoothed) ** 0.25)


def test_a_repeated_token_matches_as_often_as_the_reference_has_it():
    assert bleu.corpus_parts("x x x", "x y")[:5] == (1, 0, 0, 0, 3)


def test_sentence_bleu_smooths_above_the_first_order_and_splits_marks_from_words():
    found = bleu.sentence("Gets foo_bar.", "get the foo_bar .")
    assert bleu.sentence("Gets foo _ bar .", "GET THE foo _ bar .") == found
    assert found == pytest.approx(math.exp(1 - 7 / 6) * (4 / 5 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_sentence_bleu_of_nothing_and_of_nothing_right():
    assert bleu.sentence("zxqv", "get the name") == 0
    assert bleu.sentence("", "get the name") == pytest.approx(math.exp(-3))


@given(TEXTS.filter(bool))
def test_a_text_scores_one_against_itself(text):
    assert corpus([text], [text]) == bleu.sentence(text, text) == 1


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_sacrebleu_by_parts_is_sacrebleu(pairs):
    said, gold = [a for a, _ in pairs], [b for _, b in pairs]
    parts = [bleu.sacrebleu_parts(a, b) for a, b in pairs]
    expected = sacrebleu.corpus_bleu(said, [gold]).score
    assert 100 * bleu.sacrebleu_corpus(np.sum(parts, axis=0)) == pytest.approx(expected)


def test_the_signature_is_what_sacrebleu_says_of_its_default():
    metric = sacrebleu.BLEU()
    metric.corpus_score(["a b c d e"], [["a b c d e"]])
    assert metric.get_signature().format() == bleu.SIGNATURE


def test_a_corpus_without_a_token_scores_nothing():
    assert corpus(["", ""], ["f ( )", "x"]) == 0
