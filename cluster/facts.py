"""A model whose weights are on the workers: what one of them says of it, and how each loads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.encoding import default_batch_tokens
from ..models.machine.large import LargeModel
from ..schemas.collection import BankIdentity
from ..schemas.errors import UsageError
from ..schemas.version import tool_version
from .connecting import Workers

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..models.machine.precision import Precision


@dataclass(frozen=True, slots=True)
class Loading:
    """How a worker loads the model; can be pickled.

    Attributes:
        source: a directory, absolute and the same on every node, or a hub id.
        arguments: of :func:`models.loading.load_model`.
        threads: of a worker without a GPU; ``None`` leaves it to torch.
    """

    source: str
    arguments: Mapping[str, Any]
    threads: int | None = None

    @classmethod
    def of(cls, source: str, arguments: Mapping[str, Any]) -> Loading:
        """For a model as the user has named it."""
        path = Path(source).expanduser()
        large = arguments.get("large")
        if large is not None:
            arguments = {**arguments, "large": large.anywhere()}
        return cls(str(path.absolute()) if path.is_dir() else source, arguments)

    def given(self, workers: Workers) -> Loading:
        """The same, on what each of some workers is given: its threads; or its GPUs, over all of which it is spread.

        Raises:
            UsageError: a worker is given several GPUs, and one device is named.
        """
        loading = replace(self, threads=None if workers.gpus else workers.cpus)
        large = self.arguments.get("large") or LargeModel()
        if workers.gpus <= 1 or large.device_map is not None:
            return loading
        if (device := self.arguments.get("device", "auto")) != "auto":
            raise UsageError(
                f"Each worker would be given {workers.gpus:g} GPUs, but --device {device} uses one.",
                "Leave out --device, or use --ray-gpus 1.",
            )
        return replace(loading, arguments={**self.arguments, "large": replace(large, device_map="auto")})

    def fixed(self, dtype: str) -> Loading:
        """The same in the precision that one worker chose: one that is measured need not come out the same twice."""
        return replace(self, arguments={**self.arguments, "dtype": dtype, "like": None})

    def load(self) -> LoadedModel:
        """Load it in this process.

        Raises:
            ModelError: as :func:`models.loading.load_model`.
        """
        import torch

        from ..models.loading import load_model

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return load_model(self.source, **self.arguments)


@dataclass(frozen=True)
class ModelFacts:
    """What an ingest has to know of a model that it does not hold; see :class:`ingest.work.Model`.

    Attributes:
        tokenizer: a fast one.
        source: as given.
        chosen: why it computes in its precision.
        max_positions: the longest sequence it was made for.
        n_layers: blocks.
        dim: width of its states.
        embeddings: rows of its input embedding.
        is_vlm: whether it can be shown images.
        dtype: of its weights: ``float32``, ``bfloat16`` or ``float16``.
        batch_tokens: tokens per forward pass on a worker's device, by default.
        notes: what a reader should know about what was read.
        tool: name and version of the program that has loaded it.
        identities: layer → identity of a bank at it.
    """

    tokenizer: Any
    source: str
    chosen: Precision | None
    max_positions: int | None
    n_layers: int
    dim: int
    embeddings: int
    is_vlm: bool
    dtype: str
    batch_tokens: int
    notes: tuple[str, ...]
    tool: str
    identities: Mapping[int, BankIdentity]

    @classmethod
    def of(cls, loaded: LoadedModel) -> ModelFacts:
        """What a loaded model says of itself."""

        def identity(layer: int) -> BankIdentity:
            return loaded.identity(layer, vector_dtype="float32", max_contexts=None, seed=0)

        return cls(
            tokenizer=loaded.tokenizer,
            source=loaded.source,
            chosen=loaded.chosen,
            max_positions=loaded.max_positions,
            n_layers=loaded.n_layers,
            dim=loaded.dim,
            embeddings=loaded.embeddings,
            is_vlm=loaded.is_vlm,
            dtype=str(loaded.dtype).removeprefix("torch."),
            batch_tokens=default_batch_tokens(loaded.device),
            notes=loaded.notes,
            tool=tool_version(),
            identities={layer: identity(layer) for layer in range(loaded.n_layers + 1)},
        )

    def identity(self, layer: int, *, vector_dtype: str, max_contexts: int | None, seed: int) -> BankIdentity:
        """See :meth:`ingest.work.Model.identity`."""
        return replace(self.identities[layer], vector_dtype=vector_dtype, max_contexts=max_contexts, seed=seed)
