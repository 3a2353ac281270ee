"""Leaks: repeats word for word, near-duplicates, shared runs of 13 words, and nothing else."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.data import leaks
from tunelab.data.leaks import NGRAM, Asked, leaking, repeats
from tunelab.data.near import near_pairs

WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30)


def find_leaks(train, evaluation):
    """Leaks between rows as (id, text) or (id, text, cluster)."""
    return leaks.find_leaks([Asked(*row) for row in train], [Asked(*row) for row in evaluation])


def sentence(*numbers):
    return " ".join(f"w{n}" for n in numbers)


def test_a_repeat_is_found_whatever_its_case_and_punctuation():
    [leak] = find_leaks([("t1", "How many  eggs, Ann?")], [("e1", "other words"), ("e2", "how many eggs ann")])
    assert (leak.evaluation_id, leak.train_id, leak.kind, leak.text) == ("e2", "t1", "exact", "how many eggs ann")


@pytest.mark.parametrize(
    ("one", "other"),
    [("3 + 4", "3 - 4"), ("What is x^2 + 1?", "What is x^2 / 1?"), ("if a < b:", "if a > b:"), ("|-3|", "|3|"),
     ("a == b", "a != b"), ("50 %", "50"), ("???", "!!!"), ("", "…")],
)  # fmt: skip
def test_signs_make_another_question_of_the_same_words(one, other):
    assert find_leaks([("t", one)], [("e", other)]) == []
    assert repeats([Asked("e", other)], [Asked("t", one)]) == set()
    assert [leak.kind for leak in find_leaks([("t", one)], [("e", f" {one.upper()} ")])] == ["exact"]


def test_a_hyphen_between_words_is_no_sign():
    assert len(find_leaks([("t", "A well-known 3-step proof – why?")], [("e", "a well known 3 step proof why")])) == 1


def test_signs_do_not_hide_a_shared_run():
    words = sentence(*range(13))
    [leak] = find_leaks(
        [("t", f"x {words}")], [("e", words.replace(" ", " + ") + " y")]
    )  # signs part the runs of three
    assert (leak.kind, leak.text) == ("13-gram", words)


def test_a_shared_run_of_thirteen_words_is_listed_and_of_twelve_is_not():
    train = [("t", sentence(*range(30)))]
    thirteen, twelve = sentence(-1, *range(5, 18), -2), sentence(-1, *range(5, 17), -2)
    [leak] = find_leaks(train, [("twelve", twelve), ("thirteen", thirteen)])
    assert (leak.evaluation_id, leak.kind) == ("thirteen", "13-gram")
    assert leak.text == sentence(*range(5, 18))


def test_exact_leaks_come_first_and_each_evaluation_row_has_one():
    train = [("a", sentence(*range(30))), ("b", sentence(*range(30, 60))), ("c", sentence(*range(30, 60)))]
    rows = [
        ("run", sentence(*range(1, 15), 99)),
        ("near", sentence(*range(30, 59), 99)),
        ("same", sentence(*range(30, 60))),
    ]
    assert [(k.evaluation_id, k.train_id, k.kind) for k in find_leaks(train, rows)] == [
        ("same", "b", "exact"),
        ("near", "b", "near"),
        ("run", "a", "13-gram"),
    ]


def test_disjoint_rows_have_no_leak():
    rng = random.Random(0)
    rows = [sentence(*rng.sample(range(100 * i, 100 * i + 100), 40)) for i in range(20)]
    assert (
        find_leaks([(str(i), r) for i, r in enumerate(rows[:10])], [(str(i), r) for i, r in enumerate(rows[10:])]) == []
    )


@given(WORDS, WORDS)
def test_leaks_are_those_of_a_search_in_plain_text(train, evaluation):
    runs = [" ".join(evaluation[i : i + NGRAM]) for i in range(len(evaluation) - NGRAM + 1)]
    shared = any(f" {run} " in f" {' '.join(train)} " for run in runs)
    near = [*near_pairs([tuple(train)], [tuple(evaluation)])]
    expected = ["exact"] if train == evaluation else ["near"] if near else ["13-gram"] if shared else []
    assert [leak.kind for leak in find_leaks([("t", " ".join(train))], [("e", " ".join(evaluation))])] == expected


def test_a_translation_is_a_leak_by_its_cluster():
    train = [("q1-de", "Wie viele Eier, Ann?", "q1"), ("q2-de", "Wer?", "q2"), ("alone", "Wann?", None)]
    rows = [("q9-fr", "Qui ?", "q9"), ("q1-fr", "Combien d'œufs ?", "q1"), ("other", "Quand ?", None)]
    [leak] = find_leaks(train, rows)
    assert (leak.evaluation_id, leak.train_id, leak.kind, leak.text) == ("q1-fr", "q1-de", "cluster", "q1")


def test_a_row_that_repeats_and_shares_a_cluster_is_one_exact_leak_and_comes_before_translations():
    train = [("a", "one two", "q1"), ("b", "three four", "q2")]
    rows = [("translated", "drei vier", "q2"), ("same", "One, two!", "q1")]
    assert [(k.evaluation_id, k.kind) for k in find_leaks(train, rows)] == [
        ("same", "exact"),
        ("translated", "cluster"),
    ]


def test_what_is_kept_apart_includes_translations():
    rows = [Asked("de", "eins", "q1"), Asked("fr", "un", "q1"), Asked("other", "zwei", "q2"), Asked("alone", "drei")]
    assert repeats(rows, [Asked("en", "one", "q1"), Asked("x", "four")]) == {"de", "fr"}
    assert repeats(rows, [Asked("x", "Drei.", "q9")]) == {"alone"}


def test_the_nearest_training_row_is_named():
    text = sentence(*range(20))
    train = [("far", sentence(*range(13), 90, 91)), ("near", sentence(*range(19), 99)), ("other", "w1 w2")]
    [leak] = find_leaks(train, [("e", text)])
    assert (leak.train_id, leak.kind, leak.text) == ("near", "near", sentence(*range(19), 99))


def test_every_training_row_that_gives_an_evaluation_row_away_is_found_at_once():
    shared = sentence(*range(13))
    train = [
        Asked("same", "How many eggs?"),
        Asked("again", "how many EGGS"),
        Asked("translated", "Wie viele?", "q1"),
        Asked("near", "a train takes two hours from here to there and back again"),
        Asked("run", f"{sentence(*range(50, 80))} {shared}"),
        Asked("free", "something else entirely"),
    ]
    rows = [
        Asked("e1", "how many eggs"),
        Asked("e2", "Combien ?", "q1"),
        Asked("e3", "a train takes six hours from here to there and back again"),
        Asked("e4", f"{shared} {sentence(*range(100, 130))}"),
    ]
    assert leaking(train, rows) == {"same", "again", "translated", "near", "run"}
