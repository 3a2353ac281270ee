"""The plan: inputs first, equal work once, and exactly what a run would then do."""

import random
import tempfile
from pathlib import Path

from engine_steps import run, step, write
from hypothesis import given, settings
from hypothesis import strategies as st

from tunelab.engine.plan import plan, topological
from tunelab.engine.store import Store


def statuses(found):
    """Status by slug."""
    return {p.step.slug: p.status.value for p in found.steps}


def graph(seed):
    """A random graph in which some steps are blocked and some tolerant; some steps are twice the same work."""
    draw, made = random.Random(seed), []
    for number in range(draw.randrange(1, 9)):
        made.append(
            step(
                write,
                f"s{number}",
                draw.sample(made, draw.randrange(min(3, len(made)) + 1)),
                settings={"name": f"n{draw.randrange(6)}"},
                after=tuple(draw.sample(made, draw.randrange(min(2, len(made)) + 1))),
                blocked="no data" if draw.random() < 0.25 else None,
                tolerant=draw.random() < 0.4,
            )
        )
    return made


@given(st.integers(0, 10_000))
def test_what_a_step_needs_comes_before_it_and_each_step_comes_once(seed):
    seen = set()
    for ordered in topological(graph(seed)):
        assert {needed.fingerprint for needed in ordered.needs} <= seen
        assert ordered.fingerprint not in seen
        seen.add(ordered.fingerprint)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_run_does_what_the_plan_says_and_a_second_plan_finds_it_done(seed):
    targets = graph(seed)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        before = plan(targets, store)
        _, events = run(store, *targets)
        after = plan(targets, store)
    done = {"to_run": {"done", "cached"}, "blocked": {"blocked"}}
    assert all(events.ended_states[slug] in done[status] for slug, status in statuses(before).items())
    assert after.counts() == {"cached": before.counts()["to_run"], "to_run": 0, "blocked": before.counts()["blocked"]}


def test_equal_work_is_planned_once(store):
    left, right = step(write, "rows"), step(write, "rows")
    ends = [step(write, "a", [left]), step(write, "b", [right])]
    found = plan(ends, store)
    assert [p.step.slug for p in found.steps] == ["rows", "a", "b"]
    assert found.counts() == {"cached": 0, "to_run": 3, "blocked": 0}


def test_finished_steps_are_counted_as_cached(store):
    rows = step(write, "rows")
    run(store, rows)
    found = plan([step(write, "a", [rows])], store)
    assert statuses(found) == {"rows": "cached", "a": "to_run"}
    assert found.counts() == {"cached": 1, "to_run": 1, "blocked": 0}


def test_a_blocked_step_blocks_its_descendants_but_not_a_tolerant_one(store):
    fine, missing = step(write, "fine"), step(write, "missing", blocked="model: not here; fetch it")
    below = step(write, "below", [step(write, "middle", [missing])])
    found = plan(
        [below, step(write, "ordered", after=(missing,)), step(write, "end", [fine, below], tolerant=True)], store
    )
    assert statuses(found) == {
        "missing": "blocked", "middle": "blocked", "below": "blocked", "ordered": "blocked", "fine": "to_run",
        "end": "to_run",
    }  # fmt: skip
    reasons = {p.step.slug: p.reason for p in found.steps}
    assert reasons["missing"] == "model: not here; fetch it"
    assert reasons["middle"] == f"needs {missing.name}"


def test_a_tolerant_step_with_no_input_left_is_blocked(store):
    missing = step(write, "missing", blocked="not here")
    found = plan([step(write, "end", [missing], tolerant=True)], store)
    assert statuses(found) == {"missing": "blocked", "end": "blocked"}


def test_a_finished_tolerant_step_is_found_with_its_holes(store):
    missing = step(write, "missing", blocked="not here")
    end = step(write, "end", [step(write, "fine"), missing], tolerant=True)
    last = step(write, "last", [end])
    run(store, last)
    assert plan([last], store).counts() == {"cached": 3, "to_run": 0, "blocked": 1}


def test_a_step_that_cannot_run_here_is_used_when_it_was_finished_elsewhere(store):
    run(store, step(write, "one"))
    one = step(write, "one", blocked="no such model on this machine")
    assert statuses(plan([one], store)) == {"one": "cached"}
    _, events = run(store, one)
    assert events.ended_states == {"one": "cached"}
