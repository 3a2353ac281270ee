"""The tasks whose answers are text: how rows become samples, and what one output scores."""

import os

import pytest

from tunelab.data.sample import Sample
from tunelab.data.sources import BuiltinSource, FileSource, mirror_source
from tunelab.errors import DataError
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Outcome
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples

ROWS = {
    ("squad_v2", "train"): 4449,
    ("squad_v2", "validation"): 1629,
    ("hotpotqa", "validation"): 500,
    ("cnn_dailymail", "validation"): 100,
    ("code_text_to_code", "validation"): 200,
    ("code_to_code_trans", "test"): 1000,
    ("code_refinement", "test"): 5835,
}
ANSWERED = Sample("q", {}, ("paraffin", "paraffin oil"))
UNANSWERED = Sample("q", {}, ("",))


def shipped(name, split):
    return load_samples(find_task(name), split, BuiltinSource(name))


@pytest.mark.skipif("TUNELAB_DATA" not in os.environ, reason="TUNELAB_DATA is unset: the real rows are not here")
@pytest.mark.parametrize(("name", "split"), ROWS)
def test_real_rows_load_and_their_targets_score_one(name, split):
    task = find_task(name)
    samples = load_samples(task, split, mirror_source(task.dataset))
    assert len(samples) == ROWS[name, split]
    missed = [s.id for s in samples[:600] if task.score(s, task.target(s)).values[task.metrics[0].name] != 1]
    assert missed == []
    assert all(task.messages(s)[0].content for s in samples)


@pytest.mark.skipif("TUNELAB_DATA" not in os.environ, reason="TUNELAB_DATA is unset: the real rows are not here")
def test_an_unchanged_bug_has_a_high_bleu_and_no_exact_match():
    task = find_task("code_refinement")
    samples = load_samples(task, "test", mirror_source(task.dataset))[:1000]
    scores = {s.id: [task.score(s, s.fields["buggy"])] for s in samples}
    found = summarise(scores, task.metrics)["metrics"]
    assert found["bleu"]["value"] > 0.75
    assert found["exact_match"]["value"] < 0.01


@pytest.mark.parametrize(
    ("sample", "output", "f1", "verbatim", "abstained"),
    [
        (ANSWERED, " Paraffin. ", 1, 1, 0),
        (ANSWERED, "unanswerable", 0, 0, 1),
        (UNANSWERED, "unanswerable", 1, 0, 1),
        (UNANSWERED, "", 1, 1, 1),
        (UNANSWERED, "rape oil", 0, 0, 0),
    ],
)
def test_squad_reads_abstentions_and_keeps_the_verbatim_score_beside(sample, output, f1, verbatim, abstained):
    values = find_task("squad_v2").score(sample, output).values
    found = (values["f1"], values["f1_verbatim"], values["exact_verbatim"], values["abstained"])
    assert found == (f1, verbatim, verbatim, abstained)
    group, other = ("HasAns", "NoAns") if any(sample.targets) else ("NoAns", "HasAns")
    assert (values[f"{group}_f1"], values[f"{group}_exact"]) == (values["f1"], values["exact"])
    assert f"{other}_f1" not in values


def test_squad_samples_share_a_cluster_exactly_when_they_share_a_passage():
    samples = [*shipped("squad_v2", "train"), *shipped("squad_v2", "validation")]
    by_cluster = {s.metadata["cluster"]: s.fields["context"] for s in samples}
    assert all(by_cluster[s.metadata["cluster"]] == s.fields["context"] for s in samples)
    assert len(by_cluster) == len({s.fields["context"] for s in samples}) == 4
    assert {s.targets == ("",) for s in samples} == {True, False}
    task = find_task("squad_v2")
    assert {task.target(s) for s in samples if s.targets == ("",)} == {"unanswerable"}


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("squad_v2", '{"id": "a", "title": "t", "context": "c", "question": "q", "answers": ["x"]}', "list 'text'"),
        (
            "hotpotqa",
            '{"id": "a", "question": "q", "answer": "x", "type": "", "level": "", "context": []}',
            "expected an object with title and sentences",
        ),
    ],
)
def test_rows_of_another_shape_are_refused_with_their_number(tmp_path, name, row, said):
    file = tmp_path / "train.jsonl"
    file.write_text(row + "\n")
    with pytest.raises(DataError, match=f"task {name}, split train, row 1: got the .*{said}"):
        load_samples(find_task(name), "train", FileSource({"train": file}))


def test_hotpot_prompts_hold_every_paragraph_in_order():
    sample = shipped("hotpotqa", "train")[0]
    text = find_task("hotpotqa").messages(sample)[0].content
    places = [text.index(f"{p['title']}: {p['text']}") for p in sample.fields["paragraphs"]]
    assert places == sorted(places)
    assert text.endswith(sample.fields["question"])


@pytest.mark.parametrize("name", ["code_text_to_code", "code_to_code_trans", "code_refinement"])
def test_fenced_code_scores_like_bare_code(name):
    task, sample = find_task(name), shipped(name, find_task(name).test_split)[0]
    bare = task.score(sample, sample.targets[0])
    assert task.score(sample, f"Here you are:\n```java\n{sample.targets[0]}\n```\nDone.").values == bare.values
    assert task.score(sample, f"```\n{sample.targets[0]}").outcome is Outcome.CORRECT
    assert task.score(sample, "```java\n```").outcome is Outcome.NO_ANSWER


def test_code_that_is_nearly_right_earns_part_of_the_reward():
    sample = Sample("x", {}, ("int function ( ) { return books . size ( ) ; }",))
    task = find_task("code_text_to_code")
    near, far = task.score(sample, "int function ( ) { return books ; }"), task.score(sample, "return")
    assert 0 < far.values["bleu"] < near.values["bleu"] < 1
    assert near.outcome is Outcome.WRONG


def test_code_to_text_scores_the_sentence_and_keeps_sacrebleu_beside():
    sample = shipped("code_to_text", "test")[0]
    score = find_task("code_to_text").score(sample, "Counts how often each word occurs.")
    assert set(score.values) == {"bleu", "sacrebleu"}
    assert 0 < score.values["bleu"] < 1
    assert set(score.parts) == {"sacrebleu"}
