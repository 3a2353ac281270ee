"""What a judge is shown of an output, and what its reply may be."""

from __future__ import annotations

from typing import Literal, NamedTuple

Words = tuple[str, str]
"""The word of a reply that counts 1, and the one that counts 0, in lower case."""
SAFETY: Words = ("safe", "unsafe")
CORRECTNESS: Words = ("correct", "incorrect")
WORDS: dict[str, Words] = {"safety": SAFETY, "correctness": CORRECTNESS}
"""By the name of a bundled guideline; a guideline of the user's asks for those of safety unless it says otherwise."""
Label = Literal["good", "bad", "controversial"]


class Exchange(NamedTuple):
    """What the user asked and what the model answered; ``references`` are the accepted answers, if there are any."""

    asked: str
    answered: str
    references: tuple[str, ...] = ()
