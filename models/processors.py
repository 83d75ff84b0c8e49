"""Load a VLM's processor, also where torchvision is not installed.

transformers wants torchvision for every video processor, and many image models have one beside
their image processor. Only images are shown here: without torchvision the processor is built
without its video half, and the image half is transformers' own PIL version.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils.import_utils import is_torchvision_available

from models.loading_errors import translated


def load_processor(source: str, place: str, config: Any, options: dict[str, Any]) -> Any:
    """The processor that comes with a VLM.

    Args:
        source: the model as the user gave it, for messages.
        place: directory or hub id.
        config: the model's configuration.
        options: of ``from_pretrained``.

    Raises:
        ModelError: missing, broken, or in need of a package that is not installed.
    """
    factory: Any = AutoProcessor
    with translated(source, "processor"):
        known = None if is_torchvision_available() else _known_class(config)
        return (factory if known is None else images_only(known)).from_pretrained(place, **options)


def images_only(kind: Any) -> Any:
    """A processor class without its video half; the class itself where it has none.

    Args:
        kind: a subclass of transformers' ``ProcessorMixin``.
    """
    if "video_processor" not in kind.get_attributes():
        return kind

    class ImagesOnly(kind):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != "video_processor"]

        @classmethod
        def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **kwargs: Any) -> Any:
            # Some take it as a required argument.
            return super().from_args_and_dict(args, processor_dict, **{**kwargs, "video_processor": None})

    ImagesOnly.__name__ = ImagesOnly.__qualname__ = kind.__name__
    ImagesOnly.__module__ = kind.__module__
    return ImagesOnly


def _known_class(config: Any) -> Any | None:
    """The processor class that transformers has for a model, if it is one with a video half."""
    kind: Any = PROCESSOR_MAPPING.get(type(config), None)
    if kind is None or getattr(kind, "is_dummy", False):  # a dummy says itself what it lacks
        return None
    return kind if "video_processor" in kind.get_attributes() else None
