"""What the engine does on devices that are slow at many calls, on a CPU: rectangles, and passes of one shape.

What only CUDA can do, playing a recorded pass, is compared by ``make gpu-check``.
"""

import pytest
import random_models
import torch
from test_generation_engine import LONGEST, ended, plain, requests, texts
from test_generation_engine_choices import questions

from tunelab.generation.choose import FIRST_DIFFERENCE, WHOLE, Chooser
from tunelab.generation.decoding import Decoding
from tunelab.generation.engine import attention, steady
from tunelab.generation.engine.chooser import PackedChooser
from tunelab.generation.engine.decode import Table
from tunelab.generation.engine.model import PackedModel, shared_ids
from tunelab.generation.engine.picking import Picker
from tunelab.generation.engine.rectangles import Rectangle, rectangles

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def as_elsewhere(monkeypatch):
    """Let a CPU count as a device where calls are slow."""
    monkeypatch.setattr(attention, "ONE_BY_ONE", frozenset())
    monkeypatch.setattr(steady, "DEVICES", frozenset({"cpu"}))


@pytest.fixture(scope="module", params=random_models.CONFIGS)
def model(request):
    return random_models.made(request.param)


@pytest.mark.parametrize("shared", [0, 30])
@pytest.mark.parametrize("slots", [1, 4, 16])
def test_greedy_text_equals_transformers(model, shared, slots):
    asked = requests(random_models.prompts(shared, 20, longest=2 * random_models.WINDOW))
    assert texts(model, asked, slots) == plain(model, asked)


def test_draws_are_those_of_passes_that_mix_beginners_in(model, monkeypatch):
    asked = requests(random_models.prompts(20, 3), draws=5)
    how = {"slots": 4, "least": 1, "decoding": Decoding(LONGEST, temperature=1.0, seed=7)}
    made = texts(model, asked, **how)
    monkeypatch.setattr(steady, "DEVICES", frozenset())
    assert texts(model, asked, **how) == made
    assert len({tuple(row) for row in made}) > 3


@pytest.mark.parametrize("way", [FIRST_DIFFERENCE, WHOLE])
@pytest.mark.parametrize("shared", [0, 17])
def test_choices_and_log_probabilities_equal_plain_ones(model, shared, way):
    asked = questions(shared, way)
    made = PackedChooser(model.float(), 0, shared=shared_ids([r.ids for r in asked])).run(asked)
    for one, other in zip(made, Chooser(model, 0).run(asked), strict=True):
        assert one.output == other.output
        assert list(one.logprobs.values()) == pytest.approx(list(other.logprobs.values()), abs=1e-4)
    model.double()


def test_rows_begin_together_and_each_reach_is_made_once(monkeypatch):
    monkeypatch.setattr(steady, "REACH", 8)
    model = random_models.made("llama")
    asked = requests(random_models.prompts(0, 40))
    passes = []
    hook = model.model.embed_tokens.register_forward_hook(lambda _m, args, _o: passes.append(args[0].shape[1]))
    made = {}
    table = Table(PackedModel(model), Picker(Decoding(LONGEST)), 16, ended, list(enumerate(asked)), made)
    table.run()
    hook.remove()

    drawing = [tokens for tokens in passes if tokens == 16]
    assert len(drawing) > len(passes) - 20  # beginners came in at most 20 passes of their own
    assert table._steps is not None
    assert 1 < len(table._steps._recorded) <= 5
    assert [made[i].ids for i in range(len(asked))] == plain(model, asked)


def test_a_rectangle_knows_its_padding():
    found = Rectangle.of([(3, 5), (5, 9)], CPU)
    assert found.at.tolist() == [[3, 4, 4, 4], [5, 6, 7, 8]]
    assert found.kept.tolist() == [0, 1, 4, 5, 6, 7]
    assert found.tokens.tolist() == [3, 4, 5, 6, 7, 8]


def test_spans_of_similar_length_are_together():
    spans = [(0, 1), (1, 3), (3, 6), (6, 10), (10, 19), (19, 35)]
    assert [one.at.shape for one in rectangles(spans, CPU)] == [(1, 1), (1, 2), (2, 4), (2, 16)]
