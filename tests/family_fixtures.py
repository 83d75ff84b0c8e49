"""A tiny model of each family that a file's tests ask for, by its name in `tiny_vlms.TINY`."""

import pytest


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Name → directory, made when first asked for."""
    from tiny_vlms import TINY

    folders = {}

    def get(name):
        if name not in folders:
            folders[name] = TINY[name].save(tmp_path_factory.mktemp("vlms") / name)
        return folders[name]

    return get


@pytest.fixture(scope="module")
def models(saved):
    """Name → the model, loaded when first asked for."""
    from lensbank.models.loading import load_model

    loaded = {}

    def get(name):
        if name not in loaded:
            loaded[name] = load_model(str(saved(name)), dtype="float32", need_vision=True)
        return loaded[name]

    return get
