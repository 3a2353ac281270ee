"""Generation with the tiny model, against transformers' own greedy search, one prompt at a time."""

import pytest
import torch

from tunelab.data.sample import Message
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.batches import plan_batches, run_batches
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.local import LocalGenerator
from tunelab.models.load import load_tokenizer
from tunelab.models.spec import resolve
from tunelab.tasks.arithmetic_problems import problems

GREEDY = Decoding(max_new_tokens=32)
SAMPLED = Decoding(max_new_tokens=16, temperature=1.0, top_p=0.95, samples=2)


def requests(renderer, n=12, draws=1):
    prompts = [renderer.prompt([Message("user", p.question)]) for p in problems("test", n)]
    return [Request(f"q{i}", draw, p.text, p.ids) for i, p in enumerate(prompts) for draw in range(draws)]


def generated(generator, asked, size):
    outputs = [o for batch in run_batches(plan_batches(asked, size), generator.run) for o in batch]
    return sorted(outputs, key=lambda o: (o.id, o.sample))


def by_hand(model, renderer, request):
    """The most likely token, again and again, without cache, padding or batch."""
    ids = list(request.ids)
    for _ in range(GREEDY.max_new_tokens):
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in renderer.stop_ids:
            break
    return ids[len(request.ids) :]


def test_greedy_batches_equal_a_search_by_hand(tiny, renderer):
    outputs = generated(LocalGenerator(tiny, renderer, GREEDY), requests(renderer, 8), 8)
    for request, output in zip(requests(renderer, 8), outputs, strict=True):
        ids = by_hand(tiny, renderer, request)
        ended = ids[-1] in renderer.stop_ids
        assert output.output == renderer.tokenizer.decode(ids[: len(ids) - ended]).removeprefix(" ")
        assert (output.output_tokens, output.finish) == (len(ids), "stop" if ended else "length")
        assert (output.prompt, output.prompt_tokens) == (request.prompt, len(request.ids))


def test_greedy_batches_equal_transformers_one_by_one(tiny, renderer):
    asked = {r.id: r for r in requests(renderer)}
    for output in generated(LocalGenerator(tiny, renderer, GREEDY), list(asked.values()), 5):
        ids = torch.tensor([asked[output.id].ids])
        made = tiny.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False)[0]
        assert output.output == renderer.parse(made[ids.shape[1] :].tolist())


def test_sampled_text_does_not_depend_on_the_batch(tiny, renderer):
    generator, asked = LocalGenerator(tiny, renderer, SAMPLED), requests(renderer, 6, draws=2)
    together = generated(generator, asked, 12)
    assert generated(generator, asked, 1) == together
    assert generated(generator, asked[3:9], 5) == together[3:9]
    assert len({o.output for o in together}) > 8


def test_draws_of_a_prompt_and_seeds_differ(tiny, renderer):
    asked = requests(renderer, 6, draws=2)
    outputs = generated(LocalGenerator(tiny, renderer, SAMPLED), asked, 12)
    others = generated(LocalGenerator(tiny, renderer, Decoding(16, 1.0, 0.95, samples=2, seed=1)), asked, 12)
    assert sum(outputs[i].output != outputs[i + 1].output for i in range(0, 12, 2)) >= 4
    assert sum(a.output != b.output for a, b in zip(outputs, others, strict=True)) >= 8


STOPS = ("2", "####")


def test_a_stop_string_ends_an_answer_at_the_token_that_completes_it(tiny, renderer):
    for output in generated(LocalGenerator(tiny, renderer, GREEDY, STOPS), requests(renderer, 6), 1):
        [request] = [r for r in requests(renderer, 6) if r.id == output.id]
        ids = by_hand(tiny, renderer, request)
        texts = [renderer.parse(ids[: n + 1]) for n in range(len(ids))]
        needed = next(n for n, text in enumerate(texts, 1) if any(stop in text for stop in STOPS))
        cut = min(texts[-1].find(stop) for stop in STOPS if stop in texts[-1])
        assert (output.output, output.output_tokens, output.finish) == (texts[-1][:cut], needed, "stop_string")


@pytest.mark.parametrize("size", [4, 12])
def test_neither_output_nor_count_depends_on_the_batch(tiny, renderer, size):
    generator = LocalGenerator(tiny, renderer, GREEDY, STOPS)
    assert generated(generator, requests(renderer), size) == generated(generator, requests(renderer), 1)


def test_a_stop_string_inside_thinking_that_the_prompt_began_does_not_stop(tiny):
    tokenizer = load_tokenizer(resolve("tiny"))
    tokenizer.chat_template += "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"
    thinking = Renderer(tokenizer, Format(template="chat"))
    free, stopped = (generated(LocalGenerator(tiny, thinking, GREEDY, s), requests(thinking), 4) for s in ((), STOPS))
    assert any(stop in o.output for o in free for stop in STOPS)
    assert stopped == free


def test_a_spent_budget_is_length_and_an_ended_turn_is_stop(tiny, renderer):
    short = generated(LocalGenerator(tiny, renderer, Decoding(max_new_tokens=1)), requests(renderer), 12)
    assert {(o.finish, o.output_tokens) for o in short} == {("length", 1)}
    long = generated(LocalGenerator(tiny, renderer, Decoding(max_new_tokens=64)), requests(renderer), 12)
    assert {o.finish for o in long} <= {"stop", "stop_string", "length"}
    assert all(o.output_tokens < 64 for o in long if o.finish == "stop")
    assert "stop" in {o.finish for o in long}


def test_no_more_is_computed_than_the_requests_own_budgets_and_stops_let_through(tiny, renderer):
    asked = requests(renderer, 2)
    own = [Request(r.id, 0, r.prompt, r.ids, budget=3 + 2 * i) for i, r in enumerate(asked)]
    calls = []
    hook = tiny.register_forward_hook(lambda *_: calls.append(1))
    try:
        made = LocalGenerator(tiny, renderer, GREEDY).run(own)
        budgets, calls[:] = len(calls), []
        stops = [Request(r.id, 0, r.prompt, r.ids, stops=STOPS) for r in asked]
        stopped = LocalGenerator(tiny, renderer, GREEDY).run(stops)
    finally:
        hook.remove()
    assert [output.output_tokens for output in made] == [3, 5]
    assert budgets == 5
    assert len(calls) == max(output.output_tokens for output in stopped) < GREEDY.max_new_tokens
