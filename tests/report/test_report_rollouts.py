"""The health of GRPO: counted from the rollouts, drawn for the variants that have any, absent elsewhere."""

import json
from types import SimpleNamespace

import pytest
from report_fakes import ROLLOUTS, build, report_step

from tunelab.report.rollouts import POINTS, grpo_health, health_of, health_table


def trained(folder, method="grpo", groups=ROLLOUTS, logged=()):
    """A train step's artifact with these rollouts and metrics."""
    folder.mkdir(exist_ok=True)
    for name, rows in (("rollouts.jsonl", groups), ("metrics.jsonl", logged)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = SimpleNamespace(settings={"recipe": {"method": method}}, files=["rollouts.jsonl", "metrics.jsonl"])
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
    }


def test_a_step_without_any_score_has_no_reward(tmp_path):
    groups = [{"step": 0, "id": "a", "rewards": [None, None], "clipped": 0, "no_answer": 2}, ROLLOUTS[2]]
    health = health_of({"grpo": trained(tmp_path / "one", groups=groups)})
    assert health["grpo"].curves["reward"] == [(2, 1)]
    assert health_table(health).rows[0][1:3] == [1, 1]


@pytest.mark.parametrize("kl", [None, 0.1])
def test_entropy_and_divergence_have_panels_when_they_were_logged(tmp_path, kl):
    logged = [{"step": i, "entropy": 1.0, **({} if kl is None else {"kl": kl})} for i in range(1, 4)]
    healths = health_of({"a": trained(tmp_path / "a", logged=logged), "b": trained(tmp_path / "b")})
    panels = grpo_health(healths).figure.axes
    assert [axes.get_ylabel().partition(" ")[0] for axes in panels][3:] == ["entropy", "KL"][: 1 if kl is None else 2]
    assert [len(axes.lines) for axes in panels[:3]] == [2, 2, 2]
    assert [[line.get_label() for line in axes.lines if len(line.get_xdata())] for axes in panels[3:4]] == [["a"]]


def test_long_trainings_are_drawn_as_means_of_spans(tmp_path):
    groups = [{"step": s, "id": "a", "rewards": [s % 2, s % 2], "clipped": 0, "no_answer": 0} for s in range(400)]
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
