"""Banks as the official library and the paper's scripts save them, written with torch alone.

The layout was compared with latentlens 0.1.0's own files: test_ingest_importing.py does it again where that package
is installed.
"""

import json

import numpy as np
import torch

FLOAT8_LIMIT = 448.0


def states_of(loaded, sentences, layers, positions_from=0):
    """Every token's raw state: layer → ``[rows, dim]``, and the metadata of the rows, as those programs count."""
    states, metadata = {layer: [] for layer in layers}, []
    for sentence in sentences:
        encoded = loaded.tokenizer(sentence, return_tensors="pt")
        with torch.inference_mode():
            hidden = loaded.model(**encoded, output_hidden_states=True).hidden_states
        ids = encoded["input_ids"][0].tolist()
        for position in range(positions_from, len(ids)):
            text = loaded.tokenizer.decode([ids[position]])
            metadata.append({"token_str": text, "token_id": ids[position], "caption": sentence, "position": position})
            for layer in layers:
                states[layer].append(hidden[layer][0, position])
    return {layer: torch.stack(rows) for layer, rows in states.items()}, metadata


def save_bank(folder, states, metadata, extra=None, about=None):
    """One folder per layer."""
    folder.mkdir(parents=True, exist_ok=True)
    for layer, rows in states.items():
        (folder / f"layer_{layer}").mkdir(exist_ok=True)
        torch.save(
            {"embeddings": rows, "metadata": metadata, **(extra or {})}, folder / f"layer_{layer}/embeddings_cache.pt"
        )
    (folder / "metadata.json").write_text(json.dumps(about or {"layers": list(states), "hidden_dim": 32}))
    return folder


def save_library_bank(folder, loaded, sentences, layers=(1, 2)):
    """As ``ContextualIndex.save``: positions 0 and 1 left out, repeated prefixes once, normalised, float16."""
    states, metadata = states_of(loaded, sentences, layers, positions_from=2)
    seen, kept = set(), []
    for row, entry in enumerate(metadata):
        prefix = tuple(loaded.tokenizer(entry["caption"])["input_ids"][: entry["position"] + 1])
        if prefix not in seen:
            seen.add(prefix)
            kept.append(row)
    unit = {layer: torch.nn.functional.normalize(rows[kept].float(), dim=-1).half() for layer, rows in states.items()}
    return save_bank(folder, unit, [metadata[row] for row in kept])


def save_paper_bank(folder, loaded, sentences, layers=(1, 2), scale=1.0):
    """As the paper's scripts: every position, raw states through float8, cut off, as float32 again."""
    states, metadata = states_of(loaded, sentences, layers)
    order = np.argsort([entry["token_str"] for entry in metadata], kind="stable").tolist()  # by token, then as read
    metadata = [metadata[row] for row in order]
    coarse = {
        layer: (scale * rows[order]).clamp(-FLOAT8_LIMIT, FLOAT8_LIMIT).to(torch.float8_e4m3fn).float()
        for layer, rows in states.items()
    }
    indices = {}
    for row, entry in enumerate(metadata):
        indices.setdefault(entry["token_str"], []).append(row)
    about = {
        "model_name": "some/model",
        "embedding_dtype": "float8",
        "max_captions_per_token": 20,
        "layers_extracted": [1],
    }
    return save_bank(folder, coarse, metadata, {"token_to_indices": indices}, about)
