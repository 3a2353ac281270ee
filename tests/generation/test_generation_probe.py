"""What a server can do is found out by asking it, and a server that cannot be asked is one clear line."""

import json

import pytest
from faulty_proxy import FaultyProxy, body, hang, status

from tunelab.errors import ModelError, StepError
from tunelab.generation.address import Address
from tunelab.generation.endpoint import Endpoint
from tunelab.generation.probe import Capabilities, probe
from tunelab.generation.retries import Patience
from tunelab.models.spec import resolve

MODEL = resolve("tiny").location
QUICK = Patience(timeout=60.0, attempts=2, first_wait=0.01)


def endpoint(url, model=MODEL, patience=QUICK):
    return Endpoint(Address(url), model, patience=patience)


def completion(prompt_tokens, **choice):
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1}
    return body(json.dumps({"choices": [{"message": {"content": "a"}, **choice}], "usage": usage}))


def answering(choose):
    """A proxy that answers each request by what it asks for."""
    proxy = FaultyProxy()
    proxy.always = lambda handler: choose(json.loads(handler.sent))(handler)
    return proxy


def test_a_real_server_is_described_as_it_is(server):
    """transformers serve lists no model of an empty cache, and leaves out log-probabilities without a word."""
    found = probe(endpoint(server))
    assert found == Capabilities(listed=None, system_role=True, seed=True, logprobs=False)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


def test_a_server_that_does_everything_is_told_from_one_that_refuses():
    def able(asked):
        return completion(5 * len(asked["messages"]), logprobs={"content": []} if asked.get("logprobs") else None)

    def unable(asked):
        more = {"seed", "logprobs"} & set(asked) or len(asked["messages"]) > 1
        return status(400, "unsupported") if more else completion(5)

    with answering(able) as proxy:
        assert probe(endpoint(proxy.url)) == Capabilities(None, system_role=True, seed=True, logprobs=True)
    with answering(unable) as proxy:
        assert probe(endpoint(proxy.url)) == Capabilities(None, system_role=False, seed=False, logprobs=False)


def test_a_system_message_that_adds_no_token_was_left_out():
    with answering(lambda asked: completion(5)) as proxy:
        assert probe(endpoint(proxy.url)).system_role is False


def test_what_a_busy_server_does_not_say_is_not_known():
    def choose(asked):
        return status(429) if "seed" in asked else hang if "logprobs" in asked else completion(5)

    with answering(choose) as proxy:
        found = probe(endpoint(proxy.url, patience=Patience(timeout=1.0, attempts=1)))
    assert (found.seed, found.logprobs) == (None, None)


def test_a_model_that_the_server_has_not_got_is_named_with_the_servers_words(server):
    with pytest.raises(ModelError, match=r"model 'gemma': got HTTP 400: .*pinned to .*tiny"):
        probe(endpoint(server, "gemma"))


def test_a_model_that_is_not_there_is_answered_with_the_nearest_listed():
    models = json.dumps({"object": "list", "data": [{"id": "gemma-3-27b-it"}, {"id": "qwen3-4b"}]}).encode()
    with FaultyProxy() as upstream, FaultyProxy(upstream.url) as proxy:
        upstream.listing = models
        proxy.always = status(404, "no such model")
        with pytest.raises(ModelError, match=r"no model 'gemma-3-27b' .*did you mean 'gemma-3-27b-it'\?"):
            probe(endpoint(proxy.url, "gemma-3-27b"))
        proxy.always = completion(5)
        assert probe(endpoint(proxy.url, "qwen3-4b")).listed is True
        other = probe(endpoint(proxy.url, "gemma-27b"))
        assert (other.listed, other.nearest) == (False, ("gemma-3-27b-it", "qwen3-4b"))
        assert other.to_json()["nearest"] == ["gemma-3-27b-it", "qwen3-4b"]


def test_a_server_that_is_not_there_is_an_error_before_any_work():
    with FaultyProxy() as proxy:
        url = proxy.url
    with pytest.raises(StepError, match=r"got no answer in 2 attempts .*expected a server; do start it"):
        probe(endpoint(url))
