"""How near strata and parts come to their shares: what is dealt, held against sums taken anew from the rows."""

import os
import random
from collections import Counter, defaultdict
from fractions import Fraction
from functools import partial
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunelab.data.leaks import find_leaks
from tunelab.data.sample import Sample
from tunelab.data.sources import mirror_source
from tunelab.data.splits import assign, describe
from tunelab.study.steps.rows import questions
from tunelab.tasks.find import find_task
from tunelab.tasks.multiple_choice import CATEGORIES
from tunelab.tasks.samples import load_samples, question_text

HUB = os.environ.get("TUNELAB_DATA")
BY = {"stratify": "subject", "group": "cluster", "seed": 42}
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
FOURTEEN = ["ar", "bn", "de", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "sw", "yo", "zh"]
WHOLE = "all rows"


def question(cluster, row, subject):
    return Sample(
        f"{cluster}-{row}", {"question": f"{cluster} {row}"}, ("A",), {"subject": subject, "cluster": cluster}
    )


def asked(sample):
    return sample.fields["question"]


def dealt(samples, shares=SHARES, by=BY):
    return assign(samples, shares, by, asked)


def off(samples, parts, shares=SHARES, of="subject"):
    """Rows above the share, of every stratum and of all rows, by part."""
    sizes, found = Counter({WHOLE: len(samples)}), Counter()
    for sample in samples:
        names = (sample.metadata[of], WHOLE) if of else (WHOLE,)
        sizes.update(names[:-1])
        found.update((name, parts[sample.id]) for name in names)
    return {
        name: {part: found[name, part] - size * Fraction(str(share)) for part, share in shares.items()}
        for name, size in sizes.items()
    }


def farthest(table):
    return max(abs(rows) for strata in table.values() for rows in strata.values())


def largest(samples):
    """Rows of the largest group, of every stratum and of all rows."""
    groups, found = defaultdict(Counter), Counter()
    for sample in samples:
        groups[sample.metadata["cluster"]].update((sample.metadata["subject"], WHOLE))
    for counts in groups.values():
        for name, rows in counts.items():
            found[name] = max(found[name], rows)
    return found


def made_up(languages, kept, size=14_042):
    """Questions of 57 subjects of uneven sizes, the smallest of about 100 when there are 14,042 in all.

    Each language of a question is there with the probability ``kept``.
    """
    chance, subjects = random.Random(0), sorted(CATEGORIES)
    weights = [0.6 + chance.lognormvariate(-1, 1) for _ in subjects]
    return [
        question(f"q{i}", language, subject)
        for i, subject in enumerate(chance.choices(subjects, weights, k=size))
        for language in languages
        if chance.random() < kept
    ]


def improvement(samples, parts, shares):
    """Return a group that could be moved or two that could be swapped so that some stratum comes nearer and none goes
    farther, all rows being one more stratum; None where there is none. No part may be emptied."""
    groups, limits = defaultdict(list), largest(samples)
    for sample in samples:
        groups[sample.metadata["cluster"]].append(sample)
    now = off(samples, parts, shares)
    sizes = Counter(parts[rows[0].id] for rows in groups.values())

    def better(changes):
        then = off(samples, parts | {s.id: part for name, part in changes for s in groups[name]}, shares)
        squares = [(sum(x**2 for x in now[k].values()), sum(x**2 for x in then[k].values())) for k in now]
        inside = all(abs(then[k][p]) < limits[k] or abs(now[k][p]) >= limits[k] for k in now for p in shares)
        return inside and all(b <= a for a, b in squares) and any(b < a for a, b in squares)

    place = {name: parts[rows[0].id] for name, rows in groups.items()}
    moves = [((name, p),) for name in groups for p in shares if p != place[name] and sizes[place[name]] > 1]
    swaps = [((a, place[b]), (b, place[a])) for a, b in permutations(groups, 2) if a < b and place[a] != place[b]]
    return next((changes for changes in [*moves, *swaps] if better(changes)), None)


@st.composite
def mixtures(draw):
    """Groups of up to five rows in up to three subjects, some of them across two."""
    subjects = st.integers(0, 2)
    kinds = draw(st.lists(st.tuples(st.integers(1, 5), subjects, subjects, st.booleans()), min_size=3, max_size=16))
    return [
        question(f"q{i}", row, f"s{other if across and row == 0 else subject}")
        for i, (size, subject, other, across) in enumerate(kinds)
        for row in range(size)
    ]


@settings(max_examples=40)
@given(mixtures(), st.sampled_from([SHARES, {"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.3, "c": 0.2}]))
def test_no_move_and_no_swap_brings_a_stratum_nearer_that_takes_no_other_farther(samples, shares):
    assert improvement(samples, dealt(samples, shares), shares) is None


@given(mixtures())
def test_no_stratum_is_a_whole_largest_group_off_where_no_part_is_smaller_than_one(samples):
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    limits = largest(samples)
    if len(samples) * Fraction(1, 5) >= limits[WHOLE]:
        found = off(samples, dealt(samples, shares), shares)
        assert all(abs(rows) < limits[name] for name, parts in found.items() for rows in parts.values())


def test_of_whole_pairs_every_subject_is_within_one_row_in_each_language():
    samples = made_up(["de", "fr"], 1)
    parts = dealt(samples)
    assert farthest(off(samples, parts)) < 2
    for language in ("de", "fr"):
        assert farthest(off([s for s in samples if s.id.endswith(language)], parts)) < 1


@pytest.mark.parametrize("languages", [["de", "fr"], FOURTEEN], ids=["pairs and singles", "one to fourteen rows"])
def test_where_groups_differ_in_size_every_subject_is_within_one_row(languages):
    samples = made_up(languages, 0.9)
    assert farthest(off(samples, dealt(samples))) <= 1


def test_whole_groups_of_fourteen_are_dealt_to_within_one_of_them():
    samples = made_up(FOURTEEN, 1)
    assert farthest(off(samples, dealt(samples))) < 14


def test_groups_across_subjects_count_toward_each_of_them():
    """In every tenth question French is in another subject: strata of their own would be off by many rows together."""
    samples = [
        question(s.metadata["cluster"], "fr", "anatomy") if s.id.endswith("0-fr") else s
        for s in made_up(["de", "fr"], 1)
    ]
    table, limits = off(samples, dealt(samples)), largest(samples)
    assert len({s.metadata["subject"] for s in samples if s.id.endswith(("0-de", "0-fr"))}) == 57
    assert all(abs(rows) < limits[name] for name, parts in table.items() for rows in parts.values())


def test_strata_that_all_groups_cross_have_their_shares_too():
    samples = [
        Sample(s.id, s.fields, s.targets, s.metadata | {"language": s.id[-2:]}) for s in made_up(FOURTEEN, 0.9, 1000)
    ]
    assert farthest(off(samples, dealt(samples, by=BY | {"stratify": "language"}), of="language")) <= 1


def test_rare_subjects_have_their_shares_together():
    """Twenty subjects with one to three pairs beside two large ones, fewer than parts or as many."""
    sizes = [200, 300, *(1 + i % 3 for i in range(20))]
    samples = [
        question(f"q{s}-{i}", language, f"s{s}")
        for s, n in enumerate(sizes)
        for i in range(n)
        for language in ("de", "fr")
    ]
    parts = dealt(samples)
    rare = [s for s in samples if s.metadata["subject"] not in ("s0", "s1")]
    found = describe(samples, parts, BY, SHARES, asked)
    assert found["rare"] == sorted(f"s{s}" for s, n in enumerate(sizes) if n < 3)
    assert farthest(off(samples, parts)) < 2
    assert Counter(parts[s.id] for s in rare)["train"] < len(rare)


@settings(max_examples=20)
@given(mixtures(), st.randoms())
def test_the_order_of_rows_of_mixed_groups_does_not_matter(samples, rng):
    assert dealt(rng.sample(samples, len(samples)), dict(reversed(SHARES.items()))) == dealt(samples)


@pytest.fixture(scope="module")
def mmlu():
    if not HUB:
        pytest.skip("TUNELAB_DATA is not set")
    task = find_task("mmlu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNELAB_DATA", HUB)
        return task, load_samples(task, "test", mirror_source(task.dataset))


@pytest.mark.parametrize("group", ["cluster", None])
def test_all_of_mmlu_is_parted_to_within_one_row(mmlu, group):
    task, samples = mmlu
    parts = assign(samples, SHARES, BY | {"group": group}, partial(question_text, task))
    assert len(parts) == 14_042
    assert farthest(off(samples, parts)) < 1


def test_of_mmlu_no_question_stands_in_two_parts(mmlu):
    """Its 114 repeated questions are the only leaks that a split could make; shared runs of words are no leaks."""
    task, samples = mmlu
    found = {}
    for group in ("cluster", None):
        parts = assign(samples, SHARES, BY | {"group": group}, partial(question_text, task))
        of = {part: questions(task, [s for s in samples if parts[s.id] == part]) for part in SHARES}
        leaks = find_leaks(of["train"], [*of["validation"], *of["test"]])
        found[group] = Counter(leak.kind for leak in leaks)["exact"]
    assert found["cluster"] == 0
    assert found[None] > 10


def test_mmlu_in_another_order_has_the_same_ids_and_the_same_parts(mmlu):
    task, samples = mmlu

    class Shuffled:
        def rows(self, split):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TUNELAB_DATA", HUB)
                rows = mirror_source(task.dataset).rows(split)
            return random.Random(0).sample(rows, len(rows))

    again = load_samples(task, "test", Shuffled())
    assert {s.id: s.fields for s in again} == {s.id: s.fields for s in samples}
    text = partial(question_text, task)
    assert assign(again, SHARES, BY, text) == assign(samples, SHARES, BY, text)
