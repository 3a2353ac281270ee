"""Stop strings, against a reading of the text from left to right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.generation.stops import find_stop, open_thought

PIECES = st.lists(st.sampled_from(["<think>", "</think>", "STOP", "Q:", "a", "\n"]), max_size=12).map("".join)


def left_to_right(text, stops):
    """Walk through the text; a think block, closed or not, is skipped as a whole."""
    at = 0
    while at < len(text):
        if text.startswith("<think>", at):
            end = text.find("</think>", at)
            if end < 0:
                return -1
            at = end + len("</think>")
        elif text.startswith(tuple(stops), at):
            return at
        else:
            at += 1
    return -1


@given(PIECES)
def test_the_first_stop_outside_thinking_is_where_a_reader_would_stop(text):
    assert find_stop(text, ("STOP", "Q:")) == left_to_right(text, ("STOP", "Q:"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18\nQ: next", 2),
        ("18\nQ: next <think> hm", 2),
        ("<think>a\nQ: b", -1),
        ("<think>a\nQ: b</think>18", -1),
        ("<think>a\nQ: b</think>18\nQ: c", 23),
        ("", -1),
    ],
)
def test_a_stop_string_inside_thinking_does_not_stop(text, expected):
    assert find_stop(text, ("\nQ:",)) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("q", ""), ("q<think>\n", "<think>"), ("<think>a</think>\n", ""), ("What is <think>?\nA:", "")],
)
def test_a_prompt_may_leave_a_thought_open(prompt, expected):
    assert open_thought(prompt) == expected


def test_without_stop_strings_nothing_stops():
    assert find_stop("anything", ()) == -1
