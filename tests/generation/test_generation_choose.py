"""Choosing with the tiny model, against a plain forward pass over prompt and label, one at a time."""

import dataclasses

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tunelab.data.sample import Message
from tunelab.errors import FormatError
from tunelab.generation.batches import plan_batches, run_batches
from tunelab.generation.choose import FIRST_DIFFERENCE, WHOLE, Chooser, manner
from tunelab.generation.decoding import ChoiceRequest
from tunelab.tasks.arithmetic_problems import problems
from tunelab.tasks.sst2 import LABELS

SETS = {
    FIRST_DIFFERENCE: ("negative", "positive"),
    WHOLE: ("negative", "neutral", "positive"),
}
"""To the bundled tokenizer, negative and neutral begin with the same token."""


def requests(renderer, labels, n=8):
    found = []
    for i, problem in enumerate(problems("test", n)):
        messages = [Message("user", problem.question)]
        ids = tuple(tuple(renderer.answer_ids(messages, label)) for label in labels)
        prompt = renderer.prompt(messages)
        found.append(ChoiceRequest(f"q{i}", 0, prompt.text, prompt.ids, labels, ids))
    return found


def token_logprobs(model, prompt, label):
    """The log-probability of each token of a label after a prompt, from one whole forward pass."""
    ids = [*prompt, *label]
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0]
    logprobs = torch.log_softmax(logits, dim=-1)
    return [float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(label)]


def run(model, renderer, asked, size):
    chosen = run_batches(plan_batches(asked, size), Chooser(model, renderer.pad_id).run)
    return {o.id: o for batch in chosen for o in batch}


def test_labels_that_differ_at_once_have_the_log_probability_of_their_first_token(tiny, renderer):
    asked = requests(renderer, SETS[FIRST_DIFFERENCE])
    found = run(tiny, renderer, asked, 8)
    for request in asked:
        assert manner(request) == FIRST_DIFFERENCE
        expected = [token_logprobs(tiny, request.ids, label)[0] for label in request.label_ids]
        assert list(found[request.id].logprobs.values()) == pytest.approx(expected, rel=1e-4)


def test_labels_that_share_a_token_have_the_sum_over_all_tokens(tiny, renderer):
    asked = requests(renderer, SETS[WHOLE])
    found = run(tiny, renderer, asked, 8)
    for request in asked:
        assert manner(request) == WHOLE
        expected = [sum(token_logprobs(tiny, request.ids, label)) for label in request.label_ids]
        assert list(found[request.id].logprobs.values()) == pytest.approx(expected, rel=1e-4)


def test_what_all_labels_begin_with_is_read_as_part_of_the_prompt(tiny, renderer):
    asked = requests(renderer, ("42 apples", "42 pears"))
    found = run(tiny, renderer, asked, 4)
    for request in asked:
        shared = next(i for i, (a, b) in enumerate(zip(*request.label_ids, strict=False)) if a != b)
        assert shared >= 2
        expected = [token_logprobs(tiny, request.ids, label)[shared] for label in request.label_ids]
        assert list(found[request.id].logprobs.values()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("labels", SETS.values())
def test_neither_choice_nor_log_probability_depends_on_the_batch(tiny, renderer, labels):
    asked = requests(renderer, labels, 12)
    alone = run(tiny, renderer, asked, 1)
    assert len({len(request.ids) for request in asked}) > 4
    for size in (5, 12):
        together = run(tiny, renderer, asked, size)
        for name, one in alone.items():
            assert together[name].output == one.output
            assert list(together[name].logprobs.values()) == pytest.approx(list(one.logprobs.values()), rel=1e-4)


def test_the_likeliest_label_is_the_answer_and_nothing_was_generated(tiny, renderer):
    for output in run(tiny, renderer, requests(renderer, SETS[WHOLE]), 8).values():
        assert output.output == max(output.logprobs, key=output.logprobs.__getitem__)
        assert (output.finish, output.output_tokens) == ("choice", 0)
        assert output.to_json()["logprobs"] == output.logprobs


def test_labels_are_the_ids_that_training_teaches(renderer):
    messages = [Message("user", "fine ?")]
    for label in LABELS:
        example = renderer.example(messages, label)
        prompt = renderer.prompt(messages).ids
        end = renderer.end_of_turn[1]
        assert [*prompt, *renderer.answer_ids(messages, label), end] == example.ids


def test_a_label_that_begins_with_another_is_refused(tiny, renderer):
    [request] = requests(renderer, ("4", "42"), 1)
    ids = request.label_ids
    begun = dataclasses.replace(request, label_ids=(ids[0], (*ids[0], 5)))
    with pytest.raises(FormatError, match=r"got '4', '42', one of which begins with another"):
        Chooser(tiny, renderer.pad_id).run([begun])


def test_positions_are_a_rows_own_where_a_model_learns_them():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config).eval()
    asked = [
        ChoiceRequest(f"q{n}", 0, "", list(range(1, n)), ("a", "b", "c"), ((20, 21), (20, 22, 23), (24,)))
        for n in (3, 9, 20)
    ]
    for request, found in zip(asked, Chooser(model, 0).run(asked), strict=True):
        expected = [sum(token_logprobs(model, request.ids, label)) for label in request.label_ids]
        assert list(found.logprobs.values()) == pytest.approx(expected, rel=1e-4)
