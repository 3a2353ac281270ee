"""What a study took: time, energy, tokens and money, by kind of step.

GPU seconds are those that steps on a GPU took, busy or not; energy is that of whole processors and GPUs meanwhile.

Money is that of served models with a declared price. Nothing is known here of what a server worked on in vain.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tunelab.engine.record import Record
from tunelab.report.counted import Amount, tokens
from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table

MILLION = 1_000_000
JOULES = 3600
"""A watt-hour."""
ENERGY = {"cpu": "processors", "gpu": "GPUs"}


def costs(evidence: Evidence) -> Table:
    """Time and tokens by kind of step; a step that serves several cells counts once."""
    kinds: defaultdict[str, list[Record]] = defaultdict(list)
    for record in evidence.records():
        kinds[record.kind].append(record)
    columns = ("kind of step", "steps", "seconds", "CPU seconds", "GPU seconds", "processors Wh",
               "GPUs Wh", "tokens read", "tokens written",
               "requests to servers", "of them retries", "price")  # fmt: skip
    rows = [[kind, *_times(found), *_tokens(found), *_served(found), _price(kind, evidence)]
            for kind, found in kinds.items()]  # fmt: skip
    return Table("Costs", columns, [*rows, _total(rows, evidence)] if rows else [])


def _total(rows: list[list[Any]], evidence: Evidence) -> list[Any]:
    """Add up the kinds; only ``generate`` has tokens and a price."""
    times = [sum(row[i] for row in rows) for i in (1, 2, 3)]
    gpu = sum(row[4] or 0 for row in rows) or None
    energy = [_energy(evidence.records(), kind) for kind in ENERGY]
    generated = next((row[7:9] for row in rows if row[0] == "generate"), [0, 0])
    requests = [sum(row[i] or 0 for row in rows) or None for i in (9, 10)]
    return ["all", *times, gpu, *energy, *generated, *requests, _price("generate", evidence)]


def _times(records: list[Record]) -> list[Any]:
    on_gpu = [r.seconds for r in records if r.circumstance.get("hardware", {}).get("device", "").startswith("cuda")]
    times = [sum(r.seconds for r in records), sum(r.cpu_seconds for r in records), sum(on_gpu) if on_gpu else None]
    return [len(records), *times, *(_energy(records, kind) for kind in ENERGY)]


def _energy(records: list[Record], kind: str) -> float | str | None:
    """Sum energy in Wh; a lower bound where not every step's could be read, None where no step's could."""
    joules = [record.energy[kind] for record in records if kind in record.energy]
    if not joules:
        return None
    return Amount(sum(joules) / JOULES, len(records) - len(joules), len(records)).shown("steps unread")


def energy_note(evidence: Evidence) -> str:
    """Say what the energy is that of, or that it could not be read."""
    read = {kind for record in evidence.records() for kind in record.energy}
    if not read:
        return "Energy: not readable where these steps ran (no RAPL or NVML counter that this user may read)."
    lacking = [f" That of the {name} was not readable." for kind, name in ENERGY.items() if kind not in read]
    return f"Energy is that of whole processors and GPUs while steps ran, whoever used them.{''.join(lacking)}"


def _tokens(records: list[Record]) -> list[Any]:
    """Tokens of generation: prompts read and answers written. Training's are under Training, by the pass."""
    if records[0].kind != "generate":
        return [None, None]
    facts = [record.facts for record in records]
    return [tokens(facts, "prompt_tokens").shown(), tokens(facts, "output_tokens").shown()]


def _served(records: list[Record]) -> list[Any]:
    """Attempts at requests to servers, the probe's aside, and how many of them were repeated attempts."""
    found = [r.facts["server"] for r in records if "attempts" in r.facts.get("server", {})]
    if not found:
        return [None, None]
    attempts = sum(it["attempts"] for it in found)
    return [attempts, attempts - sum(it["answered"] + it["unanswered"] for it in found)]


def _price(kind: str, evidence: Evidence) -> float | str | None:
    """What the tokens of answers cost that a server with a declared price gave; each step counts once."""
    prices = {cell["cell"]: cell["price"] for cell in evidence.cells if "price" in cell}
    generated = evidence.of("generate").items()
    found = {a.record.fingerprint: (a.record.facts, prices[name]) for name, a in generated if name in prices}
    if kind != "generate" or not found:
        return None
    paid = sum(f["prompt_tokens"] * p["input"] + f["output_tokens"] * p["output"] for f, p in found.values())
    counted = [tokens([facts for facts, _ in found.values()], name) for name in ("prompt_tokens", "output_tokens")]
    return Amount(paid / MILLION, max(it.uncounted for it in counted), counted[0].replies).shown()
