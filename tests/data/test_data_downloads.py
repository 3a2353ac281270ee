"""Files behind URLs, from a real server on this machine: fetched once, asked about once, kept when it goes away."""

import hashlib
import http.server
import threading
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from tunelab.data import downloads
from tunelab.data.downloads import downloaded, is_url
from tunelab.data.sources import FileSource
from tunelab.errors import DataError

ROWS = b'{"question": "1 + 1?", "answer": "#### 2"}\n'
OTHER = b'{"question": "2 + 2?", "answer": "#### 4"}\n'


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves ``server.pages`` by path: (content, headers); answers 304 to a matching condition."""

    def do_GET(self):
        page = self.server.pages.get(self.path)
        self.server.asked.append((self.path, dict(self.headers)))
        if page is None:
            self.send_error(404)
            return
        content, headers = page
        same = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
        if any(name in headers and self.headers.get(same[name]) == headers[name] for name in same):
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def serving(pages, port=0):
    """Serve pages on this machine until the end of the block."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Pages) as server:
        server.pages, server.asked = pages, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def at(server, path):
    return f"http://127.0.0.1:{server.server_port}{path}"


def new_process():
    """Forget what this process has looked up."""
    downloads._looked_up.cache_clear()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no proxy between us and the server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNELAB_CACHE", str(tmp_path / "cache"))
    new_process()
    return tmp_path / "cache" / "downloads"


def source(url):
    return FileSource({"train": url})


def test_a_file_behind_a_url_is_known_by_its_content_and_fetched_once(cache):
    with serving({"/my/rows.jsonl": (ROWS, {})}) as server:
        url = at(server, "/my/rows.jsonl")
        assert source(url).identity("train") == {"sha256": hashlib.sha256(ROWS).hexdigest()}
        assert source(url).rows("train") == [{"question": "1 + 1?", "answer": "#### 2"}]
        assert len(server.asked) == 1
        assert (cache / hashlib.sha256(url.encode()).hexdigest() / "rows.jsonl").read_bytes() == ROWS


@pytest.mark.parametrize(("header", "condition"), [("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")])
def test_a_later_process_asks_whether_the_file_changed(header, condition):
    stamps = {"ETag": ('"one"', '"two"'), "Last-Modified": (formatdate(0, usegmt=True), formatdate(9, usegmt=True))}
    before, after = stamps[header]
    with serving({"/rows.jsonl": (ROWS, {header: before})}) as server:
        url = at(server, "/rows.jsonl")
        first = downloaded(url)
        new_process()
        changed_on_disk = first.stat().st_mtime_ns
        assert downloaded(url) == first
        assert [asked.get(condition) for _, asked in server.asked] == [None, before]
        assert first.stat().st_mtime_ns == changed_on_disk
        new_process()
        server.pages["/rows.jsonl"] = (OTHER, {header: after})
        assert downloaded(url).read_bytes() == OTHER


def test_without_a_network_the_copy_is_used_and_that_is_said_once(capsys):
    with serving({"/rows.jsonl": (ROWS, {})}) as server:
        url = at(server, "/rows.jsonl")
        downloaded(url)
    new_process()
    assert [downloaded(url).read_bytes() for _ in range(3)] == [ROWS] * 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"tunelab: {url}: cannot be downloaded (")
    assert "; using the copy of" in said[0]


def test_a_server_that_lost_the_file_does_not_take_the_copy_away(capsys):
    with serving({"/rows.jsonl": (ROWS, {})}) as server:
        url = at(server, "/rows.jsonl")
        downloaded(url)
        new_process()
        server.pages.clear()
        assert downloaded(url).read_bytes() == ROWS
    assert "the server answers 404" in capsys.readouterr().err


def test_without_a_network_and_a_copy_there_is_one_line_that_says_what_to_do():
    with serving({}) as server:
        url = at(server, "/rows.jsonl")
        with pytest.raises(
            DataError, match=r"data\.files\.train: http.*the server answers 404 .*give its path"
        ) as lost:
            source(url).identity("train")
    gone = url.replace("/rows", "/others")
    with pytest.raises(DataError, match=r"cannot be downloaded \(.*\), and there is no copy of it in .*; connect"):
        downloaded(gone)
    assert "\n" not in str(lost.value)


def test_a_server_that_does_not_answer_is_asked_once_a_process():
    with serving({}) as server:
        url = at(server, "/rows.jsonl")
        for _ in range(3):
            with pytest.raises(DataError, match="404"):
                downloaded(url)
        assert len(server.asked) == 1


def test_half_a_file_is_no_file(cache):
    with serving({"/rows.jsonl": (ROWS, {"Content-Length": str(len(ROWS) + 5)})}) as server:
        with pytest.raises(DataError, match=f"broke off after {len(ROWS)} of {len(ROWS) + 5} bytes"):
            downloaded(at(server, "/rows.jsonl"))
        assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_half_a_new_file_leaves_the_old_one():
    with serving({"/rows.jsonl": (ROWS, {"ETag": '"one"'})}) as server:
        url = at(server, "/rows.jsonl")
        downloaded(url)
        new_process()
        server.pages["/rows.jsonl"] = (OTHER, {"Content-Length": "4000"})
        assert downloaded(url).read_bytes() == ROWS


def test_a_torn_copy_is_fetched_again():
    with serving({"/rows.jsonl": (ROWS, {"ETag": '"one"'})}) as server:
        url = at(server, "/rows.jsonl")
        downloaded(url).write_bytes(ROWS[:7])
        new_process()
        assert downloaded(url).read_bytes() == ROWS


@pytest.mark.parametrize("declared", [{}, {"Content-Length": "12"}])
def test_a_file_over_the_limit_is_refused_and_not_kept(cache, monkeypatch, declared):
    monkeypatch.setattr(downloads, "LIMIT", 10)
    with serving({"/rows.jsonl": (ROWS, declared)}) as server:
        with pytest.raises(DataError, match="got more than 10 bytes, expected a smaller file"):
            downloaded(at(server, "/rows.jsonl"))
        assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/a%20b.csv?x=1", "text/plain", "a_b.csv"),
        ("/export?format=csv", "text/csv; charset=utf-8", "export.csv"),
        ("/", "application/x-ndjson", "rows.jsonl"),
        ("/..%2f..%2fetc.jsonl", "text/plain", "etc.jsonl"),
    ],
)
def test_the_suffix_comes_from_the_path_or_the_type(cache, path, kind, name):
    with serving({path: (b"prompt\nwhy?\n", {"Content-Type": kind})}) as server:
        found = downloaded(at(server, path))
    assert found.name == name
    assert found.parent.parent == cache


def test_a_file_of_unknown_kind_is_refused():
    with (
        serving({"/page": (b"<html>", {"Content-Type": "text/html"})}) as server,
        pytest.raises(DataError, match=r"got 'page' of type text/html, expected a name that ends in \.csv, \.json"),
    ):
        downloaded(at(server, "/page"))


@pytest.mark.parametrize(
    ("place", "expected"),
    [("https://a.org/x.csv", True), ("HTTP://a.org", True), ("x.csv", False), ("https.csv", False), ("s3://a", False)],
)
def test_only_http_is_a_url(place, expected):
    assert is_url(place) is expected


def test_a_web_page_under_the_name_of_a_file_takes_the_place_of_no_copy(capsys):
    page = (b"<html>Log in</html>", {"Content-Type": "text/html; charset=utf-8"})
    with serving({"/rows.jsonl": (ROWS, {})}) as server:
        copy = downloaded(at(server, "/rows.jsonl"))
        server.pages.update({"/rows.jsonl": page, "/new.jsonl": page})
        new_process()
        assert downloaded(at(server, "/rows.jsonl")).read_bytes() == copy.read_bytes() == ROWS
        assert "the server sends a web page, expected a file" in capsys.readouterr().err
        with pytest.raises(DataError, match=r"sends a web page, expected a file.*give its path instead"):
            downloaded(at(server, "/new.jsonl"))
