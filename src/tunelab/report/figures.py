"""The report's figures, in the order in which the page shows them."""

from __future__ import annotations

from tunelab.report import confusion, group_differences, groups
from tunelab.report.bars import accuracy_bar, accuracy_grouped
from tunelab.report.checkpoints import checkpoint_curves
from tunelab.report.curves import training_curves
from tunelab.report.drawing import Picture
from tunelab.report.evidence import Evidence
from tunelab.report.interaction import interaction
from tunelab.report.ranks import rank_scores
from tunelab.report.rollouts import grpo_health, health_of
from tunelab.report.rollouts_by_task import task_curves
from tunelab.report.scatter import eval_template_scatter
from tunelab.report.task_tree import task_tree
from tunelab.report.transfer import transfer


def of_tasks(evidence: Evidence) -> list[Picture]:
    """Draw what only a study over several tasks or ranks has."""
    return [task_tree(evidence.comparison["tree"]), transfer(evidence), rank_scores(evidence.scored)]


def draw(evidence: Evidence) -> list[Picture]:
    """Draw every figure that the results allow; the others say why there is none."""
    trained = evidence.of("train")
    healths = health_of(trained)
    return [
        accuracy_grouped(evidence.scored),
        accuracy_bar(evidence.scored),
        eval_template_scatter(evidence),
        interaction(evidence.comparison["interactions"]),
        *groups.pictures(evidence.scored),
        *group_differences.pictures(evidence.comparison),
        *confusion.pictures(evidence.comparison["confusions"]),
        *[picture for picture in of_tasks(evidence) if picture.figure is not None],
        training_curves(trained),
        *[picture for picture in [checkpoint_curves(evidence)] if picture.figure is not None],
        *([grpo_health(healths)] if healths else []),
        *[picture for picture in [task_curves(healths)] if picture.figure is not None],
    ]
