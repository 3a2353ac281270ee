"""How soon is a report's samples.html there, and does it scroll? 1,319 samples under 20 cells, as GSM8K has.

    python scripts/bench_explorer.py [--samples 1319] [--cells 20] [--times 7]

The texts are made up with a seed, with GSM8K's lengths: prompts of about 800 characters under two formats, outputs of
about 600. The steps' files are written as the real steps write them, and the report's own code makes the page from
them. Chromium opens it from the disk, a fresh page each time. Prints the size and medians: from the start of the
navigation until the first rows have their texts and answer to a key; from choosing another cell until its rows have
theirs; the time between frames while the list is scrolled from top to bottom. The exit code is 0 where the first is
below two seconds and 95 of 100 frames come within 50 ms.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tunelab.engine.record import Artifact, FileEntry, Record
from tunelab.files import write_json, write_lines
from tunelab.report.evidence import TABLES, Evidence
from tunelab.report.explorer.page import PAGE, samples_page

LIMIT_S, FRAME_S = 2.0, 0.05
PROMPT, OUTPUT = 800, 600
"""Mean characters of a text."""
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
)
WAITING = """
  const frame = () => {
    if (performance.now() > 60000) throw new Error('nothing was shown within a minute');
    return new Promise(requestAnimationFrame);
  };
  const begins = () => [...document.querySelectorAll('.row .begin')];
  const written = () => begins().length > 0 && begins().every((begin) => begin.textContent);
"""
OPEN = f"""async () => {{ {WAITING}
  while (!written()) await frame();
  document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'j', bubbles: true }}));
  while (!document.querySelector('#detail h2')) await frame();
  return performance.now();
}}"""
SWITCH = f"""async (cell) => {{ {WAITING}
  const start = performance.now(), select = document.getElementById('a'), old = document.querySelector('.row');
  select.value = cell;
  select.dispatchEvent(new Event('change', {{ bubbles: true }}));
  while (old.isConnected || !written()) await frame();
  return performance.now() - start;
}}"""
SCROLL = """async () => {
  const list = document.getElementById('list'), gaps = [], frames = 240, step = list.scrollHeight / frames;
  let last = await new Promise(requestAnimationFrame);
  for (let i = 0; i < frames; i++) {
    list.scrollTop += step;
    const now = await new Promise(requestAnimationFrame);
    gaps.push(now - last);
    last = now;
  }
  return gaps;
}"""
"""Run in the page: each waits for frames, so what it sees has been drawn."""


def text(words: Sequence[str], generator: random.Random, characters: int) -> str:
    """Return words of about so many characters, a third of the texts much longer or shorter."""
    wanted = max(20, round(generator.gauss(characters, characters / 3)))
    found = ""
    while len(found) < wanted:
        found += generator.choice(words) + (". " if generator.random() < 0.08 else " ")
    return found


def write_cell(folder: Path, number: int, prompts: Mapping[str, str], words: Sequence[str]) -> Artifact:
    """Write what a score step leaves of one cell."""
    generator = random.Random(number)
    rows: list[dict[str, Any]] = []
    for id_, prompt in prompts.items():
        right = generator.random() < 0.3 + number / 40
        answer = str(generator.randrange(1000))
        score = {
            "id": id_,
            "sample": 0,
            "outcome": "correct" if right else "wrong",
            "values": {"numeric": float(right)},
        }
        output = f"{text(words, generator, OUTPUT)}\n#### {answer}"
        told = {"answer": answer, "targets": [f"#### {answer}"], "explanation": f"gold {answer}", "prompt": prompt}
        rows.append(
            {**score, **told, "output": output, "finish": "stop", "output_tokens": len(output) // 4, "metadata": {}}
        )
    folder.mkdir(parents=True)
    write_json(folder / "results.json", rows)
    write_lines(folder / "scores.jsonl", [{k: row[k] for k in ("id", "sample", "outcome", "values")} for row in rows])
    facts = {"task": "gsm8k", "metrics": {"numeric": {}}}
    files = {path.name: FileEntry("", path.stat().st_size) for path in folder.iterdir()}
    record = Record("", "score", 1, folder.name, {}, {}, {}, facts, {}, "", "", 0.0, 0.0, 1, files)
    return Artifact(record, folder)


def evidence(folder: Path, samples: int, cells: int) -> Evidence:
    """Return a study of generated results, half of its cells under either of two formats."""
    generator = random.Random(0)
    words = ["".join(generator.choices("etaoinshrdlucmfwyp", k=generator.randint(2, 9))) for _ in range(3000)]
    ids = [f"gsm8k-test-{i}" for i in range(samples)]
    raw = {id_: text(words, generator, PROMPT) for id_ in ids}
    chat = {id_: f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n" for id_, prompt in raw.items()}
    inputs = {f"score/variant_{i}/{('raw', 'chat')[i % 2]}": write_cell(folder / str(i), i, (raw, chat)[i % 2], words)
              for i in range(cells)}  # fmt: skip
    study = {"study": "bench", "question": "How soon?", "smoke": False}
    return Evidence(study, inputs, {}, {"alpha": 0.05, **{name: [] for name in TABLES}}, {})


def measure(url: str, names: Sequence[str], times: int) -> tuple[list[float], list[float], list[float]]:
    """Return seconds of opening, of switching and between frames."""
    opening: list[float] = []
    switching: list[float] = []
    frames: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        for i in range(times):
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(url, wait_until="commit")
            opening.append(page.evaluate(OPEN) / 1000)
            switching.append(page.evaluate(SWITCH, names[2 + i % (len(names) - 2)]) / 1000)
            frames += [gap / 1000 for gap in page.evaluate(SCROLL)]
            page.close()
        browser.close()
    return opening, switching, frames


def in_ms(seconds: float) -> str:
    """Write a time in milliseconds."""
    return f"{seconds * 1000:.0f} ms"


def main() -> int:
    """Make the page, open it some times and print what it took."""
    parser = argparse.ArgumentParser(description="Measure samples.html in Chromium.")
    parser.add_argument("--samples", type=int, default=1319)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="200 samples of 4 cells, three times")
    asked = parser.parse_args()
    if asked.quick:
        asked = argparse.Namespace(samples=200, cells=4, times=3)
    with tempfile.TemporaryDirectory() as temporary:
        found = evidence(Path(temporary) / "store", asked.samples, asked.cells)
        start = time.perf_counter()
        path = Path(temporary) / PAGE
        path.write_text(samples_page(found), encoding="utf-8")
        made, size = time.perf_counter() - start, path.stat().st_size
        names = [name.partition("/")[2] for name in found.inputs]
        opening, switching, frames = measure(path.as_uri(), names, asked.times)
    slow = statistics.quantiles(frames, n=20)[-1]
    print(f"{asked.samples:,} samples × {asked.cells} cells: {size / 1e6:.1f} MB, made in {made:.1f} s")
    print(f"first rows and a key: {statistics.median(opening):.2f} s (largest {max(opening):.2f}) of {asked.times}")
    print(f"another cell: {in_ms(statistics.median(switching))} (largest {in_ms(max(switching))})")
    within = f"95 of 100 within {in_ms(slow)}, largest {in_ms(max(frames))}"
    print(f"between frames: {in_ms(statistics.median(frames))}, {within}")
    return 0 if statistics.median(opening) < LIMIT_S and slow < FRAME_S else 1


if __name__ == "__main__":
    sys.exit(main())
