"""Properties are judged by their result, never by the speed of the machine; the tiny model is loaded once."""

import pytest

from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.load import load_model, load_tokenizer
from tunelab.models.spec import resolve


@pytest.fixture(scope="session")
def tiny():
    """The bundled model."""
    return load_model(resolve("tiny"), "cpu", "fp32")


@pytest.fixture(scope="session", params=["chat", "raw"])
def renderer(request):
    """The bundled tokenizer under each kind of format."""
    return Renderer(load_tokenizer(resolve("tiny")), Format(template=request.param))
