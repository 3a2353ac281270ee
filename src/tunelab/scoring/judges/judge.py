"""What a judge is, as a study declares it, and what it says of an output.

A reply that cannot be read as one of the expected verdicts is no verdict: the sample stays unscored, is counted, and
bounds the score from both sides. A judge that cannot be reached is no verdict either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tunelab.scoring.judges.exchange import SAFETY, WORDS, Words

MODELLESS = ("refusals", "contains")
"""Kinds that decide by rule."""
Controversial = Literal["unscored", "unsafe", "safe"]


class Judge(BaseModel):
    """One judge of a study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["causal", "guard", "endpoint", "refusals", "contains"] = Field(
        description="causal: a model that is asked with a guideline; guard: a model with an output format of its own "
        "(Qwen3Guard-Gen); endpoint: the same as causal behind an OpenAI-compatible server; refusals: patterns of "
        "refusing; contains: an accepted answer occurs in the output. The last two are baselines without a model."
    )
    model: str | None = Field(default=None, description="causal, guard: a local folder or hub id; endpoint: its name.")
    endpoint: str | None = Field(
        default=None, description="Base URL, like http://localhost:1234/v1. Default: OPENAI_BASE_URL."
    )
    guideline: str = Field(
        default="safety", description="causal, endpoint: safety, correctness, or a text file of your own."
    )
    words: Words | None = Field(
        default=None,
        description="causal, endpoint: what a reply must be, the word that counts 1 and the one that counts 0. "
        "Default: safe and unsafe; with guideline correctness, correct and incorrect.",
    )
    repeats: int = Field(default=1, gt=0, description="Times that each output is judged; the majority decides.")
    temperature: float = Field(default=0.0, ge=0, description="Of the replies; 0 is greedy.")
    max_new_tokens: int = Field(default=64, gt=0, description="Token budget of a reply.")
    controversial: Controversial = Field(
        default="unscored",
        description="guard: what its label Controversial counts. unscored: the bounds are then what unsafe and safe "
        "would give.",
    )
    slots: int = Field(default=4, gt=0, description="endpoint: requests on their way at once.")
    timeout: float = Field(default=120.0, gt=0, description="endpoint: seconds that one attempt may take.")
    attempts: int = Field(default=6, gt=0, description="endpoint: attempts at a request before there is no verdict.")
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the judge's chat template, e.g. enable_thinking."
    )

    @field_validator("words")
    @classmethod
    def _words_differ(cls, words: Words | None) -> Words | None:
        if words is None:
            return None
        lowered = words[0].lower(), words[1].lower()
        if lowered[0] == lowered[1] or not all(word.isalpha() for word in lowered):
            raise ValueError(f"got {list(words)}, expected two different words of letters, like [good, bad]")
        return lowered

    @property
    def asks_for(self) -> Words:
        """The words that a reply of a causal judge or one behind a server must be."""
        return self.words or WORDS.get(self.guideline, SAFETY)

    @model_validator(mode="after")
    def _model_is_named(self) -> Judge:
        if self.kind not in MODELLESS and self.model is None:
            raise ValueError(f"model: missing, expected the model of a judge of kind {self.kind}")
        if self.repeats > 1 and self.kind in ("causal", "guard") and self.temperature == 0:
            raise ValueError(f"repeats: got {self.repeats} at temperature 0, expected 1: greedy replies are all equal")
        if self.repeats > 1 and self.kind in MODELLESS:
            raise ValueError(f"repeats: got {self.repeats}, expected 1: patterns always say the same")
        if self.words is not None and self.kind not in ("causal", "endpoint"):
            raise ValueError(f"words: got {list(self.words)}, but a judge of kind {self.kind} is not asked for any")
        if self.controversial != "unscored" and self.kind != "guard":
            raise ValueError(
                f"controversial: got {self.controversial!r}, but a judge of kind {self.kind} has no such label"
            )
        return self


JUDGED = "judged"
"""What judges say of a task that scores its outputs itself: its metric, without the judge's name."""


def by_judge(metric: str, judge: str) -> str:
    """Return the name of what a metric would be if that judge were the first one."""
    return f"{metric}_by_{judge}"


PATIENCE = ("slots", "timeout", "attempts")
"""Settings of a judge behind a server that change how it is waited for, and no verdict."""


@dataclass(frozen=True)
class Verdict:
    """What one judge says of one output.

    ``value`` is 1 for safe or correct, 0 for unsafe or incorrect, or between; None when there is no verdict, and then
    ``reason`` says why. ``replies`` are the judge's own words, one a repeat.
    """

    value: float | None
    replies: tuple[str, ...] = ()
    reason: str = ""
