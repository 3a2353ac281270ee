"""Study files for tests, as plain data: what a user would write."""

from __future__ import annotations

import copy
from collections import Counter

import yaml

from tunelab.engine.plan import topological
from tunelab.study.compile import compile_study
from tunelab.study.read import read_study

STUDY = {
    "study": "templates",
    "question": "Does it matter?",
    "model": "tiny",
    "task": "arithmetic",
    "mismatch": "allow",
    "formats": {"chat": {"template": "chat"}, "raw": {"template": "raw"}},
    "recipe": {"method": "sft", "adaptation": "full", "lr": 0.001, "epochs": 1, "batch_size": 8, "rows": 96},
    "train": {"sft_chat": {"format": "chat", "loss": "all"}, "sft_raw": {"format": "raw", "loss": "completion"}},
    "evaluation": {"rows": 40},
    "evaluate": {"chat": {"format": "chat"}, "raw": {"format": "raw"}},
}


def changed(**fields):
    """The study with some top-level fields replaced; a field set to None is left out."""
    found = copy.deepcopy(STUDY) | fields
    return {k: v for k, v in found.items() if v is not None}


def put(raw, path, value):
    """The study with ``value`` at a dotted path."""
    found = node = copy.deepcopy(raw)
    *parents, last = path.split(".")
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return found


def opened(folder, raw=STUDY, *overrides, skipped=()):
    """Write a study to a file and read it back: its points."""
    path = folder / "study.yaml"
    path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return read_study(str(path), overrides, skipped)


def only(folder, raw=STUDY, *overrides, skipped=()):
    """The study of a file without a sweep."""
    [(label, study)] = opened(folder, raw, *overrides, skipped=skipped)
    assert label == ""
    return study


def compiled(folder, raw=STUDY, *overrides, skipped=()):
    """Write, read and compile a study."""
    return compile_study(opened(folder, raw, *overrides, skipped=skipped), folder)


def kinds(found):
    """Number of steps by kind."""
    return dict(Counter(step.kind for step in topological([found.report])))


def fingerprints(found):
    """Every step's fingerprint, in order."""
    return [step.fingerprint for step in topological([found.report])]


ECHO_TASK = """
from tunelab.data.sample import Message, Sample
from tunelab.scoring.score import Metric, judged


class Echo:
    name = "echo"
    version = 1
    scorer_version = 1
    dataset = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("same"),)
    stop = ()
    max_new_tokens = 8

    def load(self, split, source):
        for i in range(200):
            yield Sample(f"{split}-{i}", {"word": f"{split} {i}"}, (f"{i}",))

    def messages(self, sample):
        return [Message("user", sample.fields["word"])]

    def target(self, sample):
        return sample.targets[0]

    def score(self, sample, output):
        right = output == sample.targets[0]
        return judged(right, output, {"same": float(right)})
"""
"""A user's task file."""
