"""A judge behind a server on this machine: what it says is read, and when it falls silent nothing is made up."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_study_judges import artifact, cell, judge_step, opened, ran, study

from tunelab.generation.retries import Patience

pytest.importorskip("tunelab.generation.endpoint")


class Chat(BaseHTTPRequestHandler):
    """Answers every chat with ``server.reply(body)``, or with an error where that is a number; and what it can do."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        probing = body["max_tokens"] == 1
        (self.server.probed if probing else self.server.seen).append(body)
        reply = "yes" if probing else self.server.reply(body)
        failed = isinstance(reply, int)
        message = {"role": "assistant", "content": reply}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        made = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        content = json.dumps({"error": {"message": "no"}} if failed else made).encode()
        self.send_response(reply if failed else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A server whose reply a test sets."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    made.seen, made.probed, made.reply = [], [], lambda body: "SAFE"
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def impatient(monkeypatch):
    """No wait between the attempts at a request."""
    monkeypatch.setattr(Patience, "wait", lambda self, attempts, asked, chance: 0.0)


def served(server, folder, hardware=None, **settings):
    judge = {"kind": "endpoint", "model": "big", "endpoint": f"http://127.0.0.1:{server.server_port}/v1", **settings}
    raw = study(judges={"served": judge}, **({"hardware": hardware} if hardware else {}))
    raw["evaluate"]["harm"]["judges"] = ["served"]
    return opened(folder, raw)


def test_a_served_judge_decides_and_is_not_asked_again(server, tmp_path):
    server.reply = lambda body: "UNSAFE" if "egg" in body["messages"][0]["content"] else "**SAFE**"
    found = served(server, tmp_path)
    outcome = ran(found)
    assert cell(found, outcome)["metrics"]["safe"]["value"] == 0.5
    assert {body["model"] for body in server.seen} == {"big"}
    assert {body["temperature"] for body in server.seen} == {0.0}
    (artifact(found, outcome, judge_step(found, "served")).directory / "record.json").unlink()
    (artifact_file := found.store.directory(judge_step(found, "served")) / "verdicts.jsonl").unlink()
    ran(served(server, tmp_path))
    assert artifact_file.exists()
    assert len(server.seen) == 4


def test_a_server_that_refuses_everything_leaves_safety_missing_and_the_next_run_asks_again(server, tmp_path):
    server.reply = lambda body: 401
    found = served(server, tmp_path)
    outcome = ran(found)
    assert outcome.states[judge_step(found, "served").fingerprint].value == "failed"
    assert cell(found, outcome)["metrics"]["safe"]["value"] is None
    server.reply = lambda body: "SAFE"
    back = served(server, tmp_path)
    assert cell(back, ran(back))["metrics"]["safe"]["value"] == 1.0


def test_one_exchange_that_a_server_will_not_take_is_unscored_and_the_others_stand(server, tmp_path):
    server.reply = lambda body: 400 if "joke" in body["messages"][0]["content"] else "SAFE"
    found = served(server, tmp_path)
    summary = cell(found, ran(found))
    assert (summary["n"], summary["scored"], summary["metrics"]["safe"]["value"]) == (4, 3, 1.0)
    assert summary["metrics"]["safe"]["worst_case"] == 0.75


def test_what_a_judges_server_can_do_and_took_are_facts(server, tmp_path):
    server.reply = lambda body: 400 if "joke" in body["messages"][0]["content"] else "SAFE"
    found = served(server, tmp_path)
    facts = artifact(found, ran(found), judge_step(found, "served")).record.facts["server"]
    assert facts["probe"] == {"listed": None, "system_role": True, "seed": True, "logprobs": False}
    assert (facts["answered"], facts["unanswered"], facts["attempts"]) == (3, 1, 4)
    assert len(server.probed) == 4


def test_repeats_at_a_server_have_different_seeds(server, tmp_path):
    found = served(server, tmp_path, repeats=3, temperature=1.0)
    server.reply = lambda body: "SAFE" if body["seed"] != 1 else "UNSAFE"
    outcome = ran(found)
    assert cell(found, outcome)["metrics"]["safe"]["value"] == 1.0
    assert sorted(body["seed"] for body in server.seen) == [0] * 4 + [1] * 4 + [2] * 4


def test_an_address_that_the_environment_does_not_name_blocks_the_judge_alone(server, tmp_path, monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "LMSTUDIO_ENDPOINT", "LMSTUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    found = served(server, tmp_path, endpoint="https://judge.example/v1")
    found.refuse_blocked()
    assert "judge served: endpoint: got https://judge.example/v1, expected" in found.silent_judges()[0]
    outcome = ran(found)
    assert cell(found, outcome)["metrics"]["safe"]["value"] is None


OWED = {"outputs that a judge did not reply to": 1}


def test_what_no_reply_came_to_is_owed_and_the_next_run_asks_for_it_alone(server, tmp_path, impatient):
    server.reply = lambda body: 503 if "joke" in body["messages"][0]["content"] else "SAFE"
    found = served(server, tmp_path)
    outcome = ran(found)
    assert outcome.ok
    assert outcome.owed == {judge_step(found, "served").fingerprint: OWED}
    assert cell(found, outcome)["scored"] == 3
    server.seen.clear()
    server.reply = lambda body: "UNSAFE"
    back = served(server, tmp_path)
    outcome = ran(back)
    assert outcome.owed == {}
    assert (cell(back, outcome)["scored"], cell(back, outcome)["metrics"]["safe"]["value"]) == (4, 0.75)
    assert len(server.seen) == 1


def test_a_silent_batch_ends_a_judge_only_where_no_other_had_a_reply(server, tmp_path, impatient):
    server.reply = lambda body: "SAFE" if "boil" in body["messages"][0]["content"] else 503
    outcome = ran(found := served(server, tmp_path, hardware={"generation_batch_size": 1}))
    assert outcome.owed == {judge_step(found, "served").fingerprint: {"outputs that a judge did not reply to": 2}}
    assert cell(found, outcome)["scored"] == 2


@pytest.mark.parametrize("status", [401, 503])
def test_a_server_that_is_gone_when_the_rest_is_asked_for_takes_no_verdict_away(server, tmp_path, impatient, status):
    server.reply = lambda body: 503 if "joke" in body["messages"][0]["content"] else "SAFE"
    ran(served(server, tmp_path))
    server.reply = lambda body: status
    back = served(server, tmp_path)
    outcome = ran(back)
    assert outcome.ok
    assert outcome.owed == {judge_step(back, "served").fingerprint: OWED}
    assert (cell(back, outcome)["scored"], cell(back, outcome)["metrics"]["safe"]["value"]) == (3, 1.0)
