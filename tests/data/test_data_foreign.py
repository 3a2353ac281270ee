"""Reading what other programs write: lm-evaluation-harness's logged samples in the shapes of its versions."""

import json

import pytest

from tunelab.data.foreign import read_foreign
from tunelab.errors import DataError

TEXT = {
    "doc_id": 3,
    "doc": {"question": "2 + 2?"},
    "target": 4,
    "arguments": {"gen_args_0": {"arg_0": "Q: 2 + 2?", "arg_1": {"until": ["\n"]}}},
    "resps": [["four"]],
    "filtered_resps": ["4"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "doc_hash": "0",
    "exact_match": 0.0,
    "bleu": [1, 2],
    "perplexity": float("nan"),
}
CHOICES = {
    "doc_id": 0,
    "doc": {},
    "target": 1,
    "arguments": [["Is it?", " no"], ["Is it?", " yes"]],
    "resps": [[["-2.5", "False"]], [["-0.5", "True"]]],
    "acc": 1.0,
}


@pytest.fixture
def read(tmp_path):
    def of(*rows):
        path = tmp_path / "samples.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_foreign(path)

    return of


def test_a_logged_text_is_read_with_prompt_and_metrics(read):
    layout, [row] = read(TEXT)
    assert (layout, row.outputs, row.prompt, row.target, row.index) == ("lm-eval", ("four",), "Q: 2 + 2?", "4", 3)
    assert row.metrics == {"exact_match,strict-match": 0.0}


def test_of_log_likelihoods_the_likeliest_continuation_was_chosen(read):
    _, [row] = read(CHOICES)
    assert (row.outputs, row.chosen, row.metrics) == (("yes",), True, {"acc": 1.0})
    swapped = {**CHOICES, "resps": CHOICES["resps"][::-1]}
    assert read(swapped)[1][0].outputs == ("no",)


def test_a_prompt_of_messages_is_kept_as_json(read):
    chat = {**TEXT, "arguments": {"gen_args_0": {"arg_0": [{"role": "user", "content": "2?"}]}}}
    assert json.loads(read(chat)[1][0].prompt) == [{"role": "user", "content": "2?"}]


def test_plain_rows_say_what_they_say_and_no_more(read):
    layout, [row] = read({"id": 7, "output": "x", "metrics": {"f1": 0.5}})
    assert (layout, row.id, row.prompt, row.finish, row.metrics) == ("plain", "7", None, None, {"f1": 0.5})


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"output": "x"}, "row 1: got the fields output, expected id and output"),
        ({"id": "a", "output": 3}, "row 1: got the fields id, output, expected id and output (a string)"),
        ({"id": "a", "output": "x", "sample": -1}, "got sample -1, expected the number of a draw"),
        ({**TEXT, "resps": []}, "row 1: got resps [], expected a list of responses a request"),
        ({**CHOICES, "arguments": []}, "neither texts nor log-likelihoods of continuations"),
    ],
)
def test_a_row_of_neither_layout_is_named(read, row, told):
    with pytest.raises(DataError) as error:
        read(row)
    assert told in str(error.value)
