"""Energy is read where a machine lets it be read, and is missing, not zero, where it does not."""

import time
from types import SimpleNamespace

import pytest

from tunelab.engine.attempt import Attempt
from tunelab.engine.energy import Counter, Meter, nvml_counters, rapl_counters
from tunelab.files import read_lines


def zone(folder, name, kind, microjoules, limit=10_000_000):
    """Make a zone of powercap as Linux has it."""
    path = folder / name
    path.mkdir(exist_ok=True)
    for file, value in (("name", kind), ("energy_uj", microjoules), ("max_energy_range_uj", limit)):
        (path / file).write_text(f"{value}\n")
    return path


@pytest.fixture
def powercap(tmp_path):
    """Two packages, a part of one, its second interface and the platform; each at 9 J of 10."""
    names = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:1": "package-1",
             "intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0"}  # fmt: skip
    for name, kind in names.items():
        zone(tmp_path, name, kind, 9_000_000)
    return tmp_path


def test_packages_are_added_up_once_across_their_wraps(powercap):
    meter = Meter(rapl_counters(powercap))
    zone(powercap, "intel-rapl:0", "package-0", 9_500_000)
    zone(powercap, "intel-rapl:0:0", "core", 9_900_000)
    zone(powercap, "intel-rapl:1", "package-1", 2_000_000)
    assert meter.joules() == {"cpu": 0.5 + 3.0}
    zone(powercap, "intel-rapl:0", "package-0", 500_000)
    assert meter.joules() == {"cpu": 0.5 + 3.0 + 1.0}
    meter.close()


def test_a_counter_that_wraps_twice_between_questions_is_watched_meanwhile():
    counted = [9.0, 4.0, 9.0, 4.0, 9.0]
    meter = Meter([Counter("cpu", lambda: counted.pop(0) if len(counted) > 1 else counted[0], 10.0)], every=0.005)
    deadline = time.monotonic() + 5
    while len(counted) > 1:
        assert time.monotonic() < deadline, "nothing reads the counter"
        time.sleep(0.005)
    meter.close()
    assert meter.joules() == {"cpu": 20.0}


def test_without_powercap_or_its_permission_nothing_is_read(tmp_path, powercap):
    assert rapl_counters(tmp_path / "nowhere") == []
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert rapl_counters(powercap) == []


def test_a_counter_that_is_lost_takes_its_kind_away(powercap):
    meter = Meter([*rapl_counters(powercap), Counter("gpu", lambda: 1.0)])
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    assert meter.joules() == {"gpu": 0.0}
    meter.close()


def driver(refuses=False):
    """NVIDIA's library with two GPUs: every question costs the first 1 J and the second 2 J."""
    spent = {1: 0, 2: 0}

    def count(found):
        found._obj.value = 2
        return 0

    def by_index(index, handle):
        handle._obj.value = index.value + 1
        return 0 if index.value < 2 else 2

    def by_uuid(name, handle):
        handle._obj.value = {b"GPU-one": 1, b"GPU-two": 2}[name]
        return 0

    def energy(handle, millijoules):
        spent[handle.value] += 1000 * handle.value
        millijoules._obj.value = spent[handle.value]
        return 3 if refuses else 0

    return SimpleNamespace(
        nvmlInit_v2=lambda: 0,
        nvmlDeviceGetCount_v2=count,
        nvmlDeviceGetHandleByIndex_v2=by_index,
        nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )


@pytest.mark.parametrize(
    ("visible", "joules"), [("0,1", 3.0), ("0", 1.0), ("1", 2.0), ("GPU-two", 2.0), ("0,-1,1", 1.0)]
)
def test_gpus_that_the_process_may_use_are_counted(visible, joules):
    assert Meter(nvml_counters(driver(), visible)).joules() == {"gpu": joules}


def test_without_visible_gpus_or_their_counter_there_is_no_energy():
    assert nvml_counters(driver(), "") == []
    assert nvml_counters(driver(), "7") == []
    assert nvml_counters(driver(refuses=True), "0") == []


def test_an_attempt_keeps_what_earlier_ones_took_and_only_what_all_could_read(tmp_path, powercap):
    first = Attempt(tmp_path, Meter([*rapl_counters(powercap), Counter("gpu", lambda: 5.0)]))
    zone(powercap, "intel-rapl:0", "package-0", 9_750_000)
    first.close()
    assert read_lines(tmp_path / "attempts.jsonl")[-1]["energy"] == {"cpu": 0.75, "gpu": 0.0}
    second = Attempt(tmp_path, Meter(rapl_counters(powercap)))
    zone(powercap, "intel-rapl:0", "package-0", 250_000)
    assert second.record({})["energy"] == {"cpu": 0.75 + 0.5}
    second.close()
