"""One rendering for training and evaluation, against the tokenizer's own chat template."""

import random
import unicodedata

import pytest
from format_tokenizers import (
    CHATML,
    COUNTS_TURNS,
    LLAMA2,
    LLAMA3,
    NO_END,
    NO_SYSTEM,
    QWEN2,
    QWEN3,
    qwen2,
    tiny,
    with_bos,
    with_channels,
)
from hypothesis import given
from hypothesis import strategies as st

from tunelab.data.sample import Message
from tunelab.errors import FormatError
from tunelab.formats.format import FewShots, Format
from tunelab.formats.renderer import Renderer

CHAT, RAW = Format(template="chat"), Format(template="raw")
NO_THINKING = Format(template="chat", kwargs={"enable_thinking": False})
WORDS = ("Wie", " viel", "3", "+4", "=7", "\n", "\n\n", "  ", "é", "数", "🙂", "…", "'s", "<b>", "#### 7", "x_1", "\t")
TEXT = st.text(max_size=40) | st.lists(st.sampled_from(WORDS), max_size=12).map("".join)


@pytest.fixture(scope="module")
def renderers():
    """Every kind of tokenizer and format that must keep the contract."""
    found = {
        "tiny-chat": Renderer(tiny(), CHAT),
        "tiny-raw": Renderer(tiny(), RAW),
        "chatml": Renderer(tiny(CHATML), CHAT),
        "llama3-chat": Renderer(with_bos(), CHAT),
        "llama3-raw": Renderer(with_bos(), RAW),
        "llama2-chat": Renderer(tiny(LLAMA2), CHAT),
        "channels": Renderer(with_channels(), CHAT),
        "qwen3-thinking": Renderer(tiny(QWEN3), CHAT),
        "qwen3-no-thinking": Renderer(tiny(QWEN3), NO_THINKING),
        "system": Renderer(tiny(), Format(template="chat", system="Be brief.")),
    }
    if QWEN2.exists():
        found |= {"qwen2-chat": Renderer(qwen2(), NO_THINKING), "qwen2-raw": Renderer(qwen2(), RAW)}
    return found


@pytest.fixture(scope="module")
def qwen2_renderer():
    if not QWEN2.exists():
        pytest.skip("TUNELAB_DATA is unset: the Qwen2 vocabulary is not here")
    return Renderer(qwen2(), NO_THINKING)


def question(text):
    return [Message("user", text)]


def conversations(seed, n):
    """Seeded random conversations: perhaps a system prompt, then turns that end with the user's."""
    rng = random.Random(seed)
    for _ in range(n):
        roles = ["system"] * rng.randint(0, 1) + ["user", "assistant"] * rng.randint(0, 3) + ["user"]
        yield [Message(role, "".join(rng.choices(WORDS, k=rng.randint(1, 15)))) for role in roles]


def own_template(renderer, messages, answer=None):
    """What the tokenizer itself makes of a conversation, by transformers' own path to ids."""
    rows = [{"role": m.role, "content": m.content} for m in messages]
    rows += [] if answer is None else [{"role": "assistant", "content": answer}]
    return renderer.tokenizer.apply_chat_template(
        rows, tokenize=True, return_dict=False, add_generation_prompt=answer is None, **renderer.format.kwargs
    )


@pytest.mark.parametrize("name", ["tiny-chat", "chatml", "llama3-chat", "qwen3-no-thinking"])
def test_prompt_and_example_equal_the_tokenizers_own_template(renderers, name):
    renderer = renderers[name]
    for number, messages in enumerate(conversations(name, 40)):
        prompt, example = renderer.prompt(messages), renderer.example(messages, f"{number} eggs,\n so #### {number}")
        whole = own_template(renderer, messages, f"{number} eggs,\n so #### {number}")
        assert prompt.ids == own_template(renderer, messages)
        assert example.ids == whole[: len(example.ids)]
        assert renderer.tokenizer.decode(whole[len(example.ids) :]).strip() == ""


def test_the_real_qwen2_vocabulary_equals_its_own_template(qwen2_renderer):
    for messages in conversations("qwen2", 40):
        example = qwen2_renderer.example(messages, "Also 7.\n#### 7")
        assert qwen2_renderer.prompt(messages).ids == own_template(qwen2_renderer, messages)
        assert example.ids == own_template(qwen2_renderer, messages, "Also 7.\n#### 7")[: len(example.ids)]


@given(TEXT, TEXT)
def test_a_prompt_is_a_prefix_of_its_example_whatever_the_texts(renderers, text, target):
    for renderer in renderers.values():
        prompt, example = renderer.prompt(question(text)), renderer.example(question(text), target)
        n = len(prompt.ids)
        assert example.ids[:n] == prompt.ids
        assert example.text.startswith(prompt.text)
        assert example.mask == [0] * n + [1] * (len(example.ids) - n)


@given(TEXT, TEXT)
def test_the_end_of_turn_is_learnt_once_and_last(renderers, text, target):
    for renderer in renderers.values():
        example = renderer.example(question(text), target)
        end = renderer.end_of_turn[1]
        learnt = [token for token, kept in zip(example.ids, example.mask, strict=True) if kept]
        assert learnt.index(end) == len(learnt) - 1
        assert end in renderer.stop_ids


@given(TEXT)
def test_parsing_inverts_the_rendering_of_a_target(renderers, target):
    for renderer in renderers.values():
        prompt, example = renderer.prompt(question("?")), renderer.example(question("?"), target)
        expected = (
            target if renderer.tokenizer.backend_tokenizer.normalizer is None else unicodedata.normalize("NFC", target)
        )
        assert renderer.parse(example.ids[len(prompt.ids) :]) == expected


def test_only_what_the_format_writes_around_an_answer_is_taken_off(renderers):
    spoken = {
        "llama2-chat": ("  4  ", " 4 "),
        "tiny-raw": ("  4  ", " 4  "),
        "tiny-chat": (" 4 ", " 4 "),
        "qwen3-thinking": ("<think>\nTwo and two.\n</think>\n\n4", "<think>\nTwo and two.\n</think>\n\n4"),
    }
    for name, (text, answer) in spoken.items():
        ids = renderers[name].tokenizer(text, add_special_tokens=False)["input_ids"]
        assert renderers[name].parse([*ids, renderers[name].end_of_turn[1]]) == answer


def test_an_answer_under_a_template_that_rewrites_history_is_left_as_it_is():
    renderer = Renderer(tiny(COUNTS_TURNS), CHAT)
    ids = renderer.tokenizer(" 2 turns", add_special_tokens=False)["input_ids"]
    assert renderer.parse(ids) == " 2 turns"


@pytest.mark.parametrize(("name", "expected"), [("llama3-chat", 1), ("llama3-raw", 1), ("tiny-raw", 0)])
def test_a_text_begins_with_as_many_beginnings_as_the_tokenizer_asks_for(renderers, name, expected):
    tokenizer = renderers[name].tokenizer
    for ids in (renderers[name].prompt(question("x")).ids, renderers[name].example(question("x"), "y").ids):
        assert ids.count(tokenizer.bos_token_id) == expected
        assert (ids[0] == tokenizer.bos_token_id) is bool(expected)


def test_a_second_beginning_of_text_is_refused():
    for tokenizer, fmt, text in [
        (with_bos("{{ bos_token }}" + LLAMA3), CHAT, "x"),
        (with_bos(), Format(template="raw", user_prefix=""), "<|begin_of_text|>x"),
    ]:
        with pytest.raises(FormatError, match="begins with it twice"):
            Renderer(tokenizer, fmt).prompt(question(text))
    tokenizer = tiny("{{ bos_token }}" + LLAMA3)
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.add_tokens(["<|eot_id|>"], special_tokens=True)
    with pytest.raises(FormatError, match="begins with it twice"):
        Renderer(tokenizer, CHAT).prompt(question("x"))


def test_a_template_that_rewrites_history_is_refused():
    renderer = Renderer(tiny(COUNTS_TURNS), CHAT)
    with pytest.raises(FormatError, match="does not begin with the generation prompt"):
        renderer.example(question("x"), "y")


def test_a_template_that_never_ends_a_turn_is_refused():
    with pytest.raises(FormatError, match="expected a special token that ends the turn"):
        Renderer(tiny(NO_END), CHAT)


def test_a_conversation_that_the_template_refuses_is_the_users_mistake():
    with pytest.raises(FormatError, match="System role not supported"):
        Renderer(tiny(NO_SYSTEM), Format(template="chat", system="Be brief.")).prompt(question("x"))


def test_a_target_that_holds_the_end_of_turn_is_refused(renderers):
    for name in ("tiny-chat", "tiny-raw", "llama3-chat"):
        end = renderers[name].end_of_turn[0]
        with pytest.raises(FormatError, match="got 2 of them in a completion, expected one"):
            renderers[name].example(question("x"), f"4{end}5")


def test_a_tokenizer_without_template_or_end_of_text_is_refused():
    bare = tiny()
    bare.chat_template = None
    with pytest.raises(FormatError, match="the tokenizer has no chat template"):
        Renderer(bare, CHAT)
    bare.eos_token = None
    with pytest.raises(FormatError, match="the tokenizer has no end-of-text token"):
        Renderer(bare, RAW)


def test_thinking_stays_where_the_template_kwargs_put_it():
    off, on = Renderer(tiny(QWEN3), NO_THINKING), Renderer(tiny(QWEN3), CHAT)
    block = "<think>\n\n</think>\n\n"
    assert off.prompt(question("x")).text.endswith(f"assistant\n{block}")
    assert on.prompt(question("x")).text.endswith("assistant\n")
    assert off.example(question("x"), "y").text == on.example(question("x"), "y").text
    learnt = [sum(r.example(question("x"), "y").mask) for r in (off, on)]
    assert learnt[1] - learnt[0] == len(off.tokenizer(block, add_special_tokens=False)["input_ids"])


SHOTS = [([Message("user", "1 + 1?")], "2"), ([Message("user", "2 + 2?")], "4")]


def test_worked_examples_as_turns_equal_the_template_of_the_whole_conversation():
    renderer = Renderer(tiny(), Format(template="chat", system="Add.", few_shots=FewShots(k=2)), SHOTS)
    turns = [Message("system", "Add.")]
    for messages, target in SHOTS:
        turns += [*messages, Message("assistant", target)]
    assert renderer.prompt(question("3 + 3?")).ids == own_template(renderer, [*turns, *question("3 + 3?")])


def test_worked_examples_as_text_stand_in_one_turn():
    renderer = Renderer(tiny(), Format(template="chat", few_shots=FewShots(k=2, style="text")), SHOTS)
    text = "Question: 1 + 1?\nAnswer: 2\n\nQuestion: 2 + 2?\nAnswer: 4\n\nQuestion: 3 + 3?\nAnswer:"
    assert renderer.prompt(question("3 + 3?")).ids == own_template(renderer, question(text))


@pytest.mark.parametrize("style", ["turns", "text"])
def test_raw_text_is_written_out(style):
    fmt = Format(
        template="raw", system="Add.", user_prefix="Q: ", assistant_prefix="A:", few_shots=FewShots(k=2, style=style)
    )
    renderer = Renderer(tiny(), fmt, SHOTS)
    prompt = "Add.\n\nQ: 1 + 1?\nA: 2\n\nQ: 2 + 2?\nA: 4\n\nQ: 3 + 3?\nA:"
    assert renderer.prompt(question("3 + 3?")).text == prompt
    assert renderer.example(question("3 + 3?"), "6").text == prompt + " 6" + renderer.tokenizer.eos_token


@pytest.mark.parametrize("given", [0, 1, 3])
def test_another_number_of_worked_examples_than_declared_is_refused(given):
    with pytest.raises(FormatError, match=f"got {given} examples, expected k = 2"):
        Renderer(tiny(), Format(template="raw", few_shots=FewShots(k=2)), (SHOTS * 2)[:given])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"template": "chat"}, ()),
        ({"template": "raw"}, ("\nQuestion:",)),
        ({"template": "raw", "user_prefix": "Q: "}, ("\nQ:",)),
        ({"template": "raw", "user_prefix": ""}, ()),
        ({"template": "raw", "stop": ("\n\n",)}, ("\n\n",)),
        ({"template": "raw", "stop": ()}, ()),
        ({"template": "chat", "stop": ("END",)}, ("END",)),
    ],
)
def test_a_format_says_what_ends_a_generation(settings, expected):
    assert Format(**settings).stop_strings == expected


def test_a_formats_identity_holds_what_can_change_a_prompt_and_rebuilds_it():
    fmt = Format(template="chat", kwargs={"enable_thinking": False}, few_shots=FewShots(k=4, seed=1))
    assert set(fmt.identity()) == set(Format.model_fields) - {"user_prefix", "assistant_prefix"}
    assert Format(template="chat", user_prefix="Q").identity() == Format(template="chat").identity()
    assert "stop" not in fmt.training_identity()
    assert Format(**fmt.identity()).identity() == fmt.identity()
    assert Format(template="raw").identity() == Format(template="raw", stop=("\nQuestion:",)).identity()
