"""Studies are read and compiled without a network and without the user's own data."""

import pytest


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    """Plans must not depend on the machine."""
    monkeypatch.delenv("TUNELAB_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
