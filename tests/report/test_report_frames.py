"""Frames hold what the files of a real, small study hold, and what its rows are."""

import json

import pytest

from tunelab import Data, Evaluate, Format, Study, Train, open_results, run, stats_of
from tunelab.errors import DataError, StudyError

STUDY = Study(
    study="frames",
    question="What is in a frame?",
    model="tiny",
    task="arithmetic",
    formats={"chat": Format(template="chat")},
    train={
        "sft": Train(
            **{"method": "sft", "adaptation": "full", "loss": "completion", "lr": 1e-5, "epochs": 1},
            **{"batch_size": 8, "format": "chat", "rows": 24},
        )
    },
    evaluate={"chat": Evaluate(format="chat", rows=12)},
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a study that has run, and the comparison that it returned."""
    root = tmp_path_factory.mktemp("frames")
    comparison = run(STUDY, store=root / ".tunelab", results=root / "results")
    return root / "results" / "frames", comparison


def test_cells_and_comparisons_say_what_the_run_returned(finished):
    folder, comparison = finished
    results = open_results(folder)
    base, tuned = comparison["cells"]
    [compared] = comparison["comparisons"]
    assert results.comparison == comparison
    assert list(results.cells["variant"]) == ["base", "sft"]
    assert list(results.cells["value"]) == [cell["metrics"]["numeric"]["value"] for cell in (base, tuned)]
    assert list(results.cells["n"]) == [12, 12]
    assert results.cells["difference"].isna()[0]
    assert results.cells["difference"][1] == compared["difference"]
    assert results.comparisons.to_dict("records")[0]["p_value"] == compared["p_value"]
    assert set(results.metrics["interval_method"]) == {"wilson"}


def test_scores_have_a_row_a_sample_and_average_to_the_cells_value(finished):
    folder, comparison = finished
    scores = open_results(folder).scores
    assert len(scores) == 24
    assert list(scores.columns) == ["variant", "evaluation", "task", "id", "sample", "outcome", "numeric"]
    for cell in comparison["cells"]:
        lines = (folder / "eval" / f"{cell['variant']}_eval_chat" / "scores.jsonl").read_text().splitlines()
        own = scores[scores["variant"] == cell["variant"]]
        assert list(own["id"]) == [json.loads(line)["id"] for line in lines]
        assert own["numeric"].mean() == pytest.approx(cell["metrics"]["numeric"]["value"], abs=1e-12)


def test_training_has_what_was_logged_at_each_step(finished):
    training = open_results(finished[0]).training
    assert list(training["step"]) == [1, 2, 3]  # 24 rows, 8 a step
    assert set(training["variant"]) == {"sft"}
    assert (training["loss"] > 0).all()


def test_links_to_what_a_run_no_longer_trains_are_removed(finished):
    folder, _ = finished
    assert [path.name for path in (folder / "training").iterdir()] == ["sft.jsonl"]
    untrained = STUDY.model_copy(update={"train": {}})
    run(untrained, store=folder.parents[1] / ".tunelab", results=folder.parent)
    assert [*(folder / "training").iterdir()] == []
    assert open_results(folder).training.empty


def test_a_folder_without_results_is_refused_in_one_line(tmp_path):
    with pytest.raises(StudyError, match=r"got a folder without comparison\.json, expected results/<study>"):
        open_results(tmp_path)


def rows(tmp_path, *problems):
    """Own rows for gsm8k."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in problems))
    return Data(files={"train": str(path)})


def test_statistics_count_the_rows_that_are_there(tmp_path):
    once = {"question": "One and one?", "answer": "#### 2"}
    twice = [once, once, {"question": "Two and two in all?", "answer": "#### 4"}]
    stats = stats_of("gsm8k", limits=[12], data=rows(tmp_path, *twice))
    assert stats["splits"].to_dict("records") == [{"split": "train", "rows": 3, "samples": 3}]
    assert stats["duplicates"]["repeated questions"][0] == 1
    prompts = stats["lengths"].query("text == 'prompt' and unit == 'characters'")
    assert len(prompts) == 1
    assert "places" not in stats


def test_rows_that_the_task_refuses_are_an_error(tmp_path):
    with pytest.raises(DataError, match="gsm8k, split train, row 2: no column 'answer'"):
        stats_of(
            "gsm8k", data=rows(tmp_path, {"question": "One and one?", "answer": "#### 2"}, {"question": "And two?"})
        )
