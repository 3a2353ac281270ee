"""Pushing to a hub that speaks the real one's endpoints: what arrives, and what is said when it does not."""

import json
import re
import signal
import subprocess

from hub_server import Repo

from tunelab.study.compile import compile_study
from tunelab.study.read import read_study

ADAPTER = "me/small-adapter"


def one_line(result, code):
    """The one line that a push ends with."""
    assert result.returncode == code, result.stdout + result.stderr
    [line] = result.stderr.splitlines()
    assert "pushed" not in result.stdout
    return line


def local_files(desk, variant):
    folder = desk.folder / "results" / "small" / "models" / variant
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"}


def test_every_file_arrives_byte_for_byte_in_a_private_repository(desk, hub):
    result = desk.push()
    assert result.returncode == 0, result.stderr
    assert set(hub.repos) == {"me/small-full", ADAPTER}
    for variant in ("full", "adapter"):
        repo = hub.repos[f"me/small-{variant}"]
        local = local_files(desk, variant)
        assert set(repo.files) == {*local, "README.md", "study.json"}
        for name in set(local) - {"adapter_config.json"}:
            assert repo.files[name] == local[name]
        card = desk.folder / "results" / "small" / "cards" / f"{variant}.md"
        assert repo.files["README.md"] == card.read_bytes()
        assert repo.private
        assert len(repo.commits) == 2
        assert f"pushed: {hub.url}/me/small-{variant} (private model)" in result.stdout


def test_nothing_that_is_sent_names_a_folder_of_this_machine(desk, hub):
    assert desk.push().returncode == 0
    sent = json.loads(hub.repos[ADAPTER].files["adapter_config.json"])
    local = json.loads(local_files(desk, "adapter")["adapter_config.json"])
    assert sent == local | {"base_model_name_or_path": "tiny"}
    for content in (content for repo in hub.repos.values() for content in repo.files.values()):
        assert str(desk.folder).encode() not in content
        assert local["base_model_name_or_path"].encode() not in content


def test_the_study_that_is_sent_with_a_model_asks_for_the_same_training(desk, hub, tmp_path):
    assert desk.push("adapter").returncode == 0
    (tmp_path / "study.json").write_bytes(hub.repos[ADAPTER].files["study.json"])
    again = compile_study(read_study(str(tmp_path / "study.json")), tmp_path)
    card = hub.repos[ADAPTER].files["README.md"].decode()
    assert f"Fingerprint of the training: `{again.train['adapter'].fingerprint}`" in card


def test_data_goes_to_a_data_set_of_the_same_name(desk, hub):
    assert desk.push("full", "--data").returncode == 0
    repo = hub.repos["datasets/me/small-full"]
    local = desk.folder / "results" / "small" / "data" / "full" / "train.parquet"
    assert repo.files["train.parquet"] == local.read_bytes()
    assert set(repo.files) == {"train.parquet", "README.md", "study.json"}
    assert repo.private


def test_data_that_is_not_prepared_is_named(desk, hub):
    line = one_line(desk.push("--data"), 2)
    assert "data not prepared: adapter; run `tunelab data prepare`" in line
    assert not hub.requests


def test_pushing_again_makes_no_commit(desk, hub):
    assert desk.push("full", "--data").returncode == 0
    before = {name: list(repo.commits) for name, repo in hub.repos.items()}
    puts = hub.count("PUT")
    again = desk.push("full", "--data")
    assert again.returncode == 0
    assert {name: repo.commits for name, repo in hub.repos.items()} == before
    assert hub.count("PUT") == puts
    assert again.stdout.count("up to date: ") == 2
    assert "pushed" not in again.stdout


def test_a_card_that_changed_is_committed_alone(desk, hub):
    assert desk.push("full").returncode == 0
    repo = hub.repos["me/small-full"]
    card = repo.files["README.md"]
    repo.files["README.md"] = b"edited"
    assert "pushed: " in desk.push("full").stdout
    assert repo.files["README.md"] == card
    assert len(repo.commits) == 3


def test_a_wrong_token_is_one_line(desk, hub):
    assert "the token is refused (401)" in one_line(desk.push(HF_TOKEN="hf_wrong"), 1)
    assert not hub.repos


def test_a_missing_token_is_one_line(desk, hub):
    line = one_line(desk.push(HF_TOKEN=""), 1)
    assert "no token" in line
    assert "hf auth login" in line
    assert not hub.repos


def test_an_owner_that_the_token_may_not_write_to_is_one_line(desk, hub):
    result = desk.run("push", "small.yaml", "--to", "others/small", "full")
    assert "others/small-full: the token may not write there (403)" in one_line(result, 1)


def test_offline_is_one_line_that_says_so(desk, hub):
    assert "hub: offline (HF_HUB_OFFLINE is set)" in one_line(desk.push(HF_HUB_OFFLINE="1"), 1)
    assert not hub.requests


def test_a_hub_that_does_not_answer_is_one_line(desk):
    assert "hub: offline (it does not answer)" in one_line(desk.push(HF_ENDPOINT="http://127.0.0.1:9"), 1)


def test_a_commit_that_fails_is_one_line_and_the_next_push_sends_nothing_twice(desk, hub):
    hub.fail_commits = 1
    assert "me/small-full: got 503 from the hub, which may pass" in one_line(desk.push("full"), 1)
    assert not hub.repos["me/small-full"].files
    puts = hub.count("PUT")
    assert puts == 1
    assert desk.push("full").returncode == 0
    assert hub.count("PUT") == puts
    weights = hub.repos["me/small-full"].files["model.safetensors"]
    assert weights == local_files(desk, "full")["model.safetensors"]


def test_a_connection_that_breaks_in_an_upload_is_tried_again(desk, hub):
    hub.reset_uploads = 1
    result = desk.push("full")
    assert result.returncode == 0, result.stderr
    assert hub.count("PUT") == 2
    weights = hub.repos["me/small-full"].files["model.safetensors"]
    assert weights == local_files(desk, "full")["model.safetensors"]


def test_an_upload_that_breaks_until_the_client_gives_up_is_one_line_and_the_next_push_completes(desk, hub):
    hub.reset_uploads = 1000
    line = one_line(desk.push("full"), 1)
    assert line.startswith("tunelab: hub: me/small-full: ")
    assert line.endswith("push again: what has arrived is not sent twice")
    assert not hub.repos["me/small-full"].files
    hub.reset_uploads = 0
    assert desk.push("full").returncode == 0
    weights = hub.repos["me/small-full"].files["model.safetensors"]
    assert weights == local_files(desk, "full")["model.safetensors"]


def test_a_push_that_is_interrupted_in_an_upload_is_completed_by_the_next(desk, hub):
    hub.hold_uploads = True
    command = desk.command("push", "small.yaml", "full", "--to", "me/small")
    process = subprocess.Popen(command, cwd=desk.folder, env=desk.environment, stdout=-1, stderr=-1, text=True)
    assert hub.in_upload.wait(60)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.splitlines() == ["tunelab: interrupted; push again: what has arrived is not sent twice"]
    assert "pushed" not in out
    assert not hub.repos["me/small-full"].files
    hub.hold_uploads = False
    hub.released.set()
    assert desk.push("full").returncode == 0
    weights = hub.repos["me/small-full"].files["model.safetensors"]
    assert weights == local_files(desk, "full")["model.safetensors"]


def test_a_push_goes_to_a_public_repository_only_when_asked(desk, hub):
    hub.repos["me/small-full"] = Repo(private=False)
    assert "me/small-full: is public, expected a private repository" in one_line(desk.push("full"), 1)
    assert not hub.repos["me/small-full"].files
    result = desk.push("--public")
    assert result.returncode == 0
    assert not hub.repos[ADAPTER].private
    assert "(public model)" in result.stdout


def test_a_dry_run_lists_what_a_push_would_send_and_needs_neither_hub_nor_token(desk, hub):
    shown = desk.push("full", "--data", "--dry-run", HF_TOKEN="", HF_HUB_OFFLINE="1")
    assert shown.returncode == 0
    assert not hub.requests
    listed = re.findall(r"^ me/small-full +(model|dataset) +(\S+) +([\d,]+) *$", shown.stdout, re.MULTILINE)
    assert desk.push("full", "--data").returncode == 0
    sent = [("model", hub.repos["me/small-full"]), ("dataset", hub.repos["datasets/me/small-full"])]
    wanted = {(kind, name, f"{len(content):,}") for kind, repo in sent for name, content in repo.files.items()}
    assert set(listed) == wanted


def test_variants_that_are_not_trained_are_named(desk, hub):
    line = one_line(desk.push("--set", "train.adapter.lr=0.5"), 2)
    assert "not trained: adapter; run the study first" in line
    assert "did you mean 'full'?" in one_line(desk.push("ful"), 2)
    assert "base is the untouched model" in one_line(desk.push("base"), 2)
    assert not hub.requests


def test_results_of_a_smoke_run_are_refused_unless_asked_for(desk, hub, tmp_path):
    configuration = json.loads((desk.folder / "results" / "small" / "configs" / "full.json").read_text())
    (tmp_path / "smoke.json").write_text(json.dumps(configuration | {"smoke": True}))
    push = ("push", str(tmp_path / "smoke.json"), "--to", "me/small")
    assert "got results of a smoke run" in one_line(desk.run(*push), 2)
    assert "not trained: full" in one_line(desk.run(*push, "--smoke-anyway"), 2)
