"""The order of GRPO's prompts: whole epochs, and batches that have the shares of the whole where that is asked for."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.training.order import balanced, visits

MIXED = {("math", "gsm8k"): 475, ("math", "math"): 475, ("qa", "squad"): 356, ("qa", "hotpot"): 356,
         ("code", "humaneval"): 356, ("code", "mbpp"): 356}  # fmt: skip


def prompts(sizes):
    return {f"{'/'.join(kind)}-{i}": kind for kind, n in sizes.items() for i in range(n)}


@pytest.mark.parametrize("batch", [10, 8, 16, 4])
def test_every_batch_has_the_declared_shares_to_within_about_one_prompt(batch):
    kinds = prompts(MIXED)
    steps = len(kinds) // batch
    order = visits(list(kinds), batch, steps, 0, kinds)
    total = len(kinds)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        domains = Counter(kinds[id_][0] for id_ in chosen)
        for domain in ("math", "qa", "code"):
            share = sum(n for kind, n in MIXED.items() if kind[0] == domain) / total
            assert abs(domains[domain] - share * batch) < 1.25
        for kind, n in Counter(kinds[id_] for id_ in chosen).items():
            assert abs(n - MIXED[kind] / total * batch) <= 1.5


def test_ten_prompts_of_four_to_three_to_three_are_just_that():
    kinds = prompts({("math",): 40, ("qa",): 30, ("code",): 30})
    order = visits(list(kinds), 10, 10, 3, kinds)
    for start in range(0, 100, 10):
        assert Counter(kinds[i][0] for i in order[start : start + 10]) == {"math": 4, "qa": 3, "code": 3}


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_turns_lose_nobody_and_every_beginning_has_the_shares_of_the_whole(sizes):
    kinds = prompts({(f"k{i}",): n for i, n in enumerate(sizes)})
    order = balanced(list(kinds), kinds)
    assert sorted(order) == sorted(kinds)
    for end in range(1, len(order) + 1):
        found = Counter(kinds[id_][0] for id_ in order[:end])
        assert all(abs(found[f"k{i}"] - n * end / len(order)) < 2 for i, n in enumerate(sizes))


def test_seeds_and_epochs_choose_other_orders_and_steps_only_how_far_it_goes():
    kinds = prompts({("a",): 6, ("b",): 6})
    whole = visits(list(kinds), 4, 6, 0, kinds)
    assert whole[:12] == visits(list(kinds), 4, 3, 0, kinds)
    assert sorted(whole[:12]) == sorted(whole[12:]) == sorted(kinds)
    assert whole[:12] != whole[12:]
    assert whole != visits(list(kinds), 4, 6, 1, kinds)
