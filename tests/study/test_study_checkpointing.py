"""Gradient checkpointing is switched on where a training fits with it alone, and plan and record say so."""

import pytest
from memory_studies import GIB, GRPO, LORA, OFF, SFT, folder_of, planned, trained
from study_files import compiled, put

from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.study.api import SilentReporter
from tunelab.study.fitting import lines, needs
from tunelab.study.footprints import footprint
from tunelab.study.longest import Longest


def room_between(folder, entry, model):
    """Bytes that are enough with gradient checkpointing, and not without."""
    totals = [trained(folder, entry, model=model, hardware={"gradient_checkpointing": on}).found.total
              for on in (False, True)]  # fmt: skip
    assert totals[1] < totals[0]
    return sum(totals) // 2


@pytest.mark.parametrize("entry", [SFT, LORA, GRPO])
def test_it_is_on_only_where_a_training_fits_no_other_way(tmp_path, entry):
    model = folder_of(tmp_path)
    room = room_between(tmp_path, entry, model)
    need = trained(tmp_path, entry, room, model=model)
    assert need.found.work.gradient_checkpointing
    assert need.fits
    assert need.remedy is None
    assert need.unchecked > room >= need.found.total
    assert not trained(tmp_path, entry, need.unchecked, model=model).found.work.gradient_checkpointing
    assert not trained(tmp_path, entry, model=model).found.work.gradient_checkpointing


def test_it_stays_off_where_the_study_says_so_and_is_then_the_advice(tmp_path):
    model = folder_of(tmp_path)
    room = room_between(tmp_path, LORA | {"batch_size": 1}, model)
    need = trained(tmp_path, LORA | {"batch_size": 1}, room, model=model, hardware=OFF)
    assert need.fits is False
    assert dict(need.remedy.settings) == {"hardware.gradient_checkpointing": True}


def test_where_it_is_not_enough_other_settings_are_named_on_top_of_it(tmp_path):
    need = trained(tmp_path, LORA, 35 * GIB)
    assert need.fits is False
    assert list(need.remedy.settings) == ["hardware.micro_batch_size"]
    again = trained(tmp_path, LORA, 35 * GIB, model=str(tmp_path / "model"),
                    hardware={"micro_batch_size": need.remedy.settings["hardware.micro_batch_size"]})  # fmt: skip
    assert again.found.work.gradient_checkpointing
    assert again.fits


def test_a_plan_says_what_it_saves(tmp_path):
    model = folder_of(tmp_path)
    opened = planned(tmp_path, SFT, model=model)
    found = needs(opened, opened.plan(), room_between(tmp_path, SFT, model))
    need = next(n for n in found.values() if n.step.kind == "train")
    [line] = [line for line in lines(found, "cpu") if line.startswith("train/one")]
    assert "gradient checkpointing is switched on, which is slower" in line
    assert f"without it about {need.unchecked / GIB:.0f} GiB would be needed" in line
    assert need.as_data()["without_checkpointing"] == need.unchecked


STUDY = {
    "study": "small", "question": "Does it fit?", "model": "tiny", "task": "arithmetic",
    "formats": {"chat": {"template": "chat"}}, "evaluate": {"chat": {"format": "chat", "rows": 8}},
    "train": {"one": {"method": "sft", "adaptation": "full", "lr": 0.001, "epochs": 1, "batch_size": 16, "rows": 32,
                      "max_steps": 1, "format": "chat", "loss": "all"}},
    "hardware": {"device": "cpu"},
}  # fmt: skip


def test_a_training_decides_as_its_plan_did_and_its_record_says_so(tmp_path):
    store = Store(tmp_path / "store")
    runner, step = Runner(store, SilentReporter()), compiled(tmp_path, STUDY).train["one"]
    assert runner.run(step.needs).ok
    without = footprint(step, Longest(store)).total
    for size, on in ((without - 1, True), (without, False)):
        small = compiled(tmp_path, put(STUDY, "hardware.memory", size / GIB)).train["one"]
        assert runner.run([small]).ok
        facts = store.find(small).record.facts
        decided = facts["gradient_checkpointing"]
        assert decided["on"] is facts["resolved"]["activation_checkpointing"] is on
        assert (decided["without"], decided["available"]) == (without, size)
        store.set_aside(small)


def test_memory_is_no_part_of_identity(tmp_path):
    one, other = (compiled(tmp_path, put(STUDY, "hardware.memory", gib)).train["one"] for gib in (None, 2.5))
    assert one.fingerprint == other.fingerprint
