"""Step functions small enough to read at a glance, and the graphs that the engine's tests run.

``circumstance`` carries what a test wants to steer (a log, a pause, a file whose presence makes a step fail), so
that steering never changes a step's fingerprint.
"""

import json
import os
import signal
import time
from pathlib import Path

from tunelab.engine.runner import Runner
from tunelab.engine.step import Step, Together
from tunelab.files import append_lines, resume_lines, write_json, write_lines

OUT = "out.txt"
ROWS = 6


def step(function, name, inputs=(), **fields):
    """A step of this module named ``name`` over ``inputs``, which keep their own names."""
    return Step(
        kind="work",
        version=fields.pop("version", 1),
        slug=name,
        entry=f"engine_steps:{function.__name__}",
        settings={"name": name} | fields.pop("settings", {}),
        inputs={needed.slug: needed for needed in inputs},
        **fields,
    )


def write(context):
    """Write this step's name and all that its inputs wrote."""
    log(context)
    time.sleep(context.circumstance.get("pause", 0))
    above = [context.inputs[name].path(OUT).read_text() for name in sorted(context.inputs)]
    holes = [f"<{name}>" for name in sorted(context.holes)]
    (context.directory / OUT).write_text(f"{context.settings['name']}({' '.join(above + holes)})")


def write_alone(context):
    """Write what ``write`` does, and why it was called."""
    write(context)
    context.facts["alone"] = context.alone


def write_at_once(contexts):
    """Return what writes for all, or a refusal, as the circumstance says; it may end them all, or be killed."""
    how = contexts[0].circumstance["at once"]
    if how == "refuse":
        return "they are too few"

    def work():
        for context in contexts:
            log(context)
        time.sleep(contexts[0].circumstance["pause"])
        if how == "fail":
            raise ValueError("out of memory")
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        for context in contexts:
            (context.directory / OUT).write_text(context.settings["name"])
            context.facts["with"] = [other.name for other in contexts]

    return work


def group(log, how="write", keys="kkk", inputs=(), pause=0):
    """Steps a, b, c of the keys given, which may run at once and say in a log when they start."""
    circumstance = {"at once": how, "log": str(log), "pause": pause}
    return [
        step(write_alone, name, inputs, circumstance=circumstance, together=Together(key, "engine_steps:write_at_once"))
        for name, key in zip("abc", keys, strict=True)
    ]


def fail_while(context):
    """Fail as long as the file named in the circumstance exists."""
    (context.scratch / "checkpoint").write_text("half way")
    if Path(context.circumstance["while"]).exists():
        raise ValueError("loss is not finite\nsecond line")
    write(context)


def fail_because(context):
    """Fail with the message in the circumstance."""
    raise ValueError(context.circumstance["because"])


def interrupt_while(context):
    """Behave like Ctrl-C as long as the file named in the circumstance exists."""
    (context.directory / "half.txt").write_text("half way")
    if Path(context.circumstance["while"]).exists():
        raise KeyboardInterrupt
    write(context)


def write_nested(context):
    """Leave files in folders, one of them under a name that the store uses itself."""
    for name in (OUT, "model/weights.bin", "model/record.json", "scratch/old.bin", ".hidden"):
        path = context.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    context.facts["rows"] = 3


def copy_identity(context):
    """Show that ``step.json`` is there before the step does anything."""
    (context.directory / OUT).write_text((context.directory / "step.json").read_text())


def record_nan(context):
    """Finish, with a fact that no record can hold."""
    (context.scratch / "checkpoint").write_text("all of the work")
    context.facts["loss"] = float("nan")


def lose_lease_once(context):
    """Lose the lease to a process that dies at once, then go on as the circumstance says."""
    log(context)
    if starts(Path(context.circumstance["log"])) == [context.settings["name"]]:
        give_lease_away(context.directory, age=3600)
        if context.circumstance["then"] == "fail":
            raise ValueError("the other process moved my files")
        for done in range(500 if context.circumstance["then"] == "report" else 0):
            context.progress(done, 500, "rows")
            time.sleep(0.01)
    write_json(context.directory / OUT, sorted(path.name for path in context.directory.iterdir()))


def fail_without_trace(context):
    """Fail where the failure cannot be written down."""
    (context.directory / "failed.json").mkdir()
    raise ValueError("loss is not finite")


def die(context):
    """Be killed as often as the circumstance says, then end with what the first attempt left; below 0 just wait."""
    log(context)
    (context.scratch / "checkpoint").touch()
    deaths = context.circumstance["deaths"]
    while deaths < 0:
        time.sleep(0.05)
    if starts(Path(context.circumstance["log"])).count(context.settings["name"]) <= deaths:
        os.kill(os.getpid(), context.circumstance["killed_by"])
    (context.directory / OUT).touch()


def fail_late(context):
    """Fail after a while."""
    log(context)
    time.sleep(context.circumstance["pause"])
    raise ValueError("loss is not finite")


def fill(context):
    """Write 300 kB."""
    with (context.directory / "big.bin").open("wb") as file:
        file.write(b"x" * 300_000)


def grow(context):
    """Append one row after the other and resume where a kill left off; the rows depend on the inputs."""
    log(context)
    path = context.directory / "rows.jsonl"
    above = sum(len(resume_lines(needed.path("rows.jsonl"))) for needed in context.inputs.values())
    for number in range(len(resume_lines(path)), ROWS):
        time.sleep(context.circumstance["pause"])
        append_lines(path, [{"name": context.settings["name"], "row": number, "above": above}])
        context.progress(number + 1, ROWS, "rows")
    write_lines(context.directory / "summary.jsonl", [{"rows": len(resume_lines(path))}])


def report_progress(context):
    """Report as often as the circumstance says."""
    for done in range(context.circumstance["times"]):
        context.progress(done, context.circumstance["times"], "rows")
    write(context)


def ask(context):
    """Append an answer to each of six questions that has none, but for those that the circumstance's file lists."""
    log(context)
    time.sleep(context.circumstance.get("pause", 0))
    silent = Path(context.circumstance["silent"]).read_text().split()
    path = context.directory / "answers.jsonl"
    answered = [row["question"] for row in resume_lines(path)]
    for question in (str(n) for n in range(ROWS)):
        if question not in (*answered, *silent):
            append_lines(path, [{"question": question, "attempt": len(answered)}])
    context.owe(len(silent), "questions that got no answer")


def count_answers(context):
    """Write how many answers the input has."""
    (context.directory / OUT).write_text(str(len(resume_lines(context.inputs["asking"].path("answers.jsonl")))))


def copy(context):
    """Write what the circumstance's file says: a step whose content may differ from one time to the next."""
    log(context)
    (context.directory / OUT).write_text(Path(context.circumstance["source"]).read_text())


def write_rows(context):
    """Write as many rows as the circumstance's file says."""
    count = int(Path(context.circumstance["source"]).read_text())
    write_lines(context.directory / "rows.jsonl", [{"row": number} for number in range(count)])


def log(context):
    """Append this step's name and process to the log, if the test keeps one, in one system call."""
    if path := context.circumstance.get("log"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{context.settings['name']} {os.getpid()}\n".encode())
        os.close(descriptor)


def starts(path):
    """Names of the steps that were started, in order."""
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def give_lease_away(directory, age):
    """Make a step's lease that of another machine, last touched ``age`` seconds ago."""
    path = directory / "lease.json"
    path.write_text(json.dumps({"token": "theirs", "place": "elsewhere", "pid": 1, "born": "1"}))
    os.utime(path, (time.time() - age, time.time() - age))


class Events:
    """A reporter that keeps what it sees."""

    def __init__(self):
        self.started_names = []
        self.ended_states = {}
        self.moved = []

    def started(self, step):
        self.started_names.append(step.slug)

    def progressed(self, step, done, total, unit):
        self.moved.append((step.slug, done, total, unit))

    def ended(self, step, state, message):
        self.ended_states[step.slug] = state.value


def run(store, *targets, since=None):
    """Run ``targets`` and return the outcome and the events."""
    events = Events()
    return Runner(store, events).run(targets, since=since), events


def chain(length, function=grow, **circumstance):
    """``length`` steps, each over the one before."""
    made = []
    for number in range(length):
        made.append(step(function, f"s{number}", made[-1:], circumstance=circumstance))
    return made
