"""A study of a model behind a server, its task, and a small server that answers it: no model, real sockets."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import yaml
from faulty_proxy import Loopback

from tunelab.engine.runner import Runner
from tunelab.files import read_json, read_lines
from tunelab.study.api import SilentReporter
from tunelab.study.open import open_study

TASK = """
from tunelab.data.sample import Message, Sample
from tunelab.scoring.score import Metric, judged


class Doubling:
    name = "doubling"
    version = 1
    scorer_version = 1
    dataset = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("right"),)
    stop = ()
    max_new_tokens = 8

    def load(self, split, source):
        for i in range(ROWS):
            yield Sample(f"{split}-{i}", {"number": f"{split} {i}"}, (f"{split} {i} {i}",))

    def messages(self, sample):
        return [Message("user", sample.fields["number"])]

    def target(self, sample):
        return sample.targets[0]

    def score(self, sample, output):
        right = output == sample.targets[0]
        return judged(right, output, {"right": float(right)})
"""


class App(BaseHTTPRequestHandler):
    """Doubles the number of the last message, as a chat completion with counted tokens."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.pause.wait()
        text = asked["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"{text} {text.split()[-1]}"}
        usage = {"prompt_tokens": 10 * len(asked["messages"]), "completion_tokens": 5, "total_tokens": 15}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.answer({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice],
                     "usage": usage})  # fmt: skip

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": "big", "object": "model", "created": 0, "owned_by": "me"}]})

    def answer(self, value):
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@contextmanager
def app():
    """The small server, and its address as ``origin``; it answers while its ``pause`` is set."""
    server = Loopback(App)
    server.pause = threading.Event()
    server.pause.set()
    server.origin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.pause.set()
        server.shutdown()
        thread.join()
        server.server_close()


def study(url, **fields):
    """A study of one served model."""
    served = {"endpoint": url, "name": "big", "first_wait": 0.01}
    return {
        "study": "served",
        "question": "What does the large one know?",
        "model": served,
        "task": "./doubling.py:Doubling",
        "formats": {"chat": {"template": "chat"}},
        "evaluate": {"chat": {"format": "chat"}},
        **fields,
    }


def write(folder, raw, rows=40):
    """Write a study and its task; return the study's path."""
    (folder / "doubling.py").write_text(TASK.replace("ROWS", str(rows)), encoding="utf-8")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return str(path)


def opened(folder, raw, rows=40, *overrides, **how):
    """Open a study over a store beside it."""
    return open_study(write(folder, raw, rows), list(overrides), folder / "store", **how)


def ran(found):
    """Run what is not done."""
    return Runner(found.store, SilentReporter()).run(found.targets())


def artifact(found, outcome, step):
    """A finished step of a run."""
    return found.store.open(outcome.effective[step.fingerprint])


def generated(found, outcome, cell="base/chat"):
    """The generate step behind a cell."""
    return artifact(found, outcome, found.compiled.scores[cell].inputs["outputs"])


def rows_of(step, name):
    """Rows of a file of a step; none where it has no such file."""
    return read_lines(step.directory / name)


def compared(found, outcome, cell="base/chat"):
    """A cell as the comparison has it."""
    cells = read_json(artifact(found, outcome, found.compiled.compare).path("comparison.json"))["cells"]
    return next(row for row in cells if row["cell"] == cell)
