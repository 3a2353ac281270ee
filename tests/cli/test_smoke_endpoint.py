"""`--smoke-endpoint`: the cells of served models go through a real server on loopback, which is gone afterwards."""

import json
from pathlib import Path

import yaml

STUDY = {
    "study": "large",
    "question": "Is the large one better?",
    "model": "some-owner/small",
    "models": {"large": {"endpoint": "https://far.example/v1", "name": "gemma-3-27b-it"}},
    "task": "arithmetic",
    "formats": {"chat": {"template": "chat", "system": "Be brief."}},
    "evaluate": {"chat": {"format": "chat", "rows": 6, "max_new_tokens": 4}},
}


def servers(folder: Path) -> list[Path]:
    """Processes that run now with a home of a smoke run's server below a folder."""
    found: list[Path] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HF_HOME={folder}/tunelab-serve-".encode() in (process / "environ").read_bytes():
                found.append(process)
        except OSError:  # it has ended, or is another user's
            continue
    return found


def outputs(folder: Path, variant: str) -> dict[str, str]:
    """What a variant answered, by sample."""
    path = folder / "results" / "large-smoke" / "eval" / f"{variant}_eval_chat" / "outputs.jsonl"
    return {row["id"]: row["output"].strip() for row in map(json.loads, path.read_text().splitlines())}


def test_endpoint_cells_go_through_a_server_that_is_started_for_them_alone(tunelab, tmp_path):
    study = tmp_path / "large.yaml"
    study.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    planned = tunelab("plan", "large.yaml", "--smoke-endpoint")
    assert planned.returncode == 0, planned.stderr
    assert "generate/large-chat" in planned.stdout
    done = tunelab("run", "large.yaml", "--smoke-endpoint", "--json", TMPDIR=str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    assert not servers(tmp_path)
    assert not [*tmp_path.glob("tunelab-serve-*")]
    [record] = [
        json.loads(path.read_text()) for path in (tmp_path / ".tunelab").glob("generate/large-chat-*/record.json")
    ]
    assert record["settings"]["backend"] == "endpoint"
    assert record["facts"]["server"]["probe"]["system_role"] is True
    assert (record["facts"]["outputs"], record["facts"]["server"]["unanswered"]) == (6, 0)
    assert outputs(tmp_path, "large") == outputs(tmp_path, "base")
    again = tunelab("run", "large.yaml", "--smoke-endpoint", "--json")
    assert '"done": 0' in again.stdout.splitlines()[-1]


def test_a_study_without_a_served_model_has_no_use_for_a_server(tunelab):
    found = tunelab("run", "quickstart", "--smoke-endpoint")
    assert found.returncode == 2
    assert found.stderr.strip().endswith("quickstart-smoke has no model behind a server; use --smoke")
