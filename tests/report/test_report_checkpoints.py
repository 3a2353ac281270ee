"""Checkpoints that a search chose among, on the page: every interval, and the chosen one without colour."""

import pytest

from tunelab.engine.record import Artifact, Record
from tunelab.report.checkpoints import CHOSEN, checkpoint_curves, checkpoints, few_steps
from tunelab.report.evidence import TABLES, Evidence
from tunelab.report.several import searches


def score(value, metric="numeric"):
    return {"metric": metric, "value": value, "low": value - 0.1, "high": value + 0.2, "n": 40}


def search(chosen, *values, asked=3):
    """Checkpoints after steps 4, 8, … with these values of two tasks."""
    found = [
        {"candidate": 4 * i, "epoch": i / 2, "scores": {"gsm8k": score(a), "sst2": score(b)}, "mean": (a + b) / 2}
        for i, (a, b) in enumerate(values, 1)
    ]
    return {"by": "checkpoints", "asked": asked, "candidates": found, "chosen": chosen}


THREE = search(8, (0.3, 0.5), (0.6, 0.55), (0.5, 0.4))


def evidence(**facts):
    """What a report reads of variants whose steps found these facts."""
    trained = {
        f"train/{name}": Artifact(Record("f", "select", 2, name, {}, {}, {}, found, {}, "", "", 0, 0, 1, {}), None)
        for name, found in facts.items()
    }
    return Evidence({}, trained, {}, dict.fromkeys(TABLES, ()), {})


def test_every_checkpoint_is_in_the_table_and_the_chosen_one_is_marked_by_a_word():
    rows = checkpoints(evidence(medium={"search": THREE}, simple={})).rows
    assert [(row[1], row[2], row[3], row[4]) for row in rows[:3]] == [
        (4, "0.5", "gsm8k", "0.300"),
        (4, "0.5", "sst2", "0.500"),
        (8, "1", "gsm8k", "0.600"),
    ]
    assert [row[-1] for row in rows] == ["", "", CHOSEN, CHOSEN, "", ""]
    assert {row[5] for row in rows[2:3]} == {"[0.500, 0.800]"}


def test_searches_of_checkpoints_and_of_learning_rates_do_not_mix():
    rates = {"by": "lr", "asked": 1, "candidates": [{"candidate": 0.1, "scores": {}, "mean": 0.5}], "chosen": 0.1}
    found = evidence(medium={"search": THREE}, rates={"search": rates})
    assert {row[0] for row in checkpoints(found).rows} == {"medium"}
    assert {row[0] for row in searches(found).rows} == {"rates"}


def test_the_plot_has_a_line_a_task_over_steps_with_intervals_and_a_ring_around_the_chosen_checkpoint():
    picture = checkpoint_curves(evidence(medium={"search": THREE}))
    [axes] = picture.figure.axes
    lines = {c.get_label(): c for c in axes.containers}
    assert list(lines["gsm8k (numeric)"].lines[0].get_xdata()) == [4, 8, 12]
    assert list(lines["gsm8k (numeric)"].lines[0].get_ydata()) == pytest.approx([0.3, 0.6, 0.5])
    ends = [segment[:, 1] for segment in lines["sst2 (numeric)"].lines[2][0].get_segments()]
    assert [list(end) for end in ends] == [pytest.approx(e) for e in ([0.4, 0.7], [0.45, 0.75], [0.3, 0.6])]
    assert len({(c.lines[0].get_marker(), c.lines[0].get_linestyle()) for c in lines.values()}) == 2
    [ring] = [line for line in axes.lines if str(line.get_label()).startswith("chosen")]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([8, 8], [0.6, 0.55])
    assert ring.get_markerfacecolor() == "none"
    assert "step 8, gsm8k: 0.600 [0.500, 0.800] (chosen)" in picture.alt
    assert "optimistic" in picture.note


def test_each_variant_has_a_panel_and_none_has_no_figure():
    both = checkpoint_curves(evidence(a={"search": THREE}, b={"search": search(4, (0.5, 0.5), (0.4, 0.4))}))
    assert [axes.get_title() for axes in both.figure.axes] == ["a", "b"]
    assert checkpoint_curves(evidence(simple={})).figure is None


def test_a_training_with_fewer_steps_than_checkpoints_is_told():
    assert few_steps(evidence(medium={"search": THREE})) == ""
    told = few_steps(evidence(short={"search": search(4, (0.5, 0.5), (0.4, 0.4))}))
    assert told.startswith("short has 2 of the 3 checkpoints that were asked for")
