"""A key goes only to the server that the environment names beside it, and shows in no text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.errors import StudyError
from tunelab.generation.address import base_url, find_address

LMSTUDIO = {"LMSTUDIO_ENDPOINT": "http://localhost:1234/v1", "LMSTUDIO_API_KEY": "lm-key"}
OPENAI = {"OPENAI_BASE_URL": "https://api.openai.com/v1", "OPENAI_API_KEY": "openai-key"}


def shown(url, environment):
    """The URL and the key that a request shows."""
    address = find_address(url, environment)
    return address.url, address.bearer


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        (None, LMSTUDIO, ("http://localhost:1234/v1", "lm-key")),
        (None, OPENAI, ("https://api.openai.com/v1", "openai-key")),
        (None, OPENAI | LMSTUDIO, ("http://localhost:1234/v1", "lm-key")),
        (None, OPENAI | {"LMSTUDIO_ENDPOINT": ""}, ("https://api.openai.com/v1", "openai-key")),
        ("https://api.openai.com/v1", OPENAI | LMSTUDIO, ("https://api.openai.com/v1", "openai-key")),
        ("https://api.openai.com:443/other", OPENAI, ("https://api.openai.com:443/other", "openai-key")),
        ("http://127.0.0.1:1234", LMSTUDIO, ("http://127.0.0.1:1234/v1", "lm-key")),
        ("http://127.0.0.1:9999/v1", OPENAI | LMSTUDIO, ("http://127.0.0.1:9999/v1", "none")),
        ("http://[::1]:8000/v1", OPENAI, ("http://[::1]:8000/v1", "none")),
        ("http://localhost:8000/v1", {}, ("http://localhost:8000/v1", "none")),
        ("http://localhost:1234", {"LMSTUDIO_API_KEY": "lm-key"}, ("http://localhost:1234/v1", "lm-key")),
        ("http://localhost:1234", {"LMSTUDIO_API_KEY": " lm-key\n"}, ("http://localhost:1234/v1", "lm-key")),
        ("http://localhost:1234", {"LMSTUDIO_API_KEY": " "}, ("http://localhost:1234/v1", "none")),
        ("https://api.openai.com", {"OPENAI_API_KEY": "openai-key"}, ("https://api.openai.com/v1", "openai-key")),
        (None, {"OPENAI_BASE_URL": "http://localhost:8000"}, ("http://localhost:8000/v1", "none")),
        (None, {"LMSTUDIO_ENDPOINT": "http://gpu:1234"}, ("http://gpu:1234/v1", "none")),
        ("http://gpu:1234/v1", OPENAI | {"LMSTUDIO_ENDPOINT": "http://gpu:1234"}, ("http://gpu:1234/v1", "none")),
        (
            "http://gpu:1234/v1",
            OPENAI | {"LMSTUDIO_ENDPOINT": "http://gpu:1234", "LMSTUDIO_API_KEY": "lm-key"},
            ("http://gpu:1234/v1", "lm-key"),
        ),
    ],
)
def test_an_address_has_the_key_that_was_named_beside_it(url, environment, expected):
    assert shown(url, environment) == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/v1",
        "http://gpu:1234/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "https://api.openai.com.elsewhere.example/v1",
        "https://localhost.elsewhere.example/v1",
        "https://127.0.0.1.elsewhere.example/v1",
    ],
)
def test_a_study_cannot_carry_a_key_to_another_server(url):
    with pytest.raises(StudyError, match="expected a server of this machine or one that the environ") as caught:
        find_address(url, OPENAI | LMSTUDIO)
    assert "openai-key" not in str(caught.value)
    assert "lm-key" not in str(caught.value)


def test_a_service_whose_key_is_not_set_is_no_server_that_the_environment_names():
    with pytest.raises(StudyError, match=r"got https://api\.openai\.com/v1, expected .* set LMSTUDIO_ENDPOINT="):
        find_address("https://api.openai.com/v1", {})


def test_where_nothing_names_an_address_both_variables_are_named():
    with pytest.raises(StudyError, match=r"LMSTUDIO_ENDPOINT or OPENAI_BASE_URL"):
        find_address(None, {"OPENAI_API_KEY": "openai-key"})


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://localhost:1234/v1", "http://localhost:1234/v1"),
        ("http://localhost:1234/v1/", "http://localhost:1234/v1"),
        ("http://localhost:1234/v1/chat/completions", "http://localhost:1234/v1"),
        ("http://localhost:1234/v1/chat/completions/", "http://localhost:1234/v1"),
        (" http://localhost:1234 ", "http://localhost:1234/v1"),
        ("https://host/some/gateway", "https://host/some/gateway"),
    ],
)
def test_what_is_too_much_or_too_little_of_an_address_is_mended(written, url):
    assert base_url(written, "endpoint") == url


@pytest.mark.parametrize(
    "written",
    [
        "",
        "localhost:1234/v1",
        "127.0.0.1:1234",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://h:port/v1",
        "http://h:99999",
        "http://[::1",
    ],
)
def test_what_cannot_be_an_address_is_refused_by_name(written):
    with pytest.raises(StudyError, match=r"^LMSTUDIO_ENDPOINT: got '.*', expected a URL like http://localhost:1234/v1"):
        base_url(written, "LMSTUDIO_ENDPOINT")


@pytest.mark.parametrize("written", ["https://me:s3cret@host/v1", "https://host/v1?key=s3cret", "me:s3cret@host/v1"])
def test_a_secret_in_an_address_is_refused_and_not_repeated(written):
    with pytest.raises(StudyError) as caught:
        base_url(written, "endpoint")
    assert "s3cret" not in str(caught.value)


@given(st.text("abcdefXYZ0189-_", min_size=12), st.text(), st.text())
def test_the_key_shows_in_no_text_that_is_made_of_an_address(key, before, after):
    address = find_address(None, {"OPENAI_BASE_URL": "https://host/v1", "OPENAI_API_KEY": key})
    assert key not in f"{address} {address!r} {vars(address)}"
    assert key not in address.scrub(before + key + after)
    with pytest.raises(TypeError):
        json.dumps(vars(address))


@pytest.mark.parametrize("key", ["sk-é", "sk-a\nb", "sk a\x00"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key):
    with pytest.raises(StudyError, match="LMSTUDIO_API_KEY: got a key with a character") as refused:
        find_address(None, {"LMSTUDIO_ENDPOINT": "http://localhost:1234", "LMSTUDIO_API_KEY": key})
    assert "sk" not in str(refused.value)


def test_only_openais_own_server_is_told_openais_other_variables():
    assert find_address(None, OPENAI).is_openai
    assert not find_address(None, LMSTUDIO).is_openai
    assert not find_address("http://localhost:9/v1", OPENAI).is_openai


def test_another_scheme_is_another_server():
    environment = {"OPENAI_BASE_URL": "https://h:443/v1", "OPENAI_API_KEY": "openai-key"}
    with pytest.raises(StudyError, match="expected a server of this machine or one that the environment names"):
        find_address("http://h:443/v1", environment)
