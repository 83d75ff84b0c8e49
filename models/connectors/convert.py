"""A published connector, a language model and a vision encoder into one model directory.

The language model's files are copied one after the other, so that memory holds one of them at a time; the
encoder (a billion bytes or so) and the connector are held whole. The directory appears under its name when it is
complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer

from ...schemas.errors import ModelError
from ...schemas.files import partial_folder, usual_mode, write_whole
from ..files.loading_errors import quiet, translated
from ..files.tensor_files import tensors_of
from ..fingerprints import tokenizer_fingerprint
from .checkpoint import ENCODERS, Recipe, read_recipe, read_tensors
from .config import ConnectorConfig
from .found import find_checkpoint, require_new
from .model import ConnectorVlm
from .parts import fetch_part, load_encoder, text_config, weight_files
from .register import register_connectors

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        folder: the model directory.
        grid: patches along each side of an image.
        vision_layers: ``hidden_states`` of the encoder that the connector reads.
        parameters: of the whole model.
        bytes: of its weights.
        notes: what was changed or is worth knowing, one sentence each.
    """

    folder: Path
    grid: int
    vision_layers: tuple[int, ...]
    parameters: int
    bytes: int
    notes: tuple[str, ...]


def convert(
    checkpoint: Path,
    llm: str,
    vision: str,
    out: Path,
    notify: Callable[[str], None] = lambda _: None,
    *,
    trust_remote_code: bool = False,
) -> Conversion:
    """Write a model directory that :func:`models.loading.load_model` reads.

    Args:
        checkpoint: folder of the published connector.
        llm: directory or hub id of the language model it was trained with.
        vision: directory or hub id of the vision encoder.
        out: the directory to make.
        notify: told what is being done.
        trust_remote_code: run code that comes with the language model, where transformers has no class of its own.

    Raises:
        UsageError: ``out`` exists.
        InputError: a file cannot be read safely.
        ModelError: the parts do not fit each other, or cannot be had.
    """
    require_new(out)
    register_connectors()
    weights, config_file = find_checkpoint(checkpoint)
    recipe, connector = read_recipe(config_file), read_tensors(weights)
    notify(f"Reading {llm}")
    language = fetch_part(llm, trust_remote_code)
    with quiet():
        text, notes = text_config(language, recipe, trust_remote_code)
        with translated(llm, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(language.folder, trust_remote_code=trust_remote_code)
        notify(f"Reading {vision}")
        encoder = load_encoder(vision, recipe)
        config = _config(recipe, text, encoder.config, tokenizer, notes)
        config.source = {"connector": checkpoint.name, "llm": llm, "vision": vision, "notes": notes}
        with torch.device("meta"):
            expected = {name: tensor.shape for name, tensor in ConnectorVlm(config).state_dict().items()}
    partial = partial_folder(out)
    try:
        writer = _Writer(partial, expected)
        writer.write({**connector, **{f"vision_tower.{n}": t for n, t in encoder.state_dict().items()}})
        for file in weight_files(language):
            notify(f"Copying {file.name}")
            writer.write(dict(_language_tensors(file, expected)))
        writer.finish(tied=bool(text.tie_word_embeddings))
        config.architectures = [ConnectorVlm.__name__]
        config.save_pretrained(partial)
        _save_tokenizer(tokenizer, partial, trust_remote_code)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.chmod(usual_mode(folder=True))
    partial.rename(out)
    return Conversion(out, config.grid, recipe.vision_layers, writer.parameters, writer.bytes, tuple(notes))


def _config(recipe: Recipe, text: Any, vision: Any, tokenizer: Any, notes: list[str]) -> ConnectorConfig:
    first = len(tokenizer) if recipe.first_special_id is None else recipe.first_special_id
    rows = text.vocab_size
    if not len(tokenizer) <= first <= rows + recipe.additional_embeddings - 4:
        raise ModelError(
            f"The connector's special tokens begin at id {first}, but the tokenizer has {len(tokenizer)} tokens and "
            f"the model {rows} embeddings and {recipe.additional_embeddings} more.",
            "Give the language model that the connector was trained with.",
        )
    if first < rows:
        notes.append(
            f"The start, end, patch and column tokens use rows {first} to {first + 3} of the language model's own "
            "embedding, which were not trained with the connector."
        )
    mean, deviation = ENCODERS[recipe.encoder][1]
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise ModelError("The language model's tokenizer has neither a BOS nor an end-of-text token.")
    return ConnectorConfig(
        text_config=text,
        vision_config=vision,
        image_start_token_id=first,
        image_end_token_id=first + 1,
        image_token_id=first + 2,
        image_column_token_id=first + 3 if recipe.column_tokens else None,
        first_token_id=start,
        additional_embeddings=recipe.additional_embeddings,
        connector_hidden_size=recipe.connector_hidden_size,
        vision_layers=recipe.vision_layers,
        padding_embedding=recipe.padding_embedding,
        image_size=recipe.image_size,
        resizing=recipe.resizing,
        image_mean=mean,
        image_std=deviation,
    )


def _language_tensors(file: Path, expected: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """One file's tensors under our names; buffers that older checkpoints hold are left out."""
    for name, tensor in tensors_of(file):
        ours = f"language_model.{name}"
        if ours in expected or not name.endswith((".rotary_emb.inv_freq", ".attn.bias", ".masked_bias")):
            yield ours, tensor


def _save_tokenizer(tokenizer: Any, folder: Path, trust_remote_code: bool) -> None:
    """Unchanged, less its chat template: the connectors were trained on plain text after the image."""
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    again = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if tokenizer_fingerprint(again) != tokenizer_fingerprint(tokenizer):
        raise ModelError(
            "The language model's tokenizer changes when it is saved, so banks of the model would not fit.",
            "Update transformers.",
        )


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of which no two share their memory, as pickled tied weights do and safetensors refuse."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        own = tensor.detach().contiguous()
        apart[name] = own.clone() if place in seen else own
        seen.add(place)
    return apart


class _Writer:
    """Safetensors files, each tensor checked against the model that will read it."""

    def __init__(self, folder: Path, expected: Mapping[str, torch.Size]) -> None:
        self._folder, self._expected = folder, expected
        self._where: dict[str, str] = {}
        self._files = 0
        self.parameters = self.bytes = 0

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if name not in self._expected or tensor.shape != self._expected[name] or not tensor.is_floating_point():
                shape = tuple(self._expected[name]) if name in self._expected else "no such tensor"
                raise ModelError(
                    f"The tensor {name} is {tensor.dtype} {tuple(tensor.shape)}; expected {shape}.",
                    "Give the language model, encoder and configuration that the connector was trained with.",
                )
            if name in self._where:
                raise ModelError(f"The tensor {name} is there twice.", "Fetch the model again.")
        if not tensors:
            return
        self._files += 1
        file = f"model-{self._files:05d}.safetensors"
        save_file(_apart(tensors), self._folder / file, {"format": "pt"})
        self._where.update(dict.fromkeys(tensors, file))
        self.parameters += sum(tensor.numel() for tensor in tensors.values())
        self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    def finish(self, tied: bool) -> None:
        """Write the index.

        Raises:
            ModelError: a tensor of the model is in none of the files.
        """
        missing = sorted(set(self._expected) - set(self._where))
        if tied and missing == ["language_model.lm_head.weight"]:
            missing = []
        if missing:
            raise ModelError(
                f"{len(missing)} tensors of the model are not in any of the files; the first is {missing[0]}.",
                "Fetch the language model again; a file may be missing.",
            )
        index = {"metadata": {"total_size": self.bytes}, "weight_map": self._where}
        write_whole(self._folder / INDEX, json.dumps(index, indent=1))
