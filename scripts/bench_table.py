"""What benchmarks found as Markdown, and its place in a page: between two markers, and nowhere else.

Headlines come first: peers at their best and whatever an aim was set for. Then the other peers, then what was equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- measured: begin, written by scripts/bench.py -->", "<!-- measured: end -->"
Line = Mapping[str, Any]
"""A line of the common schema, as JSON has it."""
HEADLINES = (
    "bench",
    "case",
    "against",
    "tunelab, CPU s",
    "peer, CPU s",
    "ratio",
    "aim",
    "A/A",
    "peak",
    "rounds",
    "load",
)
OTHERS = ("bench", "case", "against", "tunelab, CPU s", "peer, CPU s", "ratio", "rounds")
GATES = ("bench", "case", "compared before", "largest differences", "clock: tunelab, peers in s")


def seconds(value: float) -> str:
    """Write a time, or a ratio, with three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float], rounds: int) -> str:
    """Write a median with lowest and highest; the median alone of what was run once."""
    middle, low, high = map(seconds, values)
    return middle if rounds == 1 else f"{middle} ({low}–{high})"


def is_headline(line: Line) -> bool:
    return line["tier"] == "P1" or line["target"] is not None


def aim(line: Line) -> str:
    """Say what ratio was aimed at, and whether it was met."""
    if line["target"] is None:
        return "–"
    reached = line["ratio"] and line["ratio"][0] >= line["target"]
    return f"{line['target']:g}, {'met' if reached else 'missed' if line['ratio'] else 'open'}"


def against(line: Line) -> str:
    return f"{line['peer']}, {line['batch']}" if line["batch"] else line["peer"]


def ratio(line: Line) -> str:
    return spread(line["ratio"], line["rounds"]) if line["ratio"] else f"void: {line['void']}"


def headline(line: Line) -> tuple[str, ...]:
    itself, peak = line["itself"], line["peak"]
    return (
        *other(line)[:5],
        f"**{ratio(line)}**" if line["ratio"] else ratio(line),
        aim(line),
        "–" if itself is None else f"{itself:.2f}",
        "–" if peak is None else f"{peak:.0%}" if peak >= 0.01 else "<1%",
        str(line["rounds"]),
        "–".join(f"{load:.1f}" for load in line["load"]),
    )


def other(line: Line) -> tuple[str, ...]:
    ours, theirs = spread(line["ours"]["cpu"], 2), spread(line["theirs"]["cpu"], line["rounds"])
    return (
        line["bench"],
        f"{line['case']}, {line['unit']}",
        against(line),
        ours,
        theirs,
        ratio(line),
        str(line["rounds"]),
    )


def gates(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Return what was compared, once a case and gate."""
    found: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        gate = line["gate"]
        told = ", ".join(f"{name} {_difference(value)}" for name, value in gate["largest"].items())
        key = (
            line["bench"],
            line["case"],
            gate["compared"],
            "; ".join([told, *gate["notes"]]),
            seconds(line["ours"]["wall"][0]),
        )
        found.setdefault(key, []).append(f"{line['peer']} {seconds(line['theirs']['wall'][0])}")
    return [(*key[:4], f"{key[4]}; {', '.join(peers)}") for key, peers in found.items()]


def _difference(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.0e}"


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def markdown(found: Mapping[str, Any]) -> str:
    """Return the generated part of a page."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    gemm = f"{found['gemm'] / 1e9:.0f} GFLOP a CPU-second in a matrix product" if found["gemm"] else "no peak measured"
    said = f"{found['date']}, {machine['cores']} cores, {machine['threads']} thread, {gemm}; {versions}."
    small = "Smallest sizes: these figures show that the benchmarks run, not how fast anything is.\n\n"
    lines = found["lines"]
    parts = [
        (small if found["quick"] else "") + said,
        table(HEADLINES, map(headline, filter(is_headline, lines))),
        "Other peers: as they come (P0) and bare loops over transformers (P2), most of them measured once.",
        table(OTHERS, (other(line) for line in lines if not is_headline(line))),
        "What was equal before a ratio was printed, and medians by the clock:",
        table(GATES, gates(lines)),
        *(["Not measured:\n\n" + "\n".join(f"- {reason}" for reason in found["missing"])] if found["missing"] else []),
    ]
    return "\n\n".join(parts)


def put(page: str, text: str) -> str:
    """Return a page with another text between its markers. Raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN} and {END} in the page; write them where the table should stand")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def between(page: str) -> str:
    """Return the text between a page's markers."""
    return page.partition(BEGIN)[2].partition(END)[0].strip("\n")
