"""The points of a sweep as one study: what they share is the study's, and what it has once must not differ."""

from __future__ import annotations

from collections.abc import Sequence

from tunelab.errors import StudyError
from tunelab.study.spec import Study

ONCE = ("baseline", "baselines", "contrasts", "data", "alpha", "hardware", "judges", "base_weights", "code",
        "model_names", "tasks", "task_weights")  # fmt: skip
"""What is about the study as a whole."""


def whole(points: Sequence[tuple[str, Study]]) -> Study:
    """Return the first point with the formats and stand-ins of all; what a study has once must be equal in all.

    Raises StudyError for what differs.
    """
    study = points[0][1]
    formats = dict(study.formats)
    stand_ins = {name: model for _, point in points for name, model in point.stand_ins.items()}
    for label, point in points[1:]:
        for name in ONCE:
            if getattr(point, name) != getattr(study, name):
                raise StudyError(
                    f"sweep: {name} differs at {label}, expected one for the whole study; "
                    "sweep models, tasks, formats, recipes or evaluations"
                )
        formats |= {f"{name}@{label}": f for name, f in point.formats.items() if f not in formats.values()}
    return study.model_copy(update={"formats": formats, "stand_ins": stand_ins})
