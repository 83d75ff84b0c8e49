"""Images through the lenses in batches: each is on record before the next, so that a run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from ..schemas.errors import LensbankError, UnsupportedModelError
from ..schemas.progress import Progress
from .annotations import AnnotatedImage


class Named(Protocol):
    """What a line on record is about."""

    @property
    def name(self) -> str:
        """The image's name."""
        ...


Found = TypeVar("Found", bound=Named)
Shown = TypeVar("Shown")


class Lines(Protocol[Found]):
    """A file of lines that is only ever added to."""

    def read(self) -> list[Found]:
        """Every whole line."""
        ...

    def append(self, found: Sequence[Found]) -> None:
        """Write lines so that they would survive a power failure."""
        ...


def read_on(
    what: str,
    images: Sequence[AnnotatedImage],
    file: Lines[Found],
    read: Callable[[Sequence[AnnotatedImage]], Iterable[Sequence[Found]]],
    odd: dict[str, LensbankError],
    progress: Progress,
) -> list[Found]:
    """Read the images that are not on record yet.

    Args:
        what: for the progress bar, as ``reading images``.
        images: all of them.
        file: the record.
        read: reads images, batch by batch.
        odd: what ``read`` fills with images that it left out.
        progress: where to report to.

    Returns:
        In the order of ``images``, without those left out.

    Raises:
        InputError: a damaged record.
        LensbankError: the first of ``odd``, where nothing is on record: it is not the image.
    """
    done = {found.name: found for found in file.read()}
    progress.start(what, len(images), "images")
    try:
        progress.advance(len(done))
        for batch in read([image for image in images if image.name not in done]):
            file.append(batch)
            done |= {found.name: found for found in batch}
            progress.advance(len(batch))
    finally:
        progress.finish()
    if odd and not done:
        raise next(iter(odd.values()))
    return [done[image.name] for image in images if image.name in done]


def in_batches(
    images: Iterable[AnnotatedImage],
    show: Callable[[AnnotatedImage], Shown],
    full: Callable[[Sequence[Shown]], bool],
    excused: tuple[type[LensbankError], ...],
    odd: dict[str, LensbankError],
) -> Iterator[list[Shown]]:
    """Show images to the model, and hand them on together.

    Args:
        images: which.
        show: runs the model on one.
        full: whether a batch is large enough.
        excused: errors of one image, which is then left out. That a model is not supported is never one of them.
        odd: filled with the images that are left out, and why.
    """
    batch: list[Shown] = []
    for image in images:
        try:
            batch.append(show(image))
        except UnsupportedModelError:
            raise
        except excused as error:
            odd[image.name] = error
            continue
        if full(batch):
            yield batch
            batch = []
    if batch:
        yield batch
