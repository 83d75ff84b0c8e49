"""Assemble the demo model: `python -m demo.assemble --out DIR`.

An ordinary Hugging Face directory comes out, of stock classes only: a language model, a vision
tower (both from packages, see `demo.fetch`) and the projector committed here. After that nothing
knows that it is a demo.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.fetch import LANGUAGE, VISION, FetchError, cache_dir, fetch

PROJECTOR_FILE = Path(__file__).parent / "data" / "projector.safetensors"
STAMP = "assembled.json"
RECIPE = 1  # raise it when the code below makes another directory out of the same inputs


def build(
    out: Path,
    projector: Path = PROJECTOR_FILE,
    *,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Assemble the model in `out` unless the same one is there already; returns `out`.

    The directory appears whole or not at all. `cache` holds the downloads (default:
    `demo.fetch.cache_dir()`), `say` is told what happens.

    Raises:
        FetchError: a package could not be downloaded or is not the pinned one.
        FileNotFoundError: no projector at that path.
        FileExistsError: `out` holds something else.
    """
    if not projector.is_file():
        raise FileNotFoundError(f"no projector at {projector}; expected a .safetensors file written by demo.train")
    stamp = _stamp(projector)
    if _is_built(out, stamp):
        say(f"{out} is up to date")
        return out
    _refuse_strangers(out)
    cache = cache or cache_dir()
    say("fetching the language model (93 MB) and the vision tower (17 MB), unless cached")
    language, vision = fetch(LANGUAGE, cache), fetch(VISION, cache)
    say("assembling")
    partial = out.parent / f".{out.name}.{os.getpid()}.part"
    partial.mkdir(parents=True)
    try:
        _write(partial, language, vision, projector)
        (partial / STAMP).write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"built {out}")
    return out


def _stamp(projector: Path) -> dict[str, Any]:
    digest = hashlib.sha256(projector.read_bytes()).hexdigest()
    return {"recipe": RECIPE, "language": LANGUAGE.sha256, "vision": VISION.sha256, "projector": digest}


def _is_built(out: Path, stamp: dict[str, Any]) -> bool:
    try:
        return bool(json.loads((out / STAMP).read_text(encoding="utf-8")) == stamp)
    except (OSError, ValueError):
        return False


def _refuse_strangers(out: Path) -> None:
    """Only a directory that an earlier build made, or an empty one, may be replaced."""
    if out.exists() and not (out.is_dir() and ((out / STAMP).is_file() or not any(out.iterdir()))):
        raise FileExistsError(f"{out} exists and was not made by demo.assemble; choose another --out or remove it")


def _write(folder: Path, language: Path, vision: Path, projector: Path) -> None:
    """Write configuration, weights and processor of the whole model into `folder`."""
    from transformers import FastVlmConfig, FastVlmForConditionalGeneration
    from transformers.utils import logging

    quiet: Any = logging  # its progress bars and warnings say nothing that a newcomer could act on
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()

    from demo.language import IMAGE_TOKEN, load_language_model, load_tokenizer
    from demo.projector import read_projector
    from demo.vision import GRID, load_vision_tower

    text, tower = load_language_model(language), load_vision_tower(vision)
    tokenizer: Any = load_tokenizer(language)
    config = FastVlmConfig(
        text_config=text.config.to_dict(),
        vision_config=tower.config.to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=GRID * GRID,
        tie_word_embeddings=True,
    )
    model: Any = FastVlmForConditionalGeneration(config)
    model.eval()
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.multi_modal_projector.load_state_dict(read_projector(projector))
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    _processor(tokenizer).save_pretrained(folder)


def _processor(tokenizer: Any) -> Any:
    """LlavaProcessor: any picture becomes 224 x 224 pixels (its sides are not kept in proportion)."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    from demo.language import CHAT_TEMPLATE, IMAGE_TOKEN
    from demo.vision import GRID, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD

    side = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = CLIPImageProcessor(
        size=side,
        crop_size=side,
        do_center_crop=False,
        resample=3,
        image_mean=[PIXEL_MEAN / 255] * 3,
        image_std=[PIXEL_STD / 255] * 3,
    )
    factory: Any = LlavaProcessor
    return factory(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=IMAGE_SIZE // GRID,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE_TOKEN,
        chat_template=CHAT_TEMPLATE,
    )


def main() -> None:
    """Read the options, build, and turn expected failures into one line and exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parser.add_argument("--projector", type=Path, default=PROJECTOR_FILE)
    arguments = parser.parse_args()
    try:
        build(arguments.out, arguments.projector, say=lambda text: print(text, file=sys.stderr))  # noqa: T201
    except (FetchError, FileNotFoundError, FileExistsError) as error:
        sys.exit(f"demo.assemble: {error}")


if __name__ == "__main__":
    main()
