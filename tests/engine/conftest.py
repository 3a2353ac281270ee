"""One empty store."""

import pytest

from tunelab.engine.store import Store


@pytest.fixture
def store(tmp_path):
    """A store that no step has touched."""
    return Store(tmp_path / "store")
