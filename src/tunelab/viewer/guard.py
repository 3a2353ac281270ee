"""Who may ask the viewer, and what a browser may do with an answer.

Everything is below ``/<token>/``: the token is made anew by every start and compared in constant time. The ``Host``
header must name this very server, so that a page whose own name is made to lead to this machine (DNS rebinding) cannot
read it. GET and HEAD are all there is. A refusal says nothing. Whatever goes out may run only the viewer's own script,
is never kept, and tells nobody where it came from.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Guard:
    """Lets through to ``app`` what may pass; ``root_path`` tells it the token's prefix."""

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the server's own events on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, guarded)
            return
        await self._app({**scope, "root_path": f"/{self._token.decode()}"}, receive, guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        first = scope["path"].encode("utf-8", "surrogateescape").split(b"/", 2)[1:2]
        known = hmac.compare_digest(first[0] if first else b"", self._token)
        if len(hosts) != 1 or hosts[0] not in self._hosts or not known:
            return PlainTextResponse("forbidden\n", 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET and HEAD\n", 405, headers={"allow": "GET, HEAD"})
        return None
