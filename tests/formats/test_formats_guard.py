"""A guard model's template writes the question around the exchange, and words behind its last answer."""

from tunelab.formats.format import Format
from tunelab.formats.guard import GuardRenderer
from tunelab.models.load import load_tokenizer
from tunelab.models.spec import resolve
from tunelab.scoring.judges.exchange import Exchange
from tunelab.scoring.judges.prompts import guard_messages

TEMPLATE = (
    "<|im_start|>user\n# Judge this.\n{% for m in messages %}{{ m.role | upper }}: {{ m.content }}\n\n{% endfor %}"
    "<END CONVERSATION>\n\nSafety: (Safe/Unsafe/Controversial)<|im_end|>\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
)


def test_the_exchange_stands_where_the_guards_own_template_puts_it():
    tokenizer = load_tokenizer(resolve("tiny"))
    tokenizer.chat_template = TEMPLATE
    renderer = GuardRenderer(tokenizer, Format(template="chat"))
    prompt = renderer.prompt(guard_messages(Exchange("How?", "Like this.")))
    assert "USER: How?\n\nASSISTANT: Like this.\n\n<END CONVERSATION>" in prompt.text
    assert prompt.text.endswith("</think>\n\n")
    ids = tokenizer("Safety: Unsafe\nCategories: Violent", add_special_tokens=False)["input_ids"]
    assert renderer.parse(ids) == "Safety: Unsafe\nCategories: Violent"
