"""The configuration of a connector VLM: everything but the weights, in one ``config.json``."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig

MODEL_TYPE = "lensbank_connector"


class ConnectorConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """A language model, a vision encoder, and how images get from one to the other.

    Attributes:
        text_config: of the language model, which keeps its own vocabulary.
        vision_config: of the vision encoder.
        image_token_id: id of the patch token, to whose embedding features are added. Ids from the language
            model's own number of embeddings on are rows of the additional embedding.
        image_start_token_id: in front of an image.
        image_end_token_id: after it.
        image_column_token_id: after every row of patches; ``None`` where rows are not marked.
        first_token_id: what every sequence begins with.
        additional_embeddings: rows of the additional embedding.
        connector_hidden_size: width of the connector inside.
        vision_layers: ``hidden_states`` of the encoder that are concatenated, in this order.
        padding_embedding: whether patches of padding get trained vectors added before the connector.
        image_size: side of the square picture that the encoder sees.
        resizing: ``letterbox``, ``stretch-bilinear`` or ``stretch-bicubic``; see `models.connectors.pixels`.
        image_mean: subtracted from pixels of 0 to 1.
        image_std: that they are then divided by.
        source: where the parts came from, and what was changed on the way.
    """

    model_type = MODEL_TYPE
    sub_configs = {"text_config": AutoConfig, "vision_config": AutoConfig}  # noqa: RUF012 - as transformers has it

    def __init__(
        self,
        text_config: Any = None,
        vision_config: Any = None,
        image_token_id: int = 0,
        image_start_token_id: int = 0,
        image_end_token_id: int = 0,
        image_column_token_id: int | None = None,
        first_token_id: int = 0,
        additional_embeddings: int = 128,
        connector_hidden_size: int = 1,
        vision_layers: tuple[int, ...] = (),
        padding_embedding: bool = False,
        image_size: int = 336,
        resizing: str = "letterbox",
        image_mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        image_std: tuple[float, ...] = (1.0, 1.0, 1.0),
        source: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the parts' configurations as objects or as what ``config.json`` holds."""
        self.text_config = _part(text_config, "llama")
        self.vision_config = _part(vision_config, "clip_vision_model")
        self.image_token_id = image_token_id
        self.image_start_token_id = image_start_token_id
        self.image_end_token_id = image_end_token_id
        self.image_column_token_id = image_column_token_id
        self.first_token_id = first_token_id
        self.additional_embeddings = additional_embeddings
        self.connector_hidden_size = connector_hidden_size
        self.vision_layers = list(vision_layers)
        self.padding_embedding = padding_embedding
        self.image_size = image_size
        self.resizing = resizing
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.source = dict(source or {})
        super().__init__(**kwargs)

    @property
    def grid(self) -> int:
        """Patches along each side of the picture."""
        return int(self.image_size) // int(self.vision_config.patch_size)


def _part(config: Any, kind: str) -> Any:
    """The configuration of a part; transformers makes the outer one without arguments to find its defaults."""
    if isinstance(config, PreTrainedConfig):
        return config
    settings = dict(config or {})
    return AutoConfig.for_model(settings.pop("model_type", kind), **settings)
