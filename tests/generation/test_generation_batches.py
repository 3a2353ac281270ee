"""Batches: a function of requests and size, halved when memory runs out, and resumed whole."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunelab.errors import StepError
from tunelab.generation.batches import plan_batches, run_batches
from tunelab.generation.decoding import Output, Request
from tunelab.study.steps.generate import unfinished

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=20)


def requests(lengths, draws=1):
    return [Request(f"q{i}", draw, "?", [7] * n) for i, n in enumerate(lengths) for draw in range(draws)]


def output(request):
    return Output(request.id, request.sample, request.prompt, f"answer to {request.id}", len(request.ids), 1, "stop")


def keys(rows):
    return [(r.id, r.sample) for r in rows]


class Memory:
    """Runs batches of at most ``room`` requests, and keeps what was tried."""

    def __init__(self, room, error=None):
        self.room = room
        self.error = error or torch.OutOfMemoryError("no room")
        self.tried = []

    def run(self, batch):
        self.tried.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return [output(request) for request in batch]


@given(LENGTHS, st.integers(1, 8), st.randoms())
def test_batches_do_not_depend_on_the_order_of_the_requests(lengths, size, rng):
    asked = requests(lengths, draws=2)
    planned = plan_batches(asked, size)
    shuffled = rng.sample(asked, len(asked))
    assert plan_batches(shuffled, size) == planned
    assert sorted(keys(r for batch in planned for r in batch)) == sorted(keys(asked))
    assert all(len(batch) == size for batch in planned[:-1])


@given(LENGTHS, st.integers(1, 8))
def test_the_longest_prompts_come_first(lengths, size):
    planned = [len(r.ids) for batch in plan_batches(requests(lengths), size) for r in batch]
    assert planned == sorted(lengths, reverse=True)


@given(LENGTHS, st.integers(1, 16), st.integers(1, 16))
def test_every_request_is_answered_once_and_in_order_however_little_memory(lengths, size, room):
    planned = plan_batches(requests(lengths), size)
    done = list(run_batches(planned, Memory(room).run))
    assert [keys(outputs) for outputs in done] == [keys(batch) for batch in planned]


def test_a_batch_that_does_not_fit_is_halved_and_later_batches_stay_small():
    memory = Memory(2)
    list(run_batches(plan_batches(requests([5] * 16), 8), memory.run))
    assert memory.tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_one_sample_that_does_not_fit_fails_the_step(error):
    with pytest.raises(StepError, match="out of memory with one sample a batch"):
        list(run_batches(plan_batches(requests([5, 5]), 2), Memory(0, error).run))


def test_any_other_error_is_not_taken_for_lack_of_memory():
    memory = Memory(0, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(run_batches(plan_batches(requests([5, 5]), 2), memory.run))
    assert memory.tried == [2]


def test_what_is_done_before_a_failure_is_kept():
    done = run_batches([requests([1]), requests([1, 1])], Memory(1, RuntimeError("boom")).run)
    assert keys(next(done)) == [("q0", 0)]


@pytest.mark.parametrize("written", range(10))
@pytest.mark.parametrize("torn", [0, 5])
def test_a_torn_file_owes_every_batch_that_is_not_whole(tmp_path, written, torn):
    planned, path = plan_batches(requests([3, 3, 2, 2, 1], draws=2), 4), tmp_path / "outputs.jsonl"
    lines = [json.dumps(output(r).to_json()) + "\n" for batch in planned for r in batch]
    path.write_text("".join(lines[:written]) + (lines[-1][:torn]))
    owed = unfinished(planned, path)
    whole = written // 4
    assert owed == planned[whole:]
    assert path.read_text() == "".join(lines[: 4 * whole])


def test_a_file_that_is_complete_owes_nothing_and_stays_as_it_is(tmp_path):
    planned, path = plan_batches(requests([3, 2, 1]), 2), tmp_path / "outputs.jsonl"
    path.write_text("".join(json.dumps(output(r).to_json()) + "\n" for batch in planned for r in batch))
    before = path.read_bytes()
    assert unfinished(planned, path) == []
    assert path.read_bytes() == before
