"""No answer that a model writes hangs a comparison, ends it without a verdict, or spoils the next one."""

import pytest

from tunelab.scoring.latex.pool import Limits, Pool
from tunelab.scoring.latex.scored import LONGEST, solution_score
from tunelab.scoring.score import Outcome

ENDLESS = {
    "a tower": "9^{9^{9^{9}}}",
    "a factorial": "100000000!",
    "a long sum": r"\sum_{n=1}^{1000000000} \frac{1}{n}",
    "a long product": r"\prod_{n=1}^{10000000} n",
    "an expansion": "(x+y+z)^{500}",
    "waves": "+".join(rf"\sin({n}x)\cos({n}x)" for n in range(60)),
    "braces in braces": "{" * 900 + "5" + "}" * 900,
}
ODD = {
    "roots in roots": r"\sqrt{" * 200 + "2" + "}" * 200,
    "fractions in fractions": r"\frac{1}{" * 100 + "2" + "}" * 100,
    "texts in texts": r"\text{" * 300 + "a" + "}" * 300,
    "a long sum of one letter": "+".join("x" * 500),
    "many digits": "9" * 1990,
    "many places": "1." + "9" * 1900,
    "a large exponent": "1e99999999",
    "a set of many": ",".join(map(str, range(100))),
    "bars": "|" * 301,
    "backslashes": "\\" * 301,
    "dollars": "$" * 300,
    "quotes": "\"'" * 100,
    "commands": r"\frac" * 300,
    "half a pair": "\ud800",
    "two halves": "\udfff\ud800",
    "a null": "\0",
    "other digits": "٣+𝟛",
    "from right to left": "\u202e5",
    "pictures": "😀" * 100,
    "words of the library": "the final answer is: answer: " * 20,
}


@pytest.fixture(scope="module")
def pool():
    with Pool(Limits(cpu=1, wall=60)) as found:
        yield found


@pytest.fixture
def score(pool, monkeypatch):
    """Scores a box with an answer where the gold one is another."""
    monkeypatch.setattr("tunelab.scoring.latex.scored.shared", lambda: pool)
    return lambda answer: solution_score([r"\boxed{x^2 + 1}"], rf"\boxed{{{answer}}}")


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_does_not_end_is_a_timeout_and_the_next_answer_is_compared(score, kind):
    found = score(ENDLESS[kind])
    assert (found.outcome, found.values) == (Outcome.TIMEOUT, {"equivalent": 0.0, "exact": 0.0})
    assert found.explanation == "gold x^2 + 1; the comparison took too long"
    assert score("1 + x^2").outcome is Outcome.CORRECT


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_not_the_answer_and_the_next_one_is_compared(score, kind):
    found = score(ODD[kind])
    assert found.outcome in (Outcome.WRONG, Outcome.NO_ANSWER, Outcome.TIMEOUT)
    assert found.values == {"equivalent": 0.0, "exact": 0.0}
    assert score("1 + x^2").outcome is Outcome.CORRECT


def test_a_long_answer_is_wrong_without_a_comparison(monkeypatch):
    monkeypatch.setattr("tunelab.scoring.latex.scored.shared", lambda: None)
    score = solution_score([r"\boxed{5}"], rf"\boxed{{{'1+' * (LONGEST // 2)}1}}")
    assert (score.outcome, dict(score.values)) == (Outcome.WRONG, {"equivalent": 0.0, "exact": 0.0})
    assert score.explanation == "gold 5; not compared: longer than 2000 characters"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "answer",
    ["{}" * 500_000, r"\frac " * 160_000, "x" + " " * 10**6, r"\text{" * 160_000, "^ " * 500_000, "5" + ". " * 10**6],
    ids=["braces", "fractions", "spaces", "texts", "exponents", "points"],
)
def test_a_megabyte_in_a_box_is_wrong_at_once(answer):
    score = solution_score([r"\boxed{x + 1}"], rf"\boxed{{{answer}}}")
    assert score.values == {"equivalent": 0.0, "exact": 0.0}


@pytest.mark.parametrize("words", ["%s", r"\text{%s}", r"\operatorname{%s}", "1 + %s"])
def test_nothing_that_a_model_writes_is_run(pool, tmp_path, words):
    marker = tmp_path / "run"
    attempt = words % f"__import__('os').mkdir('{marker}')"
    assert pool.verdict("5", attempt) != "equal"
    assert pool.verdict(attempt, "5") != "equal"
    assert not marker.exists()
