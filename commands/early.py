"""What is wrong with a command is said before torch is loaded, which takes seconds: the parts that commands share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ..schemas.errors import UsageError

if TYPE_CHECKING:
    from ..ingest.options import IngestOptions
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


def require_settings(
    store: Store,
    source: str,
    options: dict[str, Any],
    layers: LayerChoice | Literal["all"] | None,
    settings: IngestOptions,
) -> None:
    """Refuse rows that banks of the same model cannot take, as far as that is known before it is loaded.

    Args:
        store: that holds the banks.
        source: directory or hub id.
        options: of :func:`commands.options.model_options`.
        layers: that will be kept; ``None`` for the paper's.
        settings: how rows are chosen and stored.

    Raises:
        BankMismatchError: naming every setting that differs, with both values.
    """
    from ..banks.of_store import made_by
    from ..models.machine.asked import QUANTISED
    from ..schemas.layers import asked_layers, default_layers

    for bank in made_by(store, source, options["revision"]):
        wanted = default_layers(bank.n_layers) if layers is None else asked_layers(layers, bank.n_layers)
        if bank.layer not in wanted or bank.centred != settings.centre:
            continue
        dtype = bank.compute_dtype
        if options["dtype"] != "auto":
            # What is stored quantised is so in every run.
            narrow = QUANTISED[options["load_in"]] if options["load_in"] else dtype.rpartition("-")[0]
            dtype = "-".join(filter(None, (narrow, options["dtype"])))
        now = replace(bank, compute_dtype=dtype, max_contexts=settings.max_contexts, seed=settings.seed)
        bank.require_match(replace(now, vector_dtype=settings.vector_dtype))


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
