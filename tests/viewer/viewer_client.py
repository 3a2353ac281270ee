"""Asks a viewer for an address, exactly as written: no client tidies the path or the host."""

import http.client
import json
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Viewer:
    """A running ``tunelab view``; ``url`` is the address that it printed."""

    url: str
    process: "subprocess.Popen[str]"

    @property
    def place(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def token(self) -> str:
        return urlsplit(self.url).path.strip("/")

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for a path below the token."""
        return self.ask(f"/{self.token}/{path}", method, **headers)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for a path as it is, with ``host`` unless it is among the headers."""
        connection = http.client.HTTPConnection(self.place, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in ({"host": self.place} | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        found = connection.getresponse()
        answer = Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read().decode())
        connection.close()
        return answer
