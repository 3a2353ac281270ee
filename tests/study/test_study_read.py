"""Reading a study: mistakes are one line with file, key path and the nearest key; entries merge and multiply."""

import pytest
import yaml
from study_files import STUDY, changed, only, opened, put

from tunelab.errors import StudyError
from tunelab.study.compile import compile_study
from tunelab.study.read import bundled, read_study
from tunelab.study.spec import Study

LONG = "You are a careful teacher.\nWrite every step on a line of its own: then, after four hashes, the answer."


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("modle", "model"),
        ("formats.chat.templte", "template"),
        ("formats.chat.few_shots.kk", "k"),
        ("recipe.lrr", "lr"),
        ("recipe.lora.rnk", "rank"),
        ("train.sft_chat.los", "loss"),
        ("train.sft_chat.lora.alfa", "alpha"),
        ("recipe.grpo.reward", "rewards"),
        ("recipe.grpo.rewards.fromat", "format"),
        ("train.sft_chat.grpo.rewards.lenght", "length"),
        ("evaluation.temprature", "temperature"),
        ("evaluate.raw.sampels", "samples"),
        ("data.sorce", "source"),
        ("hardware.micro_batch", "micro_batch_size"),
    ],
)
def test_an_unknown_key_is_named_with_file_path_and_nearest_key(tmp_path, path, nearest):
    with pytest.raises(StudyError) as raised:
        opened(tmp_path, put(STUDY, path, 1))
    assert str(raised.value) == f"{tmp_path}/study.yaml: unknown key {path!r}; did you mean {nearest!r}?"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("recipe.lr", -1, "train.sft_chat.lr: got -1; input should be greater than 0"),
        ("recipe.lr", "fast", "train.sft_chat.lr: got 'fast'"),
        ("recipe.grpo.rewards.task", 0, "train.sft_chat.grpo.rewards.task: got 0; input should be greater than 0"),
        ("recipe.grpo.rewards.format", -1, "train.sft_chat.grpo.rewards.format: got -1"),
        ("recipe.method", "stf", "train.sft_chat.method: got 'stf'; input should be 'sft'"),
        ("train.sft_chat.format", "chatt", "train.sft_chat.format: got 'chatt', expected a name under formats"),
        ("evaluate.raw.format", "rw", "evaluate.raw.format: got 'rw', expected a name under formats"),
        ("evaluate.raw.rows", 0, "evaluate.raw.rows: got 0"),
        ("evaluate.raw.rows", 1.5, "evaluate.raw.rows: got 1.5"),
        ("formats.chat.template", "chatml", "formats.chat.template: got 'chatml'"),
        ("baseline", "bse", "baseline: got 'bse', expected one of base, sft_chat, sft_raw"),
        ("train.base", {"format": "raw", "loss": "all"}, "train.base: the name 'base' is taken"),
        ("train.sft_chat", 3, "train.sft_chat: got 3, expected a mapping of settings"),
        ("train", ["a"], "train: got ['a'], expected a mapping of entries by name"),
        ("sweep", {"recipe.lr": 1}, "sweep: expected a mapping of field to a list of values"),
        ("alpha", 1.0, "alpha: got 1.0; input should be less than 1"),
        ("study", "a/b", "study: got 'a/b'"),
        ("seeds", [], "seeds: got []"),
        ("smoke", True, "smoke: got True, expected it nowhere in a study; use --smoke"),
        ("stand_ins", {"a": "tiny"}, "stand_ins: got {'a': 'tiny'}, expected it nowhere in a study; use --smoke"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_path(tmp_path, path, value, expected):
    with pytest.raises(StudyError) as raised:
        opened(tmp_path, put(STUDY, path, value))
    assert str(raised.value).startswith(f"{tmp_path}/study.yaml: {expected}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", ["study", "question", "model", "task", "formats", "evaluate"])
def test_a_missing_field_is_named(tmp_path, missing):
    with pytest.raises(StudyError, match=rf"study\.yaml: {missing}: "):
        opened(tmp_path, changed(**{missing: None}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("study: a\nmodel: tiny\nmodel: other\n", "the key 'model' is written twice"),
        ("formats:\n  raw: {template: raw}\n  raw: {template: chat}\n", "the key 'raw' is written twice"),
        ("recipe: {lr: 1, epochs: 2, lr: 3}\n", "the key 'lr' is written twice"),
        ("a: [1\n", "not valid YAML"),
        ("- a\n", "got list, expected a mapping"),
        ("", "got NoneType, expected a mapping"),
    ],
)
def test_a_file_that_is_no_study_is_refused_in_one_line(tmp_path, text, expected):
    with pytest.raises(StudyError) as raised:
        opened(tmp_path, text)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "study.yaml").write_bytes("question: é\n".encode("latin-1"))
    with pytest.raises(StudyError, match=r"study\.yaml: is not UTF-8"):
        read_study(str(tmp_path / "study.yaml"))


def test_merge_keys_of_yaml_are_no_duplicates(tmp_path):
    text = yaml.safe_dump(STUDY, sort_keys=False).replace("  sft_chat:\n", "  sft_chat: &first\n")
    text = text.replace("  sft_raw:\n", "  sft_raw:\n    <<: *first\n")
    assert only(tmp_path, text).train["sft_raw"].format == "raw"


def test_an_unknown_study_names_the_nearest():
    with pytest.raises(StudyError, match=r"got 'quikstart', expected a YAML file.*did you mean 'quickstart'"):
        read_study("quikstart")


def test_entries_inherit_the_shared_settings_and_override_them_deeply(tmp_path):
    raw = put(put(STUDY, "recipe.lora", {"rank": 8, "alpha": 4}), "train.sft_raw.lora", {"rank": 2})
    study = only(tmp_path, put(raw, "evaluate.raw.rows", 7))
    assert (study.train["sft_chat"].lora.rank, study.train["sft_chat"].lr) == (8, 0.001)
    assert (study.train["sft_raw"].lora.rank, study.train["sft_raw"].lora.alpha) == (2, 4)
    assert (study.evaluate["chat"].rows, study.evaluate["raw"].rows) == (40, 7)


def test_a_matrix_multiplies_an_entry(tmp_path):
    raw = put(
        STUDY, "train", {"sft_{format}_{loss}": {"matrix": {"format": ["chat", "raw"], "loss": ["all", "completion"]}}}
    )
    train = only(tmp_path, raw).train
    assert {name: (entry.format, entry.loss) for name, entry in train.items()} == {
        "sft_chat_all": ("chat", "all"),
        "sft_chat_completion": ("chat", "completion"),
        "sft_raw_all": ("raw", "all"),
        "sft_raw_completion": ("raw", "completion"),
    }


def test_a_level_of_a_matrix_may_be_several_settings_under_a_label(tmp_path):
    levels = {"FullFT": {"adaptation": "full", "batch_size": 4}, "LoRA_8": {"adaptation": "lora", "lora": {"rank": 8}}}
    entry = {"matrix": {"format": ["chat"], "how": levels}, "loss": "all", "lora": {"alpha": 3}}
    train = only(tmp_path, put(STUDY, "train", {"{format}_{how}": entry})).train
    assert [(n, t.adaptation, t.batch_size, t.lora.rank, t.lora.alpha) for n, t in train.items()] == [
        ("chat_FullFT", "full", 4, 16, 3),
        ("chat_LoRA_8", "lora", 8, 8, 3),
    ]


def test_an_override_reaches_and_selects_entries_that_a_matrix_made(tmp_path):
    raw = put(STUDY, "train", {"sft_{format}": {"matrix": {"format": ["chat", "raw"]}, "loss": "all"}})
    study = only(tmp_path, raw, "train=sft_raw", "train.sft_raw.lr=0.5")
    assert {name: entry.lr for name, entry in study.train.items()} == {"sft_raw": 0.5}


def test_a_study_may_include_others_and_change_what_they_say(tmp_path):
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(STUDY))
    for name, lr in (("second", 0.1), ("third", 0.2)):
        more = {"sft_{loss}_{lr}": {"matrix": {"loss": ["all"], "lr": [lr]}, "format": "raw"}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"train": more}))
    include = ["first.yaml", "second.yaml", "third.yaml"]
    study = only(tmp_path, {"include": include, "study": "both", "recipe": {"lr": 0.5}}, "train.sft_*.lr=0.5")
    assert (study.study, [*study.train]) == ("both", ["sft_chat", "sft_raw", "sft_all_0.1", "sft_all_0.2"])
    assert {entry.lr for entry in study.train.values()} == {0.5}


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("quickstart", "include: got 'quickstart', expected a list of studies"),
        (["quikstart"], "did you mean 'quickstart'"),
        (["../study.yaml"], "expected a bundled study or a file in the same folder"),
        (["study.yaml"], "include: study.yaml includes itself"),
    ],
)
def test_an_include_that_cannot_be_is_refused(tmp_path, include, expected):
    with pytest.raises(StudyError, match=expected):
        opened(tmp_path, changed(include=include))


def test_a_learning_rate_may_be_searched_and_a_resolved_study_says_so_again(tmp_path):
    study = only(tmp_path, put(STUDY, "recipe.lr", {"search": [0.1, 0.01], "on": "validation", "rows": 8}))
    found = study.train["sft_raw"]
    assert (found.lr, found.lr_search.search, found.lr_search.rows) == (0.1, (0.1, 0.01), 8)
    assert Study.model_validate(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("lr", {"search": [0.1, 0.01]}, r"lr\.on: missing"),
        ("lr", {"search": [0.1], "on": "validation"}, r"lr\.search: got \[0\.1\]; tuple should have at least 2"),
        ("lr", {"search": [0.1, 0.1], "on": "validation"}, r"lr\.search: got \[0\.1, 0\.1\], expected every candidate"),
        ("task", ["sst2", "sst2"], r"task: got \['sst2', 'sst2'\], expected one task or more, each once"),
        ("task", [], r"task: got \[\], expected one task or more"),
    ],
)
def test_a_list_that_says_nothing_is_refused_where_it_stands(tmp_path, path, value, expected):
    with pytest.raises(StudyError, match=r"train\.sft_raw(\.|: )" + expected):
        opened(tmp_path, put(STUDY, f"train.sft_raw.{path}", value))


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"a": ["sst2", "sst2"]}, "tasks: got 'sst2' twice"),
        ({"a": {"b": ["x"], "c": ["x"]}}, "tasks: got 'x' twice"),
        ({"a": {"a": ["x"]}}, "tasks: got 'a' twice"),
        ({"a": ["a"], "b": {"a": ["x"]}}, "tasks: got 'a' twice"),
        ({"a": "sst2"}, "tasks: got 'sst2', expected a list of task names"),
        ({"a": [1]}, r"tasks: got \[1\], expected a list of task names"),
    ],
)
def test_a_tree_of_tasks_names_everything_once(tmp_path, tree, expected):
    with pytest.raises(StudyError, match=expected):
        opened(tmp_path, put(STUDY, "tasks", tree))


def test_weights_of_averages_are_of_all_tasks_of_the_tree(tmp_path):
    study = put(put(STUDY, "tasks", {"a": ["x", "y"], "b": ["z"]}), "task_weights", {"a": 4, "b": 3})
    assert only(tmp_path, study).leaf_weights() == {"x": 2, "y": 2, "z": 3}
    with pytest.raises(StudyError, match="task_weights: z has none"):
        opened(tmp_path, put(study, "task_weights", {"a": 4}))
    with pytest.raises(StudyError, match=r"task_weights\.b: .*greater than 0"):
        opened(tmp_path, put(study, "task_weights", {"a": 4, "b": 0}))


def test_own_files_may_be_given_by_task(tmp_path):
    data = only(tmp_path, put(STUDY, "data.files", {"sst2": {"train": "a.jsonl"}})).data
    assert (data.files_of("sst2"), data.files_of("mnli")) == ({"train": "a.jsonl"}, {})
    with pytest.raises(StudyError, match="expected all by split, or all by task"):
        opened(tmp_path, put(STUDY, "data.files", {"sst2": {"train": "a.jsonl"}, "train": "b.jsonl"}))


@pytest.mark.parametrize(
    ("name", "matrix", "expected"),
    [
        ("sft_{format}", {"format": ["chat", "raw"], "loss": ["all", "completion"]}, "train.sft_chat: named twice"),
        ("sft_{frmt}", {"format": ["chat"]}, "the name asks for 'frmt'"),
        ("sft", {"format": "chat"}, r"train\.sft\.matrix\.format: got 'chat', expected a list of values, or settings"),
        ("sft", ["chat"], r"train\.sft\.matrix: got .*, expected a mapping of field to its values"),
    ],
)
def test_a_matrix_that_does_not_name_its_entries_is_refused(tmp_path, name, matrix, expected):
    with pytest.raises(StudyError, match=expected):
        opened(tmp_path, put(STUDY, "train", {name: {"matrix": matrix, "format": "chat", "loss": "all"}}))


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("recipe.lr=1e-4", lambda s: [t.lr for t in s.train.values()] == [1e-4, 1e-4]),
        ("train.sft_*.lr=0.5", lambda s: [t.lr for t in s.train.values()] == [0.5, 0.5]),
        ("train.*raw.lr=0.5", lambda s: [t.lr for t in s.train.values()] == [0.001, 0.5]),
        ("model=./here", lambda s: s.model == "./here"),
        ("data.files={train: a.jsonl}", lambda s: s.data.files == {"train": "a.jsonl"}),
        ("formats.chat.few_shots.k=3", lambda s: s.formats["chat"].few_shots.k == 3),
        ("formats.chat.stop=[a, b]", lambda s: s.formats["chat"].stop == ("a", "b")),
        ("evaluation.rows=0.5", lambda s: s.evaluate["raw"].rows == 0.5),
        ("evaluation.rows=null", lambda s: s.evaluate["raw"].rows is None),
        ("question=a=b", lambda s: s.question == "a=b"),
        ("train=sft_r*", lambda s: list(s.train) == ["sft_raw"]),
        ("train=*", lambda s: list(s.train) == ["sft_chat", "sft_raw"]),
        ("train=sft_raw,sft_chat", lambda s: list(s.train) == ["sft_chat", "sft_raw"]),
        ("evaluate=chat", lambda s: list(s.evaluate) == ["chat"]),
    ],
)
def test_an_override_reaches_every_field_and_selects_entries(tmp_path, monkeypatch, override, read):
    monkeypatch.chdir(tmp_path)
    assert read(only(tmp_path, STUDY, override))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("recipe.lr", "got 'recipe.lr', expected key=value"),
        ("recipe.lrr=1", "unknown key 'recipe.lrr'; did you mean 'lr'?"),
        ("train.sft_x*.lr=1", "'sft_x*' matches no entry"),
        ("train=sft_rw", "train: 'sft_rw' matches no entry; did you mean 'sft_raw'?"),
        ("model.size=1", "'size' lies below a value that is not a mapping"),
        ("recipe.lr=[1", "expected a YAML value"),
        ("smoke=true", "use --smoke"),
        ("sweep.smoke=[true, false]", "use --smoke"),
    ],
)
def test_a_wrong_override_is_one_line(tmp_path, override, expected):
    with pytest.raises(StudyError) as raised:
        opened(tmp_path, STUDY, override)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_sweep_crosses_its_fields_and_labels_the_points(tmp_path):
    raw = put(STUDY, "sweep", {"recipe.lr": [0.1, 0.2], "formats.chat.system": [None, LONG]})
    points = opened(tmp_path, raw)
    assert [label for label, _ in points][:2] == ["lr=0.1,system=null", f"lr=0.1,system={LONG}"]
    assert [(s.train["sft_raw"].lr, s.formats["chat"].system) for _, s in points] == [
        (0.1, None),
        (0.1, LONG),
        (0.2, None),
        (0.2, LONG),
    ]
    assert all(study.sweep == {} for _, study in points)


def test_an_override_of_what_a_sweep_crosses_takes_the_place_of_the_axis(tmp_path):
    raw = put(STUDY, "sweep", {"recipe.lr": [0.1, 0.2], "recipe.epochs": [1, 2]})
    points = opened(tmp_path, raw, "recipe.lr=0.5")
    assert [(label, study.train["sft_raw"].lr) for label, study in points] == [("epochs=1", 0.5), ("epochs=2", 0.5)]
    assert [label for label, _ in opened(tmp_path, put(STUDY, "sweep", {"seeds": [[0], [1]]}), "seeds=[2]")] == [""]


def test_a_short_name_means_its_model_in_overrides_sweeps_and_results(tmp_path):
    raw = put(STUDY, "model_names", {"small": "tiny", "far": "owner/name"})
    found = compile_study(opened(tmp_path, raw, "model=small"), tmp_path)
    plain = compile_study(opened(tmp_path, STUDY), tmp_path)
    assert {name: step.fingerprint for name, step in found.train.items()} == {
        name: step.fingerprint for name, step in plain.train.items()
    }
    assert {cell.variant.model for cell in found.cells} == {"small"}
    both = compile_study(opened(tmp_path, raw, "sweep={model: [small, far]}"), tmp_path)
    assert {"base@model=small", "sft_raw@model=far"} <= {cell.variant.name for cell in both.cells}
    blocked = both.train["sft_raw@model=far"].blocked
    assert blocked is not None
    assert "owner/name" in blocked
    assert "did you mean" not in blocked
    mistyped = compile_study(opened(tmp_path, raw, "model=smal"), tmp_path).train["sft_raw"].blocked
    assert mistyped is not None
    assert mistyped.endswith("did you mean 'small'?")


@pytest.mark.parametrize("names", [{"tiny": "a/b"}, {"a": "b", "b": "c/d"}])
def test_a_short_name_is_no_other_models_name(tmp_path, names):
    with pytest.raises(StudyError, match=r"model_names: got .* expected a new name for a folder or a hub id"):
        opened(tmp_path, put(STUDY, "model_names", names))


def test_a_sweep_over_settings_or_selections_keeps_their_values(tmp_path):
    lora = {"rank": 4, "targets": [f"a_module_with_a_long_name_{i}" for i in range(9)]}
    [(_, swept)] = opened(tmp_path, put(STUDY, "sweep", {"recipe.lora": [lora]}))
    assert swept.train["sft_raw"].lora.targets == tuple(lora["targets"])
    points = opened(tmp_path, put(STUDY, "sweep", {"train": ["sft_raw", "sft_chat"]}))
    assert [list(study.train) for _, study in points] == [["sft_raw"], ["sft_chat"]]


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_study_reads(name):
    points = read_study(name)
    assert {study.study for _, study in points} == {name}
    assert all(study.question.endswith("?") for _, study in points)


SEARCH = "{search: [1e-4, 1e-3], on: validation}"


def test_a_search_is_written_in_a_file_as_the_documents_write_it(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        yaml.safe_dump(STUDY).replace("recipe:\n", f"recipe:\n  lr: {SEARCH}\n").replace("  lr: 0.001\n", "")
    )
    [(_, study)] = read_study(str(path))
    assert study.train["sft_raw"].lr_search.search == (1e-4, 1e-3)


def test_a_search_is_written_as_an_override_as_the_documents_write_it(tmp_path):
    assert only(tmp_path, STUDY, f"recipe.lr={SEARCH}").train["sft_raw"].lr_search.on == "validation"


ALL_SET = "changes nothing, since every entry of train sets lr itself (sft_chat, sft_raw)"
OWN = put(put(STUDY, "train.sft_chat.lr", 0.1), "train.sft_raw.lr", 0.2)


@pytest.mark.parametrize("value", ["1e-5", "0.001", "{search: [1e-5, 1e-4], on: validation}"])
def test_an_override_of_what_every_entry_sets_itself_is_refused_with_what_to_write(tmp_path, value):
    with pytest.raises(StudyError) as raised:
        opened(tmp_path, OWN, f"recipe.lr={value}")
    assert str(raised.value) == f"override recipe.lr: {ALL_SET}; write train.sft_chat.lr, or train.*.lr for all"


def test_an_override_that_one_entry_heeds_is_taken(tmp_path):
    one = put(STUDY, "train.sft_chat.lr", 0.1)
    study = only(tmp_path, one, "recipe.lr=1e-5")
    assert {name: train.lr for name, train in study.train.items()} == {"sft_chat": 0.1, "sft_raw": 1e-5}
    with pytest.raises(StudyError, match=r"every entry of train sets lr itself \(sft_chat\)"):
        only(tmp_path, one, "recipe.lr=1e-5", "train=sft_chat")
    with pytest.raises(StudyError, match=r"every entry of train sets lr itself \(sft_chat\)"):
        only(tmp_path, put(one, "train.sft_raw.on_request", True), "recipe.lr=1e-5")


def test_an_override_within_a_mapping_is_refused_where_every_entry_sets_just_that(tmp_path):
    adapted = put(STUDY, "recipe.adaptation", "lora")
    ranks = put(put(adapted, "train.sft_chat.lora", {"rank": 4}), "train.sft_raw.lora", {"rank": 8})
    assert {train.lora.alpha for train in only(tmp_path, ranks, "recipe.lora.alpha=3").train.values()} == {3}
    with pytest.raises(
        StudyError, match=r"override recipe\.lora\.rank: changes nothing.*write train\.sft_chat\.lora\.rank"
    ):
        opened(tmp_path, ranks, "recipe.lora.rank=2")


def test_a_sweep_of_what_every_entry_sets_itself_is_refused_in_a_file_and_on_the_command_line(tmp_path):
    with pytest.raises(StudyError) as raised:
        opened(tmp_path, put(OWN, "sweep", {"recipe.lr": [1e-5, 1e-4]}))
    assert str(raised.value).startswith(f"{tmp_path}/study.yaml: sweep: recipe.lr: {ALL_SET}")
    rows = put(put(STUDY, "evaluate.chat.rows", 8), "evaluate.raw.rows", 9)
    with pytest.raises(StudyError, match=r"sweep: evaluation\.rows: .* every entry of evaluate sets rows itself"):
        opened(tmp_path, rows, "sweep={evaluation.rows: [10, 20]}")
    assert len(opened(tmp_path, OWN, "sweep={train.*.lr: [1e-5, 1e-4]}")) == 2
