"""What is wrong with a command is said before torch is loaded, which takes seconds: the parts that commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..schemas.errors import UsageError

if TYPE_CHECKING:
    from ..query.options import QueryOptions
    from ..schemas.layers import LayerChoice
    from ..store.store import Store


def require_model(
    source: str | None,
    options: dict[str, Any],
    layers: LayerChoice | Literal["all"] | None = None,
    patches: tuple[tuple[int, int], ...] = (),
) -> None:
    """Refuse what cannot be a model or be loaded as asked, or lacks a layer or patch, as far as that is known now.

    Args:
        source: directory or hub id; ``None`` where it is not named.
        options: of :func:`commands.options.model_options`.
        layers: that will be read.
        patches: likewise.

    Raises:
        UsageError: options that contradict each other or cannot be read, or a patch outside of the grid.
        ModelError: no model, or a library is missing.
        LayerError: a layer that it lacks.
    """
    from ..models.files.grids import grid_of
    from ..models.files.hub import require_reachable
    from ..models.files.sources import check_source, depth_of
    from ..models.machine.asked import require_possible
    from ..query.options import require_inside
    from ..schemas.layers import asked_layers

    if source == "":
        raise UsageError("--model is empty.", "Give a model directory or a hub id.")
    require_possible(
        options["device"],
        options["device_map"],
        options["load_in"],
        options["offload_folder"],
        options["max_memory"],
    )
    directory = None if source is None else check_source(source)
    if source is not None and directory is None:
        require_reachable(source, options["revision"])
    depth = depth_of(directory)
    if layers is not None and depth is not None:
        asked_layers(layers, depth)
    if patches and (grid := grid_of(directory)) is not None:
        require_inside(patches, grid)


def require_at_hand(source: str, options: dict[str, Any]) -> None:
    """Refuse a hub id that nothing was fetched of, where nothing may be: the last thing before torch is loaded.

    Raises:
        ModelError: it is one.
    """
    from ..models.files.hub import require_fetched
    from ..models.files.sources import check_source

    if check_source(source) is None:
        require_fetched(source, options["revision"])


def require_query(store: Store | None, settings: QueryOptions, options: dict[str, Any]) -> str:
    """Refuse what neither model nor banks can answer, as far as that is known now; the model's source.

    Args:
        store: of the banks; ``None`` where none is asked.
        settings: what is asked.
        options: of the command.

    Raises:
        LensbankError: as :func:`require_model` and :func:`banks.of_store.require_banks`.
    """
    from ..banks.of_store import model_source, require_banks

    if store is not None and "latent" in settings.lenses:
        asked = require_banks(store, settings.layers, settings.bank_layers, settings.centre)
    else:
        asked = []
    source: str = model_source(store) if options["model"] is None and store is not None else options["model"]
    require_model(source, options, settings.layers, settings.patches)
    require_at_hand(source, options)
    if store is not None:
        store.expect(asked)
    return source
