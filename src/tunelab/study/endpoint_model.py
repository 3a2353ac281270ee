"""A model that is evaluated behind an OpenAI-compatible server: what it is called there, and how it is asked.

Another server under the same name may serve another model: other weights, fewer bits, another chat template. So the
address identifies it beside the name, unless the study says by ``server`` what stands for it: a name of one's own that
stays when the server moves. How many requests are on their way at once, how long one is waited for and what a token
costs change no answer.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from tunelab.errors import StudyError
from tunelab.generation.address import base_url
from tunelab.study.keys import describe_validation


class Price(BaseModel):
    """What a server asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, description="Of a million tokens of prompts, in any currency.")
    output: float = Field(ge=0, description="Of a million tokens of answers.")


class EndpointModel(BaseModel):
    """A served model, which cannot be trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str | None = Field(
        default=None,
        description="Base URL, like http://localhost:1234/v1. Default: LMSTUDIO_ENDPOINT or OPENAI_BASE_URL.",
    )
    name: str = Field(min_length=1, description="Name of the model on its server.")
    server: str | None = Field(
        default=None,
        description="Identifies the server in place of its address, where the same server is found elsewhere.",
    )
    slots: int = Field(default=4, gt=0, description="Requests on their way at once.")
    timeout: float = Field(default=120.0, gt=0, description="Seconds that one attempt may take, to the last byte.")
    attempts: int = Field(default=6, gt=0, description="Attempts at a request before it is left unanswered.")
    first_wait: float = Field(default=1.0, ge=0, description="Seconds before the second attempt; they double.")
    price: Price | None = Field(default=None, description="Price per million tokens, for the report's costs.")

    @field_validator("endpoint")
    @classmethod
    def _is_a_bare_url(cls, endpoint: str | None) -> str | None:
        """Refuse an address that holds a password, which would be written to records."""
        try:
            return endpoint if endpoint is None else base_url(endpoint, "endpoint")
        except StudyError as error:
            raise ValueError(str(error)) from None

    def patience(self) -> dict[str, Any]:
        """Return how a request is waited for, as plain JSON: the circumstance of a step."""
        return self.model_dump(mode="json", include={"slots", "timeout", "attempts", "first_wait"})

    def declared(self) -> dict[str, Any]:
        """Return what says which model it is and what it costs, as plain JSON: not how it is reached and asked."""
        reached = set() if self.server is None else {"endpoint"}
        return self.model_dump(mode="json", exclude={"slots", "timeout", "attempts", "first_wait", *reached})


def _served(raw: Any) -> Any:
    """Read a mapping as a served model, so that a mistake in it is named and not that it is no text."""
    if not isinstance(raw, dict):
        return raw
    try:
        return EndpointModel.model_validate(raw)
    except ValidationError as error:
        raise ValueError(describe_validation(error)) from None


AnyModel = Annotated[str | EndpointModel, BeforeValidator(_served)]
"""A model as a study names it: ordinary by a text, behind a server by a mapping."""
