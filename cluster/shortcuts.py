"""A cluster in a few lines of Python: what ``ray=`` means to :func:`api.ingest` and :func:`api.index`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..banks.of_model import computed_in
from ..models.loading import LoadedModel
from ..models.machine.large import LargeModel, reloading, spread_over
from ..query.handed import require_model, require_session
from ..query.pipeline import QuerySession
from ..schemas.checking import fitted
from ..schemas.errors import UsageError
from ..store.store import Store
from .connecting import Workers, connected, plan_workers, told_of
from .facts import Loading
from .indexing import IndexOnCluster
from .waiting import Note
from .work import OnCluster


@contextmanager
def ingesting(
    model: LoadedModel | str | Path, store: Store, ray: str | None, actors: int | None, gpus: float | None, note: Note
) -> Iterator[LoadedModel | OnCluster]:
    """What does the work of an ingest: the model, or the workers of a cluster that load it.

    Args:
        model: the model; on a cluster also its folder or hub id alone.
        store: where the banks go.
        ray: ``auto`` or ``HOST:PORT``; ``None`` for this process.
        actors: workers, where the number was asked for.
        gpus: of each, likewise.
        note: told what the workers are given.

    Raises:
        UsageError: ``ray_actors`` or ``ray_gpus`` without ``ray``, a folder as the store; no model.
        LensbankError: the cluster cannot be reached, or a worker's.
    """
    with _workers(store, ray, actors, gpus, note) as found:
        if found is None:
            require_model(model)
            assert isinstance(model, LoadedModel)
            yield model
            return
        workers, cpus = found
        if isinstance(model, str | Path):
            like = computed_in(store, str(model), None)
            loading = Loading.of(str(model), {"dtype": like or "auto"})
        else:
            require_model(model)
            loading = loading_of(model)
        yield OnCluster.of(loading, workers, cpus, note)


@contextmanager
def indexing(
    opened: QuerySession,
    store: Store,
    vector_dtype: Literal["float32", "float16"],
    ray: str | None,
    actors: int | None,
    gpus: float | None,
    note: Note,
) -> Iterator[QuerySession | IndexOnCluster]:
    """What does the work of an index; arguments and errors as of :func:`ingesting`.

    Args:
        opened: the lenses; on a cluster every worker opens such of its own, with the text banks of ``store``.
        store: where image banks go.
        vector_dtype: of stored directions.
        ray: see :func:`ingesting`, as of the rest.
        actors: likewise.
        gpus: likewise.
        note: likewise.
    """
    require_session(opened)
    with _workers(store, ray, actors, gpus, note) as found:
        if found is None:
            yield opened
            return
        loading = loading_of(opened.loaded, need_vision=True)
        yield IndexOnCluster.of(loading, store, opened.options, vector_dtype, found[0], note)


@contextmanager
def _workers(
    store: Store, ray: str | None, actors: int | None, gpus: float | None, note: Note
) -> Iterator[tuple[Workers, int] | None]:
    """The workers and all CPUs of a cluster; ``None`` where none is asked for."""
    address = fitted(ray, str | None, "ray")
    if address is None:
        for name, value in (("ray_actors", actors), ("ray_gpus", gpus)):
            if value is not None:
                raise UsageError(f"{name} belongs to ray.", f'Add ray="auto", or leave out {name}.')
        yield None
        return
    count, each = fitted(actors, int | None, "ray_actors"), fitted(gpus, float | None, "ray_gpus")
    if (count is not None and count < 1) or (each is not None and each < 0):
        raise UsageError(f"ray_actors is {count}, ray_gpus is {each}; expected at least 1 and at least 0.")
    store.opener()  # refuses a folder before anything is started
    with connected(address) as nodes:
        workers = plan_workers(nodes, count, each)
        for line in told_of(workers, nodes, store.address):
            note(line)
        yield workers, max(1, int(sum(node.cpus for node in nodes)))


def loading_of(loaded: LoadedModel, **how: Any) -> Loading:
    """How workers load what this process has loaded: spread as here, with the model's code where that runs here.

    Args:
        loaded: the model.
        how: more arguments of :func:`models.loading.load_model`.
    """
    load_in, dtype = reloading(loaded.dtype_name)
    asked = loaded.large or LargeModel("auto" if spread_over(loaded.model) is not None else None)
    arguments = {
        "dtype": dtype,
        "revision": loaded.revision,
        "large": replace(asked, load_in=load_in),
        "trust_remote_code": loaded.trust_remote_code,
    }
    return Loading.of(loaded.source, {**arguments, **how})
