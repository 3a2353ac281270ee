"""Does GRPO lift the bundled model, whatever the seed? Train with seeds 0, 1 and 2 and compare each with the base.

    python scripts/bench_learning.py [--store DIR]

Everything runs anew, through the public API, in a temporary store unless one is given. The exit code is 0 when the
interval of every seed's difference from the base lies above 0. One and a half CPU minutes.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tunelab

SEEDS = (0, 1, 2)
CELL = "{:16} {:>6}  {:16} {:>10}  {}"


def study() -> tunelab.Study:
    """Return the study: GRPO under the chat template, scored on 400 problems that training never saw."""
    return tunelab.Study(
        study="bench-learning",
        question="Does GRPO lift tiny's accuracy for every seed?",
        model="tiny",
        task="arithmetic",
        formats={"chat": tunelab.Format(template="chat")},
        train={
            "grpo_chat": tunelab.Train(
                method="grpo",
                adaptation="full",
                format="chat",
                lr=3e-5,
                epochs=1,
                batch_size=16,
                rows=480,
                grpo={"max_new_tokens": 32},  # pyright: ignore[reportArgumentType]
            )
        },
        evaluate={"chat": tunelab.Evaluate(format="chat", rows=400)},
        seeds=SEEDS,
        hardware=tunelab.Hardware(device="cpu", micro_batch_size=128, generation_batch_size=100),
    )


def lines(comparison: dict[str, Any]) -> list[str]:
    """Return the table: a line a cell, with score, interval, difference from the base and its interval."""
    against = {row["cell"]: row for row in comparison["comparisons"]}
    table = [CELL.format("variant", "score", "95 %", "Δ base", "95 % of Δ")]
    for cell in comparison["cells"]:
        found, row = cell["metrics"][cell["headline"]], against.get(cell["cell"])
        span = f"[{found['low']:.3f}, {found['high']:.3f}]"
        change = (f"{row['difference']:+.3f}", f"[{row['low']:+.3f}, {row['high']:+.3f}]") if row else ("", "")
        table.append(CELL.format(cell["variant"], f"{found['value']:.3f}", span, *change))
    return table


def lifted(comparison: dict[str, Any]) -> int:
    """Return how many seeds beat the base by an interval above 0."""
    return sum("refused" not in row and row["low"] > 0 for row in comparison["comparisons"])


def main() -> int:
    """Run the benchmark, print its table and say whether every seed learnt."""
    parser = argparse.ArgumentParser(description="Train GRPO on the bundled model with three seeds.")
    parser.add_argument("--store", type=Path, help="where to keep the work; default: a temporary folder")
    store = parser.parse_args().store
    with tempfile.TemporaryDirectory() as temporary:
        root = store or Path(temporary)
        start = time.perf_counter()
        comparison = tunelab.run(study(), store=root / "store", results=root / "results")
        seconds = time.perf_counter() - start
    print("\n".join(lines(comparison)))
    print(f"{lifted(comparison)} of {len(SEEDS)} seeds: the interval of the difference lies above 0; {seconds:.0f} s")
    for hole in comparison["holes"]:
        print(f"missing: {hole}")
    return 0 if lifted(comparison) == len(SEEDS) else 1


if __name__ == "__main__":
    sys.exit(main())
