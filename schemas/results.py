"""What a query returns, and its versioned JSON (documented in docs/results.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .frames import frame
from .positions import Emitted, PositionKind, SourceImage
from .searches import SearchSettings
from .shown import Shown, save

if TYPE_CHECKING:
    from .frames import Frame

RESULT_VERSION = 3
#: Versions that can still be read: before the third, of patches or a text alone; of the first, no score has a baseline.
READABLE_VERSIONS = (1, 2, 3)

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
        typical: median cosine of the query state with a fixed sample of the bank's rows; ``None`` where there is none
            (banks of few rows, readings of version 1). Filters do not change the sample.
        reach: what one row in a hundred of that sample reaches (99th percentile).
        gap: ``score - reach``: how far it stands above chance. Near 0 the score says nothing.
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
    typical: float | None = None
    reach: float | None = None
    gap: float | None = None

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
        typical: EmbeddingLens: as of a :class:`Neighbor`, over a sample of the vocabulary; LogitLens: ``None``, since a
            probability is already told beside the whole vocabulary.
        reach: likewise.
        gap: likewise.
    """

    word: str
    token: str
    token_id: int
    score: float
    probability: float | None
    typical: float | None = None
    reach: float | None = None
    gap: float | None = None


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
        label: ``row,col`` of a visual token, or the token's own string.
        view: 0 for the whole image; tiles, frames and further images count up. ``None`` for text.
        row: row in the view's patch grid, from the top. ``None`` for text.
        col: column, from the left. ``None`` for text.
        box: the pixels of the original image that the patch covers. ``None`` for text.
        norm: L2 norm of the raw state.
        neighbors: LatentLens, best first; empty where it was not asked for.
        vocabulary: ``logit`` and ``embedding``, where asked for → entries, best first.
        char_start: first character of a text token in the text, or in :attr:`Reading.prompt` or :attr:`Reading.answer`;
            ``None`` for what stands in none of them.
        char_end: one past its last character. Tokens that share a character have the same span.
        kind: what stands at this position.
        image: number of the image that a patch belongs to, from 0. ``None`` for others.
        emitted: what the model says next at this position: known of an answer's tokens and of the prompt's last one.
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
    kind: PositionKind = "text"
    image: int | None = None
    emitted: Emitted | None = None

    def __post_init__(self) -> None:
        """What has a place in a grid is a patch, and of the first image where it names no other."""
        if self.row is not None and self.kind == "text":
            object.__setattr__(self, "kind", "image")
        if self.kind == "image" and self.image is None:
            object.__setattr__(self, "image", 0)

    def found(self, lens: str) -> tuple[Neighbor, ...] | tuple[VocabularyToken, ...]:
        """What a lens found, best first: ``neighbors`` of ``latent``, else the lens's vocabulary entries."""
        return self.neighbors if lens == "latent" else self.vocabulary.get(lens, ())

    def about(self) -> dict[str, Any]:
        """Where it stands, flat: everything but what was found."""
        box = {} if self.box is None else asdict(self.box)
        kept = ("kind", "index", "label", "image", "view", "row", "col", "norm", "char_start", "char_end")
        renamed = {"char_start": "token_start", "char_end": "token_end"}
        about = {renamed.get(name, name): getattr(self, name) for name in kept}
        about["emitted"] = None if self.emitted is None else self.emitted.word
        return {**about, **{side: box.get(side) for side in ("x0", "y0", "x1", "y1")}}


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
        image: number of that image, from 0.
    """

    index: int
    kind: str
    rows: int
    cols: int
    box: PixelBox
    image: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Reading(Shown):
    """The answer to one query: an image, several in one prompt, or a text.

    Attributes:
        kind: ``image`` or ``text``.
        source: file name of the (first) image, or the text itself.
        sha256: of the image file's bytes, or of the text in UTF-8.
        width: of the (first) original image in pixels (EXIF orientation applied); ``None`` for text.
        height: likewise.
        prompt: the text that the model saw around the images, with the image token once for each.
        model: identity of the model: id, revision, weights and tokenizer fingerprints, dtype.
        banks: identity of every bank searched.
        search: how the neighbours were found.
        views: the patch grids; empty for text.
        layers: the readings, by query layer.
        tool: name and version of the program.
        notes: what a reader should know, one sentence each.
        read: the kinds of positions that were asked for; ``text`` of a text.
        images: all images of the prompt, in its order; empty for text.
        answer: what the model said, or was made to say, less the token that ends it; ``None`` where it was not asked.
        answer_given: whether the answer was given to it; else it is its own, greedily chosen. ``None`` without one.
        picture: what the (first) image's patches are drawn on, a :class:`PIL.Image.Image`; ``None`` for texts and
            readings from files. No part of what makes two readings equal.
        pictures: likewise for each image.
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
    read: tuple[PositionKind, ...] = ()
    images: tuple[SourceImage, ...] = ()
    answer: str | None = None
    answer_given: bool | None = None
    picture: Any = field(default=None, compare=False)
    pictures: tuple[Any, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """What names no kinds and images is of the patches of its one image, or of a text."""
        if not self.read or self.kind == "text":
            object.__setattr__(self, "read", ("text",) if self.kind == "text" else ("image",))
        if not self.images and self.width and self.height:
            object.__setattr__(self, "images", (SourceImage(self.source, self.sha256, self.width, self.height),))
        if not self.pictures and self.picture is not None:
            object.__setattr__(self, "pictures", (self.picture,))

    def __repr__(self) -> str:
        """In a line: what was read, where, and what with."""
        layers = [layer.layer for layer in self.layers]
        count = len(self.layers[0].tokens) if self.layers else 0
        what = "patches" if self.read == ("image",) else "tokens" if self.kind == "text" else "positions"
        named = ", ".join(one.source for one in self.images) or self.source
        source = named if len(named) <= 60 else f"{named[:57]}..."
        lenses = ", ".join(LENSES.get(lens, lens) for lens in self.search.lenses)
        return f"<Reading of {source!r}: {count} {what} at layers {layers} with {lenses}>"

    def to_dict(self) -> dict[str, Any]:
        """JSON types only, with ``version`` first; without pictures."""
        fields = asdict(replace(self, picture=None, pictures=()))
        del fields["picture"], fields["pictures"]
        return {"version": RESULT_VERSION, **fields}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every word that every lens found, as flat records (docs/results.md): one a token, layer, lens and rank."""
        for layer in self.layers:
            for token in layer.tokens:
                source = self.images[token.image].source if token.image else self.source
                about = {"source": source, "layer": layer.layer, **token.about()}
                for lens in self.search.lenses:
                    words: Sequence[Neighbor | VocabularyToken] = token.found(lens)
                    for rank, found in enumerate(words, 1):
                        yield {**about, "lens": lens, "rank": rank, **asdict(found)}

    def to_frame(self) -> Frame:
        """:meth:`rows` as a table of pandas.

        Raises:
            UsageError: pandas is not installed.
        """
        return frame(self.rows())

    def save(self, path: str | Path) -> None:
        """Write it by the file's ending: ``.json``, ``.csv``, ``.html`` (page); ``.png``, ``.svg``, ``.pdf`` (figure).

        Raises:
            UsageError: another ending; a figure of a text or without its picture; the file cannot be written.
        """
        save(self, path)
