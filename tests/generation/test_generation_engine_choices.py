"""The engine's choices against plain forward passes over prompt and label."""

import copy
import random
import statistics
from dataclasses import replace

import pytest
import random_models
import torch
from random_models import VOCABULARY

from tunelab.errors import FormatError
from tunelab.generation.choose import FIRST_DIFFERENCE, WHOLE, Chooser, manner
from tunelab.generation.decoding import ChoiceRequest
from tunelab.generation.engine import chooser as module
from tunelab.generation.engine.chooser import PackedChooser
from tunelab.generation.engine.model import shared_ids


@pytest.fixture(scope="module", params=random_models.CONFIGS)
def model(request):
    return random_models.made(request.param).float()


def questions(shared, way):
    """Prompts with four labels, of 1 to 9 tokens where they are read whole."""
    rng, found = random.Random(way), []
    for i, prompt in enumerate(random_models.prompts(shared, 7)):
        begin = [rng.randrange(VOCABULARY) for _ in range(2)]
        tails = [[20 + k, *(rng.randrange(VOCABULARY) for _ in range(rng.randint(0, 3)))] for k in range(4)]
        if way == WHOLE:
            tails = [[7, *tails[0]], [7, *tails[1]], *tails[2:]]
        labels = tuple(tuple(begin[: i % 3] + tail) for tail in tails)
        found.append(ChoiceRequest(f"q{i}", 0, "", prompt, tuple("abcd"), labels))
    return found


@pytest.mark.parametrize("way", [FIRST_DIFFERENCE, WHOLE])
@pytest.mark.parametrize("shared", [0, 17])
def test_choices_and_log_probabilities_equal_plain_ones(model, shared, way):
    asked = questions(shared, way)
    assert {manner(request) for request in asked} == {way}
    made = PackedChooser(model, 0, shared=shared_ids([r.ids for r in asked])).run(asked)
    for one, other in zip(made, Chooser(model, 0).run(asked), strict=True):
        assert one.output == other.output
        assert list(one.logprobs.values()) == pytest.approx(list(other.logprobs.values()), abs=1e-4)
        assert (one.finish, one.prompt_tokens, one.output_tokens) == ("choice", other.prompt_tokens, 0)


@pytest.mark.parametrize(
    ("tokens", "logits", "size"), [(40, 1 << 25, 9), (4096, 9 * VOCABULARY, 9), (1, 1, 9), (4096, 1 << 25, 2)]
)
def test_passes_of_any_size_give_the_same(model, monkeypatch, tokens, logits, size):
    asked = questions(17, WHOLE)
    shared = shared_ids([r.ids for r in asked])
    expected, chooser = PackedChooser(model, 0, 9, shared).run(asked), PackedChooser(model, 0, size, shared)
    monkeypatch.setattr(module, "LARGEST_PASS", tokens)
    monkeypatch.setattr(module, "MOST_LOGITS", logits)
    for one, other in zip(chooser.run(asked), expected, strict=True):
        assert list(one.logprobs.values()) == pytest.approx(list(other.logprobs.values()), abs=1e-5)


def test_a_prompt_is_read_once_and_the_head_only_where_labels_are(model):
    [asked] = [r for r in questions(0, WHOLE) if len({len(label) for label in r.label_ids}) > 1][:1]
    tokens, places = [], []
    hooks = [
        model.model.embed_tokens.register_forward_hook(lambda _m, args, _o: tokens.append(args[0].numel())),
        model.lm_head.register_forward_hook(lambda _m, _a, out: places.append(out.shape[1])),
    ]
    try:
        PackedChooser(model, 0).run([asked])
    finally:
        for hook in hooks:
            hook.remove()
    read = sum(len(label) - 1 for label in asked.label_ids)
    assert (tokens, places) == ([len(asked.ids) + read], [1 + read])


def test_a_label_that_begins_with_another_is_refused(model):
    begun = ChoiceRequest("q", 0, "", [3, 4], ("4", "42"), ((9,), (9, 5)))
    with pytest.raises(FormatError, match="one of which begins with another"):
        PackedChooser(model, 0).run([begun])


def test_nothing_is_kept_of_one_run_in_the_next(model):
    asked = questions(17, WHOLE)
    chooser = PackedChooser(model, 0, shared=shared_ids([r.ids for r in asked]))
    first = chooser.run(asked[:3])
    chooser.run(asked[3:])
    assert [c.logprobs for c in chooser.run(asked[:3])] == [c.logprobs for c in first]
    assert torch.is_grad_enabled()


def test_rounded_to_bf16_it_is_as_near_to_fp32_as_plain_passes_are(model):
    whole = copy.deepcopy(model).bfloat16().float()
    half = copy.deepcopy(whole).bfloat16()
    asked = [replace(r, id=f"{way}{i}") for way in (FIRST_DIFFERENCE, WHOLE) for i, r in enumerate(questions(17, way))]
    expected = Chooser(whole, 0).run(asked)
    ours = PackedChooser(half, 0, shared=shared_ids([r.ids for r in asked])).run(asked)
    assert off(ours, expected) <= 1.3 * off(Chooser(half, 0).run(asked), expected)


def off(found, expected):
    """The mean difference of log-probabilities."""
    pairs = zip(found, expected, strict=True)
    return statistics.mean(abs(a.logprobs[k] - b.logprobs[k]) for a, b in pairs for k in a.logprobs)
