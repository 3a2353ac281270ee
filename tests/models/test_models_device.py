"""One of several GPUs: the others are hidden from the process, once and for all, before CUDA looks."""

import os
import subprocess
import sys

import pytest

TAKE = """
import os, sys
from tunelab.errors import StudyError
from tunelab.models.device import take
for declared in sys.argv[1:]:
    try:
        print(take(declared), os.environ.get("CUDA_VISIBLE_DEVICES"))
    except StudyError as error:
        print(error)
"""


def taken(*declared, visible=None):
    variables = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    variables |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    command = [sys.executable, "-c", TAKE, *declared]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("declared", "visible", "expected"),
    [
        ("auto", None, "auto None"),
        ("cuda", "0,1", "cuda 0,1"),
        ("cuda:1", None, "cuda 1"),
        ("cuda:1", "4,7", "cuda 7"),
        ("cuda:0", "GPU-a1,GPU-b2", "cuda GPU-a1"),
        ("cuda:2", "4,7", "hardware.device: got 'cuda:2', expected a GPU of CUDA_VISIBLE_DEVICES=4,7"),
    ],
)
def test_a_numbered_gpu_is_the_only_one_that_the_process_sees(declared, visible, expected):
    assert taken(declared, visible=visible) == [expected]


def test_a_process_computes_on_one_gpu_for_good():
    first, again, other = taken("cuda:1", "cuda:1", "cuda:0", visible="4,7")
    assert first == again == "cuda 7"
    assert "got 'cuda:0', but this process computes on cuda:1" in other
