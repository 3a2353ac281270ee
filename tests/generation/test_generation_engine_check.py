"""The engine answers for models that it computes as they do, and plain generation for all others, loudly."""

import copy

import pytest
import random_models
from transformers import (
    AttentionInterface,
    BloomConfig,
    BloomForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from tunelab.data.sample import Message
from tunelab.generation.decoding import ChoiceRequest, Decoding, Request
from tunelab.generation.engine import attention as answering
from tunelab.generation.engine.answerers import Answerers
from tunelab.generation.engine.check import refusal
from tunelab.generation.engine.generator import PackedGenerator
from tunelab.generation.engine.model import shared_ids
from tunelab.generation.local import LocalGenerator
from tunelab.models import packed_attention as training
from tunelab.tasks.arithmetic_problems import problems

SIZES = random_models.SIZES
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}


def of(kind, config, **settings):
    return random_models.filled(kind(config(**SIZES | settings)))


def by_length():
    """A model that computes otherwise the more tokens it is given."""
    model = random_models.made("llama")
    model.model.embed_tokens.register_forward_hook(lambda _m, _args, out: out * out.shape[1])
    return model


@pytest.mark.parametrize("name", random_models.CONFIGS)
@pytest.mark.parametrize("precision", ["double", "float", "bfloat16"])
def test_causal_models_of_the_usual_kinds_are_the_engines(name, precision):
    assert refusal(getattr(random_models.made(name), precision)()) == ""


REFUSED = {
    "GptOssAttention: needs another attention": lambda: of(
        GptOssForCausalLM, GptOssConfig, head_dim=8, num_local_experts=2
    ).float(),
    "it attends in chunks": lambda: of(
        Llama4ForCausalLM, Llama4TextConfig, attention_chunk_size=4, num_local_experts=2
    ),
    "its layer 0 has a window of 4 that attention is not told of": lambda: of(
        LlamaForCausalLM, LlamaConfig, sliding_window=4
    ),
    "scaled by the length of a text (dynamic)": lambda: of(LlamaForCausalLM, LlamaConfig, rope_parameters=DYNAMIC),
    "its logits differ from the plain ones": by_length,
    "BloomBlock: attends by itself": lambda: random_models.filled(
        BloomForCausalLM(BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4))
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_models_that_attend_otherwise_are_refused_with_the_reason(reason):
    assert reason in refusal(REFUSED[reason]())


def test_rules_of_drawing_that_the_engine_does_not_know_are_refused():
    model = random_models.made("llama")
    model.generation_config.no_repeat_ngram_size = 2
    assert refusal(model) == "its generation settings say no_repeat_ngram_size = 2"


def requests(renderer, n=12, draws=1, **how):
    prompts = [renderer.prompt([Message("user", p.question)]) for p in problems("test", n)]
    return [Request(f"q{i}", d, p.text, p.ids, **how) for i, p in enumerate(prompts) for d in range(draws)]


@pytest.mark.parametrize("stops", [(), ("2", "####")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_text_stops_and_endings_equal_those_of_plain_generation(tiny, renderer, stops, temperature):
    decoding = Decoding(32, temperature, 0.95 if temperature else 1.0, samples=2)
    asked = requests(renderer, draws=2)
    packed = PackedGenerator(tiny, renderer, decoding, stops, 5, shared_ids([r.ids for r in asked]))
    made = packed.run(asked)
    assert made == LocalGenerator(tiny, renderer, decoding, stops).run(asked)
    assert len({output.output_tokens for output in made}) > 1


def test_the_requests_own_stops_and_budgets_end_them(tiny, renderer):
    asked = requests(renderer, 4, stops=("####",), budget=9) + requests(renderer, 4, draws=2, budget=3)[1::2]
    made = PackedGenerator(tiny, renderer, Decoding(32), slots=3).run(asked)
    assert made == LocalGenerator(tiny, renderer, Decoding(32)).run(asked)


def test_plain_generation_answers_where_it_is_asked_for_or_the_engine_cannot(tiny, renderer, recwarn):
    asked = requests(renderer, 5)
    prompts = [request.ids for request in asked]
    other = copy.deepcopy(tiny)
    other.generation_config.no_repeat_ngram_size = 1
    with pytest.warns(UserWarning, match=r"Qwen3ForCausalLM: transformers' own generation answers.*ngram"):
        given_way = Answerers(other, renderer, "auto", 2)
    assert given_way.described(prompts)["engine"] == "plain"
    packed, plain = Answerers(tiny, renderer, "auto", 2), Answerers(tiny, renderer, "plain", 2)
    assert packed.described(prompts)["engine"] == "packed"
    assert plain.described(prompts) == {"engine": "plain", "why": "hardware.generation is plain, as auto is on mps"}
    assert not recwarn.list
    texts = [a.generator(Decoding(16), (), prompts)(asked) for a in (packed, plain, given_way)]
    by_id = [sorted(made, key=lambda output: output.id) for made in texts]
    assert by_id[0] == by_id[1]
    assert by_id[0] != by_id[2]


def test_choices_are_the_same_whoever_answers(tiny, renderer):
    labels, asked = ("negative", "neutral", "positive"), []
    for i, problem in enumerate(problems("test", 5)):
        messages = [Message("user", problem.question)]
        prompt, ids = renderer.prompt(messages), tuple(tuple(renderer.answer_ids(messages, label)) for label in labels)
        asked.append(ChoiceRequest(f"q{i}", 0, prompt.text, prompt.ids, labels, ids))
    made = [Answerers(tiny, renderer, engine, 2).chooser([r.ids for r in asked])(asked) for engine in ("auto", "plain")]
    packed, plain = ({output.id: output for output in outputs} for outputs in made)
    for name, one in packed.items():
        assert one.output == plain[name].output
        assert list(one.logprobs.values()) == pytest.approx(list(plain[name].logprobs.values()), abs=1e-4)


def test_training_and_answering_in_one_process_have_attention_of_their_own():
    assert AttentionInterface()[answering.NAME] is answering.packed_attention
    assert AttentionInterface()[training.NAME] is training.attend
