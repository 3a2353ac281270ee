"""GRPO killed at any moment and resumed: the prompts, draws, rewards and metrics of an undisturbed run.

The processes are forked from one that has imported the libraries, which is most of what starting one takes.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest

import tunelab
from tunelab.engine.runner import Runner
from tunelab.study.api import SilentReporter
from tunelab.study.open import open_points

KILLS = 6
STEPS = 24
PROMPTS = 4
GIVE_UP_SECONDS = 120


def study() -> tunelab.Study:
    grpo = {"num_generations": 4, "max_new_tokens": 16, "rewards": {"format": 0.2, "length": 0.1}}
    recipe: dict[str, Any] = {"method": "grpo", "adaptation": "full", "lr": 1e-4, "epochs": 2, "grpo": grpo}
    trained = tunelab.Train(format="chat", batch_size=PROMPTS, rows=STEPS * PROMPTS // 2, **recipe)
    return tunelab.Study(
        study="killed",
        question="Does a kill change what is learnt?",
        model="tiny",
        task="arithmetic",
        formats={"chat": tunelab.Format(template="chat")},
        train={"grpo": trained},
        evaluate={"chat": tunelab.Evaluate(format="chat", rows=8)},
        hardware=tunelab.Hardware(device="cpu"),
    )


def train(folder: Path) -> None:
    """Run the study as far as its training."""
    opened = open_points([("", study())], folder, folder / "store")
    outcome = Runner(opened.store, SilentReporter()).run([opened.compiled.train["grpo"]])
    assert outcome.ok


@pytest.fixture(scope="module")
def start():
    """Start a process that trains in a folder, unless it has finished there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tunelab.study.steps.train", "tunelab.study.api"])

    def started(folder: Path) -> Any:
        process = context.Process(target=train, args=(folder,))
        process.start()
        return process

    return started


def files(folder: Path, name: str) -> list[Path]:
    return list(folder.glob(f"store/train/*/{name}"))


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """Whole lines of a file of the training, which may be growing."""
    found = [line for path in files(folder, name) for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in found if line.endswith("\n")]


def reached(folder: Path, since: int) -> int:
    """Steps whose completions were drawn, once the file was written after ``since`` in nanoseconds."""
    fresh = any(path.stat().st_mtime_ns > since for path in files(folder, "rollouts.jsonl"))
    return max((row["step"] + 1 for row in lines(folder, "rollouts.jsonl")), default=0) if fresh else 0


def kill_at(start: Any, folder: Path, step: int, pause: float) -> None:
    """Train, and kill with SIGKILL a moment after this process itself has drawn for a step."""
    since, deadline = time.time_ns(), time.monotonic() + GIVE_UP_SECONDS
    process = start(folder)
    while reached(folder, since) < step and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(pause)
    process.kill()
    process.join()
    assert process.exitcode == -9


def test_killed_at_six_random_moments_grpo_ends_with_the_rollouts_of_an_undisturbed_run(tmp_path, start):
    calm, torn, moments = tmp_path / "calm", tmp_path / "torn", random.Random(5)
    processes = [start(calm)]
    for step in sorted(moments.sample(range(1, STEPS), KILLS)):
        kill_at(start, torn, step, moments.uniform(0, 0.1))
    processes.append(start(torn))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    whole, again = (lines(folder, "rollouts.jsonl") for folder in (calm, torn))
    assert len(whole) == STEPS * PROMPTS
    assert [(row["step"], row["id"]) for row in again] == [(row["step"], row["id"]) for row in whole]
    assert again == whole
    whole, again = (lines(folder, "metrics.jsonl") for folder in (calm, torn))
    assert [row["step"] for row in again] == list(range(1, STEPS + 1))
    for name in ("reward", "loss", "entropy"):
        assert [row[name] for row in again] == [row[name] for row in whole]
    assert sum(event["event"] == "started" for event in lines(torn, "attempts.jsonl")) == KILLS + 1
