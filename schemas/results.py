"""What a query returns, and its versioned JSON (documented in docs/results.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

RESULT_VERSION = 1

#: The paper's three (section 3): how they are asked for, and what they are called.
LENSES = {"latent": "LatentLens", "logit": "LogitLens", "embedding": "EmbeddingLens"}


@dataclass(frozen=True, slots=True)
class Neighbor:
    """One corpus token near a query state.

    Attributes:
        word: the full word the token belongs to.
        token: the tokenizer's string.
        token_id: its vocabulary id.
        sentence: the sentence it stood in.
        char_start: first character of the token in ``sentence``.
        char_end: one past its last character.
        position: its index in the sentence, special tokens not counted.
        is_word: whether the token completes its word.
        score: cosine similarity, -1 to 1.
        bank_layer: layer of the bank it came from.
        corpus: name of the corpus that the sentence is from.
        document: file and line it came from.
        point_id: its id in the collection.
        corpora: all corpora that hold the token in this context, ``corpus`` first.
    """

    word: str
    token: str
    token_id: int
    sentence: str
    char_start: int
    char_end: int
    position: int
    is_word: bool
    score: float
    bank_layer: int
    corpus: str
    document: str
    point_id: str
    corpora: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """What names no other corpus is of one."""
        if not self.corpora:
            object.__setattr__(self, "corpora", (self.corpus,))


@dataclass(frozen=True, slots=True)
class VocabularyToken:
    """One vocabulary entry that LogitLens or EmbeddingLens names.

    Attributes:
        word: what a person would read: the decoded token without the space around it.
        token: the tokenizer's own string.
        token_id: its vocabulary id.
        score: LogitLens: the logit; EmbeddingLens: the cosine, -1 to 1.
        probability: LogitLens: softmax over the whole vocabulary; EmbeddingLens: ``None``.
    """

    word: str
    token: str
    token_id: int
    score: float
    probability: float | None


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A rectangle in pixels of the original image; x to the right, y down, ends exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class TokenReading:
    """One token and its neighbours at one layer.

    Attributes:
        index: position in the model's input sequence, padding not counted, from 0.
        label: ``row,col`` of a visual token, or the text token's own string.
        view: 0 for the whole image; tiles and frames count up. ``None`` for text.
        row: row in the view's patch grid, from the top. ``None`` for text.
        col: column, from the left. ``None`` for text.
        box: the pixels of the original image that the patch covers. ``None`` for text.
        norm: L2 norm of the raw state.
        neighbors: LatentLens, best first; empty where it was not asked for.
        vocabulary: ``logit`` and ``embedding``, where asked for → entries, best first.
        char_start: first character of a text token in the text. ``None`` for a visual token.
        char_end: one past its last character. Tokens that share a character have the same span.
    """

    index: int
    label: str
    view: int | None
    row: int | None
    col: int | None
    box: PixelBox | None
    norm: float
    neighbors: tuple[Neighbor, ...]
    vocabulary: Mapping[str, tuple[VocabularyToken, ...]] = field(default_factory=dict)
    char_start: int | None = None
    char_end: int | None = None

    def found(self, lens: str) -> tuple[Neighbor, ...] | tuple[VocabularyToken, ...]:
        """What a lens found, best first: ``neighbors`` of ``latent``, else the lens's vocabulary entries."""
        return self.neighbors if lens == "latent" else self.vocabulary.get(lens, ())


@dataclass(frozen=True, slots=True)
class LayerReading:
    """All tokens asked about, at one layer of the model.

    Attributes:
        layer: query layer (0 = input embedding, k = output of block k).
        tokens: in sequence order.
    """

    layer: int
    tokens: tuple[TokenReading, ...]


@dataclass(frozen=True, slots=True)
class View:
    """One patch grid of an image.

    Attributes:
        index: as in :attr:`TokenReading.view`.
        kind: ``image``, ``tile`` or ``thumbnail``.
        rows: rows of the grid.
        cols: columns of the grid.
        box: the pixels of the original image that the view covers.
    """

    index: int
    kind: str
    rows: int
    cols: int
    box: PixelBox


@dataclass(frozen=True, slots=True)
class BankSearch:
    """How one bank was searched.

    Attributes:
        name: of its collection.
        layer: of the bank.
        rows: rows that meet the filters; all of them where there are none.
        exact: whether each of these was compared, because that was asked for or they are few.
        recall: of the exact neighbours of the sample that are in this bank, the share that an
            approximate search found; ``None`` where that was not measured, or none is in it.
        way: what compared: ``product`` (a matrix product over the bank's vectors), or ``engine`` (the database);
            ``None`` in readings from before there were two.
    """

    name: str
    layer: int
    rows: int
    exact: bool
    recall: float | None = None
    way: str | None = None


@dataclass(frozen=True, slots=True)
class Centring:
    """The mean that was subtracted from the states that LatentLens compared.

    Attributes:
        source: ``images``: of the images asked about together; ``folder``: of other images;
            ``text``: of the bank's text states.
        images: how many images; ``None`` for text.
        tokens: how many visual tokens of theirs; ``None`` for text.
        fingerprint: SHA-256 of the means of all layers.
    """

    source: str
    images: int | None
    tokens: int | None
    fingerprint: str

    def in_words(self) -> str:
        """For people: ``less the mean of 3 images``."""
        if self.source == "text":
            return "less the bank's text mean"
        number = f"{self.images} {'other ' if self.source == 'folder' else ''}image{'s' if self.images != 1 else ''}"
        return f"less the mean of {number}"


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How the neighbours were found.

    Attributes:
        top_k: neighbours per token.
        exact: whether it was asked for that every row is compared; ``banks`` says where it was.
        where: the filters as typed.
        distinct: ``word`` where each neighbour's word must differ, else ``None``.
        bank_layers: layers searched.
        recall: share of the exact top-k that an approximate search found on a sample; ``None``
            for exact search, and where it was not measured.
        patches: ``(row, col)`` asked for; empty where all were read.
        lenses: ``latent``, ``logit``, ``embedding``: those that were asked for, in that order.
        recall_states: states of the sample; ``None`` where ``recall`` is.
        banks: how each bank was searched, by layer.
        centring: what was subtracted before LatentLens compared; ``None`` where raw states were compared.
    """

    top_k: int
    exact: bool
    where: tuple[str, ...]
    distinct: str | None
    bank_layers: tuple[int, ...]
    recall: float | None
    patches: tuple[tuple[int, int], ...] = ()
    lenses: tuple[str, ...] = ("latent",)
    recall_states: int | None = None
    banks: tuple[BankSearch, ...] = ()
    centring: Centring | None = None

    @property
    def ways(self) -> tuple[str, ...]:
        """What compared every row, over all banks: ``product``, ``engine``, both, or neither is on record."""
        return tuple(sorted({bank.way for bank in self.banks if bank.exact and bank.way}))


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one query: an image, or a text.

    Attributes:
        kind: ``image`` or ``text``.
        source: file name of the image, or the text itself.
        sha256: of the image file's bytes, or of the text in UTF-8.
        width: of the original image in pixels (EXIF orientation applied); ``None`` for text.
        height: likewise.
        prompt: the text that the model saw around the image, image token included.
        model: identity of the model: id, revision, weights and tokenizer fingerprints, dtype.
        banks: identity of every bank searched.
        search: how the neighbours were found.
        views: the patch grids; empty for text.
        layers: the readings, by query layer.
        tool: name and version of the program.
        notes: what a reader should know, one sentence each.
    """

    kind: str
    source: str
    sha256: str
    width: int | None
    height: int | None
    prompt: str
    model: Mapping[str, Any]
    banks: tuple[Mapping[str, Any], ...]
    search: SearchSettings
    views: tuple[View, ...]
    layers: tuple[LayerReading, ...]
    tool: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON types only, with ``version`` first."""
        return {"version": RESULT_VERSION, **asdict(self)}
