"""Subsets: seeded by id, nested, independent of order, and never the first N."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.data.sample import Sample
from tunelab.data.subsets import few_shots, subset, without
from tunelab.errors import DataError

SAMPLES = [Sample(f"test-{i}", {}, ("x",)) for i in range(200)]
ORDERS = st.permutations(SAMPLES[:30])


def ids(samples):
    return [s.id for s in samples]


@given(ORDERS, st.integers(1, 30), st.integers(0, 5))
def test_a_subset_does_not_depend_on_the_order_of_the_rows(shuffled, size, seed):
    expected = set(ids(subset(SAMPLES[:30], size, seed)))
    chosen = ids(subset(shuffled, size, seed))
    assert set(chosen) == expected
    assert chosen == [i for i in ids(shuffled) if i in expected]


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 5))
def test_a_larger_subset_contains_the_smaller_one(one, other, seed):
    small, large = sorted((one, other))
    assert set(ids(subset(SAMPLES, small, seed))) <= set(ids(subset(SAMPLES, large, seed)))
    assert len(subset(SAMPLES, small, seed)) == small


def test_a_subset_is_drawn_from_all_over_and_differs_by_seed():
    chosen = {seed: [int(i[5:]) for i in ids(subset(SAMPLES, 50, seed))] for seed in range(20)}
    assert len(set(map(tuple, chosen.values()))) == 20
    assert all(70 < sum(found) / 50 < 130 for found in chosen.values())
    assert all(max(found) > 150 for found in chosen.values())


@pytest.mark.parametrize(("size", "expected"), [(None, 200), (0.25, 50), (1.0, 200), (0.0126, 2), (1, 1), (200, 200)])
def test_a_size_is_a_number_a_share_or_all(size, expected):
    assert len(subset(SAMPLES, size, 0)) == expected


@pytest.mark.parametrize("size", [0, 201, 0.001, -1])
def test_a_size_that_cannot_be_had_is_refused(size):
    with pytest.raises(DataError, match=f"rows: got {size}, expected 1 to 200"):
        subset(SAMPLES, size, 0)


@given(st.integers(0, 20), st.integers(0, 5), ORDERS)
def test_worked_examples_are_nested_and_independent_of_order(k, seed, shuffled):
    assert few_shots(shuffled, k, seed) == few_shots(SAMPLES[:30], 20, seed)[:k]


def test_worked_examples_leave_the_training_rows():
    shots = ids(few_shots(SAMPLES, 4, 0))
    rest = ids(without(SAMPLES, shots))
    assert sorted(shots + rest) == sorted(ids(SAMPLES))
    with pytest.raises(DataError, match="k: got 201, expected at most 200"):
        few_shots(SAMPLES, 201, 0)


def test_a_fifth_of_gsm8k_s_test_split_is_263_rows():
    samples = [Sample(f"test-{i}", {}, ("x",)) for i in range(1319)]
    assert len(subset(samples, 0.2, 0)) == 263
