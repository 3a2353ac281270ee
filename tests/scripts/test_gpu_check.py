"""The check of a GPU machine: what it says without a GPU, and what it makes of parts that fail."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gpu_check


def test_without_a_gpu_it_says_so_in_a_line(monkeypatch, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    assert gpu_check.main() == 2
    assert capsys.readouterr().out.count("\n") == 1


def test_a_part_that_raises_is_a_failed_check_and_the_others_go_on(monkeypatch):
    def broken(asked):
        raise ValueError("no room")

    def whole(asked):
        return [gpu_check.Check("whole", True, asked.device)]

    monkeypatch.setattr(gpu_check, "PARTS", (broken, whole))
    found = gpu_check.checked(gpu_check.Asked("cpu", True))
    assert [(check.name, check.passed) for check in found] == [("broken", False), ("whole", True)]
    page = gpu_check.table("A GPU", found)
    assert "| broken | NO | ValueError: no room |" in page
    assert "| whole | yes | cpu |" in page
