"""Near-duplicates: all pairs that a plain comparison of every text with every other finds, and no other."""

from hypothesis import given
from hypothesis import strategies as st

from tunelab.data.near import NEAR, RUN, near_pairs

TEXT = st.lists(st.sampled_from("abcd"), min_size=0, max_size=12).map(tuple)


def runs(words):
    return {words} if len(words) < RUN else {words[i : i + RUN] for i in range(len(words) - RUN + 1)}


def plainly(texts, others):
    pairs = {(i, j): (runs(a), runs(b)) for i, a in enumerate(texts) for j, b in enumerate(others)}
    shares = {place: len(a & b) / len(a | b) for place, (a, b) in pairs.items()}
    return {(*place, share) for place, share in shares.items() if share >= NEAR}


@given(st.lists(TEXT, max_size=12), st.lists(TEXT, max_size=12))
def test_the_pairs_are_those_of_a_plain_comparison(texts, others):
    assert set(near_pairs(texts, others)) == plainly(texts, others)


def test_the_same_problem_with_another_number_is_near_and_another_problem_is_not():
    [one, other, third] = [
        tuple(text.split())
        for text in (
            "there are 12 plates on the table and grace adds 10 how many plates are there now",
            "there are 12 plates on the table and grace adds 7 how many plates are there now",
            "there are 12 plates and grace breaks some of them how many does she have to pay for",
        )
    ]
    assert [(i, j) for i, j, _ in near_pairs([one], [other, third])] == [(0, 0)]


def test_pairs_come_with_the_share_that_they_have_in_common():
    [(_, _, share)] = near_pairs([tuple("abcdef")], [tuple("abcdeg")])
    assert share == 3 / 5
