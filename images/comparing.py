"""What has to be done: the given images against those in the banks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..schemas.collection import BankIdentity
from ..schemas.errors import BankNotFoundError, UsageError
from ..schemas.indexes import IndexRecord
from ..store.store import Store
from .options import IndexOptions
from .present import Held, held_of
from .sets import ImageSet, SetImage

#: What can be told anew without the model.
_OF_WORDS = {"banks", "top_k", "where"}


@dataclass(slots=True)
class IndexState:
    """What has to be done, and what the banks hold so far.

    Attributes:
        identities: of the banks that lack something.
        todo: images to write.
        whole: images of which each bank holds all rows, of one file and read in one way.
        broken: images of which there are rows, and which are not whole.
        surplus: images that are whole and were not given.
        digests: image → SHA-256, of what the banks hold; grows as images are written.
        tokens: image → visual tokens; likewise.
    """

    identities: Sequence[BankIdentity]
    todo: Sequence[SetImage]
    whole: frozenset[str]
    broken: frozenset[str]
    surplus: frozenset[str]
    digests: dict[str, str]
    tokens: dict[str, int]
    written: int = 0
    replaced: int = 0
    odd: dict[str, str] = field(default_factory=dict)


class Comparing:
    """Compares a set of images with banks of a store.

    Args:
        store: where the banks are.
        images: the set.
        record: how its images are read.
        options: whether to read again, and to prune.
    """

    def __init__(self, store: Store, images: ImageSet, record: IndexRecord, options: IndexOptions) -> None:
        """Nothing is looked at yet."""
        self._store, self._images, self._record, self._options = store, images, record, options
        self._read = record.digest()

    def compare(self, identities: Sequence[BankIdentity], digests: Mapping[str, str]) -> IndexState:
        """Compare what is given with what the banks hold; those that lack nothing are left alone.

        Args:
            identities: of the banks, one a layer.
            digests: image → SHA-256 of those that can be read.

        Raises:
            UsageError: the set on record was read otherwise.
            BankMismatchError: a bank was made with other settings.
            StoreError: the store cannot be read.
        """
        given = {image.name for image in self._images.images}
        lacking, every, others = list[BankIdentity](), list[dict[str, Held]](), list[dict[str, Held]]()
        for identity in identities:
            held, complete = self._held(identity)
            same = {
                n for n, one in held.items() if one.is_whole and (one.sha256, one.read) == (digests.get(n), self._read)
            }
            lacks = not complete or self._options.again or bool(set(digests) - same)
            if lacks or (self._options.prune and set(held) - given):
                lacking.append(identity)
                every.append(held)
            else:
                others.append(held)
        every = every or others  # where nothing lacks, all of them agree
        known = frozenset[str]().union(*every)
        whole = {name: one for name in known if (one := _agreeing([held.get(name) for held in every])) is not None}
        fresh = {name for name, one in whole.items() if self._is_as_given(one, digests.get(name))}
        done = set() if self._options.again else fresh  # of the banks that lack something
        return IndexState(
            identities=lacking,
            todo=[image for image in self._images.images if image.name in digests and image.name not in done],
            whole=frozenset(whole),
            broken=known - set(whole),
            surplus=frozenset(set(whole) - given),
            digests={name: one.sha256 for name, one in whole.items()},
            tokens={name: one.tokens for name, one in whole.items()},
        )

    def _is_as_given(self, held: Held, sha256: str | None) -> bool:
        return (held.sha256, held.read) == (sha256, self._read)

    def _held(self, identity: BankIdentity) -> tuple[dict[str, Held], bool]:
        """What a bank holds of the set, and whether it is complete and knows of it.

        Raises:
            UsageError: the set on record was read otherwise.
        """
        try:
            bank = self._store.open(identity.name(), allow_incomplete=True)
        except BankNotFoundError:
            return {}, False
        with bank:
            bank.record.identity.require_match(identity)
            record = next((corpus for corpus in bank.record.corpora if corpus.name == self._images.name), None)
            complete = bank.record.state == "complete" and record is not None
            if complete and record is not None and record.indexed is not None and not self._options.again:
                self._require_same(record.indexed)
            return held_of(bank, self._images.name), complete

    def _require_same(self, before: IndexRecord) -> None:
        """Refuse to mix words that were found in different ways.

        Raises:
            UsageError: the set on record was read otherwise.
        """
        if differing := before.differences(self._record):
            raise UsageError(
                f"The images {self._images.name} are already indexed with other {', '.join(differing)}; words that "
                "were found in different ways must not be mixed.",
                "Use the same settings, or give another --name, or use --again to read every image again."
                + " --again-words looks up the words again from the stored vectors." * (set(differing) <= _OF_WORDS),
            )


def _agreeing(held: Sequence[Held | None]) -> Held | None:
    """What all banks hold of an image, where that is the same in each, and whole; else ``None``."""
    first = held[0] if held else None
    if first is None or not first.is_whole:
        return None
    facts = (first.sha256, first.read, first.tokens)
    same = all(one is not None and one.is_whole and (one.sha256, one.read, one.tokens) == facts for one in held)
    return first if same else None
