"""What a prompt format is: a declared factor of a study, the same object in training and in evaluation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FewShots(BaseModel):
    """Worked examples before the question, kept out of training: drawn by seed from the training split, or a file's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(default=0, ge=0, description="Number of examples.")
    style: Literal["turns", "text"] = Field(
        default="turns", description="turns: each example is a user and an assistant turn; text: all in one turn."
    )
    seed: int = Field(default=0, description="Chooses the examples.")
    of: int | None = Field(
        default=None,
        gt=0,
        description="So many are chosen by seed and left out of training; the first k are used. Default: k.",
    )
    file: str | None = Field(
        default=None,
        description="Examples from this jsonl, json or csv in the task's columns, in place of seed and of: the first k "
        "are used, and none of them is trained on.",
    )

    @model_validator(mode="after")
    def _enough_are_chosen(self) -> FewShots:
        if self.of is not None and self.of < self.k and self.file is None:
            raise ValueError(f"of: got {self.of} for k: {self.k}, expected at least k")
        return self

    @property
    def chosen(self) -> int:
        """How many are chosen by seed, and left out of training."""
        return self.k if self.of is None else self.of

    def identity(self) -> dict[str, Any]:
        """Return how many are shown and how, as plain JSON; a file's content is identified by what reads it."""
        return self.model_dump(mode="json", exclude={"of", "file"} if self.file is None else {"of", "file", "seed"})


class Format(BaseModel):
    """How samples are rendered to tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: Literal["chat", "raw"] = Field(description="chat: the tokenizer's chat template; raw: plain text.")
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the chat template, e.g. enable_thinking."
    )
    system: str | None = Field(default=None, description="System prompt.")
    few_shots: FewShots = Field(default_factory=FewShots, description="Worked examples before the question.")
    user_prefix: str = Field(default="Question: ", description="raw: written before the user's text.")
    assistant_prefix: str = Field(default="Answer:", description="raw: written before the answer.")
    stop: tuple[str, ...] | None = Field(
        default=None, description="Strings that end a generation. Default: raw stops where a new question begins."
    )

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The strings that end a generation under this format."""
        if self.stop is not None:
            return self.stop
        prefix = self.user_prefix.strip()
        return (f"\n{prefix}",) if self.template == "raw" and prefix else ()

    def identity(self) -> dict[str, Any]:
        """Return every setting that can change a prompt or where an answer ends, defaults included, as plain JSON."""
        settings = self.model_dump(mode="json") | {"stop": list(self.stop_strings)}
        settings["few_shots"] = self.few_shots.identity()
        text_shots = self.few_shots.k > 0 and self.few_shots.style == "text"
        if self.template == "raw":
            del settings["kwargs"]
        elif not text_shots:
            del settings["user_prefix"], settings["assistant_prefix"]
        if self.few_shots.k == 0:
            del settings["few_shots"]
        return settings

    def training_identity(self) -> dict[str, Any]:
        """Return the same without what only ends a generation."""
        return {key: value for key, value in self.identity().items() if key != "stop"}
