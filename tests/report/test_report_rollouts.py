"""The health of GRPO: counted from the rollouts, drawn for the variants that have any, absent elsewhere."""

import json
import random
from types import SimpleNamespace

import pandas as pd
import pytest
from report_fakes import ROLLOUTS, build, group, report_step

from tunelab.report.curves import training_curves
from tunelab.report.rollouts import POINTS, grpo_health, health_of, health_table, silences
from tunelab.report.rollouts_by_task import refused_gold, task_curves, task_table


def trained(folder, method="grpo", groups=ROLLOUTS, logged=(), beta=0.0):
    """A train step's artifact with these rollouts and metrics."""
    folder.mkdir(exist_ok=True)
    for name, rows in (("rollouts.jsonl", groups), ("metrics.jsonl", logged)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"recipe": {"method": method, "grpo": {"beta": beta}}}
    record = SimpleNamespace(settings=settings, files=["rollouts.jsonl", "metrics.jsonl"])
    return SimpleNamespace(record=record, path=lambda name: folder / name)


@pytest.fixture
def one(tmp_path):
    return health_of({"grpo": trained(tmp_path / "one")})


def test_curves_are_means_per_step_without_the_unscored(one):
    curves = one["grpo"].curves
    assert curves["reward"] == [(1, 1 / 7), (2, 6 / 7), (3, 7 / 8)]
    assert curves["zero_variance"] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert curves["clipped"] == [(1, 0.75), (2, 0), (3, 0.25)]
    assert curves["kl"] == curves["entropy"] == []


def test_the_table_counts_groups_completions_and_prompts(one):
    table = health_table(one)
    assert dict(zip(table.columns, table.rows[0], strict=True)) == {
        "variant": "grpo",
        "first reward": 1 / 7,
        "last reward": 7 / 8,
        "groups without variance": "3 (50.0%)",
        "completions cut by the budget": "8 (33.3%)",
        "without an answer": "5 (20.8%)",
        "unscored": "2 (8.3%)",
        "visits to prompts": 6,
        "prompts visited": 4,
        "first entropy": None,
        "last entropy": None,
        "last KL from the base": "not computed (beta 0)",
    }


def test_a_step_without_any_score_has_no_reward(tmp_path):
    groups = [group(0, "a", [None, None], no_answer=2), ROLLOUTS[2]]
    health = health_of({"grpo": trained(tmp_path / "one", groups=groups)})
    assert health["grpo"].curves["reward"] == [(2, 1)]
    assert health_table(health).rows[0][1:3] == [1, 1]


@pytest.mark.parametrize("kl", [None, 0.1])
def test_entropy_and_divergence_have_panels_when_they_were_logged(tmp_path, kl):
    logged = [{"step": i, "entropy": 1.0, **({} if kl is None else {"kl": kl})} for i in range(1, 4)]
    one = trained(tmp_path / "a", logged=logged, beta=0.0 if kl is None else 0.1)
    healths = health_of({"a": one, "b": trained(tmp_path / "b")})
    panels = grpo_health(healths).figure.axes
    assert [axes.get_ylabel().partition(" ")[0] for axes in panels][3:] == ["entropy", "KL"][: 1 if kl is None else 2]
    assert [len(axes.lines) for axes in panels[:3]] == [2, 2, 2]
    assert [[line.get_label() for line in axes.lines if len(line.get_xdata())] for axes in panels[3:4]] == [["a"]]


def test_long_trainings_are_drawn_as_means_of_spans(tmp_path):
    groups = [group(s, "a", [s % 2, s % 2]) for s in range(400)]
    curve = health_of({"grpo": trained(tmp_path / "one", groups=groups)})["grpo"].curves["reward"]
    assert len(curve) == POINTS
    assert {value for _, value in curve} == {0.5}
    assert curve[0][0] == 5.5


def test_only_grpo_variants_with_rollouts_have_a_health(tmp_path):
    assert health_of({"sft": trained(tmp_path / "a", method="sft"), "none": trained(tmp_path / "b", groups=[])}) == {}


def test_a_report_with_grpo_has_its_figure_and_table_and_one_without_has_neither(tmp_path, crossed):
    artifact = build(tmp_path, report_step({"base/raw": 20, "sft_raw/raw": 40, "grpo_raw/raw": 45}))
    page = artifact.path("index.html").read_text(encoding="utf-8")
    assert {"grpo_health.png", "grpo_health.svg", "training_curves.png"} <= set(artifact.record.files)
    assert "What GRPO had to learn from" in page
    assert "3 (50.0%)" in page
    assert "grpo_raw: mean reward 0.143 to 0.875" in page
    assert "grpo_health.png" not in crossed.record.files
    assert "GRPO" not in crossed.path("index.html").read_text(encoding="utf-8")


def seeded(steps=90, groups=3, size=4):
    """Rollouts with two extra rewards, some of them unscored, as rows of a run would be."""
    draw = random.Random(3)
    rows = []
    for step in range(steps):
        for index in range(groups):
            task = [draw.choice([0.0, 0.0, 1.0, 1.0, 1.0, None]) for _ in range(size)]
            form, length = [draw.choice([0.0, 1.0]) for _ in task], [-draw.random() for _ in task]
            total = [None if t is None else t + 0.2 * f + 0.1 * n for t, f, n in zip(task, form, length, strict=True)]
            same = step % 3 == 0 and index == 0
            parts = {"task": task, "format": form, "length": length}
            if same:
                total, parts = [1.2] * size, {"task": [1.0] * size, "format": [1.0] * size, "length": [0.0] * size}
            clipped, missing = draw.randint(0, size), sum(t is None for t in task)
            rows.append(group(step, f"q{draw.randint(0, 9)}", total, clipped, missing, **parts))
    return rows


def completions(rows):
    """A row a completion, with its group's number."""
    return pd.DataFrame(
        {"step": row["step"], "group": i, "reward": reward, **{k: v[n] for k, v in row["components"].items()}}
        for i, row in enumerate(rows)
        for n, reward in enumerate(row["rewards"])
    ).astype(float)


def test_curves_and_table_agree_with_a_recount_by_another_tool(tmp_path):
    rows = seeded()
    logged = [{"step": s, "entropy": 2 - s / 90, "kl": s / 900} for s in range(1, 91)]
    health = health_of({"g": trained(tmp_path / "g", groups=rows, logged=logged, beta=0.1)})
    each = completions(rows)
    still = each.groupby(["step", "group"])["reward"].nunique() < 2
    cut = pd.DataFrame(rows).groupby("step")["clipped"].sum() / 12
    spans = each["step"] // 3
    for name in ("reward", "task", "format", "length"):
        by_step = each.groupby("step")[name].mean()
        assert [v for _, v in health["g"].curves[name]] == pytest.approx(
            list(by_step.groupby(by_step.index // 3).mean())
        )
    for name, by_step in (("zero_variance", still.groupby("step").mean()), ("clipped", cut)):
        assert [v for _, v in health["g"].curves[name]] == pytest.approx(
            list(by_step.groupby(by_step.index // 3).mean())
        )
    table = health_table(health)
    found = dict(zip(table.columns, table.rows[0], strict=True))
    assert len(health["g"].curves["reward"]) == spans.nunique() == 30
    assert found["groups without variance"] == f"{still.sum()} ({still.mean():.1%})"
    assert found["completions cut by the budget"] == f"{sum(r['clipped'] for r in rows)} ({cut.mean():.1%})"
    assert found["unscored"] == f"{each['reward'].isna().sum()} ({each['reward'].isna().mean():.1%})"
    for name in ("task", "format", "length"):
        assert found[f"mean {name} reward"] == pytest.approx(each[name].mean())
    assert (found["first entropy"], found["last entropy"]) == pytest.approx((2 - 2 / 90, 2 - 89 / 90))
    assert found["last KL from the base"] == pytest.approx(89 / 900)


def test_components_are_shown_where_a_reward_is_not_the_tasks_alone(tmp_path, one):
    extra = trained(tmp_path / "x", groups=seeded(3))
    both = health_of({"plain": trained(tmp_path / "p"), "extra": extra})
    labels = [axes.get_ylabel() for axes in grpo_health(both).figure.axes]
    assert labels[:4] == ["mean reward", "mean task reward", "mean format reward", "mean length reward"]
    assert [len(line.get_xdata()) for line in grpo_health(both).figure.axes[2].lines] == [0, 3]
    rows = {row[0]: dict(zip(health_table(both).columns, row, strict=True)) for row in health_table(both).rows}
    assert rows["plain"]["mean format reward"] is None
    assert not any("task" in axes.get_ylabel() for axes in grpo_health(one).figure.axes)
    weighted = [group(0, "a", [2.0, 0.0], task=[1.0, 0.0])]
    doubled = grpo_health(health_of({"d": trained(tmp_path / "d", groups=weighted)})).figure
    assert doubled.axes[1].get_ylabel() == "mean task reward"


def test_a_divergence_that_was_not_computed_is_not_called_zero(tmp_path, one):
    assert "KL from the base not computed (beta 0)" in grpo_health(one).alt
    computed = health_of({"g": trained(tmp_path / "g", logged=[{"step": 1, "kl": 0.0}], beta=0.1)})
    assert health_table(computed).rows[0][-1] == 0.0
    assert "not computed" not in grpo_health(computed).alt


def test_losses_of_different_methods_share_no_axis(tmp_path):
    logged = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    methods = {"sft_a": "sft", "grpo_a": "grpo", "sft_b": "sft"}
    picture = training_curves({n: trained(tmp_path / n, method, logged=logged) for n, method in methods.items()})
    drawn = [[line.get_label() for line in axes.lines] for axes in picture.figure.axes]
    assert drawn == [["sft_a", "sft_b"], ["grpo_a"]]
    assert [axes.get_ylabel() for axes in picture.figure.axes] == ["sft loss (nats per learnt token)", "grpo loss"]
    assert "cannot be compared" in picture.note
    assert training_curves({"a": trained(tmp_path / "a", "sft", logged=logged)}).note == ""


MIXED = [
    {"task": "sums", **group(0, "sums/a", [1.0, 0.0], clipped=1)},
    {"task": "words", **group(0, "words/a", [0.75, 0.25], task=[0.5, 0.0], judge_grader=[0.5, 0.5])},
    {"task": "sums", **group(1, "sums/b", [1.0, 1.0])},
    {"task": "words", **group(1, "words/b", [None, 0.5], no_answer=1, task=[0.5, 0.5], judge_grader=[None, 0.0])},
]


def test_every_task_has_its_own_rewards_counts_and_verdicts(tmp_path):
    health = health_of({"both": trained(tmp_path / "both", groups=MIXED)})
    table = task_table(health)
    sums, words = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (sums["task"], sums["groups"], sums["first reward"], sums["last reward"]) == ("sums", 2, 0.5, 1.0)
    assert (words["task"], words["groups"], words["first reward"], words["last reward"]) == ("words", 2, 0.5, 0.5)
    assert (sums["mean verdict of grader"], words["mean verdict of grader"]) == (None, pytest.approx(1 / 3))
    assert (sums["groups without variance"], words["groups without variance"]) == ("1 (50.0%)", "1 (50.0%)")
    assert (sums["without a reward"], words["without a reward"]) == ("0", "1 (25.0%)")
    assert (sums["completions cut by the budget"], words["without an answer"]) == ("1 (25.0%)", "1 (25.0%)")
    labels = [axes.get_ylabel() for axes in grpo_health(health).figure.axes]
    assert labels[:3] == ["mean reward", "mean task reward", "mean verdict\nof grader"]


def test_every_task_has_a_panel_and_a_training_on_one_task_has_none(tmp_path, one):
    health = health_of({"both": trained(tmp_path / "both", groups=MIXED), "one": trained(tmp_path / "x")})
    picture = task_curves(health)
    assert [axes.get_ylabel() for axes in picture.figure.axes] == ["sums", "words"]
    assert [[list(line.get_ydata()) for line in axes.lines] for axes in picture.figure.axes] == [
        [[0.5, 1]],
        [[0.5, 0.5]],
    ]
    assert "both on words: 0.500 to 0.500" in picture.alt
    assert task_curves(one).figure is None
    assert task_table(one).rows == []


def test_gold_answers_that_a_reward_refuses_are_named(tmp_path):
    found = trained(tmp_path / "a")
    found.record.facts = {"receipt": {"gold_refused": ["mbpp/sanitized_test-3"]}}
    other = trained(tmp_path / "b")
    other.record.facts = {"receipt": {"gold_refused": []}}
    assert refused_gold({"a": found, "b": other}) == {"a": ["mbpp/sanitized_test-3"]}


def test_verdicts_that_were_missing_are_counted_by_judge_and_reason(tmp_path):
    groups = [dict(MIXED[0]), {**MIXED[1], "silent": {"judge_grader": {"empty": 1, "tie": 2}}},
              {**MIXED[2], "silent": {"judge_grader": {"empty": 1}}}]  # fmt: skip
    health = health_of({"both": trained(tmp_path / "both", groups=groups), "calm": trained(tmp_path / "calm")})
    completions = sum(len(group["rewards"]) for group in groups)
    assert silences(health).rows == [
        ["both", "grader", "empty", f"2 ({2 / completions:.1%})"],
        ["both", "grader", "tie", f"2 ({2 / completions:.1%})"],
    ]


def test_panels_below_each_other_show_the_same_whole_steps(tmp_path):
    short = [dict(group) for group in MIXED if group["task"] == "sums" or group["step"] == 0]
    figure = task_curves(health_of({"both": trained(tmp_path / "both", groups=short)})).figure
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert all(tick == int(tick) for axes in figure.axes for tick in axes.get_xticks())
