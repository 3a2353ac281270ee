"""Figures: the right number of marks, readable without colour, valid files."""

import struct

import numpy as np
import pytest
from report_fakes import CROSSED, N, build, report_step

from tunelab.files import read_json
from tunelab.report.bars import accuracy_bar, accuracy_grouped
from tunelab.report.drawing import label
from tunelab.report.interaction import interaction


@pytest.fixture
def cells(crossed):
    return read_json(next((crossed.directory.parents[1] / "compare").glob("*/comparison.json")))["cells"]


def bars(picture):
    return [patch for axes in picture.figure.axes for patch in axes.patches]


@pytest.mark.parametrize("draw", [accuracy_bar, accuracy_grouped])
def test_each_cell_has_one_bar_of_its_score(cells, draw):
    lengths = [bar.get_width() if draw is accuracy_bar else bar.get_height() for bar in bars(draw(cells))]
    assert sorted(lengths) == sorted(n / N for n in CROSSED.values())


@pytest.mark.parametrize("draw", [accuracy_bar, accuracy_grouped])
def test_evaluations_differ_by_hatch_as_well_as_colour(cells, draw):
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in bars(draw(cells))}
    assert len(looks) == len({colour for colour, _ in looks}) == len({hatch for _, hatch in looks}) == 2


def test_mismatched_cells_are_marked(cells):
    texts = [text.get_text() for axes in accuracy_grouped(cells).figure.axes for text in axes.texts]
    assert texts == ["≠", "≠"]


def test_each_task_has_its_own_panel(cells):
    other = [cell | {"task": "another"} for cell in cells]
    picture = accuracy_grouped([*cells, *other])
    assert len(picture.figure.axes) == 2
    assert len(bars(picture)) == 2 * len(CROSSED)


def test_saved_figures_are_images_of_a_sensible_size(crossed):
    for name in crossed.record.files:
        if name.endswith(".png"):
            head = crossed.path(name).read_bytes()[:24]
            assert head[:8] == b"\x89PNG\r\n\x1a\n"
            assert all(400 <= side <= 3000 for side in struct.unpack(">II", head[16:24]))


def test_one_kind_of_template_gives_no_scatter_and_the_page_says_why(tmp_path):
    artifact = build(tmp_path, report_step({"base/raw": 20, "sft_raw/raw": 40}))
    assert "eval_template_scatter.png" not in artifact.record.files
    assert "both with and without the chat template" in artifact.path("index.html").read_text()


def test_any_name_can_stand_in_a_figure(cells):
    renamed = [cell | {"variant": f"_{cell['variant']} $x^{{ $ {'long' * 20}"} for cell in cells]
    picture = accuracy_grouped(renamed)
    picture.figure.canvas.draw()
    assert label("_a $b$") == r" _a \$b\$"


@pytest.fixture
def points(crossed):
    return read_json(next((crossed.directory.parents[1] / "compare").glob("*/comparison.json")))["interactions"]


def lines(axes):
    """The drawn lines by label: their heights, marker and line style."""
    return {
        container.get_label(): (list(line.get_ydata()), line.get_marker(), line.get_linestyle())
        for container in axes.containers
        for line in [container.lines[0]]
    }


def test_the_interaction_has_a_line_per_training_format_over_the_evaluation_formats(points):
    [axes] = interaction(points).figure.axes
    found = lines(axes)
    assert {name: heights for name, (heights, *_) in found.items()} == {
        "raw": [pytest.approx(40 / N), pytest.approx(11 / N)],
        "chat": [pytest.approx(5 / N), pytest.approx(45 / N)],
    }
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["raw", "chat"]
    assert len({marker for _, marker, _ in found.values()}) == len({style for *_, style in found.values()}) == 2


def test_every_point_of_the_interaction_has_its_interval(points):
    [axes] = interaction(points).figure.axes
    ends = [segment[:, 1] for c in axes.containers for segment in c.lines[2][0].get_segments()]
    expected = [(p["low"], p["high"]) for fmt in ("raw", "chat") for p in points if p["train_format"] == fmt]
    assert np.array(ends) == pytest.approx(np.array(expected))


def test_methods_have_panels_of_their_own_named_by_what_differs(points):
    other = [p | {"method": "grpo"} for p in points]
    picture = interaction([*points, *other, *[p | {"method": "dpo", "model": "b"} for p in points]])
    assert [axes.get_title() for axes in picture.figure.axes] == ["sft, tiny", "grpo, tiny", "dpo, b"]
    assert "grpo, tiny, trained in raw, evaluated in raw: 0.667 from 0.541 to 0.773" in picture.alt


def test_formats_that_are_not_crossed_give_no_interaction_and_the_page_says_why(tmp_path):
    artifact = build(tmp_path, report_step({"base/raw": 20, "sft_raw/raw": 40}))
    assert "interaction.png" not in artifact.record.files
    assert "No two formats are fully crossed" in artifact.path("index.html").read_text()
