"""One attempt at a step: its timings and the versions it ran under, kept even when it is killed.

``attempts.jsonl`` gets a line when an attempt starts and one when it ends. A killed attempt leaves only its
start: it is counted in ``attempts``, and its seconds are unknown and left out.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunelab.engine.energy import Meter
from tunelab.engine.folder import ATTEMPTS
from tunelab.files import append_lines, disk_full, resume_lines

LIBRARIES = (
    "torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "safetensors",
    "bitsandbytes", "numpy", "scipy", "statsmodels", "pandas", "matplotlib",
)  # fmt: skip


class Attempt:
    """Measures from construction to ``close``; earlier attempts' time is added in the record.

    Steps that run at once divide what they take by their number.
    """

    def __init__(self, directory: Path, meter: Meter | None = None, at_once: int = 1) -> None:
        self._path = directory / ATTEMPTS
        self._earlier, self._at_once = resume_lines(self._path), at_once
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._wall, self._cpu, self._meter = time.perf_counter(), time.process_time(), meter or Meter()
        self._append({"event": "started", "time": self._started, "pid": os.getpid()})

    def record(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return Record's fields that this attempt knows."""
        ended = [line for line in self._earlier if line["event"] == "ended"]
        starts = [line["time"] for line in self._earlier if line["event"] == "started"]
        return {
            "facts": facts,
            "versions": versions(),
            "started": (starts or [self._started])[0],
            "finished": datetime.now(UTC).isoformat(timespec="microseconds"),
            "seconds": round(self._seconds() + sum(line["seconds"] for line in ended), 3),
            "cpu_seconds": round(self._cpu_seconds() + sum(line["cpu_seconds"] for line in ended), 3),
            "attempts": len(starts) + 1,
            "energy": self._energy([line.get("energy", {}) for line in ended]),
        }

    def close(self) -> None:
        """Write down how long this attempt took, whatever its end."""
        took = {"seconds": self._seconds(), "cpu_seconds": self._cpu_seconds(), "energy": self._joules()}
        self._meter.close()
        self._append({"event": "ended", **took})

    def _energy(self, earlier: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return the joules of all attempts, of what every one of them could read."""
        now = self._joules()
        read = [kind for kind in now if all(kind in joules for joules in earlier)]
        return {kind: round(now[kind] + sum(joules[kind] for joules in earlier), 3) for kind in read}

    def _joules(self) -> dict[str, float]:
        return {kind: joules / self._at_once for kind, joules in self._meter.joules().items()}

    def _seconds(self) -> float:
        return (time.perf_counter() - self._wall) / self._at_once

    def _cpu_seconds(self) -> float:
        return (time.process_time() - self._cpu) / self._at_once

    def _append(self, row: dict[str, Any]) -> None:
        try:
            append_lines(self._path, [row])
        except OSError as error:
            if not disk_full(error):
                raise
            resume_lines(self._path)


def was_killed(directory: Path, since: float) -> bool:
    """Say whether the latest attempt at a step has no end and began at or after a time, in whole seconds."""
    lines = resume_lines(directory / ATTEMPTS)
    if not lines or lines[-1]["event"] == "ended":
        return False
    return datetime.fromisoformat(lines[-1]["time"]).timestamp() >= int(since)


def versions() -> dict[str, str]:
    """Return Python, platform, tunelab and the version of each library that is loaded now."""
    loaded = {name: importlib.metadata.version(name) for name in LIBRARIES if name in sys.modules}
    base = {"python": platform.python_version(), "platform": platform.platform()}
    return base | {"tunelab": importlib.metadata.version("tunelab")} | loaded
