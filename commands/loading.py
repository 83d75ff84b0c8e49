"""A command's model, loaded as its options say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import collecting
from .terminal import say

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..store.store import Store


def load(
    source: str,
    options: dict[str, Any],
    need_vision: bool = False,
    store: Store | None = None,
    adding: bool = False,
    kind: str = "text",
) -> LoadedModel:
    """Load a model with the options of :func:`commands.options.model_options`.

    Args:
        source: directory or hub id.
        options: of the command.
        need_vision: refuse a model that cannot be shown images.
        store: whose banks of the model say in which precision, where none was asked for.
        adding: whether rows are added to these banks, so that it must be theirs, on whatever device.
        kind: ``image`` where states go to image banks or are compared with them: theirs counts first.
    """
    from ..models.loading import load_model
    from ..models.machine.precision import kept

    arguments = loading(source, options, need_vision, store, adding, kind)
    loaded = load_model(source, **arguments)
    collecting.take_up()
    for note in loaded.notes:
        say(note)
    return replace(loaded, chosen=kept(loaded.dtype)) if arguments["like"] and adding else loaded


def loading(
    source: str,
    options: dict[str, Any],
    need_vision: bool = False,
    store: Store | None = None,
    adding: bool = False,
    kind: str = "text",
) -> dict[str, Any]:
    """The arguments of :func:`models.loading.load_model`; see :func:`load`."""
    from ..models.machine.large import LargeModel

    dtype, like = options["dtype"], None
    if dtype == "auto" and store is not None:
        from ..banks.of_model import computed_in

        if kind == "image":
            dtype = computed_in(store, source, options["load_in"], "image") or dtype
        like = computed_in(store, source, options["load_in"])
    large = LargeModel(
        options["device_map"], options["load_in"], options["offload_folder"], tuple(options["max_memory"])
    )
    return {
        "device": options["device"],
        "dtype": like if like and adding else dtype,
        "revision": options["revision"],
        "trust_remote_code": options["trust_remote_code"],
        "need_vision": need_vision,
        "large": large,
        "like": like,
    }
