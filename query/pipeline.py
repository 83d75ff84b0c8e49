"""From an image or a text to its reading: states, then what every lens sees in them, then everything on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..banks.of_model import choose_banks, model_source
from ..models.layers import asked_layers, default_layers
from ..models.loading import LoadedModel
from ..schemas.errors import UsageError
from ..schemas.progress import Progress, Silent
from ..schemas.results import Reading
from ..store.bank import Bank
from ..store.store import Store
from .asked import Asked
from .asked_lenses import AskedLenses
from .asking import ask_image, ask_images, ask_text
from .assembling import assembled, search_settings, shared_out
from .centring import Centre, Source, text_centre, visual_centre
from .filtering import split_conditions
from .given import given_states
from .lenses import LensAnswer
from .open_banks import OpenBanks, layer_zero_notes
from .options import QueryOptions

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from .given import GivenImage

    Floats = NDArray[np.floating[Any]]

# Images whose states are held and searched together.
_IMAGES_AT_ONCE = 8

__all__ = ["QueryOptions", "QuerySession", "choose_banks", "model_source"]


class QuerySession:
    """A model, its lenses and its open banks, ready for any number of images and texts."""

    def __init__(
        self, store: Store | None, loaded: LoadedModel, options: QueryOptions, progress: Progress | None = None
    ) -> None:
        """Open the banks and check everything that needs no forward pass.

        Args:
            store: where the banks are; may be ``None`` where LatentLens is not asked for.
            loaded: the model.
            options: what is asked.
            progress: where to report to.

        Raises:
            LayerError: a query layer the model lacks, or a bank layer the store lacks.
            FilterError: a condition the database cannot express, or that no lens asked for can meet.
            BankNotFoundError, BankMismatchError, BankIncompleteError: see :func:`choose_banks`.
            StoreLockedError: a bank is being written.
            StoreError: a bank cannot be read.
        """
        self._loaded = loaded
        self._options = options
        self._progress = progress or Silent()
        self._opened = OpenBanks()
        self._centre: Centre | None = None
        if (asked := options.layers) is not None:
            self._layers = asked_layers(asked, loaded.lm.n_layers)
        on_words, notes = split_conditions(options.where, options.lenses)
        self._notes = [*loaded.notes, *notes]
        with ExitStack() as undo:
            undo.callback(self.close)
            if "latent" in options.lenses:
                self._opened = OpenBanks.of(store, loaded, options)
                self._notes += self._opened.notes
                for line in self._opened.warnings:
                    self._progress.note(line)
            if asked is not None:
                self._notes += layer_zero_notes(self._layers, self._opened.layers)
            else:
                self._layers = tuple(sorted({0, *(self._opened.layers or default_layers(loaded.lm.n_layers))}))
            self._lenses = AskedLenses(loaded, self._opened, options, on_words, self._progress)
            undo.pop_all()

    def image(self, image: GivenImage) -> Reading:
        """Read an image's visual tokens.

        Args:
            image: an image file, ``-`` for standard input, or what :func:`query.given.opened` takes.

        Raises:
            ImageError: see :func:`query.images.open_image`.
            ModelError: a text-only model, or one whose visual tokens cannot be located.
            UsageError: a patch outside of the grid; a prompt the model cannot take.
            StateError: a hidden state is NaN, infinite or zero.
            StoreError: the database failed.
        """
        return self.images([image])[0]

    def images(self, images: Sequence[GivenImage]) -> list[Reading]:
        """Read several images; each is shown to the model once, and the lenses read a few of them at once.

        Raises:
            LensbankError: as :meth:`image`.
        """
        centre = self._centre
        if self._options.centre and centre is None:
            centre = self._visual_centre(images, "images")
        if many := len(images) > 1:  # one bar for all of them
            self._progress.start("reading", len(images), "images")
        readings: list[Reading] = []
        try:
            for start in range(0, len(images), _IMAGES_AT_ONCE):
                asked = []
                for number, image in enumerate(images[start : start + _IMAGES_AT_ONCE], start):
                    told = None if number else self._progress.remark
                    asked.append(ask_image(self._loaded, image, self._layers, self._options, told))
                readings += self._read(asked, centre, silent=many)
                if many:
                    self._progress.advance(len(asked))
        finally:
            if many:
                self._progress.finish()
        return readings

    def together(self, images: Sequence[GivenImage]) -> Reading:
        """Read several images in one prompt.

        Raises:
            UsageError: no image; or a centred session: its mean is of images that are seen alone.
            LensbankError: as :meth:`image`; the model's family cannot be shown several in one prompt.
        """
        if self._options.centre:
            raise UsageError("The mean of --centre is of images seen alone.", "Leave out --centre, or --together.")
        asked = ask_images(self._loaded, images, self._layers, self._options, self._progress.remark)
        return self._read([asked])[0]

    def centre_on(self, on: Centre | Sequence[GivenImage], source: Source = "images") -> Centre:
        """Of a centred session: from now on subtract the mean of these images' visual states.

        Without it, the mean is that of the images of each call.

        Args:
            on: images, each of which is shown to the model once; or what an earlier call returned.
            source: ``folder`` where these are not the images that will be asked about; for the record.

        Raises:
            UsageError: the session is not centred; too few visual tokens.
            LensbankError: as :meth:`image`.
        """
        self._centre = on if isinstance(on, Centre) else self._visual_centre(on, source)
        return self._centre

    def _visual_centre(self, images: Sequence[GivenImage], source: Source) -> Centre:
        options = self._options
        if not options.centre:
            raise UsageError(
                "Centring was set, but the query compares raw states, from which nothing is subtracted.",
                "Add --centre.",
            )
        return visual_centre(
            self._loaded, images, self._layers, options.prompt, options.max_pixels, source, self._progress
        )

    def text(self, text: str) -> Reading:
        """Read a text's tokens, special tokens left out.

        Raises:
            UsageError: no token, too long for the model, not UTF-8; or a patch or prompt was given.
            StateError: a hidden state is NaN, infinite or zero.
            StoreError: the database failed.
        """
        layers, centre = self.text_layers_and_centre()
        return self._read([ask_text(self._loaded, text, layers, self._options)], centre)[0]

    def text_layers_and_centre(self) -> tuple[tuple[int, ...], Centre | None]:
        """The layers at which texts are read, and, in a centred session, what is subtracted: the banks' own means."""
        if not self._options.centre:
            return self._layers, None
        centre = text_centre(self._opened.banks)
        if self._options.layers is not None:
            return self._layers, centre
        return tuple(layer for layer in self._layers if layer in centre.means), centre

    def layer_by_layer(
        self, asked: Asked, layers: Sequence[int] | None = None, centre: Centre | None = None
    ) -> Iterator[Reading]:
        """Read what has been shown to the model one layer at a time, for who shows layers as they are ready.

        Args:
            asked: from :func:`query.asking.ask_image` or ``ask_text``, with states of the session's layers.
            layers: the order; ascending by default.
            centre: of a centred session: from :meth:`centre_on` or :meth:`text_layers_and_centre`.

        Returns:
            Readings of one layer each; but for the share that a recall check found, they agree with :meth:`image`.

        Raises:
            UsageError: a centred session, and no mean.
            StoreError: the database failed.
        """
        for layer in sorted(asked.states) if layers is None else layers:
            yield from self._read([replace(asked, states={layer: asked.states[layer]})], centre, silent=True)

    def vectors(
        self, states: Mapping[int, Floats], centred: Mapping[int, Floats] | None = None, silent: bool = False
    ) -> dict[str, LensAnswer]:
        """What each lens sees in given states.

        Args:
            states: query layer → ``[n, dim]`` raw hidden states, float32. The layer is a label:
                every lens reads a state alike, whichever layer it came from.
            centred: for LatentLens in a centred session: the same states less their mean
                (:meth:`query.centring.Centre.subtracted_from`).
            silent: show no progress of its own, as a part of longer work.

        Returns:
            Lens name → its answer, in the order that the lenses were asked for.

        Raises:
            UsageError: centred states for raw banks, or none for centred ones; or what are no states of this model.
            StateError: a state, or a logit of it, is NaN, infinite or zero.
            StoreError: the database failed.
        """
        dim = self._loaded.lm.dim
        less = None if centred is None else given_states(centred, dim)
        return self._lenses.read(given_states(states, dim), less, silent)

    def _read(self, asked: Sequence[Asked], centre: Centre | None = None, silent: bool = False) -> list[Reading]:
        import numpy as np

        if not asked:
            return []
        stacked = {layer: np.concatenate([one.states[layer] for one in asked]) for layer in asked[0].states}
        answers = self._lenses.read(stacked, None if centre is None else centre.subtracted_from(stacked), silent)
        recall = answers["latent"].recall if "latent" in answers else None
        notes = (*self._notes, *(() if centre is None else centre.notes()))
        readings = []
        for one, found in shared_out(asked, answers):
            settings = search_settings(self._options, one, self._opened, recall, centre)
            readings.append(assembled(one, found, self._loaded.provenance(), self._opened.facts, settings, notes))
        return readings

    @property
    def loaded(self) -> LoadedModel:
        """The model."""
        return self._loaded

    @property
    def options(self) -> QueryOptions:
        """What is asked."""
        return self._options

    @property
    def layers(self) -> tuple[int, ...]:
        """The query layers, sorted."""
        return self._layers

    @property
    def centre(self) -> Centre | None:
        """What :meth:`centre_on` was given; ``None`` where nothing was."""
        return self._centre

    @property
    def banks(self) -> tuple[Bank, ...]:
        """The open banks; none without LatentLens."""
        return self._opened.banks

    @property
    def bank_facts(self) -> tuple[Mapping[str, Any], ...]:
        """What a reader needs to know about each bank, as in :attr:`schemas.results.Reading.banks`."""
        return self._opened.facts

    @property
    def ways(self) -> tuple[str, ...]:
        """What compares every row, over all banks; as :attr:`schemas.results.SearchSettings.ways`."""
        return self._opened.ways

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about banks and filters, one sentence each."""
        return tuple(self._notes)

    def close(self) -> None:
        """Let go of the banks; harmless when repeated."""
        self._opened.close()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()
