"""Files after a crash: the old content or the new, and JSON Lines whose last line may be torn."""

import errno
import hashlib
import random
import signal
import subprocess
import sys
import time

import pytest

from tunelab.files import (
    CHUNK,
    append_lines,
    disk_full,
    read_json,
    read_lines,
    resume_lines,
    sha256_file,
    to_csv,
    write_atomic,
    write_json,
    write_lines,
)

ROWS = [{"id": 1, "text": "one\nline"}, {"id": 2, "text": "ünï\u2028code"}, {"id": 3, "text": ""}]
WRITER = """
import sys
from pathlib import Path
from tunelab.files import write_atomic
while True:
    for letter in "ab":
        write_atomic(Path(sys.argv[1]), letter * 300_000)
"""


def test_a_write_replaces_the_old_content_and_leaves_nothing_else(tmp_path):
    write_atomic(tmp_path / "a.txt", "old")
    write_atomic(tmp_path / "a.txt", "new ü\n")
    assert (tmp_path / "a.txt").read_bytes() == "new ü\n".encode()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_write_that_fails_keeps_the_old_content_and_leaves_nothing_else(tmp_path):
    write_atomic(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "a.txt", "new" * 10_000 + "\ud800")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_writer_killed_at_any_moment_leaves_one_whole_version(tmp_path):
    path, moments = tmp_path / "a.txt", random.Random(0)
    write_atomic(path, "old")
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path])
        time.sleep(moments.uniform(0.1, 0.3))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert path.read_text() in ("old", "a" * 300_000, "b" * 300_000)
    assert path.read_text() != "old"


def test_json_that_is_not_finite_is_refused_and_the_old_file_stays(tmp_path):
    write_json(tmp_path / "a.json", {"loss": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert read_json(tmp_path / "a.json") == {"loss": 1.5}


def test_rows_come_back_as_they_were_written(tmp_path):
    write_lines(tmp_path / "rows.jsonl", ROWS[:1])
    append_lines(tmp_path / "rows.jsonl", ROWS[1:])
    assert read_lines(tmp_path / "rows.jsonl") == ROWS
    assert read_lines(tmp_path / "missing.jsonl") == []


def test_reading_drops_a_torn_last_line_and_leaves_the_file_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, ROWS)
    torn = path.read_bytes()[:-1]
    path.write_bytes(torn)
    assert read_lines(path) == ROWS[:2]
    assert path.read_bytes() == torn


def test_a_file_cut_after_any_byte_can_be_resumed(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, ROWS)
    content = path.read_bytes()
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = ROWS[: content[:size].count(b"\n")]
        assert resume_lines(path) == whole
        append_lines(path, [{"id": 9}])
        assert read_lines(path) == [*whole, {"id": 9}]


@pytest.mark.parametrize("read", [read_lines, resume_lines])
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n{"id": \n{"id": 3}\n')
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 2: not JSON$"):
        read(path)
    assert path.read_text().endswith('{"id": 3}\n')


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
def test_a_checksum_covers_the_whole_file(tmp_path, size):
    content = random.Random(size).randbytes(size)
    (tmp_path / "a.bin").write_bytes(content)
    assert sha256_file(tmp_path / "a.bin") == hashlib.sha256(content).hexdigest()


def test_a_full_disk_is_recognised_in_the_errors_of_libraries_too():
    assert disk_full(OSError(errno.ENOSPC, "anything"))
    assert disk_full(OSError(errno.EDQUOT, "anything"))
    assert disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not disk_full(OSError(errno.EACCES, "Permission denied"))


def test_rows_of_different_columns_make_one_table_with_empty_fields():
    text = to_csv([{"a": 1, "b": ["x", "y"]}, {"a": None, "c": "z, w"}])
    assert text.splitlines() == ["a,b,c", '1,"x, y",', ',,"z, w"']


def test_a_lone_surrogate_is_written_and_read_back(tmp_path):
    rows = [{"output": "x\ud800y é"}]
    write_lines(tmp_path / "a.jsonl", rows)
    append_lines(tmp_path / "a.jsonl", rows)
    assert read_lines(tmp_path / "a.jsonl") == rows * 2
    write_json(tmp_path / "a.json", rows)
    assert read_json(tmp_path / "a.json") == rows
