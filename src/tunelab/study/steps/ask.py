"""Generate, behind a server: every prompt is sent as a conversation, and answers are kept as they come.

A request that got no answer is owed: the next run asks for it again, and for nothing else. One that the server refused
(a prompt that is too long for it) is not asked again. A kill loses what was on its way, and nothing that had ended:
attempts are counted over all runs of the step.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunelab.data.sample import Message, Sample
from tunelab.engine.context import StepContext
from tunelab.files import append_lines, read_lines, resume_lines, write_lines
from tunelab.formats.conversation import Shot, conversation
from tunelab.formats.format import Format
from tunelab.generation.endpoint import ChatRequest, Reply, Unanswered
from tunelab.generation.stops import find_stop
from tunelab.study.steps.answers import OUTPUTS, REASON, UNANSWERED, Row, place
from tunelab.study.steps.rows import read_samples, read_shots
from tunelab.study.steps.serving import SERVER, Server, chat_request, endpoint_of
from tunelab.tasks.find import find_task
from tunelab.tasks.task import Task

OWED = "requests that got no answer"
REFUSED = "refused"
"""The field of an unanswered row that says whether the server will not answer it another time either."""


@dataclass(frozen=True)
class Draw:
    """One answer to be asked for."""

    id: str
    sample: int
    messages: Sequence[Message]

    @property
    def place(self) -> tuple[str, int]:
        """What tells it from all others."""
        return self.id, self.sample

    @property
    def prompt(self) -> str:
        """The conversation for a reader; what the server's template makes of it is not known here."""
        return "\n\n".join(f"[{message.role}]\n{message.content}" for message in self.messages)


def run(context: StepContext) -> None:
    """Write ``outputs.jsonl``, a line a draw, and ``unanswered.jsonl`` where there are such; owe what may pass."""
    task = find_task(context.circumstance["task"], Path(context.circumstance["folder"]))
    fmt = Format(**context.settings["format"])
    shots = read_shots(task, context.inputs, fmt.few_shots.k)
    draws = make_draws(read_samples(context.inputs["rows"]), task, fmt, shots, context.settings["decoding"]["samples"])
    done = {place(row) for row in resume_lines(context.directory / OUTPUTS)}
    ended = {place(row): row for row in resume_lines(context.directory / UNANSWERED) if place(row) not in done}
    refused = {at: row for at, row in ended.items() if row[REFUSED]}
    missing = [draw for draw in draws if draw.place not in done and draw.place not in refused]
    _finish(context, draws, refused | _ask(context, missing, len(draws), task, ended))


def make_draws(samples: Sequence[Sample], task: Task, fmt: Format, shots: Sequence[Shot], number: int) -> list[Draw]:
    """Return ``number`` draws of every sample's conversation, in order."""
    asked = [(sample.id, conversation(fmt, shots, task.messages(sample))) for sample in samples]
    return [Draw(id_, draw, messages) for id_, messages in asked for draw in range(number)]


def seed_of(draw: Draw, decoding: Mapping[str, Any]) -> int | None:
    """Return the 31-bit seed of a draw, which no other draw has but by chance; greedy decoding needs none."""
    if decoding["temperature"] == 0:
        return None
    key = f"{decoding['seed']}|{draw.id}|{draw.sample}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest()) >> 1


def _ask(
    context: StepContext, missing: Sequence[Draw], total: int, task: Task, before: Mapping[tuple[str, int], Row]
) -> dict[tuple[str, int], Row]:
    """Ask for draws, keep what becomes of them as they end, and return the rows of those that got no answer.

    ``before`` are the rows of earlier runs that ended without one, whose attempts count too.
    """
    fmt, decoding = context.settings["format"], context.settings["decoding"]
    stops = (*fmt["stop"], *context.settings["stop"])
    unanswered: dict[tuple[str, int], Row] = {}
    arrivals = 0

    def arrived(index: int, ended: Reply | Unanswered) -> None:
        nonlocal arrivals
        draw = missing[index]
        earlier = before[draw.place]["attempts"] if draw.place in before else 0
        ended = replace(ended, attempts=ended.attempts + earlier)
        if isinstance(ended, Reply):
            append_lines(context.directory / OUTPUTS, [answered_row(draw, ended, stops)])
        else:
            unanswered[draw.place] = unanswered_row(draw, ended)
            append_lines(context.directory / UNANSWERED, [unanswered[draw.place]])
        arrivals += 1
        context.progress(total - len(missing) + arrivals, total, "samples")

    def request(draw: Draw) -> ChatRequest:
        return chat_request(draw.messages, {**decoding, "kwargs": fmt.get("kwargs")}, seed_of(draw, decoding))

    if missing:
        Server(endpoint_of(context.circumstance["model"]), context.facts).ask([*map(request, missing)], arrived)
    return unanswered


def answered_row(draw: Draw, reply: Reply, stops: Sequence[str]) -> Row:
    """Return a row of ``outputs.jsonl``; numbers of tokens are the server's, null where it counts none."""
    end = find_stop(reply.text, stops)
    return {
        "id": draw.id,
        "sample": draw.sample,
        "prompt": draw.prompt,
        "output": reply.text if end < 0 else reply.text[:end],
        "prompt_tokens": reply.prompt_tokens,
        "output_tokens": reply.output_tokens,
        "finish": (reply.finish or "stop") if end < 0 else "stop_string",
        "attempts": reply.attempts,
    }


def unanswered_row(draw: Draw, ended: Unanswered) -> Row:
    """Return a row of ``unanswered.jsonl``: like one of the outputs, but for the reason why there is none."""
    empty = {"output": "", "prompt_tokens": None, "output_tokens": None, "finish": "none", "attempts": ended.attempts}
    why = {REASON: ended.reason, REFUSED: not ended.may_pass}
    return {"id": draw.id, "sample": draw.sample, "prompt": draw.prompt, **empty, **why}


def _finish(context: StepContext, draws: Sequence[Draw], unanswered: Mapping[tuple[str, int], Row]) -> None:
    """Put the files in the order of the draws, and say what is owed and what it all took."""
    rows = {place(row): row for row in read_lines(context.directory / OUTPUTS)}
    write_lines(context.directory / OUTPUTS, [rows[draw.place] for draw in draws if draw.place in rows])
    path = context.directory / UNANSWERED
    if unanswered:
        write_lines(path, [unanswered[draw.place] for draw in draws if draw.place in unanswered])
    else:
        path.unlink(missing_ok=True)
    context.owe(sum(not row[REFUSED] for row in unanswered.values()), OWED)
    found = summary(list(rows.values()), list(unanswered.values()))
    context.facts.update({**found, SERVER: {**context.facts.get(SERVER, {}), **found[SERVER]}})


def summary(rows: Sequence[Row], unanswered: Sequence[Row]) -> dict[str, Any]:
    """Count tokens, endings and attempts over all runs of the step; three attempts at a reply are two retries."""
    ends = Counter(row["finish"] for row in rows)
    attempts = sum(row["attempts"] for row in [*rows, *unanswered])
    tokens = {key: sum(row[key] or 0 for row in rows) for key in ("prompt_tokens", "output_tokens")}
    asked = {"answered": len(rows), "unanswered": len(unanswered), "attempts": attempts}
    return {
        "outputs": len(rows),
        "finish": {end: ends[end] for end in ("stop", "stop_string", "length", *sorted(ends))},
        **tokens,
        SERVER: {**asked, "retries": attempts - len(rows) - len(unanswered), **tokens},
        "unanswered": dict(Counter(row[REASON] for row in unanswered)),
        "uncounted": {key: sum(row[key] is None for row in rows) for key in tokens},
    }
