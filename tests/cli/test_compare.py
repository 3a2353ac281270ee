"""``tunelab compare``: two cells by name or folder, within a study and across two."""

import json
import shutil

import pytest
from statsmodels.stats.contingency_tables import mcnemar

from tunelab.files import read_json, read_lines, sha256_file, write_json, write_lines
from tunelab.study.located import locate
from tunelab.study.side_by_side import side_by_side

SFT, BASE = "quickstart-smoke/sft_chat/chat", "quickstart-smoke/base/chat"


@pytest.fixture
def studies(finished, tmp_path):
    """Two studies on stores of their own: the smoke quickstart, and its twin under ``twin/``."""
    for place in (tmp_path, tmp_path / "twin"):
        for folder in ("results", ".tunelab"):
            shutil.copytree(finished / folder, place / folder, symlinks=True)
    (tmp_path / "twin" / "results" / "quickstart-smoke").rename(tmp_path / "twin" / "results" / "twin")
    return tmp_path


def cell(folder, name):
    return folder / "twin" / "results" / "twin" / "eval" / name


def right(path):
    return {row["id"]: row["values"]["numeric"] for row in read_lines(path / "scores.jsonl")}


def test_two_cells_of_a_study_are_compared_as_its_report_does(studies, tunelab):
    done = tunelab("compare", SFT, BASE, "--json")
    found, rows = json.loads(done.stdout), studies / "results" / "quickstart-smoke"
    [told] = [r for r in read_json(rows / "comparison.json")["comparisons"] if r["cell"] == "sft_chat/chat"]
    same = ("difference", "low", "high", "p_value", "n", "only_variant_right", "only_baseline_right")
    assert done.returncode == 0
    assert {name: found[name] for name in same} == {name: told[name] for name in same}
    one, other = (right(rows / "eval" / name) for name in ("sft_chat_eval_chat", "base_eval_chat"))
    b, c = (sum(x[i] > y[i] for i in x) for x, y in ((one, other), (other, one)))
    assert found["p_value"] == pytest.approx(mcnemar([[0, b], [c, 0]], exact=True).pvalue)


def test_cells_of_two_studies_and_stores_are_compared(studies, tunelab):
    done = tunelab("compare", SFT, str(cell(studies, "base_eval_raw")))
    assert done.returncode == 0, done.stderr
    assert "quickstart-smoke/sft_chat/chat − twin/base/raw" in done.stdout
    assert 'outputs.settings.format.template: "chat" → "raw"' in done.stdout
    assert "outputs.inputs.trained: " in done.stdout
    assert "mcnemar exact" in done.stdout


def shown(folder, name, examples, k):
    """Make a cell's record say that its prompts began with the first k of these worked examples."""
    scores = (folder / "eval" / name / "scores.jsonl").resolve().parent
    store, outputs = scores.parent.parent, (folder / "eval" / name / "outputs.jsonl").resolve().parent
    record, shots = read_json(outputs / "record.json"), store / "prepare" / "made-up-abcdef01"
    shots.mkdir()
    rows = [{"id": f"train-{e}", "fields": {"question": e}, "targets": [e], "metadata": {}} for e in examples]
    write_lines(shots / "rows.jsonl", rows)
    made = {"fingerprint": "abcdef01" * 8, "kind": "prepare", "files": {"rows.jsonl": {"sha256": "", "bytes": 0}}}
    write_json(shots / "record.json", {**record, **made})
    record["inputs"]["shots"] = made["fingerprint"]
    record["settings"]["format"]["few_shots"] = {"k": k}
    write_json(outputs / "record.json", record)


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        (("ab", 2), ("ac", 2), "their prompts show different worked examples, 1 of 2"),
        (("ab", 2), ("abcd", 4), None),
        (("ab", 1), ("ac", 1), None),
    ],
)
def test_other_worked_examples_are_refused_and_another_number_of_them_is_not(studies, first, second, refused):
    ours, theirs = studies / "results" / "quickstart-smoke", studies / "twin" / "results" / "twin"
    shown(ours, "base_eval_chat", *first)
    shown(theirs, "base_eval_chat", *second)
    sides = locate(BASE, studies / "results"), locate("twin/base/chat", studies / "twin" / "results")
    assert side_by_side(*sides, 0.05).get("refused") == refused


def edit(path, change):
    """Change the rows of a JSON Lines file of the store, through the link."""
    target = path.resolve()
    write_lines(target, change(read_lines(target)))


def test_other_samples_are_refused_by_number_and_name(studies, tunelab):
    folder = cell(studies, "base_eval_chat")
    edit(folder / "scores.jsonl", lambda rows: [*rows[1:], {**rows[0], "id": "test-x"}])
    gone = (set(right(studies / "results" / "quickstart-smoke" / "eval" / "base_eval_chat")) - set(right(folder))).pop()
    done = tunelab("compare", SFT, str(folder))
    assert done.returncode == 1
    assert f"(2 of them are in one only: 1 ({gone}) in {SFT} and 1 (test-x) in twin/base/chat)" in " ".join(
        done.stdout.split()
    )
    assert "difference" not in done.stdout


def test_the_same_ids_with_other_questions_are_refused(studies, tunelab):
    def reworded(rows):
        return [{**rows[0], "fields": {"question": "What is 1 + 1?"}}, *rows[1:]]

    edit(studies / "twin" / "results" / "twin" / "data" / "arithmetic.jsonl", reworded)
    done = tunelab("compare", SFT, str(cell(studies, "base_eval_chat")))
    assert (done.returncode, "rows with the same ids ask different things: 1 (" in done.stdout) == (1, True)


def test_another_version_of_the_scorer_is_refused_and_named(studies, tunelab):
    record = (cell(studies, "base_eval_chat") / "scores.jsonl").resolve().parent / "record.json"
    changed = read_json(record)
    changed["settings"]["scorer"]["version"] = 99
    write_json(record, changed)
    done = tunelab("compare", SFT, str(cell(studies, "base_eval_chat")))
    assert (done.returncode, "the two were scored by different scorers" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("quickstart-smok/base/chat", "did you mean 'quickstart-smoke'?"),
        ("quickstart-smoke/base/cat", "did you mean 'base/chat'?"),
        ("nothing", "expected STUDY/VARIANT/EVALUATION"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(studies, tunelab, name, told):
    done = tunelab("compare", SFT, name)
    assert (done.returncode, len(done.stderr.splitlines()), told in done.stderr) == (2, 1, True)


def test_a_cell_without_a_result_says_why_and_what_to_do(studies, tunelab):
    path = (studies / "results" / "quickstart-smoke" / "comparison.json").resolve()
    known = read_json(path)
    hole = {**known["cells"].pop(), "error": "no result: out of memory"}
    write_json(path, {**known, "missing": [hole]})
    done = tunelab("compare", f"quickstart-smoke/{hole['cell']}", BASE)
    assert done.returncode == 2
    assert "has no result (no result: out of memory); run the study quickstart-smoke again" in done.stderr


def test_results_whose_store_is_gone_say_so(studies, tunelab):
    shutil.rmtree(studies / ".tunelab" / "score")
    done = tunelab("compare", SFT, BASE)
    assert (done.returncode, "has no record behind" in done.stderr) == (2, True)


def test_scores_of_another_cell_under_its_name_are_not_read(studies, tunelab):
    folder = studies / "results" / "quickstart-smoke" / "eval"
    other = (folder / "base_eval_raw" / "scores.jsonl").resolve()
    (folder / "base_eval_chat" / "scores.jsonl").unlink()
    (folder / "base_eval_chat" / "scores.jsonl").symlink_to(other)
    done = tunelab("compare", SFT, BASE)
    assert (done.returncode, f"{BASE} is not what {other} has" in done.stderr) == (2, True)


def samples(folder, name, change=lambda rows: rows):
    """Write what a cell put out as plain rows."""
    rows = read_json(folder / "results" / "quickstart-smoke" / "eval" / name / "results.json")
    kept = [{key: row[key] for key in ("id", "output", "prompt")} for row in rows]
    write_lines(folder / "theirs.jsonl", change(kept))
    return "theirs.jsonl"


def test_a_file_of_outputs_is_scored_on_the_rows_of_the_other_cell(studies, tunelab):
    file = samples(studies, "base_eval_chat")
    found = json.loads(tunelab("compare", SFT, file, "--json").stdout)
    cells = json.loads(tunelab("compare", SFT, BASE, "--json").stdout)
    assert (found["baseline"], found["difference"], found["n"]) == (file, cells["difference"], cells["n"])
    [told] = found["differ_in"]
    digest = sha256_file(studies / file)[:12]
    assert told["second"] == (
        f"theirs.jsonl (sha256 {digest}…; plain; prompts as recorded; no format contract was checked)"
    )


def test_a_file_that_lacks_rows_is_refused_with_what_can_be_done(studies, tunelab):
    done = tunelab("compare", samples(studies, "base_eval_chat", lambda rows: rows[2:]), SFT)
    assert (done.returncode, "2 (test-" in done.stderr, "have no output" in done.stderr) == (2, True, True)
    assert "give a file of all rows, or import it in a study" in done.stderr
    assert "declares partial: allow under outputs" in done.stderr


@pytest.mark.parametrize("name", ["../imp/nosuch.jsonl", "nosuch.jsonl", "/nowhere/at/all", "./nosuch"])
def test_a_file_that_is_not_there_is_said_not_to_be(studies, tunelab, name):
    done = tunelab("compare", name, SFT)
    assert (done.returncode, f"{name}: no such file" in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)


def test_two_cells_of_one_name_are_told_apart_by_their_results(studies, tunelab):
    (studies / "twin" / "results" / "twin").rename(studies / "twin" / "results" / "quickstart-smoke")
    folder = studies / "twin" / "results" / "quickstart-smoke" / "eval" / "base_eval_chat"
    here, there = f"{BASE} ({studies / 'results'})", f"{BASE} ({studies / 'twin' / 'results'})"
    found = json.loads(tunelab("compare", BASE, str(folder), "--json").stdout)
    assert (found["cell"], found["baseline"]) == (here, there)
    assert {side: score["cell"] for side, score in found["scores"].items()} == {"a": here, "b": there}
    assert found["scores"]["a"]["value"] == found["scores"]["b"]["value"]
    edit(folder / "scores.jsonl", lambda rows: rows[1:])
    said = "".join(tunelab("compare", BASE, str(folder)).stdout.split())
    assert all(f"in{''.join(name.split())}" in said for name in (here, there))


def test_a_cell_beside_itself_has_two_sides(studies, tunelab):
    done = tunelab("compare", SFT, SFT)
    assert f"{SFT} (a) − {SFT} (b)" in " ".join(done.stdout.split())


def test_a_cell_is_the_same_as_itself(studies, tunelab):
    done = tunelab("compare", SFT, SFT)
    assert "nothing in their settings differs" in done.stdout
