"""Files behind URLs: downloaded once into a cache, asked about once a process, and usable without a network afterwards.

A copy lies in ``TUNELAB_CACHE`` (``~/.cache/tunelab``) under ``downloads/<sha256 of the URL>/<name>``. Once a process
the server is asked whether it changed (ETag, Last-Modified). Where it cannot be asked, the copy is used and standard
error says so. What a file is identified by is its content, never its URL: see ``FileSource``.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from tunelab.data.readers import READERS
from tunelab.errors import DataError
from tunelab.files import read_json, sync_file, write_json

CACHE_VARIABLE = "TUNELAB_CACHE"
LIMIT = 4 * 2**30
"""Bytes that a file may have."""
SECONDS = 20.0
"""Longest silence of a server."""
CHUNK = 1 << 20
ABOUT = "about.json"
CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
SUFFIXES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-jsonlines": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
}
"""Suffix by Content-Type, where the URL's path has none that can be read."""
PAGES = {"text/html", "application/xhtml+xml"}
"""What a login, an error or a viewer is sent as, under the name of the file: it takes the place of no copy."""


def is_url(place: str) -> bool:
    """Say whether a file's place is a URL and no path."""
    return place.lower().startswith(("http://", "https://"))


def downloaded(url: str) -> Path:
    """Return the copy of a file behind a URL, up to date as of this process's first look.

    Raises DataError, the same one within a process, where there is neither a network nor a copy, for a file that is
    too large, and for one whose kind neither the URL nor the server tells.
    """
    found = _looked_up(url, _folder(url))
    if isinstance(found, str):
        raise DataError(found)
    return found


@cache
def _looked_up(url: str, folder: Path) -> Path | str:
    """Return the copy, or why there is none: a server that does not answer is not asked again for every step."""
    copy = _copy(folder)
    known: Mapping[str, Any] = read_json(folder / ABOUT) if copy else {}
    try:
        return _fetched(url, folder, known) or folder / known["name"]
    except DataError as error:
        return str(error)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = _reason(error)
    if copy is None:
        return (
            f"{url}: {reason}, and there is no copy of it in {folder.parent}; connect, check the URL, or download the "
            "file yourself and give its path instead"
        )
    print(f"tunelab: {url}: {reason}; using the copy of {known['fetched']}, {copy}", file=sys.stderr)
    return copy


def _fetched(url: str, folder: Path, known: Mapping[str, Any]) -> Path | None:
    """Download a file unless the server says that the copy is still good: then None."""
    conditions = {CONDITIONS[name]: known[name] for name in CONDITIONS if known.get(name)}
    request = urllib.request.Request(url, headers={"User-Agent": "tunelab", **conditions})
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.NOT_MODIFIED and known:
            return None
        raise
    with answer:
        name = _name(url, answer.headers.get_content_type())
        if answer.headers.get_content_type() in PAGES:
            raise OSError("the server sends a web page, expected a file")
        folder.mkdir(parents=True, exist_ok=True)
        _write(url, answer, folder / name, answer.headers.get("Content-Length"))
        about = {condition: answer.headers.get(condition) for condition in CONDITIONS}
        size, date = (folder / name).stat().st_size, answer.headers.get("Date")
        write_json(
            folder / ABOUT, {"url": url, "name": name, "bytes": size, "fetched": date or "unknown date", **about}
        )
    return folder / name


def _write(url: str, answer: BinaryIO, path: Path, declared: str | None) -> None:
    """Write a whole body or nothing. Raises DataError for one over the limit, OSError for one that breaks off."""
    _refuse_large(url, int(declared or 0))
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    size = 0
    try:
        with temporary.open("wb") as file:
            while chunk := answer.read(CHUNK):
                size += len(chunk)
                _refuse_large(url, size)
                file.write(chunk)
        if declared is not None and size != int(declared):
            raise OSError(f"the connection broke off after {size:,} of {int(declared):,} bytes")
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_large(url: str, size: int) -> None:
    if size > LIMIT:
        raise DataError(f"{url}: got more than {LIMIT:,} bytes, expected a smaller file; give a path instead")


def _copy(folder: Path) -> Path | None:
    """Return the copy that an earlier look left whole."""
    if not (folder / ABOUT).is_file():
        return None
    about = read_json(folder / ABOUT)
    path = folder / about["name"]
    return path if path.is_file() and path.stat().st_size == about["bytes"] else None


def _name(url: str, content_type: str) -> str:
    """Name a copy so that its suffix says how it is read. Raises DataError where nothing tells."""
    last = PurePosixPath(unquote(urlsplit(url).path)).name
    plain = re.sub(r"[^\w.-]+", "_", last).strip(".")[-100:] or "rows"
    if PurePosixPath(plain).suffix.lower() in READERS:
        return plain
    if content_type not in SUFFIXES:
        raise DataError(
            f"{url}: got {last!r} of type {content_type}, expected a name that ends in {', '.join(sorted(READERS))}; "
            "download the file and give its path instead"
        )
    return plain + SUFFIXES[content_type]


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    why = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"cannot be downloaded ({' '.join(str(why).split()) or type(why).__name__})"


def cache_root() -> Path:
    """Return the folder of what can be had again."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/tunelab").expanduser()


def _folder(url: str) -> Path:
    return cache_root() / "downloads" / hashlib.sha256(url.encode()).hexdigest()
