"""A study of steps small enough to read at a glance, which write what real ones write.

Run as a program it runs the study on the store of its first argument, with a training that waits for the file of its
second, so that a test decides when it ends, or kills it.
"""

import sys
import time
from pathlib import Path

from tunelab.engine.journal import Subject, journal
from tunelab.engine.runner import Runner
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.files import append_lines, write_lines

STUDY = "small study"
METRICS = {"exact": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}}
OUTCOMES = {"correct": 4, "wrong": 3, "no_answer": 1, "unscored": 0}


class Silent:
    """A reporter that says nothing."""

    def started(self, step):
        pass

    def progressed(self, step, done, total, unit):
        pass

    def ended(self, step, state, message):
        pass


def prepare(context):
    write_lines(context.directory / "rows.jsonl", [{"id": "a"}])


def train(context):
    """Log and report three steps of ten, then wait for a file, or fail."""
    for number in range(1, 4):
        append_lines(context.directory / "metrics.jsonl", [{"step": number, "loss": 1 / number}])
        context.progress(number, 10, "steps")
    if why := context.circumstance.get("fails"):
        raise ValueError(why)
    while not Path(context.circumstance["until"]).exists():
        time.sleep(0.05)


def score(context):
    write_lines(context.directory / "scores.jsonl", [{"id": "a"}])
    context.facts.update(n=8, metrics=METRICS, outcomes=OUTCOMES)


def report(context):
    (context.directory / "index.html").write_text(context.circumstance["page"])
    context.facts["answer"] = "It helps."


def plan(until="/", fails="", page="<!doctype html><title>r</title><h1>The report</h1>", study=STUDY, named="sft"):
    """prepare → train → score → report, and a score of the base beside."""
    rows = Step("prepare", 1, "rows", "viewer_steps:prepare", {})
    trained = Step("train", 1, named, "viewer_steps:train", {}, {"rows": rows}, {"until": str(until), "fails": fails})
    scores = {
        "base": Step("score", 1, "base-exact", "viewer_steps:score", {}, {"rows": rows}),
        "sft": Step("score", 1, "sft-exact", "viewer_steps:score", {}, {"rows": rows, "trained": trained}),
    }
    settings = {"study": {"study": study, "question": "Does it help?"}}
    return Step("report", 1, "small", "viewer_steps:report", settings, scores, {"page": page}, tolerant=True)


def run(store, question="Does it help?", study=STUDY, **changes):
    """Run the study with a journal and return how it ended."""
    step = plan(study=study, **changes)
    with journal(store, Subject(study, question, store.parent / "results"), [step], Silent()) as kept:
        return Runner(Store(store), kept).run([step])


if __name__ == "__main__":
    run(Path(sys.argv[1]), until=sys.argv[2])
