"""Scores of many outputs: programs run at the same time, other scorers one by one, and the order stays."""

import os
import threading
from types import SimpleNamespace

import pytest

from tunelab.data.sample import Sample
from tunelab.tasks.mixed import Mixed
from tunelab.tasks.scored import score_all

PROGRAMS, WORDS = (
    SimpleNamespace(name=name, stop=(), max_new_tokens=1, metrics=(), **more)
    for name, more in (("programs", {"sandbox": "auto"}), ("words", {}))
)
TASK = Mixed({"programs": PROGRAMS, "words": WORDS})


def samples(*tasks):
    return [Sample(f"{i}", {}, (), {"task": task}) for i, task in enumerate(tasks)]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor: nothing runs at the same time")
def test_programs_are_scored_at_the_same_time_and_everything_else_here():
    both, threads = threading.Barrier(2, timeout=30), {}

    def score(i):
        threads[i] = threading.get_ident()
        if i in (0, 3):
            both.wait()  # passes only where the two are under way together
        return f"score {i}"

    assert score_all(TASK, samples("programs", "words", "words", "programs"), score) == [
        "score 0", "score 1", "score 2", "score 3",
    ]  # fmt: skip
    here = threading.get_ident()
    assert {i for i, thread in threads.items() if thread == here} == {1, 2}


def test_a_single_program_needs_no_thread():
    threads = []
    score_all(TASK, samples("words", "programs"), lambda i: threads.append(threading.get_ident()))
    assert set(threads) == {threading.get_ident()}


def test_an_error_of_a_scorer_is_raised_where_the_scores_are_asked_for():
    with pytest.raises(ZeroDivisionError):
        score_all(TASK, samples("programs", "programs"), lambda i: 1 / i)
