"""A study whose model is behind a server that fails: every sample ends scored or accounted for, and none twice."""

import html
import os
import random
import subprocess
import sys
import time
import zipfile
from collections import Counter

import pytest
from faulty_proxy import FaultyProxy, body, busy, dropped, hang, reset, slow, status, truncated
from served_study import app, artifact, compared, generated, opened, ran, rows_of, study, write

from tunelab.cli.run import run_opened
from tunelab.files import read_lines
from tunelab.report.counted import tokens

QUICK = (busy("0"), status(500), status(503, "loading"), truncated, dropped, reset, body('{"choices": []}'))
ENDLESS = (hang, slow)


@pytest.fixture
def proxy():
    """The small server behind a proxy."""
    with app() as server, FaultyProxy(server.origin) as proxy:
        proxy.app = server
        yield proxy


def texts(rows):
    return [f"test {i}" for i in range(rows)]


def served(proxy, **settings):
    return {"endpoint": proxy.url, "name": "big", "first_wait": 0.01, **settings}


def test_a_thousand_requests_of_which_a_fifth_meet_faults_are_all_scored_or_owed_and_none_twice(proxy, tmp_path):
    """What a slow machine adds, an attempt that is not read or a reply that comes too late, is no other result."""
    chance, asked = random.Random(0), texts(1000)
    unlucky = chance.sample(asked, 200)
    passing, lost, refused = unlucky[:170], unlucky[170:190], unlucky[190:]
    proxy.faults = {text: chance.choices(QUICK, k=chance.randint(1, 2)) for text in passing}
    proxy.faults |= {text: [ENDLESS[i % 2]] for i, text in enumerate(passing[:12])}
    proxy.faults |= {text: [status(503, "loading")] * 4 for text in lost}
    proxy.faults |= {text: [status(400, "maximum context length is 8 tokens")] for text in refused}
    raw = study(proxy.url, model=served(proxy, slots=16, attempts=4, timeout=2.0))
    found = opened(tmp_path, raw, 1000)

    outcome = ran(found)

    made = generated(found, outcome)
    answered, silent = rows_of(made, "outputs.jsonl"), rows_of(made, "unanswered.jsonl")
    assert outcome.ok
    assert outcome.owed_by_name() == {found.compiled.scores["base/chat"].inputs["outputs"].name: {
        "requests that got no answer": 20}}  # fmt: skip
    assert sorted(row["id"] for row in [*answered, *silent]) == sorted(f"test-{i}" for i in range(1000))
    assert {row["prompt"].split("\n")[1] for row in silent} == {*lost, *refused}
    assert all(row["output"].startswith(row["prompt"].split("\n")[1]) for row in answered)
    cell = compared(found, outcome)
    assert (cell["n"], cell["scored"], cell["outcomes"]["unscored"], cell["no_reply"]) == (1000, 970, 30, 30)
    assert "error" not in cell
    assert (cell["metrics"]["right"]["value"], cell["metrics"]["right"]["worst_case"]) == (1.0, 0.97)
    assert cell["note"] == "30 requests without a reply are unscored"
    facts = made.record.facts
    proxy.settle()
    assert all(row["attempts"] >= len(proxy.asked[row["prompt"].split("\n")[1]]) >= 1 for row in [*answered, *silent])
    assert facts["server"]["attempts"] == sum(row["attempts"] for row in [*answered, *silent])
    assert facts["server"]["retries"] == facts["server"]["attempts"] - 1000
    assert (facts["prompt_tokens"], facts["output_tokens"]) == (9700, 4850)
    before = Counter({text: len(times) for text, times in proxy.asked.items()})

    again = opened(tmp_path, raw, 1000)
    outcome = ran(again)

    after = Counter({text: len(times) for text, times in proxy.asked.items()})
    assert {text for text in asked if after[text] > before[text]} == set(lost)
    assert all(proxy.delivered[text] >= 1 for text in asked if text not in refused)
    assert outcome.owed == {}
    cell = compared(again, outcome)
    assert (cell["n"], cell["scored"], cell["no_reply"]) == (1000, 990, 10)
    took = generated(again, outcome).record.facts["server"]
    assert took["attempts"] >= facts["server"]["attempts"] + 20
    assert took["retries"] == took["attempts"] - 1000
    ids = [row["id"] for row in rows_of(generated(again, outcome), "outputs.jsonl")]
    assert len(ids) == len(set(ids)) == 990


RUN = "from tunelab.cli import main; main()"


def test_after_a_kill_only_what_is_missing_is_asked_for(proxy, tmp_path):
    path = write(tmp_path, study(proxy.url, model=served(proxy, slots=2)), 200)
    command = [sys.executable, "-c", RUN, "run", path, "--store", str(tmp_path / "store")]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while sum(proxy.delivered[text] for text in texts(200)) < 50 and process.poll() is None:
        time.sleep(0.005)
    proxy.app.pause.clear()
    process.kill()
    process.communicate()
    proxy.app.pause.set()
    proxy.settle()
    [kept] = (tmp_path / "store").glob("generate/*/outputs.jsonl")
    assert not (kept.parent / "record.json").exists()
    done = {row["prompt"].split("\n")[1] for row in read_lines(kept)}
    before = {text: len(proxy.asked[text]) for text in texts(200)}
    assert 48 <= len(done) < 200

    found = opened(tmp_path, study(proxy.url, model=served(proxy, slots=2)), 200)
    outcome = ran(found)

    assert all(len(proxy.asked[text]) == before[text] for text in done)
    assert all(len(proxy.asked[text]) == before[text] + 1 for text in texts(200) if text not in done)
    ids = [row["id"] for row in rows_of(generated(found, outcome), "outputs.jsonl")]
    assert ids == [f"test-{i}" for i in range(200)]
    assert compared(found, outcome)["scored"] == 200


def test_a_server_that_falls_silent_ends_the_step_and_what_was_answered_is_kept(proxy, tmp_path):
    raw = study(proxy.url, model=served(proxy, slots=1, attempts=1))
    proxy.faults = {text: [status(502)] for text in texts(40)[10:]}
    found = opened(tmp_path, raw)
    outcome = ran(found)
    assert [("no reply to 20 requests in a row" in message) for message in outcome.failures().values()] == [True]
    proxy.faults = {}
    again = opened(tmp_path, raw)
    outcome = ran(again)
    assert compared(again, outcome)["scored"] == 40
    assert [len(proxy.asked[text]) for text in texts(40)] == [1] * 10 + [2] * 20 + [1] * 10
    made = generated(again, outcome)
    assert (made.record.facts["server"]["attempts"], made.record.facts["server"]["retries"]) == (60, 20)
    assert [row["attempts"] for row in rows_of(made, "outputs.jsonl")] == [1] * 10 + [2] * 20 + [1] * 10


def test_settings_of_the_format_and_the_evaluation_arrive_as_turns_of_a_conversation(proxy, tmp_path):
    fmt = {"template": "chat", "system": "Double it.", "few_shots": {"k": 2}, "kwargs": {"enable_thinking": False}}
    drawn = {"format": "chat", "samples": 2, "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 3}
    raw = study(proxy.url, formats={"chat": fmt}, evaluate={"chat": drawn})
    found = opened(tmp_path, raw)
    ran(found)
    first, second = proxy.bodies["test 7"]
    turns = [(turn["role"], turn["content"].split()[0]) for turn in first["messages"]]
    assert turns == [
        ("system", "Double"),
        ("user", "train"),
        ("assistant", "train"),
        ("user", "train"),
        ("assistant", "train"),
        ("user", "test"),
    ]
    assert first["messages"][2]["content"] == f"{first['messages'][1]['content']} {first['messages'][1]['content'][6:]}"
    expected = {"model": "big", "temperature": 0.7, "top_p": 0.9, "max_tokens": 3}
    assert {key: first[key] for key in expected} == expected
    assert first["chat_template_kwargs"] == {"enable_thinking": False}
    seeds = {asked["seed"] for text in texts(40) for asked in proxy.bodies[text]}
    assert len(seeds) == 80
    assert {key: value for key, value in first.items() if key != "seed"} == {
        key: value for key, value in second.items() if key != "seed"
    }


def test_greedy_requests_have_no_seed_and_an_answer_ends_before_a_stop_string(proxy, tmp_path):
    found = opened(tmp_path, study(proxy.url, formats={"chat": {"template": "chat", "stop": [" 7"]}}))
    rows = rows_of(generated(found, ran(found)), "outputs.jsonl")
    assert "seed" not in proxy.bodies["test 7"][0]
    ends = {row["id"]: (row["output"], row["finish"]) for row in rows}
    assert ends["test-7"] == ("test", "stop_string")
    assert ends["test-8"] == ("test 8 8", "stop")


def test_a_server_that_leaves_system_messages_out_is_refused_where_one_is_needed(proxy, tmp_path):
    usage = '"usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}'
    proxy.always = body(f'{{"choices": [{{"message": {{"content": "yes"}}, "finish_reason": "stop"}}], {usage}}}')
    with_system = {"template": "chat", "system": "Double it."}
    found = opened(tmp_path, study(proxy.url, formats={"chat": with_system}))
    assert "leaves system messages out" in "".join(ran(found).failures().values())
    assert not proxy.asked["test 7"]
    plain = opened(tmp_path, study(proxy.url))
    assert ran(plain).ok


def test_what_the_server_can_do_and_what_it_took_are_facts_and_a_cost_where_a_price_is_declared(proxy, tmp_path):
    price = {"input": 2000.0, "output": 10_000.0}
    found = opened(tmp_path, study(proxy.url, model=served(proxy, price=price)))
    outcome = ran(found)
    facts = generated(found, outcome).record.facts
    assert facts["server"]["probe"] == {"listed": True, "system_role": True, "seed": True, "logprobs": False}
    assert (facts["server"]["answered"], facts["server"]["retries"], facts["outputs"]) == (40, 0, 40)
    assert facts["server"]["slots"] == 4
    page = artifact(found, outcome, found.compiled.report).path("index.html").read_text()
    costs = page[page.index("<caption><span>Costs<") :]
    assert (40 * 10 * 2000.0 + 40 * 5 * 10_000.0) / 1e6 == 2.8
    assert ">2.800</td>" in costs[: costs.index("</table>")]


UNLISTED = "served model 'bigger': not among the models that its server lists ('big')"


def test_a_model_that_its_server_does_not_list_is_told_at_every_runs_end_and_on_the_page(proxy, tmp_path, capsys):
    """This server answers for any name, so a wrong one fails nothing."""
    for name, told in (("big", 0), ("bigger", 1), ("bigger", 1)):
        found = opened(tmp_path, study(proxy.url, model=served(proxy, name=name)))
        code = run_opened(found, gate=False, quiet=True, as_json=False, results=tmp_path / "results")
        page = (tmp_path / "results" / "served" / "report" / "index.html").read_text()
        assert code == 0
        assert capsys.readouterr().err.count(f"tunelab: {UNLISTED}") == told
        assert html.unescape(page).count(UNLISTED) == told


@pytest.mark.parametrize(
    ("counted", "tokens", "price"),
    [
        (0, "not known", "not known"),
        (10, "at least 100, 30 replies uncounted", "at least 0.700, 30 replies uncounted"),
    ],
)
def test_what_a_server_did_not_count_is_no_0(proxy, tmp_path, counted, tokens, price):
    uncounted = body('{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}')
    proxy.faults = {text: [uncounted] for text in texts(40)[counted:]}
    declared = {"input": 2000.0, "output": 10_000.0}
    found = opened(tmp_path, study(proxy.url, model=served(proxy, price=declared)))
    outcome = ran(found)
    assert generated(found, outcome).record.facts["uncounted"] == {
        "prompt_tokens": 40 - counted, "output_tokens": 40 - counted
    }  # fmt: skip
    page = artifact(found, outcome, found.compiled.report).path("index.html").read_text()
    costs = page[page.index("<caption><span>Costs<") :]
    costs = costs[: costs.index("</table>")]
    assert costs.count(f">{tokens}</td>") == {0: 6, 10: 2}[counted]
    assert costs.count(f">{price}</td>") == {0: 6, 10: 2}[counted]
    assert ">0.000</td>" not in costs


KEY = "sk-not-to-be-seen-0123456789"


def test_the_key_reaches_the_server_and_nothing_that_is_written(proxy, tmp_path):
    proxy.faults = {
        "test 3": [status(500, f"bad key {KEY}")] * 9,
        "test 4": [status(400, f"no, {KEY}")],
        "test 5": [body(f"<p>{KEY}")],
    }
    path = write(tmp_path, study(proxy.url, model={"name": "big", "first_wait": 0.01, "attempts": 3}))
    variables = {**os.environ, "OPENAI_BASE_URL": proxy.url, "OPENAI_API_KEY": KEY}
    for name in ("LMSTUDIO_ENDPOINT", "LMSTUDIO_API_KEY"):
        variables.pop(name, None)
    said = b""
    for arguments in (["run", path], ["run", path, "--json"], ["export", path, "out.zip", "--partial"]):
        command = [sys.executable, "-c", RUN, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, check=False)
        said += done.stdout + done.stderr
    assert proxy.keys == {f"Bearer {KEY}"}
    assert b"requests that got no answer" in said
    with zipfile.ZipFile(tmp_path / "out.zip") as bundle:
        contents = [bundle.read(name) for name in bundle.namelist()]
    contents += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b"***" in content for content in contents)
    assert not [content for content in [said, *contents] if KEY.encode() in content]


def test_a_server_that_counts_prompts_only_has_its_prompts_counted(proxy, tmp_path):
    half = body('{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 7}}')
    proxy.faults = {text: [half] for text in texts(40)}
    found = opened(tmp_path, study(proxy.url, model=served(proxy)))
    facts = generated(found, ran(found)).record.facts
    assert facts["uncounted"] == {"prompt_tokens": 0, "output_tokens": 40}
    assert tokens([facts], "prompt_tokens").shown() == 280
    assert tokens([facts], "output_tokens").shown() == "not known"


def test_what_one_step_did_not_count_is_a_share_of_all_steps():
    told = {"prompt_tokens": 100, "outputs": 4, "uncounted": {"prompt_tokens": 0}}
    silent = {"prompt_tokens": 0, "outputs": 6, "uncounted": {"prompt_tokens": 6}}
    assert tokens([told, silent], "prompt_tokens").shown() == "at least 100, 6 replies uncounted"
    assert tokens([silent, silent], "prompt_tokens").shown() == "not known"
