"""Results by model: a file a variant under the model's name, every metric by its own, nothing missing called zero."""

import json

from tunelab.study.by_model import by_model, write_by_model


def cell(model, variant, task, method="grpo", value=0.5, **fields):
    metrics = {"numeric": {"value": value, "low": 0.4, "high": 0.6, "n": 9},
               "strict": {"value": 0.1, "low": 0.0, "high": 0.3, "n": 8}}  # fmt: skip
    known = {"task": task, "evaluation": task, "variant": variant, "cell": f"{variant}/{task}", "n": 9,
             "headline": "numeric", "factors": {"model": model, "method": method, "eval_format": "chat"}}  # fmt: skip
    return known | {"metrics": metrics, "outcomes": {"correct": 4}} | fields


def missing(model, variant, task, method="grpo"):
    found = cell(model, variant, task, method, error="no result: out of memory")
    return {key: value for key, value in found.items() if key not in ("metrics", "outcomes", "n")}


TREE = [
    {"node": [], "variant": "mixed", "eval_format": "chat", "value": 0.45, "low": 0.4, "high": 0.5},
    {"node": [], "variant": "base", "eval_format": "chat", "missing": ["math"]},
    {"node": ["math"], "variant": "mixed", "eval_format": "chat", "value": 0.9, "low": 0.8, "high": 1.0},
]


def comparison(cells, holes=(), tree=()):
    return {"cells": cells, "missing": list(holes), "tree": list(tree)}


def test_the_only_trained_variant_of_a_model_has_its_name_and_the_untouched_model_is_called_base():
    cells = [cell("Qwen/Q7", "mixed", "gsm8k"), cell("Qwen/Q7", "base", "gsm8k", None),
             cell("q8", "base_q8", "gsm8k", None),
             cell("q8", "one", "gsm8k"), cell("q8", "two", "gsm8k")]  # fmt: skip
    assert {name: found["variant"] for name, found in by_model(comparison(cells)).items()} == {
        "Q7_results.json": "mixed",
        "Q7_base_results.json": "base",
        "q8_base_results.json": "base_q8",
        "q8_one_results.json": "one",
        "q8_two_results.json": "two",
    }


def test_models_of_one_name_do_not_overwrite_each_other():
    cells = [cell("a/Q7", "mixed", "gsm8k"), cell("b/Q7", "other", "gsm8k")]
    assert set(by_model(comparison(cells))) == {"a-Q7_results.json", "b-Q7_results.json"}


def files(*variants):
    return {found["variant"]: name for name, found in by_model(comparison([cell(*v) for v in variants])).items()}


def test_what_is_called_base_is_the_untouched_model_alone():
    trained = [("q", name, "gsm8k") for name in ("one", "base2", "basement")]
    assert files(*trained, ("q", "base", "gsm8k", None)) == {
        "one": "q_one_results.json", "base2": "q_base2_results.json", "basement": "q_basement_results.json",
        "base": "q_base_results.json",
    }  # fmt: skip
    two = files(("q", "base", "gsm8k", None), ("q", "basic", "gsm8k", None))
    assert two == {"base": "q_base_results.json", "basic": "q_basic_results.json"}


def test_no_two_files_have_one_name_and_none_is_hidden():
    found = files(("q", "base", "gsm8k", None), ("q_base", "mixed", "gsm8k"), ("./.hid", "one", "gsm8k"))
    assert found == {"base": "q_base_results.json", "mixed": "q_base_mixed_results.json", "one": "hid_results.json"}
    assert set(files(("./a/q", "x", "gsm8k"), ("../b/q", "y", "gsm8k")).values()) == {
        "a-q_results.json", "b-q_results.json",
    }  # fmt: skip


def test_a_variant_that_failed_has_no_mean_and_says_so():
    found = by_model(comparison([cell("q", "mixed", "gsm8k")], [missing("q", "torn", "gsm8k")], TREE))
    *_, mixed = found["q_torn_results.json"]["datasets"]
    assert (mixed["dataset"], mixed["metrics"], mixed["error"]) == ("mixed", {"mean": None}, "no result: gsm8k")
    assert len(by_model(comparison([cell("q", "mixed", "gsm8k")]))["q_results.json"]["datasets"]) == 1


def test_a_metric_without_a_value_says_why_and_every_metric_how_many_samples_it_is_about():
    silent = cell("q", "mixed", "gsm8k", no_verdicts={"grader": "server down"})
    silent["metrics"]["judged_by_grader"] = {"value": None, "low": None, "high": None, "n": 0}
    [entry] = by_model(comparison([silent]))["q_results.json"]["datasets"]
    assert entry["scored"] == {"numeric": 9, "strict": 8, "judged_by_grader": 0}
    assert entry["error"] == "no verdicts of grader: server down"
    empty = cell("q", "mixed", "gsm8k")
    empty["metrics"]["strict"] |= {"value": None, "n": 0}
    [entry] = by_model(comparison([empty]))["q_results.json"]["datasets"]
    assert entry["error"] == "no sample has a value of strict"


def test_weights_from_elsewhere_say_from_where():
    found = by_model(comparison([cell("q", "mixed", "gsm8k", from_checkpoint="./step_60"), cell("q", "own", "gsm8k")]))
    assert {entry["variant"]: entry["checkpoint"] for entry in found.values()} == {"mixed": "./step_60", "own": None}


def test_metrics_have_their_own_names_and_what_is_missing_is_null_with_its_reason():
    found = by_model(comparison([cell("q", "mixed", "gsm8k")], [missing("q", "mixed", "math")], TREE))
    gsm8k, math, mixed = found["q_results.json"]["datasets"]
    assert gsm8k["metrics"] == {"numeric": 0.5, "strict": 0.1}
    assert gsm8k["intervals"]["numeric"] == [0.4, 0.6]
    assert (math["dataset"], math["metrics"], math["error"]) == ("math", {"numeric": None}, "no result: out of memory")
    assert (mixed["dataset"], mixed["metrics"], mixed["intervals"]) == ("mixed", {"mean": 0.45}, {"mean": [0.4, 0.5]})
    [base, root] = by_model(comparison([cell("q", "base", "gsm8k", None)], tree=TREE))["q_base_results.json"][
        "datasets"
    ]
    assert base["metrics"]["numeric"] == 0.5
    assert (root["metrics"], root["error"]) == ({"mean": None}, "no result: math")


def test_files_of_variants_that_are_gone_are_removed(tmp_path):
    write_by_model(comparison([cell("q", "one", "gsm8k"), cell("q", "two", "gsm8k")]), tmp_path)
    write_by_model(comparison([cell("q", "two", "gsm8k")]), tmp_path)
    assert [path.name for path in (tmp_path / "evaluation").iterdir()] == ["q_results.json"]
    assert json.loads((tmp_path / "evaluation" / "q_results.json").read_text())["variant"] == "two"
