"""Where a server is, and which key it may be shown.

A key belongs to one server: the one that the environment names beside it. A server elsewhere is asked only where the
environment names it, with its key if there is one; so a study that somebody sends carries neither keys nor rows to
another. A server on this machine may always be asked. ``LMSTUDIO_ENDPOINT`` with ``LMSTUDIO_API_KEY`` is looked at
before ``OPENAI_BASE_URL`` with ``OPENAI_API_KEY``. The key leaves this module as text only for the request itself.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from tunelab.errors import StudyError

_SERVERS = (
    ("LMSTUDIO_ENDPOINT", "LMSTUDIO_API_KEY", "http://localhost:1234/v1"),
    ("OPENAI_BASE_URL", "OPENAI_API_KEY", "https://api.openai.com/v1"),
)
"""Variable of the address, of its key, and the address that the key belongs to where the first is not set."""
_ROUTE = "/chat/completions"
_NO_KEY = "none"
"""Sent where a server asks for no key: the client library insists on some text."""


@dataclass(frozen=True)
class Address:
    """The base URL of a server, and the key for it. The key shows in no text that is made of this."""

    url: str
    key: SecretStr | None = None
    is_openai: bool = False
    """Whether it is the server that OPENAI_API_KEY belongs to, to which OpenAI's other variables belong too."""

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return _is_loopback(urlsplit(self.url).hostname or "")

    @property
    def bearer(self) -> str:
        """What a request shows: the key, or a word that stands for none."""
        return self.key.get_secret_value() if self.key else _NO_KEY

    def scrub(self, text: str) -> str:
        """Return ``text`` without the key: servers repeat in an error what they were shown."""
        return text.replace(self.key.get_secret_value(), "***") if self.key else text


def find_address(url: str | None = None, environment: Mapping[str, str] = os.environ) -> Address:
    """Return the address that a study names, else the environment's, with the key that belongs to it.

    Raises StudyError where neither names one, where it cannot be an address, or where a study names a server elsewhere
    that the environment does not.
    """
    named = [(variable, environment[variable]) for variable, _, _ in _SERVERS if environment.get(variable)]
    if url is None and not named:
        raise StudyError("endpoint: missing, expected an address in the study, LMSTUDIO_ENDPOINT or OPENAI_BASE_URL")
    base = base_url(url, "endpoint") if url is not None else base_url(named[0][1], named[0][0])
    for variable, key, usual in _SERVERS:
        owner = base_url(environment.get(variable) or usual, variable)
        if _origin(owner) == _origin(base) and environment.get(key, "").strip():
            return Address(base, _header(environment[key].strip(), key), variable == "OPENAI_BASE_URL")
    address = Address(base)
    if not address.is_loopback and _origin(base) not in [_origin(base_url(text, name)) for name, text in named]:
        raise StudyError(
            f"endpoint: got {base}, expected a server of this machine or one that the environment names; set "
            f"LMSTUDIO_ENDPOINT={base}, and LMSTUDIO_API_KEY where it asks for a key, or OPENAI_BASE_URL and "
            "OPENAI_API_KEY"
        )
    return address


def _header(key: str, variable: str) -> SecretStr:
    """Return a key that a header can hold. Raises StudyError, without the key, for another."""
    if not (key.isascii() and key.isprintable()):
        raise StudyError(f"{variable}: got a key with a character that no header may hold, expected plain letters")
    return SecretStr(key)


def base_url(text: str, source: str) -> str:
    """Return the URL that routes are appended to: the path is /v1 where none is given.

    Raises StudyError where ``text`` has no scheme, or carries a user name, a password or a query: these would be
    written to records.
    """
    parts = _split(text.strip())
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise StudyError(f"{source}: got {_bare(text)!r}, expected a URL like http://localhost:1234/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StudyError(f"{source}: got a user name, a query or a fragment, expected a bare URL; put the key in a key")
    path = parts.path.rstrip("/").removesuffix(_ROUTE)
    return SplitResult(parts.scheme, parts.netloc, path or "/v1", "", "").geturl()


def _split(text: str) -> SplitResult | None:
    """Return the parts of a URL; None where its brackets or its port are wrong."""
    try:
        parts = urlsplit(text)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def _bare(text: str) -> str:
    return text.rpartition("@")[2].partition("?")[0]


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port; all names of this machine are one host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, "localhost" if _is_loopback(host) else host, port


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
