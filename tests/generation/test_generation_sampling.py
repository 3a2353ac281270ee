"""Sampling by counters: the numbers are fixed, uniform, and invert the distribution that softmax gives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from tunelab.generation import sampling
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.sampling import draw, uniform

LOGITS = torch.tensor([2.0, -1.0, 0.5, 0.5, 3.0, -4.0], dtype=torch.float64)


def request(name="q", sample=0):
    return Request(name, sample, "", [1])


def probabilities(temperature):
    scaled = np.exp(LOGITS.numpy() / temperature)
    return scaled / scaled.sum()


def by_hand(p, top_p):
    """The smallest set of likeliest tokens with mass ≥ top_p, by adding them up one by one."""
    kept, mass = set(), 0.0
    for token in sorted(range(len(p)), key=lambda t: (-p[t], t)):
        if mass >= top_p:
            break
        kept.add(token)
        mass += p[token]
    return kept


def drawn(decoding, n=20000):
    numbers = torch.tensor([uniform(0, request(str(i)), 0) for i in range(n)], dtype=torch.float64)
    return draw(LOGITS.expand(n, -1), decoding, numbers).numpy()


def test_the_numbers_never_change():
    expected = [0.83768586576689, 0.8182378298206379, 0.25481660044216403, 0.09013046575912409, 0.792937516718257]
    found = [uniform(0, request(), 0), uniform(1, request(), 0), uniform(0, request("r"), 0)]
    found += [uniform(0, request(sample=1), 0), uniform(0, request(), 1)]
    assert found == pytest.approx(expected, abs=1e-15)


def test_the_numbers_are_uniform():
    numbers = [uniform(3, request(f"test-{i}", i % 4), position) for i in range(200) for position in range(25)]
    assert kstest(numbers, "uniform").pvalue > 1e-3
    assert 0 <= min(numbers) < max(numbers) < 1
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_frequencies_of_softmax(temperature):
    counts = np.bincount(drawn(Decoding(1, temperature=temperature)), minlength=6)
    assert chisquare(counts, 20000 * probabilities(temperature)).pvalue > 1e-3


@pytest.mark.parametrize("top_p", [0.05, 0.6, 0.7, 0.95, 0.999])
def test_top_p_draws_from_the_nucleus_in_proportion(top_p):
    p = probabilities(1.0)
    kept = sorted(by_hand(p, top_p))
    counts = np.bincount(drawn(Decoding(1, temperature=1.0, top_p=top_p)), minlength=6)
    assert set(np.flatnonzero(counts)) == set(kept)
    if len(kept) > 1:
        assert chisquare(counts[kept], 20000 * p[kept] / p[kept].sum()).pvalue > 1e-3


@given(st.floats(0, 1, exclude_max=True), st.floats(0.01, 1), st.floats(0.1, 3))
def test_a_draw_inverts_the_cumulative_distribution(number, top_p, temperature):
    p = probabilities(temperature)
    order = sorted(by_hand(p, top_p))
    token = int(draw(LOGITS[None], Decoding(1, temperature, top_p), torch.tensor([number], dtype=torch.float64))[0])
    below = p[order[: order.index(token)]].sum() / p[order].sum()
    assert below - 1e-6 <= number <= below + p[token] / p[order].sum() + 1e-6


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.floats(0.01, 0.999), st.integers(1, 12))
def test_a_nucleus_is_the_same_from_its_likeliest_tokens_and_from_all(weights, top_p, head):
    p = np.array([2.0**w for w in weights]) / sum(2.0**w for w in weights)
    before, sampling.HEAD = sampling.HEAD, head
    try:
        found = sampling.nucleus(torch.tensor(p)[None], top_p)[0]
    finally:
        sampling.HEAD = before
    assert set(np.flatnonzero(found.numpy())) == by_hand(p, top_p)


def test_impossible_tokens_are_never_drawn():
    logits = torch.tensor([[0.0, -torch.inf, 0.0]]).expand(3, -1)
    ends = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert 1 not in draw(logits, Decoding(1, temperature=1.0), ends).tolist()
