"""A server on loopback that stands in front of a real one and fails by script: real sockets, real half replies.

A request is known by the text of its last message. Each request for it meets the next of its faults, and is passed on
when none is left; replies are recorded, so that a slow server is no fault that the script does not have. What was
asked and what was delivered whole is counted here, where the client cannot see.
"""

import json
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BUSY = {"error": {"message": "too many requests", "code": "rate_limit_exceeded"}}
FOREVER = 600.0


def status(number, message="no", **error):
    """A fault: a whole response with this code."""
    body = json.dumps({"error": {"message": message, **error}}).encode()
    return lambda handler: handler.answer(number, body)


def body(text):
    """A fault: a whole response 200 with this body."""
    return lambda handler: handler.answer(200, text.encode())


def busy(retry_after):
    """A fault: 429 with this Retry-After."""
    return lambda handler: handler.answer(429, json.dumps(BUSY).encode(), {"Retry-After": retry_after})


def hang(handler):
    """No byte, until the client goes."""
    handler.close_connection = True
    handler.rfile.read(1)


def slow(handler):
    """A byte now and then, more of them than anybody waits for, until the client goes."""
    handler.start(200, 1_000_000)
    for _ in range(1_000_000):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def truncated(handler):
    """Half of the JSON, as if it were all of it."""
    good = handler.passed_on()[1]
    handler.answer(200, good[: len(good) // 2])


def dropped(handler):
    """Half of the JSON, then the connection ends."""
    good = handler.passed_on()[1]
    handler.start(200, len(good))
    handler.wfile.write(good[: len(good) // 2])
    handler.close_connection = True


def reset(handler):
    """The connection is reset before a byte."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


class Loopback(ThreadingHTTPServer):
    """A server on a free port of loopback that accepts all connections of a test at once.

    With the usual five that may wait, the system resets others on a busy machine before they are read.
    """

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)


class FaultyProxy:
    """``faults[text]`` is the script of a request; ``url`` is where the client looks."""

    def __init__(self, upstream=None):
        self._server = Loopback(Handler)
        self._server.proxy = self
        self.upstream = upstream
        self.faults, self.always, self.listing = {}, None, None
        self.asked, self.bodies, self.keys, self.told = defaultdict(list), defaultdict(list), set(), set()
        self.delivered, self.recorded = Counter(), {}
        self.most_at_once = self._at_once = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def meet(self, asked, key):
        """Count a request in; return its name and the fault that it meets, if any."""
        with self.lock:
            text = asked["messages"][-1]["content"]
            self.asked[text].append(time.monotonic())
            self.bodies[text].append(asked)
            self.keys.add(key)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            script = self.faults.get(text)
            return text, script.pop(0) if script else self.always

    def settle(self):
        """Wait until every request has been counted out: the client may know the end of one sooner."""
        while self._at_once:
            time.sleep(0.01)

    def leave(self, text, delivered):
        """Count a request out."""
        with self.lock:
            self._at_once -= 1
            self.delivered[text] += delivered


class Handler(BaseHTTPRequestHandler):
    """One connection of the proxy."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.proxy.told.update(name.lower() for name in self.headers)
        text, fault = self.server.proxy.meet(json.loads(self.sent), self.headers["Authorization"])
        try:
            if fault:
                fault(self)
            else:
                self.answer(*self.passed_on())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.server.proxy.leave(text, fault is None)

    def do_GET(self):
        self.sent = None
        listing = self.server.proxy.listing
        if self.server.proxy.upstream:
            self.answer(*self.passed_on())
        else:
            self.answer(200 if listing else 500, listing or b"{}")

    def passed_on(self):
        """Return the status and the body of the real server's reply; to the same request the same, without asking."""
        recorded = self.server.proxy.recorded
        if (self.path, self.sent) not in recorded:
            recorded[self.path, self.sent] = self._ask_upstream()
        return recorded[self.path, self.sent]

    def _ask_upstream(self):
        upstream = urlsplit(self.server.proxy.upstream)
        connection = HTTPConnection(upstream.hostname, upstream.port, timeout=FOREVER)
        try:
            connection.request(self.command, self.path, self.sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def start(self, code, length, headers=()):
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": length, **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()

    def answer(self, code, content, headers=()):
        self.start(code, len(content), headers)
        self.wfile.write(content)

    def log_message(self, *args):
        pass
