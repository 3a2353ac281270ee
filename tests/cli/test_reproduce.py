"""``tunelab reproduce`` over a study that is finished, and over what the hub's cache holds."""

import json
import shutil

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PUBLISHED = """
study: published
question: Is it there?
model: tiny
task: arithmetic
formats: {chat: {template: chat}}
recipe: {method: sft, adaptation: full, loss: all, lr: 1.0e-4, epochs: 1, batch_size: 8, format: chat}
train:
  there: {published: me/mine}
evaluation: {rows: 4, max_new_tokens: 4, format: chat}
evaluate: {chat: {}}
hardware: {device: cpu}
"""


def test_the_models_of_a_finished_study_give_its_scores_again_without_training(tunelab, finished, tmp_path):
    first = finished / "results" / "quickstart-smoke"
    (tmp_path / "adapters").mkdir()
    taken = sorted(path.name for path in (first / "models").iterdir())[:2]
    for name in taken:
        (tmp_path / "adapters" / name).symlink_to(first / "models" / name)
    result = tunelab("reproduce", "quickstart", "--smoke", "--adapters", "adapters")
    assert result.returncode == 0, result.stderr
    again = tmp_path / "results" / "quickstart-reproduced-smoke"
    evaluated = sorted(path.name for path in (again / "eval").iterdir() if not path.name.startswith("base"))
    assert evaluated == sorted(f"{name}_eval_{e}" for name in taken for e in ("chat", "raw"))
    for folder in evaluated:
        for file in ("scores.jsonl", "outputs.jsonl"):
            assert (again / "eval" / folder / file).read_bytes() == (first / "eval" / folder / file).read_bytes()
    assert not (tmp_path / ".tunelab" / "train").exists()
    [left_out] = [line for line in result.stderr.splitlines() if "left out" in line]
    assert all(name not in left_out for name in taken)
    assert f"{taken[0]} is adopted from {tmp_path}/adapters/{taken[0]}" in result.stderr


def test_a_study_without_weights_is_a_mistake(tunelab):
    result = tunelab("reproduce", "quickstart", "--smoke")
    assert result.returncode == 2
    assert "no weights are known of" in result.stderr
    assert result.stderr.count("\n") == 1


def test_published_weights_are_taken_from_the_hub_at_their_commit(tunelab, finished, tmp_path):
    repo = tmp_path / "hf" / "hub" / "models--me--mine"
    shutil.copytree(finished / "results" / "quickstart-smoke" / "models" / "sft_chat", repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (tmp_path / "published.yaml").write_text(PUBLISHED)
    result = tunelab("reproduce", "published.yaml", HF_HOME=str(tmp_path / "hf"))
    assert result.returncode == 0, result.stderr
    [record] = (tmp_path / ".tunelab" / "adopt").glob("*/record.json")
    found = json.loads(record.read_text())
    assert found["settings"]["checkpoint"] == {"hub": "me/mine", "revision": COMMIT}
    assert (found["facts"]["adopted"]["holds"], found["facts"]["adopted"]["warnings"]) == ("model", [])
    page = (tmp_path / "results" / "published-reproduced" / "report" / "index.html").read_text()
    assert f"me/mine at {COMMIT}" in page
    assert "tunelab reproduce published" in page
