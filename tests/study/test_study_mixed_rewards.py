"""Two rewards at once: a policy that is rewarded by two tasks gets better at both; and what a judge's word counts."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest
import yaml
from study_files import compiled

from tunelab.engine.runner import Runner
from tunelab.errors import StudyError
from tunelab.files import read_json, read_lines
from tunelab.study.api import SilentReporter
from tunelab.study.compile import compile_study
from tunelab.study.configurations import configuration, portable
from tunelab.study.open import open_study
from tunelab.study.smoke import smoke
from tunelab.study.spec import Study
from tunelab.tasks.find import find_task

EXAMPLE = Path(__file__).parents[2] / "examples" / "mixed_rewards"
NAMING = f"{EXAMPLE}/naming.py:Naming"


def ran(path, store, *overrides):
    found = open_study(str(path), list(overrides), store)
    return found, Runner(found.store, SilentReporter()).run(found.targets())


def artifact(found, outcome, step):
    return found.store.open(outcome.effective[step.fingerprint])


def rewards(rows, component="task"):
    """Mean of a component by task over the first and over the last quarter of the steps."""
    steps = max(row["step"] for row in rows) + 1
    ends = defaultdict(lambda: ([], []))
    for row in rows:
        for end, wanted in enumerate((row["step"] < steps / 4, row["step"] >= 3 * steps / 4)):
            if wanted:
                ends[row["task"]][end].extend(v for v in row["components"].get(component, []) if v is not None)
    return {task: (mean(first), mean(last)) for task, (first, last) in ends.items()}


def test_both_rewards_of_the_example_rise(tmp_path):
    found, outcome = ran(EXAMPLE / "study.yaml", tmp_path, "evaluate.*.rows=60")
    assert outcome.ok
    rows = read_lines(artifact(found, outcome, found.compiled.train["both"]).path("rollouts.jsonl"))
    assert all(last > first + 0.1 for first, last in rewards(rows).values()), rewards(
        rows
    )  # 0.43 to 0.65 and 0.16 to 0.60 when this was written
    of_step = defaultdict(list)
    for row in rows:
        of_step[row["step"]].append(row["task"])
    assert all(sorted(tasks) == ["arithmetic"] * 4 + ["naming.py:Naming"] * 4 for tasks in of_step.values())
    compared = read_json(artifact(found, outcome, found.compiled.compare).path("comparison.json"))["comparisons"]
    assert {row["cell"]: row["verdict"] for row in compared} == {"both/arithmetic": "better", "both/naming": "better"}


JUDGED = {
    "study": "rewarded",
    "question": "Does a judge's word count?",
    "model": "tiny",
    "formats": {"chat": {"template": "chat"}},
    "recipe": {"method": "grpo", "adaptation": "full", "lr": 1e-4, "epochs": 1, "batch_size": 4, "rows": 8,
               "format": "chat", "grpo": {"num_generations": 4}},
    "train": {"both": {"task": ["arithmetic", NAMING]}},
    "evaluate": {"arithmetic": {"task": "arithmetic", "format": "chat", "rows": 8}},
    "judges": {"holds": {"kind": "contains"}, "tiny": {"kind": "causal", "model": "tiny", "guideline": "correctness"}},
}  # fmt: skip


def study(folder, rewards, **fields):
    raw = json.loads(json.dumps(JUDGED | fields))
    raw["train"]["both"]["grpo"] = {"rewards": {"judges": rewards}}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def test_a_judges_reward_is_kept_beside_the_tasks_and_counts_in_the_sum(tmp_path):
    plain = {"hardware": {"generation": "plain"}}
    found, outcome = ran(study(tmp_path, {"holds": {"weight": 0.5, "of": [NAMING]}}, **plain), tmp_path / "store")
    assert outcome.ok
    made = artifact(found, outcome, found.compiled.train["both"])
    assert made.record.facts["generation"] == {
        "engine": "plain",
        "why": "hardware.generation is plain, as auto is on mps",
    }
    rows = read_lines(made.path("rollouts.jsonl"))
    assert {row["task"]: list(row["components"]) for row in rows} == {
        "arithmetic": ["task"], NAMING: ["task", "judge_holds"],
    }  # fmt: skip
    for row in rows:
        said = row["components"].get("judge_holds", [0.0] * 4)
        assert row["rewards"] == pytest.approx(
            [t + 0.5 * j for t, j in zip(row["components"]["task"], said, strict=True)]
        )


def test_a_judge_that_cannot_tell_right_from_wrong_stops_the_training_before_its_first_step(tmp_path):
    _, outcome = ran(study(tmp_path, {"tiny": {"weight": 1.0}}), tmp_path / "store")
    [why] = outcome.failures().values()
    assert "grpo.rewards.judges.tiny: got no verdict for 8 accepted answers" in why
    cache = list((tmp_path / "store" / "cache" / "verdicts").glob("*/*.json"))
    assert len(cache) == 16  # gold and garbage of eight rows of the first task that is checked, each asked once


def test_another_judge_or_weight_is_another_training_and_a_judge_of_no_reward_is_none(tmp_path):
    def trained(rewards, **fields):
        return compiled(tmp_path, yaml.safe_load(study(tmp_path, rewards, **fields).read_text())).train["both"]

    half, whole = trained({"holds": {"weight": 0.5}}), trained({"holds": {"weight": 1.0}})
    named = trained({"holds": {"weight": 0.5, "of": [NAMING]}})
    plain, fewer = trained({}), trained({}, judges={})
    assert len({step.fingerprint for step in (half, whole, named, plain)}) == 4
    assert plain.fingerprint == fewer.fingerprint
    with pytest.raises(StudyError, match=r"grpo\.rewards\.judges: unknown judge 'hold'; did you mean 'holds'\?"):
        trained({"hold": {"weight": 1.0}})
    with pytest.raises(StudyError, match=r"judges\.holds\.of: got 'sst2', expected a task of the entry"):
        trained({"holds": {"weight": 1.0, "of": ["sst2"]}})


def test_a_judge_that_is_nowhere_blocks_the_training(tmp_path):
    path = study(tmp_path, {"far": {"weight": 1.0}}, judges={"far": {"kind": "causal", "model": "./nowhere"}})
    step = open_study(str(path), [], tmp_path / "store").compiled.train["both"]
    assert step.blocked.startswith("judge far: model './nowhere'")


def test_balanced_batches_and_another_rollout_batch_are_other_trainings(tmp_path):
    raw = yaml.safe_load(study(tmp_path, {}).read_text()) | {"tasks": {"words": [NAMING]}}

    def trained(**changes):
        changed = json.loads(json.dumps(raw))
        changed["train"]["both"]["grpo"] |= changes.get("grpo", {})
        changed["hardware"] = changes.get("hardware", {})
        return compiled(tmp_path, changed).train["both"]

    plain, turns = trained(), trained(grpo={"batches": "balanced"})
    assert turns.settings["balanced"] == {"arithmetic": "arithmetic", NAMING: "words"}
    small = trained(hardware={"rollout_batch_size": 8})
    assert len({step.fingerprint for step in (plain, turns, small)}) == 3
    assert trained(hardware={"rollout_batch_size": 64}).fingerprint == plain.fingerprint
    alone = json.loads(json.dumps(raw))
    alone["train"]["both"]["task"] = "arithmetic"
    one = compiled(tmp_path, alone).train["both"].fingerprint
    alone["train"]["both"]["grpo"]["batches"] = "balanced"
    assert "balanced" not in compiled(tmp_path, alone).train["both"].settings
    assert one == compiled(tmp_path, alone).train["both"].fingerprint


def test_a_judge_that_rewards_a_smoke_run_can_tell_right_from_wrong():
    raw = json.loads(json.dumps(JUDGED))
    raw["judges"] = {"mine": {"kind": "causal", "model": "big/one", "guideline": "my_rules.txt"},
                     "other": {"kind": "causal", "model": "big/one"}}  # fmt: skip
    raw["train"]["both"]["grpo"] = {"rewards": {"judges": {"mine": {"weight": 1.0}}}}
    raw["train"]["both"] = raw.pop("recipe") | raw["train"]["both"]
    raw["recipe"], raw["evaluation"] = {}, {}
    small = smoke(Study.model_validate(raw))
    assert {name: judge.kind for name, judge in small.judges.items()} == {
        "mine": "contains", "other": "causal", "refusals": "refusals",
    }  # fmt: skip


def test_a_judge_is_of_a_task_once_and_in_any_order(tmp_path):
    def trained(of):
        rewards = {"holds": {"weight": 1.0, "of": of}}
        return compiled(tmp_path, yaml.safe_load(study(tmp_path, rewards).read_text())).train["both"].fingerprint

    assert trained([NAMING, "arithmetic"]) == trained(["arithmetic", NAMING])
    with pytest.raises(StudyError, match=r"judges\.holds\.of: got arithmetic twice, expected every task once"):
        trained(["arithmetic", "arithmetic"])


def test_a_variants_own_configuration_has_the_judges_that_rewarded_it(tmp_path):
    (tmp_path / "rules.txt").write_text("Be fair.")
    judges = {**JUDGED["judges"], "fair": {"kind": "causal", "model": "tiny", "guideline": "rules.txt"}}
    rewards = {"holds": {"weight": 1.0}, "fair": {"weight": 0.5, "of": ["arithmetic"]}}
    made = compiled(tmp_path, yaml.safe_load(study(tmp_path, rewards, judges=judges).read_text()))
    found = configuration(made, "both")
    assert set(found["judges"]) == {"holds", "fair"}
    assert found["judges"]["fair"]["guideline"] == str(tmp_path / "rules.txt")
    again = compile_study([("", Study.model_validate(found))], tmp_path).train["both"]
    assert again.settings["reward"] == made.train["both"].settings["reward"]
    elsewhere = portable(found)
    assert elsewhere["judges"]["fair"]["guideline"] == "rules.txt"


def test_the_tasks_of_a_judge_are_found_beside_a_portable_configuration(tmp_path):
    task = tmp_path / "own.py"
    task.write_text((EXAMPLE / "naming.py").read_text())
    raw = yaml.safe_load(study(tmp_path, {"holds": {"weight": 1.0, "of": ["./own.py:Naming"]}}).read_text())
    raw["train"]["both"]["task"] = ["arithmetic", "./own.py:Naming"]
    found = configuration(compiled(tmp_path, raw), "both")
    of = found["train"]["both"]["grpo"]["rewards"]["judges"]["holds"]["of"]
    assert of == [f"{task}:Naming"]
    assert portable(found)["train"]["both"]["grpo"]["rewards"]["judges"]["holds"]["of"] == ["own.py:Naming"]


def test_the_identity_of_a_reward_has_the_stop_and_budget_of_every_task(tmp_path):
    reward = compiled(tmp_path, yaml.safe_load(study(tmp_path, {}).read_text())).train["both"].settings["reward"]
    first, second = find_task("arithmetic"), find_task(NAMING)
    assert reward["members"] == [
        {"stop": list(task.stop), "max_new_tokens": task.max_new_tokens} for task in (first, second)
    ]
