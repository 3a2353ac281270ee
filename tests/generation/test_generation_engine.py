"""The engine's text against transformers' generate, one prompt at a time, on random models of many architectures."""

import itertools

import pytest
import random_models
import torch
from peft import LoraConfig, get_peft_model
from random_models import STOPS, VOCABULARY, WINDOW
from scipy.stats import chisquare

from tunelab.errors import StepError
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.engine import reading
from tunelab.generation.engine.attention import NAME
from tunelab.generation.engine.decode import Decoder
from tunelab.generation.engine.model import PackedModel, shared_ids
from tunelab.generation.engine.picking import Picker
from tunelab.models.load import quiet

LONGEST = 16


@pytest.fixture(scope="module", params=random_models.CONFIGS)
def model(request):
    return random_models.made(request.param)


@pytest.fixture(scope="module")
def llama():
    return random_models.made("llama")


def requests(prompts, draws=1):
    return [Request(f"q{i}", draw, "", ids) for i, ids in enumerate(prompts) for draw in range(draws)]


def ended(request, row):
    return row[-1] in STOPS or len(row) >= (request.budget or LONGEST)


def drawn(model, asked, slots=4, least=1, decoding=None, penalty=1.0):
    packed = PackedModel(model, shared_ids([r.ids for r in asked], least))
    return Decoder(packed, Picker(decoding or Decoding(LONGEST), penalty), slots, ended).draw(asked)


def texts(*args, **how):
    return [row.ids for row in drawn(*args, **how)]


def plain(model, asked, **how):
    """What transformers writes, without batch, padding or shared keys."""
    found = []
    for request in asked:
        ids = torch.tensor([request.ids])
        settings = {"max_new_tokens": request.budget or LONGEST, "do_sample": False, "eos_token_id": list(STOPS)}
        made = model.generate(ids, attention_mask=torch.ones_like(ids), **settings, pad_token_id=0, **how)
        found.append(made[0, ids.shape[1] :].tolist())
    return found


@pytest.mark.parametrize("shared", [0, 3, 30])
def test_greedy_text_equals_transformers_whatever_is_shared_and_however_many_rows(model, shared):
    asked = requests(random_models.prompts(shared, 9, longest=2 * WINDOW))
    expected = plain(model, asked)
    assert len({len(row) for row in expected}) > 1 or model.config.model_type.startswith("gemma")
    for slots in (1, 4, 16):
        assert texts(model, asked, slots) == expected


def test_prompts_that_are_equal_share_all_but_their_last_token(model):
    asked = requests([random_models.prompts(20, 1)[0]] * 5)
    packed = shared_ids([r.ids for r in asked])
    assert packed == asked[0].ids[:-1]
    assert texts(model, asked, 2, least=16) == plain(model, asked)


def test_a_prefix_that_is_too_short_to_be_worth_it_is_not_shared():
    prompts = random_models.prompts(15, 4)
    assert shared_ids(prompts, least=16) == []
    assert shared_ids(prompts, least=15) == prompts[0][:15]
    assert shared_ids([prompts[0]], least=1) == prompts[0][:-1]
    assert shared_ids([]) == []


def test_neither_order_nor_rows_change_a_text(llama):
    asked = requests(random_models.prompts(5, 12))
    expected = texts(llama, asked, 12)
    for slots, order in itertools.product((3, 5), (asked[::-1], asked[5:] + asked[:5])):
        found = dict(zip([r.id for r in order], texts(llama, order, slots), strict=True))
        assert [found[r.id] for r in asked] == expected


@pytest.mark.parametrize("wasted", [0, 20])
def test_rows_of_unlike_lengths_attend_apart_and_alike(llama, monkeypatch, wasted):
    asked = requests(random_models.prompts(5, 12, longest=40))
    monkeypatch.setattr(reading, "WASTED", wasted)
    assert texts(llama, asked, 5) == plain(llama, asked)


def test_the_last_layer_is_computed_for_the_tokens_that_are_drawn_after(llama):
    asked = requests(random_models.prompts(20, 6))
    tokens = []
    hook = llama.model.layers[-1].mlp.register_forward_hook(lambda _m, args, _o: tokens.append(args[0].shape[1]))
    try:
        found = texts(llama, asked, 6)
    finally:
        hook.remove()
    assert found == plain(llama, asked)
    assert sum(tokens) == 1 + sum(map(len, found))


def test_rows_leave_when_they_end_and_waiting_ones_take_their_places(llama):
    budgets = [1, 9, 2, 3, 1, 2]
    prompts = random_models.prompts(0, 6)
    asked = [Request(f"q{i}", 0, "", ids, budget=budgets[i]) for i, ids in enumerate(prompts)]
    widths = []
    hook = llama.lm_head.register_forward_hook(lambda _m, _args, out: widths.append(out.shape[1]))
    try:
        found = texts(llama, asked, 2)
    finally:
        hook.remove()
    assert found == plain(llama, asked)
    assert sum(widths) == sum(map(len, found))
    assert max(widths) == 2


def test_draws_of_a_prompt_read_it_once(llama):
    asked = requests(random_models.prompts(0, 3, longest=40), draws=4)
    tokens = []
    hook = llama.model.embed_tokens.register_forward_hook(lambda _m, args, _o: tokens.append(args[0].numel()))
    try:
        made = drawn(llama, asked, 12, decoding=Decoding(LONGEST, temperature=1.0))
    finally:
        hook.remove()
    once = sum(len(r.ids) for r in asked[::4])
    assert sum(tokens) == once + 3 * 3 + sum(len(row.ids) - 1 for row in made)


def test_sampled_text_does_not_depend_on_rows_or_order(model):
    asked, decoding = requests(random_models.prompts(6, 5), draws=3), Decoding(LONGEST, 1.0, 0.9, seed=4)
    expected = texts(model, asked, 15, decoding=decoding)
    assert len(set(map(tuple, expected))) > 8
    for slots in (1, 4):
        found = texts(model, asked[::-1], slots, decoding=decoding)
        assert found[::-1] == expected


def test_drawn_tokens_have_the_frequencies_of_softmax(llama):
    prompt = random_models.prompts(0, 1)[0]
    asked = [Request("q", draw, "", prompt, budget=1) for draw in range(3000)]
    made = texts(llama, asked, 250, decoding=Decoding(1, temperature=1.0))
    counts = torch.bincount(torch.tensor(made)[:, 0], minlength=VOCABULARY).numpy()
    expected = 3000 * torch.softmax(llama(torch.tensor([prompt])).logits[0, -1], -1).detach().numpy()
    often = expected >= 5
    pooled = [[*values[often], values[~often].sum()] for values in (counts, expected)]
    assert 10 < often.sum() < VOCABULARY
    assert chisquare(*pooled).pvalue > 1e-3


def test_log_probabilities_are_those_of_the_distribution_that_was_drawn_from(llama):
    asked = requests(random_models.prompts(4, 4))
    for temperature in (0.0, 0.7):
        for request, row in zip(asked, drawn(llama, asked, decoding=Decoding(LONGEST, temperature)), strict=True):
            logits = llama(torch.tensor([request.ids + row.ids])).logits[0, len(request.ids) - 1 : -1]
            expected = torch.log_softmax(logits / (temperature or 1.0), -1).gather(1, torch.tensor(row.ids)[:, None])
            assert row.logprobs == pytest.approx(expected[:, 0].tolist(), abs=1e-5)


def test_a_repetition_penalty_of_the_models_own_settings_is_kept(llama):
    asked = requests(random_models.prompts(3, 6))
    expected = plain(llama, asked, repetition_penalty=1.5)
    assert texts(llama, asked, penalty=1.5) == expected != texts(llama, asked)


def test_an_adapter_answers_as_it_does_plainly(llama):
    quiet()
    torch.manual_seed(0)
    adapted = get_peft_model(random_models.made("llama"), LoraConfig(r=2, target_modules="all-linear")).double().eval()
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.3)
    asked = requests(random_models.prompts(18, 5))
    assert texts(adapted, asked) == plain(adapted, asked) != plain(llama, asked)


def test_fewer_rows_are_together_from_where_memory_ran_out(llama, monkeypatch):
    asked = requests(random_models.prompts(2, 9))
    expected, rows = plain(llama, asked), []
    logits = PackedModel.logits

    def little(self, reading, wanted):
        rows.append(len(wanted))
        if len(wanted) > room:
            raise torch.OutOfMemoryError("no room")
        return logits(self, reading, wanted)

    monkeypatch.setattr(PackedModel, "logits", little)
    room = 3
    assert texts(llama, asked, 8) == expected
    assert [n for n in rows if n > room] == [8, 4]
    room = 0
    with pytest.raises(StepError, match="out of memory with one sample"):
        texts(llama, asked, 8)


@pytest.mark.parametrize(("room", "expected"), [(9, 5), (4, 1)])
def test_rows_that_share_a_prefix_are_more_where_memory_is_that_of_whole_texts(llama, monkeypatch, room, expected):
    asked, rows, logits = requests(random_models.prompts(200, 9)), [], PackedModel.logits

    def noting(self, reading, wanted):
        if len(wanted) > room:
            raise torch.OutOfMemoryError("no room")
        rows.append(len(wanted))
        return logits(self, reading, wanted)

    monkeypatch.setattr(PackedModel, "logits", noting)
    found = texts(llama, asked, 1)
    assert max(rows) == expected
    monkeypatch.undo()
    assert found == plain(llama, asked)


def test_the_model_attends_as_before_afterwards(llama):
    before = llama.config._attn_implementation
    texts(llama, requests(random_models.prompts(0, 2)))
    assert llama.config._attn_implementation == before != NAME
    assert llama(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, VOCABULARY)
