"""Outputs of other programs as cells: matched by what they answer, scored by our scorer, never filled up.

``recorded/samples_arith_lm_eval_0.4.13.jsonl`` was logged by lm-evaluation-harness 0.4.13 (``--log_samples``) for the
bundled model in fp32 on these rows, prompted "Question: …\\nAnswer:" and stopped at "\\nQuestion:", with the filters
strict-match and flexible-extract: what an evaluation under ``template: raw`` does.
"""

import json
import re
from pathlib import Path

import pytest
from study_files import changed, compiled, only, put

from tunelab.data.foreign import read_foreign
from tunelab.data.sample import Sample
from tunelab.errors import DataError, StepError, StudyError
from tunelab.files import read_json, read_lines
from tunelab.study.api import run
from tunelab.study.imported import BY_BOTH, BY_DOC, BY_ID, BY_TARGET, match, refuse_gaps
from tunelab.study.smoke import smoke

RECORDED = Path(__file__).parent / "recorded" / "samples_arith_lm_eval_0.4.13.jsonl"
LOGGED = [json.loads(line) for line in RECORDED.read_text().splitlines()]
STUDY = changed(
    study="theirs",
    formats={"raw": {"template": "raw"}},
    recipe=None,
    train=None,
    evaluation={"rows": 12},
    evaluate={"raw": {"format": "raw"}},
    outputs={"harness": {"raw": "samples.jsonl"}},
)


def written(folder, rows):
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "samples.jsonl"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder whose store has the base's answers."""
    return tmp_path_factory.mktemp("theirs")


@pytest.fixture
def outcome(workplace, monkeypatch):
    """Runs the study over these rows of the file and returns the comparison."""
    monkeypatch.chdir(workplace)

    def of(rows=LOGGED, raw=STUDY):
        written(workplace, rows)
        return run(only(workplace, raw), store=workplace / ".tunelab", results=workplace / "results")

    return of


def cells(comparison):
    return {cell["cell"]: cell for cell in comparison["cells"]}


def by_id(folder, cell):
    return {row["id"]: row for row in read_lines(folder / "results" / "theirs" / "eval" / cell / "scores.jsonl")}


def test_the_harness_and_we_get_the_same_of_one_model(outcome, workplace):
    found = outcome()
    [row] = found["comparisons"]
    assert (row["cell"], row["baseline"], row["n"]) == ("harness/raw", "base/raw", 12)
    ours, theirs = by_id(workplace, "base_eval_raw"), by_id(workplace, "harness_eval_raw")
    assert {i: r["outcome"] for i, r in ours.items()} == {i: r["outcome"] for i, r in theirs.items()}
    right = sum(r["exact_match"] for r in LOGGED if r["filter"] == "strict-match")
    assert 0 < right < 12
    assert cells(found)["harness/raw"]["metrics"]["numeric"]["value"] == right / 12


def test_the_report_says_where_outputs_are_from_and_how_far_the_scorers_agree(outcome, workplace):
    outcome([{**r, "exact_match": 1.0 - r["exact_match"]} if r is LOGGED[0] else r for r in LOGGED])
    page = (workplace / "results" / "theirs" / "report" / "index.html").read_text()
    section = page[page.index('<h2 id="imported"') :]
    text = " ".join(re.sub(r"<[^>]+>", " ", section[: section.index("</section>")]).split())
    assert "samples.jsonl" in text
    assert "as recorded, of 12 of 12 outputs not checked" in text
    strict, flexible = ("exact_match,strict-match numeric 12", "exact_match,flexible-extract numeric 12")
    assert "0.917" in text[text.index(strict) :][:80]
    assert "1.000" in text[text.index(flexible) :][:80]
    assert "outputs from a file" in page


def test_missing_rows_leave_a_hole(outcome):
    gone = {row["doc_id"] for row in LOGGED[:2]}
    found = outcome([row for row in LOGGED if row["doc_id"] not in gone])
    assert ([cell["cell"] for cell in found["missing"]], [*cells(found)]) == (["harness/raw"], ["base/raw"])


def test_declared_gaps_are_unscored_and_never_zero(outcome, workplace):
    partial = put(STUDY, "outputs.harness.raw", {"file": "samples.jsonl", "partial": "allow"})
    cell = cells(outcome([r for r in LOGGED if r["exact_match"] == 1.0], partial))["harness/raw"]
    right = sum(r["exact_match"] for r in LOGGED if r["filter"] == "strict-match")
    assert (cell["n"], cell["scored"], cell["outcomes"]["unscored"]) == (12, right, 12 - right)
    assert cell["metrics"]["numeric"]["value"] == 1.0
    assert cell["metrics"]["numeric"]["worst_case"] == pytest.approx(right / 12)
    results = read_json(workplace / "results" / "theirs" / "eval" / "harness_eval_raw" / "results.json")
    assert {r["explanation"] for r in results if r["outcome"] == "unscored"} == {
        "no reply: samples.jsonl has no row of it"
    }


def test_no_effect_of_a_factor_is_read_from_outputs_of_which_no_setting_is_known(outcome):
    found = outcome()
    assert (found["effects"], found["interactions"]) == ([], [])
    assert [cell.get("imported") for cell in found["cells"]] == [None, "samples.jsonl"]


def test_the_content_of_the_file_is_identity_and_its_place_is_not(tmp_path):
    def imported(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        found = compiled(tmp_path, put(STUDY, "outputs.harness.raw", name))
        return found.scores["harness/raw"].inputs["outputs"].fingerprint

    first = imported("a.jsonl", LOGGED)
    assert imported("b.jsonl", LOGGED) == first
    assert imported("a.jsonl", LOGGED[::-1]) != first


def test_a_smoke_run_answers_with_the_bundled_model(tmp_path):
    written(tmp_path, LOGGED)
    study = smoke(only(tmp_path, STUDY), tmp_path)
    assert study.stand_ins["harness"] == "tiny"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("outputs.harness", {"rwa": "samples.jsonl"}, "outputs.harness: got 'rwa', expected an evaluation"),
        ("outputs.base", {"raw": "samples.jsonl"}, "outputs.base: the name is taken by another variant"),
        ("evaluate.raw.of", ["harnes"], "did you mean 'harness'?"),
    ],
)
def test_mistakes_in_a_study_are_named(tmp_path, path, value, told):
    with pytest.raises(StudyError, match=re.escape(told)):
        compiled(tmp_path, put(STUDY, path, value))


def test_a_file_that_is_not_there_blocks_the_run(tmp_path):
    found = compiled(tmp_path, put(STUDY, "outputs.harness.raw", "nowhere.jsonl"))
    assert found.scores["harness/raw"].inputs["outputs"].blocked == (
        f"outputs.harness.raw: {tmp_path / 'nowhere.jsonl'}: no such file"
    )


def test_outputs_of_another_way_of_answering_are_refused(outcome):
    chosen = {
        "doc_id": 0,
        "doc": LOGGED[0]["doc"],
        "target": "a",
        "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": " a"}},
        "resps": [[["-1.0", "True"]]],
    }
    found = outcome([chosen])
    assert [cell["cell"] for cell in found["missing"]] == ["harness/raw"]


SAMPLES = [
    Sample(f"test-{i}", {"question": f"What is {i} + 1?"}, (f"#### {i + 1}",), {"index": i, "id": f"gsm/{i}"})
    for i in range(6)
]


def rows_of(tmp_path, rows):
    return read_foreign(written(tmp_path, rows))[1]


def logged(doc_id, question, output="#### 1", **more):
    doc = {"question": question, "answer": "x"}
    return {"doc_id": doc_id, "doc": doc, "target": "x", "arguments": [], "resps": [[output]], **more}


def test_rows_are_matched_by_what_they_ask_and_never_by_position_alone(tmp_path):
    rows = [
        logged(0, "What is  0 + 1?"),
        logged(77, "What is 1 + 1?"),
        logged(2, "What is 9 + 9?"),
        {**logged(3, "reworded"), "target": "#### 4"},
    ]
    found = match(rows_of(tmp_path, rows), SAMPLES)
    assert dict(found.ways) == {BY_BOTH: 1, BY_DOC: 1, BY_TARGET: 1}
    assert {item for item, _ in found.answers} == {"test-0", "test-1", "test-3"}
    assert (found.unmatched, found.missing) == (["row 3"], ["test-2", "test-4", "test-5"])


def test_plain_rows_are_matched_by_our_id_or_the_data_sets(tmp_path):
    rows = [{"id": "test-0", "output": "a", "prompt": "p"}, {"id": "gsm/1", "output": "b"}, {"id": "?", "output": ""}]
    found = match(rows_of(tmp_path, rows), SAMPLES)
    assert dict(found.ways) == {BY_ID: 2}
    assert found.unmatched == ["row 3"]
    assert found.answers["test-0", 0][1].prompt == "p"


def test_another_filter_is_no_second_answer_but_another_output_is(tmp_path):
    same = [logged(0, "What is 0 + 1?", filter=f, exact_match=v) for f, v in (("strict", 0.0), ("flexible", 1.0))]
    found = match(rows_of(tmp_path, same), SAMPLES)
    assert not found.doubled
    assert found.answers["test-0", 0][1].metrics == {"exact_match,strict": 0.0, "exact_match,flexible": 1.0}
    twice = match(
        rows_of(tmp_path, [*same, logged(0, "What is 0 + 1?", "#### 2", filter="third", exact_match=1.0)]), SAMPLES
    )
    assert twice.doubled == ["test-0 in row 1 and row 3"]
    with pytest.raises(DataError, match=r"1 \(test-0 in row 1 and row 3\) have more than one output"):
        refuse_gaps(twice, 6, "allow", "f")


def test_draws_of_one_request_and_numbered_plain_rows_are_draws(tmp_path):
    several = logged(0, "What is 0 + 1?", metrics=["m"], m=0.5)
    several["resps"] = [["a", "b"]]
    found = match(rows_of(tmp_path, [several]), SAMPLES)
    assert [(place, output) for place, (output, _) in found.answers.items()] == [
        (("test-0", 0), "a"),
        (("test-0", 1), "b"),
    ]
    plain = [{"id": "test-0", "output": o, "sample": i} for i, o in enumerate("ab")]
    assert len(match(rows_of(tmp_path, plain), SAMPLES).answers) == 2


def test_gaps_are_refused_with_both_counts(tmp_path):
    found = match(rows_of(tmp_path, [logged(0, "What is 0 + 1?"), logged(9, "?")]), SAMPLES)
    told = r"5 \(test-1, test-2, test-3, …\) of 6 rows have no output, and 1 \(row 2\) of the file match none of them"
    with pytest.raises(DataError, match=told):
        refuse_gaps(found, 6, "refuse", "f")
    refuse_gaps(found, 6, "allow", "f")
    with pytest.raises(DataError, match=r"6 .* of 6 rows have no output"):
        refuse_gaps(match([], SAMPLES), 6, "allow", "f")


def test_a_failed_import_alone_leaves_nothing_to_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, [{"id": "nobody", "output": "x"}])
    with pytest.raises(StepError, match=r"of 12 rows have no output, and 1 .row 1. of the file match none"):
        run(only(tmp_path, put(STUDY, "evaluate.raw.of", ["harness"])))
