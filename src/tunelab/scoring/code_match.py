"""Generated code against reference code, as CodeXGLUE's evaluators compare them, with sacrebleu beside.

All readings are of the code that ``take_code`` finds in the output. The two BLEU scores are corpus metrics of
different definitions: compare each with its own kind only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunelab.scoring import bleu
from tunelab.scoring.code_text import take_code
from tunelab.scoring.score import Metric, Score, Total, judged

BLEU = Metric(
    "bleu",
    binary=False,
    total=bleu.corpus,
    definition="CodeXGLUE corpus BLEU-4: tokens by white space, one added at every order",
)
EXACT_MATCH = Metric("exact_match", definition="the same tokens by white space")
SACREBLEU = Metric("sacrebleu", binary=False, total=bleu.sacrebleu_corpus, definition=bleu.SIGNATURE)


def code_score(targets: Sequence[str], output: str) -> Score:
    """Score an output against the first target; it is correct when it has the tokens of any of them.

    Without a target nothing is right.
    """
    code, reference = take_code(output), targets[0] if targets else ""
    same = any(code.split() == target.split() for target in targets)
    parts = {
        BLEU.name: bleu.corpus_parts(code, reference),
        SACREBLEU.name: bleu.sacrebleu_parts(code, reference),
    }
    values = {
        BLEU.name: _alone(bleu.corpus, parts[BLEU.name]),
        EXACT_MATCH.name: float(same),
        SACREBLEU.name: _alone(bleu.sacrebleu_corpus, parts[SACREBLEU.name]),
    }
    return judged(same, code or None, values, parts=parts)


def _alone(total: Total, parts: bleu.Parts) -> float:
    """A corpus metric of one output; 0 without a right token, for what smoothing leaves there is not earned."""
    return total(np.array(parts)) if parts[0] else 0.0
