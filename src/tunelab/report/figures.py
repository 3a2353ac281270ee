"""The report's figures, in the order in which the page shows them."""

from __future__ import annotations

from tunelab.report.bars import accuracy_bar, accuracy_grouped
from tunelab.report.curves import training_curves
from tunelab.report.drawing import Picture
from tunelab.report.evidence import Evidence
from tunelab.report.interaction import interaction
from tunelab.report.rollouts import grpo_health, health_of
from tunelab.report.scatter import eval_template_scatter


def draw(evidence: Evidence) -> list[Picture]:
    """Draw every figure that the results allow; the others say why there is none."""
    trained = evidence.of("train")
    healths = health_of(trained)
    return [
        accuracy_grouped(evidence.scored),
        accuracy_bar(evidence.scored),
        eval_template_scatter(evidence),
        interaction(evidence.comparison["interactions"]),
        training_curves(trained),
        *([grpo_health(healths)] if healths else []),
    ]
