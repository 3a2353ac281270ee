"""One finished report that most tests look at."""

import pytest
from report_fakes import CROSSED, build, report_step


@pytest.fixture(scope="session")
def crossed(tmp_path_factory):
    """Two variants and the base under two formats."""
    return build(tmp_path_factory.mktemp("store"), report_step(CROSSED, at_least={"numeric": 0.3}))
