"""Writing banks on a Qdrant server: the requests themselves, acknowledged one by one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from schemas.collection import BankIdentity, BankRecord, CorpusRecord
from schemas.errors import StoreError
from schemas.payload import INDEXED_FIELDS, FieldKind
from store.base import BankWriter, Progress
from store.records import new_record, tool_version, with_corpora
from store.rows import check_rows, clean_payload, describe_row, one_width, unit_rows
from store.server import METADATA_KEY, Connection, write_record

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

    from store.base import Floats

#: Rows per request: the largest REST body a server takes by default is 32 MB.
BATCH_ROWS = 256
GRAPH_FROM_ROWS = 300_000
_POLL_SECONDS = 0.5


class ServerWriter(BankWriter):
    """Writes through a client; see :class:`store.base.BankWriter`.

    Nothing keeps two of these from writing the same bank: point ids are the same for the same
    text, so they cannot harm each other's rows, but the first to finish marks the bank complete.
    """

    def __init__(self, connection: Connection, identities: Sequence[BankIdentity], source: str) -> None:
        """Create the collections that do not exist; check those that do.

        Raises:
            ValueError: no identities, two of one layer, or of different widths.
            BankMismatchError: a collection was made in another way.
            StoreError: a collection of that name is not a bank; a request failed.
        """
        self._connection = connection
        self._dim = one_width(identities)
        self._identities = {identity.layer: identity for identity in identities}
        self._records: dict[int, BankRecord] = {}
        self._open = True
        found = {layer: self._find(identity) for layer, identity in self._identities.items()}
        for layer, record in found.items():
            name = self._identities[layer].name()
            if record is None:
                self._records[layer] = new_record(self._identities[layer], source)
                connection.call(partial(self._create, layer))
            else:
                self._records[layer] = write_record(connection, name, record, state="building")

    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        vectors: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """See :meth:`store.base.BankWriter.put`; returns when the server has the rows."""
        from qdrant_client import models

        self._require_open()
        check_rows(ids, payloads, vectors, norms, self._identities, self._dim)
        clean = [clean_payload(payload) for payload in payloads]
        units = {
            layer: unit_rows(rows, lambda i, n=layer: f"The state of {describe_row(payloads[i])} at layer {n}")  # type: ignore[misc]
            for layer, rows in vectors.items()
        }
        for layer, identity in self._identities.items():
            name, rows, sizes = identity.name(), units[layer], norms[layer]
            for start in range(0, len(ids), BATCH_ROWS):
                points = [
                    models.PointStruct(
                        id=ids[i], vector=rows[i].tolist(), payload={**clean[i], "norm": float(sizes[i])}
                    )
                    for i in range(start, min(start + BATCH_ROWS, len(ids)))
                ]
                self._connection.call(partial(_upsert, name, points))

    def flush(self) -> None:
        """See :meth:`store.base.BankWriter.flush`; the server's own log has every acknowledged row."""
        self._require_open()

    def finish(
        self,
        corpora: CorpusRecord | Sequence[CorpusRecord],
        index: bool = True,
        progress: Progress | None = None,
        graph: bool | None = None,
    ) -> None:
        """See :meth:`store.base.BankWriter.finish`."""
        self._require_open()
        new = (corpora,) if isinstance(corpora, CorpusRecord) else tuple(corpora)
        names = {layer: identity.name() for layer, identity in self._identities.items()}
        rows = {layer: self._connection.call(partial(_count, name)) for layer, name in names.items()}
        done = 0
        for layer, name in names.items():
            if index:
                self._index(name, rows[layer] >= GRAPH_FROM_ROWS if graph is None else graph)
            done += rows[layer]
            if progress is not None:
                progress(done, sum(rows.values()))
        for layer, name in names.items():
            record = self._records[layer]
            corpora_now = with_corpora(record, new)
            write_record(self._connection, name, record, state="complete", corpora=corpora_now, tool=tool_version())
        self._open = False

    def abort(self) -> None:
        """See :meth:`store.base.BankWriter.abort`."""
        self._open = False

    def close(self) -> None:
        """See :meth:`store.base.BankWriter.close`."""
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise StoreError("The writer is closed.", "Open another one.")

    def _find(self, identity: BankIdentity) -> BankRecord | None:
        name = identity.name()
        record = self._connection.record(name)
        if record is not None:
            record.identity.require_match(identity)
        elif self._connection.call(lambda c: c.collection_exists(name)):
            raise StoreError(
                f"The server {self._connection.address} has a collection {name} that is not a bank.",
                "Delete or rename it, or use another server.",
            )
        return record

    def _create(self, layer: int, client: QdrantClient) -> None:
        from qdrant_client import models

        identity = self._identities[layer]
        half = identity.vector_dtype == "float16"
        turbo = models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, memory=models.Memory.PINNED)
        client.create_collection(
            identity.name(),
            vectors_config=models.VectorParams(
                size=identity.dim,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT16 if half else models.Datatype.FLOAT32,
            ),
            # No graph while rows come: building it once at the end is cheaper.
            hnsw_config=models.HnswConfigDiff(m=0),
            quantization_config=models.TurboQuantization(turbo=turbo),
            metadata={METADATA_KEY: self._records[layer].to_dict()},
        )
        for field, kind in INDEXED_FIELDS.items():
            client.create_payload_index(identity.name(), field, field_schema=_index(kind), wait=True)

    def _index(self, name: str, graph: bool) -> None:
        from qdrant_client import models

        if graph:
            config = models.HnswConfigDiff(m=16, ef_construct=100)
            self._connection.call(lambda c: c.update_collection(name, hnsw_config=config))
        while self._connection.call(lambda c: c.get_collection(name)).status == models.CollectionStatus.YELLOW:
            time.sleep(_POLL_SECONDS)


def _upsert(name: str, points: list[models.PointStruct], client: QdrantClient) -> None:
    client.upsert(name, points=points, wait=True)


def _count(name: str, client: QdrantClient) -> int:
    return client.count(name, exact=True).count


def _index(kind: FieldKind) -> models.PayloadSchemaType | models.TextIndexParams:
    from qdrant_client import models

    if kind == "text":
        return models.TextIndexParams(
            type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD, lowercase=True, phrase_matching=True
        )
    return models.PayloadSchemaType(kind)
