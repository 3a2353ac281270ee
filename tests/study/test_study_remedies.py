"""What a plan says where memory is not enough: in a line, with the one setting that makes it enough."""

from dataclasses import replace

import pytest
from memory_studies import GIB, LONG, LORA, OFF, SEVEN_BILLION, SFT, SMALL, folder_of, needed, planned, trained
from study_files import put

from tunelab.study.fitting import lines, needs
from tunelab.study.footprints import footprint
from tunelab.study.longest import Longest


def turned(entry, hardware, settings):
    """An entry and the hardware settings with some of them changed, by their path in the study."""
    for key, value in settings.items():
        section, _, path = key.partition(".")
        if section == "hardware":
            hardware = hardware | {path: value}
        else:
            entry = put(entry, path.removeprefix("one."), value)
    return entry, hardware


@pytest.mark.parametrize(("entry", "hardware", "room", "keys"), [
    (LORA, OFF, 100, ["hardware.micro_batch_size"]),
    (SFT, OFF, 180, ["hardware.micro_batch_size"]),
    (SFT, OFF, 130, ["hardware.gradient_checkpointing"]),
    (LORA | {"max_length": 4096}, SMALL, 33, ["train.one.max_length"]),
    (SFT, {"gradient_checkpointing": True}, 60, ["train.one.adaptation"]),
    (LORA, SMALL, 20, ["train.one.adaptation"]),
    (LONG, SMALL, 100, ["hardware.rollout_batch_size"]),
    (LONG, SMALL | {"rollout_batch_size": 1}, 40, ["train.one.grpo.max_new_tokens"]),
    (LORA, OFF, 35, ["hardware.micro_batch_size", "hardware.gradient_checkpointing"]),
    (SFT, OFF, 44, ["hardware.gradient_checkpointing", "train.one.adaptation"]),
])  # fmt: skip
def test_the_settings_that_are_named_make_the_step_fit_by_the_same_estimate(tmp_path, entry, hardware, room, keys):
    model = folder_of(tmp_path)
    need = trained(tmp_path, entry, room * GIB, model=model, hardware=hardware)
    assert need.fits is False
    assert list(need.remedy.settings) == keys
    entry, hardware = turned(entry, hardware, need.remedy.settings)
    again = trained(tmp_path, entry, room * GIB, model=model, hardware=hardware)
    assert again.fits is True
    assert again.found.total == need.remedy.total


def test_an_answer_that_does_not_fit_is_drawn_in_smaller_batches_or_made_shorter(tmp_path):
    model, long = folder_of(tmp_path), {"evaluate": {"chat": {"format": "chat", "max_new_tokens": 65536}}}
    opened = planned(tmp_path, SFT, model=model, **long)
    for room, key in ((60, "hardware.generation_batch_size"), (31, "evaluate.chat.max_new_tokens")):
        assert list(needed(opened, room * GIB)["generate/base-chat"].remedy.settings)[-1] == key


def test_the_largest_value_that_fits_is_named(tmp_path):
    model, room = folder_of(tmp_path), 100 * GIB
    [rows] = trained(tmp_path, LORA, room, model=model, hardware=OFF).remedy.settings.values()
    sizes = [OFF | {"micro_batch_size": n} for n in (1, 2, 4, 8)]
    fits = [trained(tmp_path, LORA, room, model=model, hardware=size).fits for size in sizes]
    assert rows == max(n for n, enough in zip((1, 2, 4, 8), fits, strict=True) if enough)


def test_a_step_that_fits_gets_no_advice(tmp_path):
    need = trained(tmp_path, SFT, 10_000 * GIB)
    assert need.fits is True
    assert need.remedy is None


def test_where_nothing_is_enough_that_is_said(tmp_path):
    opened = planned(tmp_path, SFT)
    found = needs(opened, opened.plan(), GIB)
    assert all(need.remedy is None for need in found.values())
    assert all("no setting makes it fit" in line for line in lines(found, "cpu")[1:])


def test_a_line_names_step_need_largest_part_and_what_to_turn(tmp_path):
    opened = planned(tmp_path, LORA, hardware=OFF)
    found = needs(opened, opened.plan(), 60 * GIB)
    need = next(n for n in found.values() if n.step.kind == "train")
    first, line = lines(found, "cpu")
    assert first.startswith("memory is an estimate, and stops nothing; cpu has 60 GiB")
    assert line.startswith(f"train/one would need about {need.found.total / GIB:.0f} GiB of the 60 GiB of cpu")
    largest = next(iter(need.found.parts))
    assert f"{need.found.parts[largest] / GIB:.0f} GiB of it {largest}" in line
    [(key, value)] = need.remedy.settings.items()
    assert line.endswith(f"set {key} to {value}")


def test_steps_that_need_the_same_share_a_line(tmp_path):
    opened = planned(tmp_path, SFT, seeds=[0, 1, 2, 3, 4])
    [line] = [line for line in lines(needs(opened, opened.plan(), 100 * GIB), "cpu") if line.startswith("train/")]
    assert line.startswith("train/one-0, train/one-1, train/one-2 and 2 more would need")


@pytest.mark.parametrize("config", [{"model_type": "gpt2"}, SEVEN_BILLION | {"model_type": "qwen2_moe"}])
def test_a_model_that_is_not_described_has_no_estimate_and_says_why(tmp_path, config):
    opened = planned(tmp_path, SFT, model=folder_of(tmp_path, config))
    found = needs(opened, opened.plan(), GIB)
    assert {need.found for need in found.values()} == {
        f"{tmp_path / 'model'} is of a type that is not described here, {config['model_type']}"
    }
    [line] = lines(found, "cpu")
    assert line.startswith("generate/base-chat, train/one, generate/one-chat: memory is not known, ")
    assert all("unknown" in need.as_data() for need in found.values())


def test_a_configuration_that_is_not_on_this_machine_is_said_to_be_missing(tmp_path):
    opened = planned(tmp_path, SFT, model="tiny")
    step = opened.compiled.train["one"]
    elsewhere = {"name": "owner/name", "location": "owner/name", "revision": "f" * 40, "identity": {}}
    moved = replace(step, circumstance={**step.circumstance, "model": elsewhere})
    found = footprint(moved, Longest(opened.store))
    assert found == "the configuration of owner/name is not on this machine"


def test_targets_that_are_not_known_are_said_and_not_guessed(tmp_path):
    found = trained(tmp_path, SFT | {"adaptation": "lora", "lora": {"targets": ["query"]}}).found
    assert found == "lora.targets names modules that are not known here, query"
