"""Equal work must have equal fingerprints and different work different ones, on every machine and in every process."""

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.canonical import CanonicalError, canonical, fingerprint

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def reordered(value, random):
    """The same value with the keys of every dict in another order."""
    if isinstance(value, list):
        return [reordered(v, random) for v in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random.shuffle(keys)
    return {key: reordered(value[key], random) for key in keys}


@given(PLAIN, st.randoms())
def test_the_order_of_keys_never_matters(value, random):
    assert canonical(reordered(value, random)) == canonical(value)


@given(PLAIN)
def test_nothing_is_lost_or_converted(value):
    back = json.loads(canonical(value))
    assert back == value
    assert canonical(back) == canonical(value)


def test_values_that_python_calls_equal_stay_distinct():
    values = [1, 1.0, True, "1", [1], None, "null", 0, 0.0, -0.0, False, "", [], {}]
    assert len({canonical({"x": value}) for value in values}) == len(values)


def test_the_order_of_a_list_matters_and_its_type_does_not():
    assert canonical([1, 2]) != canonical([2, 1])
    assert canonical((1, 2)) == canonical([1, 2])


@pytest.mark.parametrize("value", [Path("/tmp"), {1}, b"x", Decimal(1), np.float64(1), signal.SIGTERM, object])
def test_an_unknown_type_is_refused_and_its_place_named(value):
    with pytest.raises(CanonicalError, match=r"^\$\.recipe\.rates\[1\]: got \w+, expected None, bool.*; convert it"):
        canonical({"recipe": {"rates": [1, value]}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_and_its_place_named(value):
    with pytest.raises(CanonicalError, match=rf"^\$\.rate: got {value}, expected a finite number"):
        canonical({"rate": value})


@pytest.mark.parametrize("key", [1, None, True, ("a",)])
def test_a_key_that_is_not_text_is_refused_and_its_place_named(key):
    with pytest.raises(CanonicalError, match=r"^\$\.recipe: got the key .*, expected a string key"):
        canonical({"recipe": {key: 1}})


def test_text_that_no_file_can_hold_is_refused_and_its_place_named():
    with pytest.raises(CanonicalError, match=r"^\$\.system: got text with a lone surrogate"):
        canonical({"system": "a\ud800"})


def test_a_fingerprint_is_the_same_in_every_version():
    settings = {"model": "tiny", "rate": 1e-4, "layers": [1, 2], "chat": True, "system": None, "note": "ü"}
    assert fingerprint("train", 1, settings, {"rows": "ab", "shots": None}) == (
        "e395f41cfb1f0bd7cc8eae744d9fd2f105304132c2ee11be53485f7cc425a659"
    )


def test_every_part_of_the_identity_enters_the_fingerprint():
    made = {
        fingerprint("train", 1, {}, {}),
        fingerprint("score", 1, {}, {}),
        fingerprint("train", 2, {}, {}),
        fingerprint("train", 1, {"rows": None}, {}),
        fingerprint("train", 1, {}, {"rows": None}),
        fingerprint("train", 1, {}, {"rows": "ab"}),
    }
    assert len(made) == 6


def test_a_fingerprint_does_not_depend_on_the_hash_seed():
    code = (
        "from tunelab.engine.step import Step;"
        "settings, holes = {n: n for n in set('abcdefgh')}, dict.fromkeys(set('uvwxyz'), 'gone');"
        "print(Step('k', 1, 's', 'e', settings, holes=holes).fingerprint)"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(made) == 1
