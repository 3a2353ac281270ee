"""How long does `tunelab data stats` take for all of MMMLU, and how much memory? 14 languages of 14,042 rows.

    python scripts/bench_data_stats.py [--rows 14042] [--tokenizer NAME_OR_FOLDER ...]

The rows are generated with a seed, in the columns of openai/MMMLU, in the scripts of its languages and with lengths
like those of MMLU's test questions: a median of about 300 characters, one row in a hundred above 2,000. Prints wall
time and peak memory of the command, which runs in a process of its own; other
work on the machine adds to the first, not to the CPU time. The exit code is 0 below two minutes.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunelab.tasks.mmmlu import CONFIGS, INDEX
from tunelab.tasks.multiple_choice import CATEGORIES

ROWS = 14_042
LIMIT_S = 120
MEDIAN_WORDS, SPREAD = 30, 0.95
"""Of a question: the median of its number of words, and the standard deviation of the logarithm of that number."""
SCRIPTS = {
    "ar": (0x0627, 28),
    "bn": (0x0995, 30),
    "hi": (0x0915, 32),
    "ja": (0x3042, 80),
    "ko": (0xAC00, 400),
    "zh": (0x4E00, 800),
}
"""First letter and number of letters of the scripts that are not Latin."""
LATIN = (0x61, 26)


def words(language: str, generator: random.Random, count: int) -> list[str]:
    """Return made-up words in a language's script."""
    first, letters = SCRIPTS.get(language, LATIN)
    return [
        "".join(chr(first + generator.randrange(letters)) for _ in range(generator.randint(2, 9))) for _ in range(count)
    ]


def rows(language: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows with the shape of MMMLU; index, subject, answer and number of words are the same in all languages."""
    shared, own = random.Random(0), random.Random(language)
    subjects, vocabulary = sorted(CATEGORIES), words(language, own, 4000)
    for index in range(count):
        length = max(3, round(MEDIAN_WORDS * shared.lognormvariate(0, SPREAD)))
        options = {letter: " ".join(own.choices(vocabulary, k=shared.randint(1, 10))) for letter in "ABCD"}
        yield {
            INDEX: index,
            "Question": " ".join(own.choices(vocabulary, k=length)) + "?",
            **options,
            "Answer": shared.choice("ABCD"),
            "Subject": shared.choice(subjects),
        }


def write_languages(folder: Path, count: int) -> dict[str, Path]:
    """Write a file a language; return them by split."""
    files = {split: folder / f"{split}.jsonl" for split in CONFIGS}
    for split, path in files.items():
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split[-2:], count))
    return files


def command(files: dict[str, Path], folder: Path, tokenizers: list[str]) -> list[str]:
    """Return the command that is measured."""
    code = "from tunelab.cli import main; main()"
    arguments = [part for split, path in files.items() for part in ("--file", f"{split}={path}")]
    arguments += [part for name in tokenizers for part in ("--tokenizer", name)]
    return [sys.executable, "-c", code, "data", "stats", "mmmlu", *arguments, "--by", "language", "--out", str(folder)]


def main() -> int:
    """Generate the rows, run the command and print what it took."""
    parser = argparse.ArgumentParser(description="Measure tunelab data stats on rows with the shape of MMMLU.")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows a language")
    parser.add_argument("--tokenizer", action="append", help="repeatable; default: tiny")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = write_languages(folder, asked.rows)
        size = sum(path.stat().st_size for path in files.values())
        start = time.perf_counter()
        run = command(files, folder / "stats", asked.tokenizer or ["tiny"])
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        seconds = time.perf_counter() - start
        found = json.loads((folder / "stats" / "stats.json").read_text(encoding="utf-8"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    lengths = {line["unit"]: line for line in found["lengths"] if line["text"] == "prompt" and line["by"] is None}
    print(f"{found['samples']:,} samples from {size / 1e6:.0f} MB, {len(os.sched_getaffinity(0))} cores")
    for unit, line in lengths.items():
        print(f"prompt in {unit}: median {line['median']}, 99 % up to {line['p99']}, {line['within']['256']:.3f} ≤ 256")
    print(f"{seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of CPU), peak {used.ru_maxrss / 1024:.0f} MiB")
    return 0 if seconds < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
