"""The options of commands whose work the workers of a Ray cluster can do, and reaching these."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..schemas.errors import UsageError
from .loading import loading
from .options import FiniteRange

if TYPE_CHECKING:
    from ..cluster.connecting import Node, Workers
    from ..cluster.facts import Loading
    from ..schemas.progress import Progress
    from ..store.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])

#: Their names, for the groups of a command's help.
RAY_OPTIONS = ("ray", "ray_actors", "ray_gpus")


def ray_options(work: str) -> Callable[[Command], Command]:
    """The options of a cluster.

    Args:
        work: what its workers do, for the help.
    """

    def decorate(command: Command) -> Command:
        for option in (
            click.option(
                "--ray-gpus",
                type=FiniteRange(0),
                metavar="COUNT",
                help="GPUs of each worker; 0 computes on the CPU. Default: 1, where there are any. A model is spread "
                "over several.",
            ),
            click.option(
                "--ray-actors",
                type=click.IntRange(1),
                help="Workers that hold the model. Default: one for every GPU; without any, one for every machine.",
            ),
            click.option(
                "--ray",
                metavar="auto|HOST:PORT",
                help=f"Let the workers of a Ray cluster {work}, and store on a Qdrant server (docs/cluster.md): auto "
                "takes the cluster that this machine belongs to, or starts one of this machine alone.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def require_ray(options: dict[str, Any]) -> bool:
    """Whether a cluster is asked for; what does not go with --ray, or without it, is refused.

    Raises:
        UsageError: an option of a cluster without one, or a folder as the store.
    """
    if options["ray"] is None:
        for name in RAY_OPTIONS:
            if options[name] is not None:
                option = "--" + name.replace("_", "-")
                raise UsageError(f"{option} can only be used with --ray.", f"Add --ray auto, or leave out {option}.")
        return False
    from ..store.elsewhere import FOLDER_OF_ONE
    from ..store.server.address import is_server

    if not is_server(options["store_target"]):
        why, instead = FOLDER_OF_ONE
        raise UsageError(f"--ray cannot use the folder {options['store_target']}. {why}", instead)
    return True


@contextmanager
def workers_of(options: dict[str, Any], progress: Progress) -> Iterator[tuple[Workers, list[Node]]]:
    """The workers that --ray gives, and the nodes of their cluster, for as long as the block lasts.

    Raises:
        LensbankError: as :func:`cluster.connecting.connected` and ``plan_workers``.
    """
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # else what still waits at the end would connect anew
    from ..cluster.connecting import connected, plan_workers, told_of

    with connected(options["ray"]) as nodes:
        workers = plan_workers(nodes, options["ray_actors"], options["ray_gpus"])
        for line in told_of(workers, nodes, options["store_target"]):
            progress.note(line)
        yield workers, list(nodes)


def loading_there(source: str, options: dict[str, Any], store: Store, **how: Any) -> Loading:
    """How a worker loads the model; ``how`` as of :func:`commands.loading.loading`."""
    from ..cluster.facts import Loading

    return Loading.of(source, loading(source, options, store=store, **how))
