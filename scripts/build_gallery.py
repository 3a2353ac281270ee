"""Makes the gallery, docs/gallery: real reports of studies that the bundled model can answer. make gallery

Every study runs in full, on one store; its report's pages and tables are copied, a picture of the first screen is taken
by Chromium, and ``docs/gallery.md`` gets the question, the answer that the report gives, and the command.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from take_screenshots import SIZE, TUNELAB, opened
from tunelab.files import read_json

ROOT = Path(__file__).parents[1]
PAGE, FOLDER = ROOT / "docs" / "gallery.md", ROOT / "docs" / "gallery"
KEPT = ("index.html", "samples.html", "study.json", "*.png", "*.svg", "*.csv", "*.md", "tables/*")
HEAD = """# Gallery

Reports that this code made on the bundled model, on a CPU; `make gallery` makes them again. Each is a folder: clone the
repository and open its `index.html`, or `samples.html` for the outputs behind the numbers.
"""


@dataclass(frozen=True)
class Shown:
    """A report of the gallery: what it is there for, and what ``tunelab run`` is given."""

    name: str
    about: str
    arguments: tuple[str, ...]


REPORTS = (
    Shown("quickstart", "Formats crossed: four variants and the base, in two formats each.", ("quickstart",)),
    Shown(
        "seeds",
        "Three seeds a recipe: what the recipe does, rather than what one checkpoint did, and how far seeds lie apart.",
        ("quickstart", "study=seeds", "train=sft_*", "seeds=[0,1,2]", "question=Does the format hold over seeds?"),
    ),
    Shown(
        "mixed-rewards",
        "Reinforcement learning on two tasks with two rewards; groups of tasks, rewards by task.",
        (str(ROOT / "examples" / "mixed_rewards" / "study.yaml"),),
    ),
    Shown(
        "lora-ranks",
        "Full fine-tuning against LoRA at two ranks, at one learning rate each.",
        (
            "quickstart",
            "study=lora-ranks",
            "question=How much of full fine-tuning does LoRA keep?",
            "train={full: {format: chat, loss: completion}, "
            "lora_4: {format: chat, loss: completion, adaptation: lora, lora: {rank: 4, alpha: 8}, lr: 3.0e-3}, "
            "lora_16: {format: chat, loss: completion, adaptation: lora, lora: {rank: 16, alpha: 32}, lr: 3.0e-3}}",
            "evaluate=chat",
        ),
    ),
)


def main() -> None:
    """Run the studies and write the gallery."""
    parts = [HEAD]
    shutil.rmtree(FOLDER, ignore_errors=True)
    with TemporaryDirectory() as work:
        for shown in REPORTS:
            parts.append(add(shown, Path(work)))
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"docs/gallery: {sum(path.stat().st_size for path in FOLDER.rglob('*.*')):,} bytes")


def add(shown: Shown, work: Path) -> str:
    """Run a study, copy its report and return what the page says of it."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([*TUNELAB, "run", *shown.arguments, "--quiet"], cwd=work, env=environment, check=True)
    report = work / "results" / shown.name / "report"
    record = read_json(report / "record.json")
    for pattern in KEPT:
        for path in report.glob(pattern):
            target = FOLDER / shown.name / path.relative_to(report)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    picture(FOLDER / shown.name / "index.html", FOLDER / f"{shown.name}.png")
    command = " ".join(
        quoted(Path(a).relative_to(ROOT).as_posix() if a.startswith("/") else a) for a in shown.arguments
    )
    return (
        f"## {shown.name}\n\n{shown.about}\n\n"
        f"**{record['settings']['study']['question']}** {record['facts']['answer']}\n\n"
        f"[![The first screen]({FOLDER.name}/{shown.name}.png)]({FOLDER.name}/{shown.name}/index.html)\n\n"
        f"[report]({FOLDER.name}/{shown.name}/index.html) · [samples]({FOLDER.name}/{shown.name}/samples.html) · "
        f"[tables]({FOLDER.name}/{shown.name}/tables)\n\n```\ntunelab run {command}\n```\n"
    )


def quoted(argument: str) -> str:
    """Write an argument for a shell."""
    return argument if all(c.isalnum() or c in "-_./=" for c in argument) else f"'{argument}'"


def picture(page: Path, target: Path) -> None:
    """Take a picture of the first screen."""
    with opened() as browser:
        tab = browser.new_page(viewport=SIZE)
        tab.goto(page.as_uri())
        tab.screenshot(path=target)


if __name__ == "__main__":
    sys.exit(main())
