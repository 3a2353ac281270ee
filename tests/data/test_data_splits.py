"""Splits of our own: shares to within one, whole groups, and nothing that depends on the order of the rows."""

import itertools
import random
from collections import Counter, defaultdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tunelab.data.groups import grouped
from tunelab.data.rounding import rounded
from tunelab.data.sample import Sample
from tunelab.data.splits import Splits, assign, describe
from tunelab.errors import DataError

BY = {"stratify": "subject", "group": "cluster", "seed": 0}
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=5)
STRATA = st.lists(st.integers(0, 60), min_size=1, max_size=12)


def rows(sizes, **more):
    """One row a question, so many of each subject."""
    names = [(s, f"q{s}-{i}") for s, n in enumerate(sizes) for i in range(n)]
    return [Sample(name, {"question": name}, ("A",), {"subject": f"s{s}", **more}) for s, name in names]


def asked(sample):
    """What tells samples apart: here the question alone, which is the sample's id unless a test says otherwise."""
    return sample.fields["question"]


def shares_of(weights):
    return {f"part{i}": weight / sum(weights) for i, weight in enumerate(weights)}


def translated(strata):
    """Questions in one, two or three languages: a list of numbers of languages for each subject."""
    return [
        Sample(f"{name}-{language}", {"question": f"{name} {language}"}, ("A",), metadata | {"language": language})
        for s, questions in enumerate(strata)
        for i, count in enumerate(questions)
        for name, metadata in [(f"q{s}-{i}", {"subject": f"s{s}", "cluster": f"q{s}-{i}"})]
        for language in ("de", "fr", "it")[:count]
    ]


@given(STRATA, WEIGHTS, st.integers(0, 3))
def test_every_stratum_is_within_one_row_of_its_share_in_every_part_and_so_are_the_totals(sizes, weights, seed):
    samples, shares = rows(sizes), shares_of(weights)
    if sum(sizes) * min(weights) < sum(weights):
        return
    parts = assigned(samples, shares, seed)
    found = Counter((s.metadata["subject"], parts[s.id]) for s in samples)
    for s, size in enumerate(sizes):
        for i, (part, weight) in enumerate(zip(shares, weights, strict=True)):
            assert abs(found[f"s{s}", part] - Fraction(size * weight, sum(weights))) <= 1, (s, i)
    for part, weight in zip(shares, weights, strict=True):
        total = sum(count for (_, name), count in found.items() if name == part)
        assert abs(total - Fraction(sum(sizes) * weight, sum(weights))) <= 1


def assigned(samples, shares, seed=0):
    return assign(samples, shares, {**BY, "seed": seed}, asked)


@given(STRATA.filter(lambda sizes: sum(sizes) > 2), st.integers(0, 3), st.randoms())
def test_the_order_of_the_rows_and_of_the_parts_does_not_matter(sizes, seed, rng):
    samples = rows(sizes)
    found = assigned(samples, SHARES, seed)
    shuffled = rng.sample(samples, len(samples))
    assert assigned(shuffled, dict(reversed(SHARES.items())), seed) == found


def test_rows_of_one_cluster_and_rows_with_the_same_words_are_joined_through_any_number_of_others():
    """a and b are translations, b and c ask the same, c and d are translations; e is like none of them."""
    said = {"a": "Was ist das?", "b": "What is this?", "c": "what is THIS", "d": "Qu'est-ce ?", "e": "What is that?"}
    clusters = {"a": "1", "b": "1", "c": "2", "d": "2", "e": "3"}
    some = [Sample(i, {"question": q}, ("A",), {"subject": "s0", "cluster": clusters[i]}) for i, q in said.items()]
    for seed in range(20):
        found = assigned([*some, *rows([6])], {"train": 0.5, "test": 0.5}, seed)
        assert len({found[i] for i in "abcd"}) == 1
    receipt = describe([*some, *rows([6])], found, BY, {"train": 0.5, "test": 0.5}, asked)
    assert (receipt["groups"], receipt["questions"]) == (8, 8)


def test_a_question_that_is_asked_twice_stays_together_without_any_cluster():
    samples = [Sample(f"{i}", {"question": f"Question {i // 2}?"}, ("A",), {"subject": "s"}) for i in range(40)]
    found = assigned(samples, SHARES)
    assert all(found[f"{i}"] == found[f"{i + 1}"] for i in range(0, 40, 2))


@given(st.lists(st.lists(st.integers(1, 3), max_size=25), min_size=1, max_size=6), st.integers(0, 3))
def test_groups_are_never_parted(strata, seed):
    samples = translated(strata)
    if sum(map(len, strata)) < 3:
        return
    found, parts = assigned(samples, SHARES, seed), defaultdict(set)
    for sample in samples:
        parts[sample.metadata["cluster"]].add(found[sample.id])
    assert all(len(of) == 1 for of in parts.values())


def test_large_and_small_groups_are_shared_out_alike():
    samples = translated([[1] * 50 + [3] * 50])
    for seed in range(5):
        found = assigned(samples, SHARES, seed)
        sizes = Counter((part, found[f"q0-{i}-it"] == part) for i in range(50, 100) for part in SHARES)
        assert {part: sizes[part, True] for part in SHARES} == {"train": 40, "validation": 5, "test": 5}
        assert Counter(found.values()) == {"train": 160, "validation": 20, "test": 20}


def test_without_groups_translations_are_parted_and_both_receipts_say_how_many():
    samples = translated([[2] * 100 + [1] * 20])
    without = {**BY, "group": None}
    found, grouped = assign(samples, SHARES, without, asked), assigned(samples, SHARES)
    parted = sum(found[f"q0-{i}-de"] != found[f"q0-{i}-fr"] for i in range(100))
    assert 10 < parted < 60
    assert Counter(found.values()) == Counter(grouped.values()) == {"train": 176, "validation": 22, "test": 22}
    receipts = [describe(samples, f, by, SHARES, asked) for f, by in ((found, without), (grouped, BY))]
    assert [receipt["groups"] for receipt in receipts] == [220, 120]
    assert [receipt["questions"] for receipt in receipts] == [120, 120]
    assert receipts[0]["in_several_parts"] == {"here": parted, "ungrouped": parted}
    assert receipts[1]["in_several_parts"] == {"here": 0, "ungrouped": parted}


def test_seeds_choose_other_rows_from_all_over():
    samples = rows([200])
    tests = [{i for i, part in assigned(samples, SHARES, seed).items() if part == "test"} for seed in range(10)]
    assert len(set(map(frozenset, tests))) == 10
    positions = [int(i.partition("-")[2]) for chosen in tests for i in chosen]
    assert 70 < sum(positions) / len(positions) < 130


def test_rare_strata_keep_their_shares_together_and_are_reported():
    samples = rows([100] + [1] * 50)
    found = assigned(samples, SHARES)
    assert Counter(found[f"q{s}-0"] for s in range(1, 51)) == {"train": 40, "validation": 5, "test": 5}
    receipt = describe(samples, found, BY, SHARES, asked)
    assert receipt["rare"] == sorted(f"s{s}" for s in range(1, 51))
    assert len(receipt["absent"]["test"]) == 45
    assert receipt["strata"]["s0"] == {"available": 100, "too_long": 0, "train": 80, "validation": 10, "test": 10}


def test_a_receipt_counts_what_was_too_long_by_stratum():
    samples = rows([20, 10])
    kept = samples[5:]
    receipt = describe(samples, assigned(kept, SHARES), BY, SHARES, asked)
    assert (receipt["available"], receipt["too_long"], sum(receipt["rows"].values())) == (30, 5, 25)
    assert [receipt["strata"][name]["too_long"] for name in ("s0", "s1")] == [5, 0]


def test_few_rows_still_make_every_part_and_fewer_than_parts_are_refused():
    for n in range(3, 10):
        assert set(assigned(rows([n]), SHARES).values()) == set(SHARES)
    with pytest.raises(DataError, match="got 2 groups of rows, expected one a part: train, validation, test"):
        assigned(rows([2]), SHARES)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ({"stratify": "subjekt"}, "stratify: got 'subjekt', expected metadata .*subject"),
        ({"group": "klaster"}, "group: got 'klaster'"),
    ],
)
def test_metadata_that_are_not_there_are_named(by, message):
    with pytest.raises(DataError, match=message):
        assign(rows([10]), SHARES, {**BY, **by}, asked)


@pytest.mark.parametrize("shares", [{"a": 0.5}, {"a": 0.5, "b": 0.6}, {"a": 1.0, "b": 0.0}, {}])
def test_shares_are_numbers_above_zero_with_the_sum_one(shares):
    with pytest.raises(ValidationError):
        Splits.model_validate({"from": "test", "shares": shares})


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(st.integers(0, 40), min_size=n, max_size=n), min_size=1)))
def test_a_table_is_rounded_to_the_whole_numbers_beside_its_entries(numbers):
    """Any table whose rows have whole sums: thirteenths, filled up in the last column."""
    table = {str(i): [Fraction(x, 13) for x in row] for i, row in enumerate(numbers)}
    exact = {i: {str(c): x for c, x in enumerate([*row, -sum(row) % 1])} for i, row in table.items()}
    found = rounded(exact)
    for i, row in exact.items():
        assert sum(found[i].values()) == sum(row.values())
        assert all(abs(found[i][c] - x) < 1 for c, x in row.items())
    for c in next(iter(exact.values())):
        assert abs(sum(row[c] for row in found.values()) - sum(row[c] for row in exact.values())) < 1


def test_thousands_of_small_strata_have_their_shares_together():
    sizes = [random.Random(0).randint(1, 9) for _ in range(3000)]
    found = Counter(assigned(rows(sizes), SHARES).values())
    assert abs(found["test"] - sum(sizes) / 10) < 1


def test_a_later_row_joins_two_groups_that_were_apart():
    """j and k are apart until i, which asks what j asks and is a translation of k."""
    said = {"j": ("w", "1"), "k": ("v", "2"), "i": ("w", "2")}
    some = [Sample(i, {"question": q}, ("A",), {"subject": "s0", "cluster": c}) for i, (q, c) in said.items()]
    for order in itertools.permutations(some):
        assert [group.ids for group in grouped(order, "subject", "cluster", asked)] == [("i", "j", "k")]


def test_shares_may_be_whole_numbers():
    whole, parts = Splits(**{"from": "test", "shares": {"train": 5, "test": 1}}).shares, {"train": 5 / 6, "test": 1 / 6}
    samples = rows([40, 20])
    assert assign(samples, whole, BY, asked) == assign(samples, parts, BY, asked)
    with pytest.raises(ValidationError, match="sum 1, or whole ones"):
        Splits(**{"from": "test", "shares": {"train": 5, "test": 0.5}})
    with pytest.raises(ValidationError, match="sum 1, or whole ones"):
        Splits(**{"from": "test", "shares": {"train": 5, "test": 0}})
