"""The table of the folder of scripts that a study replaces: how many answers are right, by model and evaluation.

python table.py FOLDER

FOLDER has ``gold.json`` (answers by evaluation and id) and the answers, ``<model>-<evaluation>.json``.
"""

import json
import re
import sys
from pathlib import Path


def last_number(text: str) -> str:
    """Return the last number of a text, empty where it has none."""
    return (re.findall(r"-?\d+", text) or [""])[-1]


def main() -> None:
    """Print and write a line a cell."""
    folder = Path(sys.argv[1])
    gold = json.loads((folder / "gold.json").read_text())
    lines = ["model,evaluation,right,of"]
    for path in sorted(folder.glob("*-*.json")):
        model, _, evaluation = path.stem.rpartition("-")
        rows = json.loads(path.read_text())
        read = last_number if evaluation == "text" else str
        right = sum(read(row["output"]) == gold[evaluation][row["id"]] for row in rows)
        lines.append(f"{model},{evaluation},{right},{len(rows)}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
