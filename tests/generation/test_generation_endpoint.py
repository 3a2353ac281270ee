"""A real server behind a proxy that fails by script: every request ends answered or accounted for, none twice."""

import asyncio
import logging
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from faulty_proxy import FaultyProxy, body, busy, dropped, hang, reset, slow, status, truncated
from pydantic import SecretStr

from tunelab.errors import ModelError, StepError
from tunelab.generation.address import Address
from tunelab.generation.endpoint import ChatRequest, Endpoint, EndpointClient, Reply, Unanswered, tally
from tunelab.generation.retries import Patience
from tunelab.models.spec import resolve

KEY = "sk-not-to-be-seen-0123456789"
MODEL = resolve("tiny").location
QUICK = (
    busy("0"),
    status(500),
    status(503, "loading"),
    truncated,
    dropped,
    reset,
    body('{"choices": []}'),
    body("<p>"),
)
ENDLESS = (hang, slow)
PATIENCE = Patience(timeout=60.0, attempts=4, first_wait=0.01, longest_wait=2.0)


@pytest.fixture
def proxy(server):
    with FaultyProxy(server) as proxy:
        yield proxy


@pytest.fixture
def refusing():
    """A proxy with nothing behind it: for requests that never get so far."""
    with FaultyProxy() as proxy:
        yield proxy


def client(proxy, slots=4, **patience):
    address = Address(proxy.url, SecretStr(KEY))
    return EndpointClient(Endpoint(address, MODEL, slots, Patience(**{**vars(PATIENCE), **patience})))


def request(text="What is 3 + 4?", **settings):
    return ChatRequest([{"role": "user", "content": text}], **{"max_new_tokens": 8, **settings})


def questions(count):
    return [f"What is {i} + 4?" for i in range(count)]


def test_under_faults_every_request_is_answered_once_and_as_without_them(proxy):
    texts = questions(60)
    expected = [reply.text for reply in client(proxy).ask_all([request(text) for text in texts])]
    proxy.settle()
    proxy.delivered.clear()
    chance = random.Random(0)
    unlucky = chance.sample(texts, 30)
    scripts = {text: chance.choices(QUICK, k=chance.randint(1, 2)) for text in unlucky}
    for text, fault in zip(unlucky, ENDLESS * 3, strict=False):
        scripts[text].append(fault)
    proxy.faults = {text: list(script) for text, script in scripts.items()}
    calls = []

    ended = client(proxy, slots=8, timeout=2.0, attempts=20).ask_all(
        [request(text) for text in texts], lambda index, reply: calls.append((index, reply))
    )

    proxy.settle()
    assert [reply.text for reply in ended] == expected
    assert sorted(index for index, _ in calls) == list(range(60))
    assert all(ended[index] is reply for index, reply in calls)
    assert not any(proxy.faults.values())
    for text, reply in zip(texts, ended, strict=True):  # a slow machine may let a delivered reply come too late
        assert proxy.delivered[text] >= 1
        assert reply.attempts == len(scripts.get(text, ())) + proxy.delivered[text]


@pytest.mark.parametrize("fault", QUICK)
def test_what_may_pass_is_tried_to_the_end_of_patience_and_then_accounted_for(proxy, fault):
    proxy.faults["lost"] = [fault] * 9
    lost, found = client(proxy, attempts=3).ask_all([request("lost"), request("found")])
    assert isinstance(lost, Unanswered)
    assert (lost.attempts, lost.may_pass, len(proxy.asked["lost"])) == (3, True, 3)
    assert lost.reason
    assert isinstance(found, Reply)


@pytest.mark.parametrize("fault", ENDLESS)
def test_a_reply_that_never_ends_is_waited_for_no_longer_than_the_time_limit(refusing, fault):
    refusing.always = fault
    (lost,) = client(refusing, attempts=2, timeout=0.3).ask_all([request()])
    assert lost == Unanswered("no reply within 0.3 s", attempts=2)


def test_the_deadline_ends_a_request_that_has_attempts_left(refusing):
    refusing.always = status(500)
    (lost,) = client(refusing, attempts=1000, deadline=0.5, first_wait=0.1, longest_wait=0.1).ask_all([request()])
    assert 1 <= len(refusing.asked["What is 3 + 4?"]) <= lost.attempts < 20  # the deadline may cut one off unread


def test_a_server_is_left_alone_for_as_long_as_it_asks(proxy):
    proxy.faults["later"] = [busy("1"), busy("3600")]
    (reply,) = client(proxy, longest_wait=1.5).ask_all([request("later")])
    first, second, third = proxy.asked["later"]
    assert reply.attempts == 3
    assert second - first >= 1
    assert third - second >= 1.5


@pytest.mark.parametrize("code", [400, 413, 422])
def test_what_concerns_one_request_is_not_tried_again(proxy, code):
    proxy.faults["long"] = [status(code, "maximum context length is 2048 tokens " + "x" * 1000)]
    lost, found = client(proxy).ask_all([request("long"), request("short")])
    assert (lost.attempts, lost.may_pass) == (1, False)
    assert lost.reason.startswith(f"HTTP {code}: maximum context length is 2048 tokens")
    assert len(lost.reason) < 230
    assert isinstance(found, Reply)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(401, f"Incorrect API key provided: {KEY}"), "refused the key (401)"),
        (status(403), "refused the key (403)"),
        (status(404, f"no such model, {KEY}"), f"no model {MODEL!r} (404)"),
        (status(429, f"pay, {KEY}", code="insufficient_quota"), "no quota left"),
    ],
)
def test_what_concerns_every_request_ends_the_run_with_one_line(refusing, fault, words):
    refusing.always, calls = fault, []
    refusing.upstream = "http://127.0.0.1:9/v1"
    with pytest.raises(ModelError) as caught:
        client(refusing, slots=2).ask_all([request(text) for text in questions(50)], lambda *call: calls.append(call))
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert KEY not in message
    assert not calls
    assert sum(map(len, refusing.asked.values())) <= 2


def test_what_was_answered_before_the_run_ended_has_been_handed_over(proxy):
    texts, calls = questions(6), []
    proxy.faults[texts[4]] = [status(401)]
    with pytest.raises(ModelError):
        client(proxy, slots=1).ask_all([request(text) for text in texts], lambda index, reply: calls.append(index))
    assert calls == [0, 1, 2, 3]


def test_a_server_that_has_fallen_silent_ends_the_run(refusing):
    refusing.always, calls = status(502), []
    with pytest.raises(StepError, match=r"no reply to 3 requests in a row .*502"):
        client(refusing, slots=1, attempts=2, silences=3).ask_all(
            [request(text) for text in questions(50)], lambda *call: calls.append(call)
        )
    assert len(calls) == 3


def test_an_error_of_the_receiver_ends_the_run_as_it_is(proxy):
    def full(index, reply):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        client(proxy).ask_all([request(text) for text in questions(6)], full)


def test_no_more_requests_are_on_their_way_than_there_are_slots(proxy):
    client(proxy, slots=3).ask_all([request(text) for text in questions(20)])
    assert proxy.most_at_once <= 3


def test_a_second_run_asks_only_for_what_is_missing(proxy):
    texts, kept = questions(12), {}
    for text in texts[::3]:
        proxy.faults[text] = [status(500)] * 2

    def keep(missing):
        def on_reply(index, reply):
            if isinstance(reply, Reply):
                kept[missing[index]] = reply.text

        client(proxy, attempts=2).ask_all([request(text) for text in missing], on_reply)

    keep(texts)
    assert set(kept) == set(texts) - set(texts[::3])
    first = Counter({text: len(times) for text, times in proxy.asked.items()})
    keep([text for text in texts if text not in kept])
    assert set(kept) == set(texts)
    assert Counter({text: len(times) for text, times in proxy.asked.items()}) - first == Counter(texts[::3])


def test_the_key_is_shown_to_the_server_and_in_no_text(refusing, caplog):
    caplog.set_level(logging.DEBUG)
    refusing.faults = {"a": [status(400, f"you sent {KEY}")], "b": [body(f"your key is {KEY}")] * 4}
    asker = client(refusing)
    ended = asker.ask_all([request("a"), request("b")])
    assert refusing.keys == {f"Bearer {KEY}"}
    assert [one.reason for one in ended] == ["HTTP 400: you sent ***", "no chat completion: got 'your key is ***'"]
    assert KEY not in f"{caplog.text} {ended!r} {asker.endpoint!r} {vars(asker.endpoint)} {asker.endpoint.address}"


def test_a_key_of_the_environment_does_not_reach_a_server_that_was_given_none(proxy, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {KEY}")
    EndpointClient(Endpoint(Address(proxy.url), MODEL, patience=PATIENCE)).ask_all([request()])
    assert proxy.keys == {"Bearer none"}


@pytest.mark.parametrize("is_openai", [False, True])
def test_what_openais_other_variables_say_goes_to_the_server_of_its_key_alone(proxy, monkeypatch, is_openai):
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-secret: s3cret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    address = Address(proxy.url, SecretStr(KEY), is_openai)
    (reply,) = EndpointClient(Endpoint(address, MODEL, patience=PATIENCE)).ask_all([request()])
    assert isinstance(reply, Reply)
    assert proxy.keys == {f"Bearer {KEY}"}
    assert proxy.told & {"x-secret", "openai-organization", "openai-project"} == (
        {"x-secret", "openai-organization", "openai-project"} if is_openai else set()
    )


def test_a_server_of_this_machine_is_not_looked_for_behind_the_environments_proxy(proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (reply,) = client(proxy, attempts=1).ask_all([request()])
    assert isinstance(reply, Reply)


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        ('{"content": null}', '"length"', ("", "length")),
        ('{"content": null, "refusal": "I will not."}', '"stop"', ("I will not.", "stop")),
        ('{"content": "half", "tool_calls": []}', '"length"', ("half", "length")),
        ('{"content": ""}', "null", ("", "")),
    ],
)
def test_a_reply_without_text_or_unfinished_is_a_reply(refusing, message, finish, expected):
    refusing.always = body(f'{{"choices": [{{"message": {message}, "finish_reason": {finish}}}], "usage": null}}')
    (reply,) = client(refusing).ask_all([request()])
    assert reply == Reply(*expected, prompt_tokens=None, output_tokens=None)


def test_settings_arrive_as_they_were_given(proxy):
    asked = request("hm", temperature=0.5, seed=7, extra={"chat_template_kwargs": {"enable_thinking": False}})
    client(proxy).ask_all([asked])
    assert proxy.bodies["hm"] == [
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "hm"}],
            "temperature": 0.5,
            "max_tokens": 8,
            "seed": 7,
            "chat_template_kwargs": {"enable_thinking": False},
        }
    ]


def test_tokens_are_counted_as_the_servers_own_tokeniser_counts_them(proxy, renderer):
    texts = questions(5)
    counted = [
        len(renderer.tokenizer.apply_chat_template(request(t).messages, add_generation_prompt=True)["input_ids"])
        for t in texts
    ]
    proxy.faults["lost"] = [status(400)]
    ended = client(proxy).ask_all([request(text) for text in [*texts, "lost"]])
    assert [reply.prompt_tokens for reply in ended[:-1]] == counted
    assert all(0 < reply.output_tokens <= 8 for reply in ended[:-1])
    facts = tally(ended)
    assert (facts["answered"], facts["unanswered"], facts["attempts"]) == (5, 1, 6)
    assert (facts["prompt_tokens"], facts["output_tokens"]) == (
        sum(counted),
        sum(reply.output_tokens for reply in ended[:-1]),
    )


def test_it_can_be_asked_where_an_event_loop_runs_already(proxy):
    async def notebook():
        return client(proxy).ask_all([request()])

    assert isinstance(asyncio.run(notebook())[0], Reply)


def test_nothing_to_ask_is_no_request(refusing):
    assert client(refusing).ask_all([]) == []
    assert not refusing.asked


ASKING = """
import sys
from tunelab.generation.address import Address
from tunelab.generation.endpoint import ChatRequest, Endpoint, EndpointClient

texts = [f"question {i}" for i in range(8)]
requests = [ChatRequest([{"role": "user", "content": text}], 4) for text in texts]
client = EndpointClient(Endpoint(Address(sys.argv[1]), "m", 2))
try:
    client.ask_all(requests, lambda index, reply: print(index, reply.finish, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_an_interrupt_ends_the_run_at_once_and_keeps_what_was_answered(refusing):
    refusing.always = hang
    refusing.faults["question 0"] = [body('{"choices": [{"message": {}, "finish_reason": "stop"}]}')]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", ASKING, refusing.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(refusing.asked) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    written, complaints = process.communicate(timeout=120)
    assert written.splitlines() == ["0 stop", "interrupted"]
    assert complaints == ""
    assert set(refusing.asked) == {"question 0", "question 1", "question 2"}
