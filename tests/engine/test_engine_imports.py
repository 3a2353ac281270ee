"""What a step imports is set aside from Python's garbage collector; what was garbage before is not."""

import gc
import sys
import weakref
from pathlib import Path

import pytest

from tunelab.engine.imports import imported

MODULE = "class Kept:\n    pass\nkept = [Kept() for _ in range(5000)]\ndef run(context):\n    return len(kept)\n"


class Ring:
    """Holds itself, as a model with a patched method does."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the entry of a new module."""
    name = f"heavy_{request.node.name.split('[')[0]}"
    tmp_path.joinpath(f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return f"{name}:run"


def test_what_an_import_makes_is_set_aside_once(entry: str) -> None:
    before = gc.get_freeze_count()

    assert imported(entry)(None) == 5000
    frozen = gc.get_freeze_count()
    assert frozen >= before + 5000

    assert imported(entry)(None) == 5000
    assert gc.get_freeze_count() <= frozen


def test_garbage_of_earlier_steps_is_freed_before_an_import(entry: str) -> None:
    ring = Ring()
    gone = weakref.ref(ring)
    del ring

    imported(entry)

    assert gone() is None
    assert gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ModuleNotFoundError):
        imported("tunelab.no_such_module:run")

    assert gc.isenabled()
