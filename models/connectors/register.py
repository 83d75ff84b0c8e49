"""Make transformers' automatic classes know connector VLMs."""

from __future__ import annotations

from transformers import AutoConfig, AutoModelForImageTextToText

from .config import MODEL_TYPE, ConnectorConfig
from .model import ConnectorVlm


def register_connectors() -> None:
    """Harmless when repeated."""
    AutoConfig.register(MODEL_TYPE, ConnectorConfig, exist_ok=True)
    AutoModelForImageTextToText.register(ConnectorConfig, ConnectorVlm, exist_ok=True)
