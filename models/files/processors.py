"""Load a VLM's processor for images alone.

Many image models have a video processor beside their image processor, and transformers wants
torchvision for every one of them. Only images are shown here: a stand-in takes the video processor's
place, so that such models load without torchvision, from transformers' own PIL image processors.

The tokenizer that the processor wants is the model's, which is read already: it gets a copy, which takes a third of
the time of reading it again.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import AutoProcessor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.video_processing_utils import VideoProcessorMixin

from ..connectors.config import ConnectorConfig
from ..connectors.processor import ConnectorProcessor
from .loading_errors import translated

# One processor at a time has its tokenizer handed to it: two threads would put back each other's.
_one_at_a_time = threading.RLock()


class NoVideo(VideoProcessorMixin):
    """Stands where a processor wants a video processor."""

    model_input_names = []  # noqa: RUF012 - as transformers declares it


def load_processor(source: str, place: str, config: Any, options: dict[str, Any], tokenizer: Any) -> Any:
    """The processor that comes with a VLM.

    Args:
        source: the model as the user gave it, for messages.
        place: directory or hub id.
        config: the model's configuration.
        options: of ``from_pretrained``.
        tokenizer: the model's, from the same place with the same options; some processors change their own, so it is
            copied.

    Raises:
        ModelError: missing, broken, or in need of a package that is not installed.
    """
    factory: Any = AutoProcessor
    with translated(source, "processor"):
        if isinstance(config, ConnectorConfig):
            return ConnectorProcessor(config, copy.deepcopy(tokenizer))
        known: Any = PROCESSOR_MAPPING.get(type(config), None)
        if known is not None and not getattr(known, "is_dummy", False) and "video_processor" in known.get_attributes():
            factory = images_only(known)
        with _tokenizer_at_hand(tokenizer):
            return factory.from_pretrained(place, **options)


@contextmanager
def _tokenizer_at_hand(tokenizer: Any) -> Iterator[None]:
    """Processors that are loaded meanwhile get a copy of a tokenizer, where they would read it again."""
    with _one_at_a_time:
        factory: Any = AutoTokenizer
        me = threading.get_ident()
        read, written = factory.from_pretrained, vars(factory)["from_pretrained"]

        def at_hand(place: str, *args: Any, **options: Any) -> Any:
            here = str(place) == str(tokenizer.name_or_path) and not options.get("subfolder")
            here = here and threading.get_ident() == me  # another thread's is its own affair
            return copy.deepcopy(tokenizer) if here else read(place, *args, **options)

        factory.from_pretrained = at_hand
        try:
            yield
        finally:
            factory.from_pretrained = written


def images_only(kind: Any) -> Any:
    """A processor class that takes :class:`NoVideo` for a video processor, and loads without one.

    Args:
        kind: a subclass of transformers' ``ProcessorMixin`` with a ``video_processor``.
    """

    class WithoutVideo(kind):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != "video_processor"]

    class ImagesOnly(kind):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if isinstance(argument, NoVideo):
                return NoVideo
            return super().check_argument_for_proper_class(argument_name, argument)

        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            loaded = list(WithoutVideo._get_arguments_from_pretrained(*args, **kwargs))
            loaded.insert(cls.get_attributes().index("video_processor"), NoVideo())
            return loaded

    ImagesOnly.__name__ = ImagesOnly.__qualname__ = kind.__name__
    ImagesOnly.__module__ = kind.__module__
    return ImagesOnly
