"""A hub on loopback: the endpoints that a push uses, with repositories in memory and faults on request.

It holds to what a client could get wrong: a commit may name a large file only after its content has arrived whole and
with the right checksum, a token must be the right one, and an owner must be the token's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_right"
OWNER = "me"
LARGE = (".safetensors", ".parquet")


@dataclass
class Repo:
    """A repository: its files, and a message per commit."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["initial commit"])

    @property
    def sha(self) -> str:
        """The latest commit."""
        return hashlib.sha1("\n".join(self.commits).encode()).hexdigest()


@dataclass
class Hub:
    """The server's memory. ``fail_commits`` and ``reset_uploads`` count down with every fault."""

    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fail_commits: int = 0
    reset_uploads: int = 0
    hold_uploads: bool = False
    in_upload: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def count(self, start: str) -> int:
        """Number of requests whose line begins with ``start``."""
        return sum(request.startswith(start) for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    """Answers one client; ``hub`` is set on the class that ``serve`` makes."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Keep the tests' output clean."""

    def do_HEAD(self):
        self.answer(200)

    def do_GET(self):
        self.route(
            "GET",
            (r"/api/whoami-v2", self.whoami),
            (r"/api/(?:models|datasets)/(?P<repo>[^/]+/[^/]+)(?:/revision/main)?", self.info),
        )

    def do_POST(self):
        self.route(
            "POST",
            (r"/api/repos/create", self.create),
            (r"/api/validate-yaml", self.validate),
            (r"/api/(?:models|datasets)/(?P<repo>[^/]+/[^/]+)/preupload/main", self.preupload),
            (r"/api/(?:models|datasets)/(?P<repo>[^/]+/[^/]+)/commit/main", self.commit),
            (r"/(?:datasets/)?(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", self.batch),
        )

    def do_PUT(self):
        self.hub.requests.append(f"PUT {self.path}")
        self.upload(self.path.rpartition("/")[2])

    def route(self, verb, *routes):
        self.hub.requests.append(f"{verb} {self.path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid"}, {"X-Error-Message": "Invalid credentials in Authorization header"})
            return
        path = self.path.partition("?")[0]
        for pattern, handle in routes:
            if found := re.fullmatch(pattern, path):
                handle(**found.groupdict())
                return
        self.answer(404, {"error": f"no route for {path}"})

    def answer(self, status, body=None, headers=None):
        content = json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def key(self, repo):
        return f"datasets/{repo}" if self.path.startswith(("/api/datasets", "/datasets")) else repo

    def whoami(self):
        self.answer(200, {"type": "user", "name": OWNER, "orgs": []})

    def create(self):
        asked = json.loads(self.body)
        if asked["organization"] != OWNER:
            self.answer(403, {"error": "no"}, {"X-Error-Message": "You don't have the rights"})
            return
        kind = "datasets/" if asked.get("type") == "dataset" else ""
        key = f"{kind}{OWNER}/{asked['name']}"
        status = 409 if key in self.hub.repos else 200
        self.hub.repos.setdefault(key, Repo(private=asked.get("visibility") == "private"))
        self.answer(status, {"url": f"{self.hub.url}/{key}"})

    def info(self, repo):
        found = self.hub.repos.get(self.key(repo))
        if found is None:
            self.answer(404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
            return
        self.answer(200, {"id": repo, "sha": found.sha, "private": found.private, "siblings": [], "tags": []})

    def validate(self):
        head = json.loads(self.body)["content"]
        self.answer(200 if head.startswith("---\n") else 400, {"errors": [], "warnings": []})

    def preupload(self, repo):
        files = self.hub.repos[self.key(repo)].files
        found = [
            {
                "path": asked["path"],
                "uploadMode": "lfs" if asked["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": self.oid(asked["path"], files.get(asked["path"])),
            }
            for asked in json.loads(self.body)["files"]
        ]
        self.answer(200, {"files": found})

    def oid(self, path, content):
        if content is None:
            return None
        if path.endswith(LARGE):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def batch(self, repo):
        objects = []
        for asked in json.loads(self.body)["objects"]:
            entry = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{asked['oid']}"}}
            objects.append(entry)
        self.answer(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid):
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length // 2)
        if self.hub.hold_uploads:
            self.hub.in_upload.set()
            self.hub.released.wait(60)
        if self.hub.reset_uploads:
            self.hub.reset_uploads -= 1
            # Lingering for no time makes closing a reset, as a broken line would be.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        content += self.rfile.read(length - len(content))
        whole = len(content) == length and hashlib.sha256(content).hexdigest() == oid
        if whole:
            self.hub.blobs[oid] = content
        self.answer(200 if whole else 400)

    def commit(self, repo):
        if self.hub.fail_commits:
            self.hub.fail_commits -= 1
            self.answer(503, {"error": "Service Unavailable"})
            return
        found = self.hub.repos[self.key(repo)]
        lines = [json.loads(line) for line in self.body.splitlines()]
        added = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "lfsFile" and value["oid"] not in self.hub.blobs:
                self.answer(400, {"error": f"{value['path']} was never uploaded"})
                return
            content = self.hub.blobs[value["oid"]] if line["key"] == "lfsFile" else base64.b64decode(value["content"])
            added[value["path"]] = content
        found.files |= added
        found.commits.append(lines[0]["value"]["summary"])
        self.answer(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{found.sha}", "commitOid": found.sha})


class Server(ThreadingHTTPServer):
    """Ends with the test, whatever its clients do."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that was killed is part of a test, not an error of it."""


def serve() -> tuple[Hub, Server]:
    """Start a hub on a free port of loopback; the caller shuts the server down."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return hub, server
