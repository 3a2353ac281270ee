"""Energy while a step runs, as far as this machine lets it be read: processors through RAPL, GPUs through NVML.

What is read are the counters of whole processor packages and GPUs, whoever used them meanwhile. RAPL (Linux's powercap)
is often readable by root alone, NVML counts on GPUs since Volta: what cannot be read is left out, never 0.
RAPL's counter begins again after some minutes to hours, so a thread reads it every ``EVERY`` seconds.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
EVERY = 60.0
CPU, GPU = "cpu", "gpu"


@dataclass(frozen=True)
class Counter:
    """A counter of joules that never goes back, but that it begins again at 0 after ``range``."""

    kind: str
    read: Callable[[], float]
    """Joules so far; raises OSError when it cannot be read."""
    range: float = 0.0
    """Joules; 0 where it does not begin again."""


class Meter:
    """Adds up what counters count from its construction on; ``close`` ends its thread."""

    def __init__(self, counters: Sequence[Counter] | None = None, every: float = EVERY) -> None:
        self._counters = list(_counters() if counters is None else counters)
        self._joules: dict[str, float] = {counter.kind: 0.0 for counter in self._counters}
        self._last = [self._read(counter) for counter in self._counters]
        self._lock, self._closed = threading.Lock(), threading.Event()
        if any(counter.range for counter in self._counters):
            threading.Thread(target=self._watch, args=(every,), daemon=True).start()

    def joules(self) -> Mapping[str, float]:
        """Return joules by kind, ``cpu`` and ``gpu``; a kind is not there when any of its counters cannot be read."""
        with self._lock:
            for i, counter in enumerate(self._counters):
                self._add(i, counter)
            return {kind: round(amount, 3) for kind, amount in self._joules.items()}

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()

    def _watch(self, every: float) -> None:
        while not self._closed.wait(every):
            self.joules()

    def _add(self, i: int, counter: Counter) -> None:
        now = self._read(counter)
        if counter.kind in self._joules:
            more = now - self._last[i]
            self._joules[counter.kind] += more if more >= 0 else more + counter.range
        self._last[i] = now

    def _read(self, counter: Counter) -> float:
        """Return what a counter says; one that cannot be read takes its kind away."""
        try:
            return counter.read()
        except OSError:
            self._joules.pop(counter.kind, None)
            return 0.0


@cache
def _counters() -> tuple[Counter, ...]:
    return (*rapl_counters(), *nvml_counters())


def rapl_counters(folder: Path = POWERCAP) -> list[Counter]:
    """Return a counter for each processor package; none unless all of them can be read.

    Parts of a package (``intel-rapl:0:1``), its second interface (``intel-rapl-mmio:0``) and the whole platform
    (``psys``) would count the same energy again. Units: Linux, Documentation/power/powercap/powercap.rst.
    """
    zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    try:
        packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        found = [Counter(CPU, _rapl(zone), _microjoules(zone / "max_energy_range_uj")) for zone in packages]
        for counter in found:
            counter.read()
    except (OSError, ValueError):
        return []
    return found


def _rapl(zone: Path) -> Callable[[], float]:
    return lambda: _microjoules(zone / "energy_uj")


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def nvml_counters(library: Any = None, visible: str | None = None) -> list[Counter]:
    """Return a counter for each GPU that ``CUDA_VISIBLE_DEVICES`` leaves; none unless all of them can be read.

    ``library`` is NVIDIA's libnvidia-ml, which comes with the driver. Indices are NVML's, those of
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    try:
        nvml = library or ctypes.CDLL("libnvidia-ml.so.1")
        _asked(nvml.nvmlInit_v2())
        handles = _handles(nvml, os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible)
        found = [Counter(GPU, _nvml(nvml, handle)) for handle in handles]
        for counter in found:
            counter.read()
    except (OSError, AttributeError):
        return []
    return found


def _handles(nvml: Any, visible: str | None) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint()
    _asked(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    named = [name.strip() for name in visible.split(",")] if visible is not None else map(str, range(count.value))
    handles: list[ctypes.c_void_p] = []
    for name in named:
        handle = ctypes.c_void_p()
        if name.isdecimal():
            _asked(nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(handle)))
        elif name.startswith("GPU-"):
            _asked(nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle)))
        else:
            break  # as CUDA does: what follows an unknown name, like -1, is hidden
        handles.append(handle)
    return handles


def _nvml(nvml: Any, handle: ctypes.c_void_p) -> Callable[[], float]:
    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        _asked(nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)))
        return millijoules.value / 1e3

    return read


def _asked(code: int) -> None:
    if code:
        raise OSError(f"NVML: got error {code}, expected 0")
