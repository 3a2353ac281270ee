"""Who gets what: the token, the host, the methods, the paths, and a store that stays as it is."""

import os
import shutil
import signal
import subprocess
import sys
from urllib.parse import quote

import pytest
from viewer_client import Viewer
from viewer_steps import run

from tunelab.errors import UserError
from tunelab.viewer.serve import serve as listen

VIEW = [sys.executable, "-c", "from tunelab.cli import main; main()", "view"]
PAGES = ("", "live", "study/small%20study", "study/small%20study/live", "report/small%20study/index.html")


def tree(store):
    """Every file and folder with what tells a change."""
    return {p: (s.st_mtime_ns, s.st_size, s.st_ino) for p in sorted(store.rglob("*")) for s in [p.lstat()]}


def step_of(store, kind):
    [folder] = store.glob(f"{kind}/*")
    return f"{kind}/{folder.name}"


def test_the_token_alone_opens_the_pages(over_finished):
    assert over_finished.get("").status == 200
    token = over_finished.token
    for wrong in ("", "wrong", token[:-1], token + "x", token.swapcase(), f"x/{token}", f"%00{token}", "é"):
        answer = over_finished.ask(f"/{wrong.replace('é', '%C3%A9')}/")
        assert (answer.status, answer.text) == (403, "forbidden\n")


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "localhost:1", "127.0.0.1.example.org:{port}", ""])
def test_another_host_is_refused(over_finished, host):
    port = over_finished.place.rpartition(":")[2]
    assert over_finished.get("", host=host.format(port=port)).status == 403


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_the_names_of_loopback_are_known(over_finished, name):
    port = over_finished.place.rpartition(":")[2]
    assert over_finished.get("", host=f"{name}:{port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"])
def test_only_reading_is_a_method(over_finished, method):
    answer = over_finished.get("", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert over_finished.ask("/", method).status == 403


@pytest.mark.parametrize("path", [*PAGES, "static/view.js", "nowhere", "study/nothing"])
def test_every_answer_has_the_headers(over_finished, path):
    answer = over_finished.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "base-uri 'none'" in policy
    assert ("sandbox " in policy) == path.startswith("report/")
    assert "unsafe-inline" not in policy or path.startswith("report/")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers
    assert over_finished.get(path, "HEAD").text == ""


@pytest.mark.parametrize(
    "path",
    [
        "report/small%20study/../../../store.json",
        "report/small%20study/..%2f..%2f..%2fstore.json",
        "report/small%20study/record.json",
        "report/small%20study//etc/passwd",
        "report/small%20study/%2fetc%2fpasswd",
        "step/../store.json",
        "step/..%2f../etc",
        "step/%2e%2e/%2e%2e",
        "step/train/..",
        "step/runs/x",
        "static/../app.py",
        "static/..%2fapp.py",
    ],
)
def test_no_path_leads_out(over_finished, path):
    answer = over_finished.get(path)
    assert answer.status == 404
    assert "root:" not in answer.text


def test_links_out_of_the_store_are_not_followed(serve, tmp_path):
    store, secret = tmp_path / "store", tmp_path / "secret.html"
    run(store)
    secret.write_text('{"secret": 1}\n')
    viewer, report, trained = serve(store), step_of(store, "report"), step_of(store, "train")
    page = store / report / "index.html"
    assert viewer.get("report/small%20study/index.html").status == 200
    page.unlink()
    page.symlink_to(secret)
    assert viewer.get("report/small%20study/index.html").status == 404
    (store / trained / "metrics.jsonl").unlink()
    (store / trained / "metrics.jsonl").symlink_to(secret)
    (store / "train" / "sft-00000000").symlink_to(tmp_path)
    (tmp_path / "step.json").write_text('{"secret": 1}')
    for path in (f"step/{trained}", "step/train/sft-00000000", "study/small%20study"):
        answer = viewer.get(path)
        assert (answer.status, "&#34;secret" in answer.text) == (404, False)
        assert "A link that leads out of the store is not followed" in answer.text


def test_the_store_stays_as_it_is_even_where_nothing_can_be_written(serve, tmp_path):
    store = tmp_path / "store"
    run(store)
    before = tree(store)
    viewer = serve(store)
    steps = [f"step/{p.parent.parent.name}/{p.parent.name}" for p in store.glob("*/*/step.json")]
    for path in (*PAGES, *steps, *(f"{step}/live" for step in steps)):
        assert viewer.get(path).status == 200, path
    assert tree(store) == before


def test_a_read_only_store_is_shown(tmp_path):
    store, mounted = tmp_path / "store", tmp_path / "mounted"
    run(store)
    mounted.mkdir()
    script = (
        'mount --bind "$0" "$1" && mount -o remount,bind,ro "$1" && ! touch "$1/x" 2>/dev/null && shift && exec "$@"'
    )
    mount = ["unshare", "-rm", "sh", "-c", script, str(store), str(mounted)]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], check=False).returncode:
        pytest.skip("mounting read-only is not permitted here")
    process = subprocess.Popen([*mount, *VIEW, "--store", str(mounted)], stdout=subprocess.PIPE, text=True)
    viewer = Viewer(process.stdout.readline().strip(), process)
    pages = [viewer.get(path).status for path in (*PAGES, f"step/{step_of(store, 'train')}")]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert (pages, process.returncode) == ([200] * 6, 0)


def test_hostile_texts_stay_text(serve, tmp_path):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'
    store = tmp_path / "store"
    run(store, question=hostile, study=hostile.replace("/", "_"), fails=hostile)
    viewer = serve(store)
    name = hostile.replace("/", "_")
    for path in ("", f"study/{quote(name, safe='')}", f"step/{step_of(store, 'train')}"):
        answer = viewer.get(path)
        assert answer.status == 200
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert "&lt;script&gt;alert" in answer.text


def command(*arguments, **environment):
    variables = {**os.environ, **environment}
    return subprocess.run([*VIEW, *arguments], capture_output=True, text=True, env=variables, timeout=60, check=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_addresses_are_refused(finished, host):
    with pytest.raises(UserError, match=r"^--host: got "):
        listen(finished, host, 0, False, print)


def test_a_port_that_is_taken_is_named(finished, over_finished):
    port = int(over_finished.place.rpartition(":")[2])
    with pytest.raises(UserError, match=f"^--port: 127.0.0.1 port {port}: "):
        listen(finished, "127.0.0.1", port, False, print)


def test_the_command_says_what_is_wrong_in_a_line(finished):
    ended = command("--store", str(finished), "--host", "0.0.0.0")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith("tunelab: --host: got 0.0.0.0, expected one address")


def test_a_store_that_is_not_there_is_refused(tmp_path):
    ended = command("--store", str(tmp_path / "nothing"))
    assert ended.returncode == 2
    assert "expected a store" in ended.stderr


def test_without_the_extra_one_line_says_what_to_install(tmp_path, finished):
    (tmp_path / "starlette").mkdir()
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text("import sys\nsys.modules['starlette'] = None\n")
    ended = command("--store", str(finished), PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert ended.returncode == 2
    assert ended.stderr == "tunelab: view: needs starlette, which is not installed; pip install 'tunelab[viewer]'\n"


def test_interrupt_ends_it_at_once_and_in_silence(finished):
    process = subprocess.Popen(
        [*VIEW, "--store", str(finished)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, "", "")


def test_viewing_imports_no_torch(finished):
    code = (
        "import sys; import tunelab.viewer.serve; print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    light = "import sys; import tunelab.cli.view; print([m for m in ('starlette', 'uvicorn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout == "[]\n"
