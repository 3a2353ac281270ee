"""Figures and tables of several tasks: every variant has its place, one scale of colours, averages everywhere."""

import csv
import io

import pytest
from report_fakes import study

from tunelab.report.colouring import Field, coloured, reach
from tunelab.report.drawing import Picture, new_figure, save
from tunelab.report.evidence import TABLES, Evidence
from tunelab.report.ranks import rank_scores
from tunelab.report.several import averages, averages_csv, averages_markdown, protocol
from tunelab.report.task_tree import task_tree
from tunelab.report.transfer import transfer

TASKS = ("sst2", "mnli")


def cell(variant, task, value, trained_on=None, size=4, scale=1.0):
    """A scored cell as the comparison writes it; without ``trained_on`` the base's."""
    found = {"value": value, "low": value - 0.1 * scale, "high": value + 0.1 * scale, "scale": scale}
    return {
        "cell": f"{variant}/{task}", "variant": variant, "evaluation": task, "task": task, "matched": None,
        "baseline": f"base/{task}" if trained_on else None, "size": size if trained_on else None,
        "factors": {"trained_on": trained_on}, "headline": "m", "metrics": {"m": found}, "scored": 9,
    }  # fmt: skip


def trained(variant, trained_on, values, size=4):
    return [cell(variant, task, value, trained_on, size) for task, value in zip(TASKS, values, strict=True)]


def change(cell, difference, verdict="undecided"):
    return {"cell": cell, "difference": difference, "low": difference - 0.1, "high": difference + 0.1,
            "p_adjusted": 0.5, "verdict": verdict, "minimum_detectable_effect": 0.2}  # fmt: skip


class Asked:
    """The comparison among a report's inputs: it names the cells that were asked for."""

    def __init__(self, cells):
        self.record = self
        self.settings = {"cells": cells}


def evidence(cells, comparisons=(), tree=(), **changes):
    comparison = {name: [] for name in TABLES} | {
        "alpha": 0.05, "cells": cells, "comparisons": list(comparisons), "tree": list(tree),
    }  # fmt: skip
    return Evidence(study(**changes), {"compare": Asked(cells)}, {}, comparison, {})


def node(path, variant, tasks, value=None, difference=None, verdict="undecided"):
    row = {"node": path, "tasks": tasks, "variant": variant, "eval_format": "raw"}
    if value is None:
        return row | {"missing": tasks[:1]}
    row |= {"value": value, "low": value - 0.1, "high": value + 0.1}
    if difference is not None:
        ends = {"difference_low": difference - 0.05, "difference_high": difference + 0.05}
        row |= {"difference": difference, **ends, "p_value": 0.01, "p_adjusted": 0.02, "verdict": verdict}
    return row


TREE = [
    node(["similar"], "base", ["sst2", "mnli"], 0.5),
    node(["similar"], "one", ["sst2", "mnli"], 0.6, 0.1, "better"),
    node(["similar"], "two", ["sst2", "mnli"]),
    node(["similar", "sst2"], "base", ["sst2"], 0.4),
    node(["similar", "sst2"], "one", ["sst2"], 0.3, -0.1),
]


def texts(picture):
    return [text.get_text() for axes in picture.figure.axes for text in axes.texts]


def lines(axes):
    return [tick.get_text() for tick in axes.get_yticklabels()]


def drawn(strongest, *changes):
    _, [axes] = new_figure(4, 1)
    coloured(axes, ["line"], [str(c) for c in changes], [[Field("", c) for c in changes]], strongest)
    [image] = axes.get_images()
    return image.to_rgba(image.get_array())[0]


def test_better_is_purple_and_worse_is_orange():
    worse, better = drawn(0.2, -0.1, 0.1)
    assert worse[0] > worse[2]
    assert better[2] > better[1]
    assert better[2] > better[0]


def test_a_change_has_the_colour_of_its_size_in_every_panel():
    assert drawn(0.4, 0.1, 0.4)[0] == pytest.approx(drawn(0.4, 0.1)[0])


def test_the_strongest_colour_is_the_largest_change_either_way():
    assert reach([Field("", 0.1), Field("", -0.3), Field("50.0", None)]) == 0.3
    assert reach([Field("50.0", None)]) == 0.0


def test_the_tree_shows_changes_scores_of_the_baseline_and_what_is_missing():
    picture = task_tree(TREE)
    assert texts(picture) == ["similar", "50.0", "40.0", "+10.0*", "-10.0", "○", "○"]
    assert lines(picture.figure.axes[1]) == ["base", "one", "two"]
    assert task_tree([]).figure is None


def test_transfer_shows_every_variant_that_was_trained_on_the_same():
    cells = [
        *trained("even", "sst2 + mnli", (0.5, 0.5)),
        *trained("odd", "sst2 + mnli", (0.7, 0.8)),
        *trained("single", "sst2", (0.9, 0.1)),
    ]
    picture = transfer(evidence(cells, [change("odd/mnli", 0.3, "better"), change("single/mnli", -0.4)]))
    [axes] = picture.figure.axes
    assert lines(axes) == ["even: sst2 + mnli", "odd: sst2 + mnli", "sst2"]
    assert texts(picture) == ["50.0", "50.0", "70.0", "+30.0*", "90.0", "-40.0"]


def test_transfer_has_a_panel_for_each_kind_of_weights_full_first_on_one_scale():
    cells = [
        *trained("a", "sst2", (0.5, 0.5), 16),
        *trained("b", "mnli", (0.5, 0.5), 4),
        *trained("c", "mnli", (0.5, 0.5), "full"),
    ]
    changes = [change("a/sst2", 0.1), change("b/sst2", 0.4), change("c/sst2", -0.2)]
    panels = transfer(evidence(cells, changes)).figure.axes
    assert [axes.get_title() for axes in panels] == ["full weights", "LoRA rank 4", "LoRA rank 16"]
    assert {axes.get_images()[0].get_clim() for axes in panels} == {(-0.4, 0.4)}


def test_a_change_in_points_of_a_scale_is_drawn_as_a_share_of_it():
    cells = [*trained("a", "sst2", (0.5, 0.5)), cell("b", "bleu", 20.0, "mnli", scale=100.0)]
    assert "+5.0" in texts(transfer(evidence(cells, [change("b/bleu", 5.0)])))


def test_one_task_or_one_set_of_training_data_has_no_transfer():
    assert transfer(evidence(trained("a", "sst2", (0.5, 0.5)))).figure is None
    one_task = [cell("a", "sst2", 0.5, "sst2"), cell("b", "sst2", 0.5, "mnli")]
    assert transfer(evidence(one_task)).figure is None


def test_ranks_are_in_order_with_full_weights_last_and_only_where_there_are_any():
    adapters = [*trained("b", "sst2", (0.2, 0.2), 16), *trained("a", "sst2", (0.1, 0.1), 4)]
    ticks = [t.get_text() for t in rank_scores(adapters).figure.axes[0].get_xticklabels()]
    assert ticks == ["4", "16"]
    [line, *_] = rank_scores([*trained("c", "sst2", (0.3, 0.3), "full"), *adapters]).figure.axes[0].get_lines()
    assert list(line.get_ydata()) == [0.1, 0.2, 0.3]
    assert rank_scores(adapters[:2]).figure is None


def test_no_line_joins_variants_of_one_rank():
    cells = [
        *trained("a", "sst2", (0.1, 0.1), 4),
        *trained("b", "sst2", (0.2, 0.2), 8),
        *trained("c", "sst2", (0.3, 0.3), 8),
    ]
    [line, *_] = rank_scores(cells).figure.axes[0].get_lines()
    assert line.get_linestyle() == "None"
    assert len(line.get_ydata()) == 3


def test_averages_list_groups_only_and_say_what_is_missing():
    rows = averages(evidence([], tree=TREE)).rows
    assert [row[:2] for row in rows] == [["similar", "base"], ["similar", "one"], ["similar", "two"]]
    assert "no result: sst2" in rows[2][-2]


def test_averages_are_in_the_markdown():
    text = averages_markdown(evidence([], tree=TREE))
    assert "| similar | one | raw | 0.600 | [0.500, 0.700] | +0.100 | [+0.050, +0.150] | 0.02 |" in text
    assert averages_markdown(evidence([])) == ""


def test_averages_of_groups_and_tasks_are_in_a_csv_with_every_digit():
    found = list(csv.DictReader(io.StringIO(averages_csv(TREE))))
    assert [row["node"] for row in found] == ["similar"] * 3 + ["similar/sst2"] * 2
    assert float(found[1]["difference_low"]) == 0.05
    assert (found[2]["value"], found[2]["missing"]) == ("", "sst2")


@pytest.mark.parametrize(
    ("searches", "expected"),
    [
        ((None, None), "Learning rates were fixed beforehand (0.1 and 0.2)"),
        (({"rows": 20}, {"rows": 20}), "Every variant had a learning rate of its own, chosen on 20 rows"),
        (({"rows": 20}, None), "1 of 2 variants had a learning rate of its own"),
    ],
)
def test_the_page_says_how_learning_rates_were_chosen(searches, expected):
    found = evidence([])
    train = {f"v{i}": {"lr": 0.1 * (i + 1), "lr_search": search} for i, search in enumerate(searches)}
    assert protocol(Evidence({**found.study, "train": train}, {}, {}, found.comparison, {})).startswith(expected)


def test_a_figure_that_is_saved_again_is_the_same(tmp_path):
    figure, [axes] = new_figure(4, 1)
    axes.set_xlabel("accuracy")
    for copy in ("first", "again"):
        (tmp_path / copy).mkdir()
        save(Picture("one", "One", "a figure", figure), tmp_path / copy)
    for kind in ("png", "svg"):
        first, again = ((tmp_path / copy / f"one.{kind}").read_bytes() for copy in ("first", "again"))
        assert first == again
