"""A model spread over memory and disk, and quantised, beside a plain load: fingerprint and states.

    python -m benchmarks.compare_loading --model .cache/demo-model demo/data/images/scene_14.png

The first block stays in memory, everything else on disk; then 8 and 4 bit, where bitsandbytes is installed
(`make test-quantised` puts it into .cache/bitsandbytes; add that to PYTHONPATH).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from lensbank.models.loading import LoadedModel, load_model
from lensbank.models.machine.large import LargeModel, onto_disk
from lensbank.models.states import visual_states
from lensbank.models.visual_tokens import prepare_image


def main(arguments: Sequence[str] | None = None) -> int:
    """Load in every way, read the image, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args(arguments)
    image = Image.open(options.image).convert("RGB")
    plain = load_model(options.model, dtype=options.dtype, need_vision=True)
    expected = _states(plain, image)
    first = next(name for name, module in plain.model.named_modules() if module is plain.lm.blocks[0])
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "map.json")
        table.write_text(json.dumps(onto_disk(plain.model, first)), encoding="utf-8")
        ways = {"all but one block on disk": LargeModel(device_map=str(table))}
        if importlib.util.find_spec("bitsandbytes") is not None:
            ways |= {"8bit": LargeModel(load_in="8bit"), "4bit": LargeModel(load_in="4bit")}
        for name, large in ways.items():
            loaded = load_model(options.model, dtype=options.dtype, need_vision=True, large=large)
            found = _states(loaded, image)
            same = sum(torch.equal(expected[layer], found[layer]) for layer in expected)
            depth = loaded.lm.n_layers
            cosines = {
                layer: torch.cosine_similarity(expected[layer], found[layer]) for layer in (0, depth // 2, depth)
            }
            print(
                f"{name} ({loaded.dtype_name}): fingerprint {'equal' if loaded.weights == plain.weights else 'OTHER'}, "
                f"{same} of {len(expected)} layers the same bits; cosine to the plain load, lowest and median: "
                + ", ".join(f"layer {at} {c.min():.3f} {c.median():.3f}" for at, c in cosines.items())
            )
    return 0


def _states(loaded: LoadedModel, image: Image.Image) -> dict[int, torch.Tensor]:
    return visual_states(loaded, prepare_image(loaded, image), range(loaded.lm.n_layers + 1))


if __name__ == "__main__":
    raise SystemExit(main())
