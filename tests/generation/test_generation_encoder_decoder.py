"""Answers of an encoder-decoder model, against transformers and against a plain forward pass, one at a time."""

import pytest
import torch

from tunelab.data.sample import Message
from tunelab.formats.format import Format
from tunelab.generation.batches import plan_batches, run_batches
from tunelab.generation.choose import FIRST_DIFFERENCE, WHOLE, manner
from tunelab.generation.decoding import ChoiceRequest, Decoding, Request
from tunelab.generation.encoder_decoder import EncoderDecoderChooser, EncoderDecoderGenerator
from tunelab.models.load import load_model, load_renderer
from tunelab.models.spec import resolve
from tunelab.tasks.arithmetic_problems import problems

GREEDY = Decoding(max_new_tokens=16)
SAMPLED = Decoding(max_new_tokens=12, temperature=1.0, top_p=0.95, samples=2)
START = 0
"""T5's decoder starts from pad."""


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """The tiny T5 and what renders for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNELAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        ref = resolve("tiny-t5")
    return load_model(ref, "cpu", "fp32"), load_renderer(ref, Format(template="raw"))


def requests(renderer, n=10, draws=1):
    prompts = [renderer.prompt([Message("user", p.question)]) for p in problems("test", n)]
    return [Request(f"q{i}", draw, p.text, p.ids) for i, p in enumerate(prompts) for draw in range(draws)]


def choices(renderer, labels, n=8):
    found = []
    for i, problem in enumerate(problems("test", n)):
        messages = [Message("user", problem.question)]
        prompt, ids = renderer.prompt(messages), tuple(tuple(renderer.answer_ids(messages, x)) for x in labels)
        found.append(ChoiceRequest(f"q{i}", 0, prompt.text, prompt.ids, labels, ids))
    return found


def answered(answerer, asked, size):
    outputs = [o for batch in run_batches(plan_batches(asked, size), answerer.run) for o in batch]
    return sorted(outputs, key=lambda o: (o.id, o.sample))


def by_hand(model, request, tokens=GREEDY.max_new_tokens):
    """Transformers' own greedy search on one prompt, without its start."""
    ids = torch.tensor([request.ids])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return made[0, 1:].tolist()


def test_greedy_batches_equal_transformers_one_by_one(t5):
    model, renderer = t5
    asked = requests(renderer)
    assert len({len(request.ids) for request in asked}) > 4
    for request, output in zip(
        asked, answered(EncoderDecoderGenerator(model, renderer, GREEDY), asked, 4), strict=True
    ):
        ids = by_hand(model, request)
        ended = ids[-1] == renderer.tokenizer.eos_token_id
        assert output.output == renderer.tokenizer.decode(ids, skip_special_tokens=True)
        assert (output.output_tokens, output.finish) == (len(ids), "stop" if ended else "length")
        assert (output.prompt, output.prompt_tokens) == (request.prompt, len(request.ids))


def test_a_model_that_ends_its_answer_stops(t5):
    model, renderer = t5
    end, kept = renderer.tokenizer.eos_token_id, model.lm_head.weight.detach().clone()
    with torch.no_grad():
        model.lm_head.weight[end] = model.lm_head.weight[by_hand(model, requests(renderer)[0])[3]] * 1.01
    try:
        asked = requests(renderer)
        outputs = answered(EncoderDecoderGenerator(model, renderer, GREEDY), asked, 10)
        found = [by_hand(model, request) for request in asked]
    finally:
        with torch.no_grad():
            model.lm_head.weight.copy_(kept)
    assert {"stop", "length"} >= {output.finish for output in outputs} >= {"stop"}
    for ids, output in zip(found, outputs, strict=True):
        assert (output.finish == "stop") == (ids[-1] == end)
        assert output.output_tokens == len(ids)


def test_sampled_text_does_not_depend_on_the_batch(t5):
    model, renderer = t5
    generator, asked = EncoderDecoderGenerator(model, renderer, SAMPLED), requests(renderer, 5, draws=2)
    together = answered(generator, asked, 10)
    assert answered(generator, asked, 1) == together
    assert answered(generator, asked[3:9], 4) == together[3:9]
    assert len({output.output for output in together}) == 10


def test_a_stop_string_ends_an_answer_at_the_token_that_completes_it(t5):
    model, renderer = t5
    asked = requests(renderer, 6)
    texts = [renderer.parse(by_hand(model, request)) for request in asked]
    stop = next(text for text in texts if len(text) > 8)[4:6]
    outputs = answered(EncoderDecoderGenerator(model, renderer, GREEDY, (stop,)), asked, 6)
    for request, text, output in zip(asked, texts, outputs, strict=True):
        ids = by_hand(model, request)
        if stop in text:
            needed = next(n for n in range(1, len(ids) + 1) if stop in renderer.tokenizer.decode(ids[:n]))
            assert (output.output, output.finish) == (text[: text.find(stop)], "stop_string")
            assert output.output_tokens == needed
        else:
            assert output.output == text
    assert "stop_string" in {output.finish for output in outputs}


def token_logprobs(model, prompt, label):
    """The log-probability of each token of a label, by one whole forward pass over one prompt."""
    with torch.inference_mode():
        found = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[START, *label[:-1]]]))
    logprobs = torch.log_softmax(found.logits[0], dim=-1)
    return [float(logprobs[i, token]) for i, token in enumerate(label)]


@pytest.mark.parametrize("size", [8, 3, 1])
@pytest.mark.parametrize("labels", [("A", "B", "C", "D"), ("negative", "neutral", "positive")])
def test_log_probabilities_of_labels_are_those_of_a_teacher_forced_decoder(t5, labels, size):
    model, renderer = t5
    asked = choices(renderer, labels)
    found = {o.id: o for o in answered(EncoderDecoderChooser(model, renderer.pad_id), asked, size)}
    for request in asked:
        whole = manner(request) == WHOLE
        assert whole or manner(request) == FIRST_DIFFERENCE
        tokens = [token_logprobs(model, request.ids, label) for label in request.label_ids]
        expected = [sum(values) if whole else values[0] for values in tokens]
        chosen = found[request.id]
        assert list(chosen.logprobs.values()) == pytest.approx(expected, rel=1e-4)
        assert chosen.output == labels[expected.index(max(expected))]
        assert (chosen.finish, chosen.output_tokens) == ("choice", 0)


def test_what_all_labels_begin_with_is_read_by_the_decoder(t5):
    model, renderer = t5
    [request] = choices(renderer, ("42 apples", "42 pears"), 1)
    shared = next(i for i, (a, b) in enumerate(zip(*request.label_ids, strict=False)) if a != b)
    assert shared >= 2
    [chosen] = EncoderDecoderChooser(model, renderer.pad_id).run([request])
    expected = [token_logprobs(model, request.ids, label)[shared] for label in request.label_ids]
    assert list(chosen.logprobs.values()) == pytest.approx(expected, rel=1e-4)
