"""Frames hold what the files of a real, small study hold, and what its rows are."""

import json

import pandas as pd
import pytest

from tunelab import Data, Evaluate, Format, Study, Train, open_results, run, stats_of
from tunelab.errors import DataError, StudyError

SAID = ["answer", "targets"]
TASK = """
from tunelab.data.sample import Message, Sample
from tunelab.scoring.score import Metric, judged


class Capitals:
    name = "capitals"
    version = scorer_version = 1
    dataset = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("right"),)
    groups = ("subject", "language")
    stop = ()
    max_new_tokens = 2

    def load(self, split, source):
        for i in range(12):
            told = {"subject": ["law", "art", "law"][i % 3], "language": "de" if i % 2 else "fr"}
            yield Sample(f"{split}-{i}", {"number": f"{split} {i}"}, (f"{i}", f"{i}.0"), told)

    def messages(self, sample):
        return [Message("user", sample.fields["number"])]

    def target(self, sample):
        return sample.targets[0]

    def score(self, sample, output):
        right = int(sample.targets[0]) % 4 == 0
        return judged(right, output[:1], {"right": float(right)})
"""
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
    assert list(scores.columns) == ["variant", "evaluation", "task", "id", "sample", "outcome", "numeric", *SAID]
    for cell in comparison["cells"]:
        lines = (folder / "eval" / f"{cell['variant']}_eval_chat" / "scores.jsonl").read_text().splitlines()
        own = scores[scores["variant"] == cell["variant"]]
        assert list(own["id"]) == [json.loads(line)["id"] for line in lines]
        assert own["numeric"].mean() == pytest.approx(cell["metrics"]["numeric"]["value"], abs=1e-12)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """The folder of a study whose task has subjects and languages."""
    root = tmp_path_factory.mktemp("grouped")
    (root / "capitals.py").write_text(TASK, encoding="utf-8")
    train = {"sft": STUDY.train["sft"].model_copy(update={"rows": 8})}
    evaluate = {"chat": Evaluate(format="chat")}
    changes = {"study": "grouped", "task": f"{root}/capitals.py:Capitals", "train": train, "evaluate": evaluate}
    run(STUDY.model_copy(update=changes), store=root / ".tunelab", results=root / "results")
    return root / "results" / "grouped"


def test_scores_have_each_samples_groups_targets_and_extracted_answer(grouped):
    scores = open_results(grouped).scores
    assert list(scores.columns)[-5:] == ["right", *SAID, "subject", "language"]
    seventh = scores[(scores["variant"] == "base") & (scores["id"] == "test-7")].iloc[0]
    assert (seventh["subject"], seventh["language"], seventh["targets"]) == ("art", "de", ["7", "7.0"])
    outputs = (grouped / "eval" / "base_eval_chat" / "outputs.jsonl").read_text().splitlines()
    answers = {row["id"]: row["output"][:1] for row in map(json.loads, outputs)}
    assert dict(scores[scores["variant"] == "base"].set_index("id")["answer"]) == answers


def test_groups_and_their_differences_are_frames_with_what_the_reports_files_have(grouped):
    results = open_results(grouped)
    means = results.scores.groupby(["variant", "subject"])["right"].mean()
    subjects = results.groups[results.groups["by"] == "subject"].set_index(["variant", "group"])
    assert dict(subjects["n"]) == {(v, s): n for v in ("base", "sft") for s, n in (("art", 4), ("law", 8))}
    assert dict(subjects["right_value"]) == pytest.approx(dict(means))
    for name in ("groups", "group_differences"):
        frame = getattr(results, name)
        written = pd.read_csv(grouped / "report" / f"{name}.csv")
        assert list(frame.columns) == list(written.columns)
        assert frame["group"].tolist() == written["group"].tolist()
    changed = results.group_differences
    assert set(changed["kind"]) == {"change"}
    assert set(changed["group"]) == {"art", "law", "de", "fr"}


def test_without_groups_the_frames_of_groups_are_empty(finished):
    results = open_results(finished[0])
    assert (results.groups.empty, results.group_differences.empty) == (True, True)


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
