"""Mixtures draw what they declare, repeat only as declared, and say what they did."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tunelab.data.mixtures import Mixture, counts, mix
from tunelab.data.sample import Sample
from tunelab.errors import DataError


def samples(n):
    return [Sample(f"train-{i}", {"x": i}, ("y",), {"subject": "s"}) for i in range(n)]


def rule(weights=None, **settings):
    return Mixture(**settings, weights=weights or {}).identity(weights or {})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (rule(), {"a": 100, "b": 10}),
        (rule(rule="proportional", size=22), {"a": 20, "b": 2}),
        (rule(rule="proportional"), {"a": 100, "b": 10}),
        (rule(rule="temperature", temperature=1.0, size=11), {"a": 10, "b": 1}),
        (rule(rule="temperature", temperature=1e9, size=20), {"a": 10, "b": 10}),
        (rule({"a": 4, "b": 1}, rule="ratio"), {"a": 40, "b": 10}),
        (rule({"a": 4, "b": 1}, rule="ratio", max_repeats=2), {"a": 80, "b": 20}),
        (rule({"a": 1, "b": 1}, rule="ratio", size=15), {"a": 8, "b": 7}),
        (rule({"a": 1, "b": 1}, rule="ratio", size="total", max_repeats=10), {"a": 55, "b": 55}),
        (rule(rule="proportional", size="total"), {"a": 100, "b": 10}),
    ],
)
def test_a_rule_draws_the_rows_that_it_declares(settings, expected):
    assert counts({"a": 100, "b": 10}, settings) == expected


def test_a_temperature_is_the_root_of_the_sizes():
    drawn = counts({"a": 10_000, "b": 100}, rule(rule="temperature", temperature=2.0, size=110))
    assert drawn == {"a": 100, "b": 10}


def test_a_source_is_not_repeated_unless_the_mixture_says_so():
    with pytest.raises(
        DataError, match=r"b would give 20 rows of 10, 2\.0 repeats, expected at most 1; lower .* to 20"
    ):
        counts({"a": 100, "b": 10}, rule({"a": 1, "b": 1}, rule="ratio", size=40))
    assert counts({"a": 100, "b": 10}, rule({"a": 1, "b": 1}, rule="ratio", size=40, max_repeats=2)) == {
        "a": 20,
        "b": 20,
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"rule": "ratio"}, "expected them with ratio only"),
        ({"weights": {"a": 1}}, "expected them with ratio only"),
        ({"rule": "ratio", "weights": {"a": 0}}, "expected numbers above 0"),
        ({"size": 10}, "concatenate, which takes all rows"),
        ({"max_repeats": 21}, "allow_repeats: true"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, expected):
    with pytest.raises(ValidationError, match=expected):
        Mixture(**settings)


def test_the_two_readings_of_one_ratio_are_never_taken_for_each_other():
    sizes, weights = {"a": 1000, "b": 10}, {"a": 1, "b": 1}
    smallest, total = (rule(weights, rule="ratio", size=size, max_repeats=20) for size in ("smallest", "total"))
    assert smallest != total
    assert counts(sizes, smallest) == {"a": 200, "b": 200}
    with pytest.raises(DataError, match=r"b would give 505 rows of 10, 50\.5 repeats, expected at most 20"):
        counts(sizes, total)
    allowed = rule(weights, rule="ratio", size="total", max_repeats=60, allow_repeats=True)
    assert counts(sizes, allowed) == {"a": 505, "b": 505}


def test_a_task_that_would_give_no_row_is_refused():
    with pytest.raises(DataError, match="b would give none of 2 rows, expected at least 1"):
        mix({"a": samples(90), "b": samples(10)}, rule(rule="proportional", size=2))


def test_rows_keep_their_task_and_repeats_get_ids_of_their_own():
    settings = rule({"a": 1, "b": 1}, rule="ratio", size=20, max_repeats=5)
    rows, receipt = mix({"a": samples(100), "b": samples(4)}, settings)
    assert len({row.id for row in rows}) == 20
    assert Counter(row.metadata["task"] for row in rows) == {"a": 10, "b": 10}
    assert all(row.metadata["subject"] == "s" for row in rows)
    uses = Counter(row.fields["x"] for row in rows if row.metadata["task"] == "b")
    assert sorted(uses.values()) == [2, 2, 3, 3]
    assert receipt["b"] == {"available": 4, "rows": 10, "unique": 4, "share": 0.5, "repeats": 2.5}
    assert receipt["a"] == {"available": 100, "rows": 10, "unique": 10, "share": 0.5, "repeats": 1.0}


def test_many_repeats_are_said_aloud():
    settings = rule({"a": 1, "b": 1}, rule="ratio", size=40, max_repeats=5)
    _, receipt = mix({"a": samples(100), "b": samples(4)}, settings)
    assert receipt["b"]["warning"] == "each row is used 5.0 times"
    assert "warning" not in receipt["a"]


def test_the_order_of_the_input_does_not_change_the_mixture():
    settings = rule({"a": 1, "b": 2}, rule="ratio", size=30, seed=3)
    rows, _ = mix({"a": samples(50), "b": samples(40)}, settings)
    again, _ = mix({"b": samples(40)[::-1], "a": samples(50)[::-1]}, settings)
    assert rows == again
    assert [r.metadata["task"] for r in rows] != sorted(r.metadata["task"] for r in rows)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1),
    st.sampled_from(["proportional", "temperature", "concatenate"]),
    st.floats(1, 10),
)
def test_a_receipt_adds_up(sizes, name, temperature):
    settings = rule(rule=name, **({"temperature": temperature} if name == "temperature" else {}))
    rows, receipt = mix({source: samples(n) for source, n in sizes.items()}, settings)
    assert len(rows) == sum(r["rows"] for r in receipt.values())
    assert len({row.id for row in rows}) == len(rows)
    assert all(r["unique"] == r["rows"] <= sizes[source] for source, r in receipt.items())
    assert sum(r["share"] for r in receipt.values()) == pytest.approx(1)


def test_a_size_that_is_no_number_and_no_name_is_refused_with_the_names():
    with pytest.raises(ValueError, match="got 'totl', expected a number of rows, smallest or total; did you mean 'tot"):
        Mixture(rule="proportional", size="totl")


def test_shares_and_not_the_numbers_that_they_are_written_with_are_identity():
    def identity(**weights):
        return Mixture(rule="ratio", weights=weights).identity(weights)

    assert identity(a=4, b=2) == identity(a=2, b=1) == identity(a=2 / 3, b=1 / 3) != identity(a=1, b=2)
