"""A model of 7 B shape with random weights on a GPU: image to states, forward passes, rows written, exact search.

    python -m benchmarks.bench_gpu --shape llava-1.5-7b
    python -m benchmarks.bench_gpu --shape qwen2.5-vl-7b
    python -m benchmarks.bench_gpu --tiny

Random weights compute as fast as trained ones. Everything else is the program's own: processor, tracing, hooks,
batches, banks (in a temporary folder, $TMPDIR), search. Forward passes alone are told as a share of the card's matrix
rate; the same with every row made durable, by the number of processes that write; exact search beside the product
alone, on the same blocks. Nothing is fetched; without a GPU it says so and measures nothing. --tiny only tries the
script, in seconds, on a CPU: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)

from benchmarks import gpu_banks
from benchmarks.gpu_banks import Batch, timed
from lensbank.models.configuration import computation
from lensbank.models.encoding import Encoder, Rows, batches, default_batch_tokens
from lensbank.models.files.processors import NoVideo, images_only
from lensbank.models.fingerprints import tokenizer_fingerprint, weights_fingerprint
from lensbank.models.layers import default_layers, find_language_model
from lensbank.models.loading import LoadedModel
from lensbank.models.machine.devices import pick_dtype
from lensbank.models.machine.memory import estimate_memory
from lensbank.models.states import visual_states
from lensbank.models.verification import verify_language_model, with_own_logits
from lensbank.models.visual_tokens import prepare_image
from lensbank.schemas.machine import cores

_SEED = 0
_TEXT = {"tiny": dict(hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4,
                      num_key_value_heads=2, vocab_size=512, max_position_embeddings=4096),
         "llava-1.5-7b": dict(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
                              num_key_value_heads=32, vocab_size=32064, max_position_embeddings=4096),
         "qwen2.5-vl-7b": dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
                               num_key_value_heads=4, vocab_size=152064, max_position_embeddings=128000)}  # fmt: skip
_TINY = dict(shape="tiny", device="cpu", dtype="float32", layers="1,3", images=2, sentences=200, size="80x60",
             writers="1,2", banks=2, rows=3000, states=20)  # fmt: skip
_IMAGE, _VIDEO, _START, _END = 4, 5, 6, 7


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=list(_TEXT), default="llava-1.5-7b")
    parser.add_argument("--device", default="cuda", help="cpu only makes sense with --shape tiny")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--layers", help="to keep, e.g. 1,8,16; default: the paper's")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--size", default="1024x768", help="of the images, in pixels")
    parser.add_argument("--writers", default="1,4,8", help="numbers of writing processes")
    parser.add_argument("--banks", type=int, default=8, help="to search")
    parser.add_argument("--rows", type=int, default=300_000, help="of each bank to search")
    parser.add_argument("--states", type=int, default=576, help="to search for")
    parser.add_argument("--tiny", action="store_true", help="try the script on a CPU")
    options = parser.parse_args(arguments)
    if options.tiny:
        vars(options).update(_TINY)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("No GPU was found: nothing was measured.", file=sys.stderr)
        return 1
    device = torch.device(options.device)
    loaded = _loaded(options.shape, device, pick_dtype(options.dtype, device))
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    depth = loaded.lm.n_layers
    layers = tuple(map(int, options.layers.split(","))) if options.layers else default_layers(depth)
    print(f"{options.shape}, random weights, {loaded.dtype_name} on {card}; torch {torch.__version__}")
    rate = _matrix_rate(device, loaded.dtype, 1024 if device.type == "cpu" else 8192)
    print(f"matrix rate measured: {rate / 1e12:.2f} TFLOP/s")
    width, height = map(int, options.size.split("x"))
    _images(loaded, layers, options.images, width, height)
    work, lengths = _sentences(loaded, options.sentences)
    forward = _forward(loaded, layers, work, lengths, rate)
    _write(loaded, layers, work, list(map(int, options.writers.split(","))), forward)
    _search(loaded, options.banks, options.rows, options.states)
    return 0


def _images(loaded: LoadedModel, layers: tuple[int, ...], count: int, width: int, height: int) -> None:
    """Milliseconds from an opened image to its visual tokens' states in the computer's memory."""
    chance = np.random.default_rng(_SEED)
    picture = Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8))
    shown = prepare_image(loaded, picture)  # and traces the processor, once
    expected = estimate_memory(loaded, shown.inputs, len(shown.tokens), layers)
    before = _allocated(loaded.device)
    visual_states(loaded, shown, layers)

    def read() -> None:
        states = visual_states(loaded, prepare_image(loaded, picture), layers)
        for state in states.values():
            state.cpu()

    whole = _timed(loaded.device, read, count)
    model = _timed(loaded.device, lambda: visual_states(loaded, shown, layers), count)
    print(
        f"image of {width} x {height} px to states: {statistics.median(whole):.1f} ms "
        f"({min(whole):.1f} to {max(whole):.1f}; {count} images), of that the model {statistics.median(model):.1f} ms; "
        f"{len(shown.tokens)} visual tokens, layers {','.join(map(str, layers))}"
    )
    print(f"memory for an image, estimated: {expected}")
    peak = _peak(loaded.device)
    if before is not None and peak is not None:
        print(f"memory for an image, measured: {peak / 2**30:.2f} GiB, of that weights {before / 2**30:.2f} GiB")
    else:
        print("memory for an image: measured on a GPU only")


def _sentences(loaded: LoadedModel, count: int) -> tuple[list[Batch], Any]:
    """Batches of random sentences, of which every fourth token is kept; and their lengths."""
    chance = np.random.default_rng(_SEED)
    lengths = np.sort(np.clip(chance.normal(16, 7, count), 4, 64).astype(np.int32))[::-1].copy()
    ids = [chance.integers(8, loaded.lm.vocab_size, int(length)).tolist() for length in lengths]
    work: list[Batch] = []
    for first, end in batches(lengths, default_batch_tokens(loaded.device)):
        chosen = [(s, t) for s in range(end - first) for t in range(0, int(lengths[first + s]), 4)]
        sentence, index = (np.array(part, dtype=np.int64) for part in zip(*chosen, strict=True))
        work.append((ids[first:end], Rows(sentence, index)))
    return work, lengths


def _forward(loaded: LoadedModel, layers: tuple[int, ...], work: Sequence[Batch], lengths: Any, rate: float) -> float:
    """Tokens encoded in a second, and the arithmetic of that as a share of the matrix rate; the seconds."""
    encoder = Encoder(loaded, layers, "float32")

    def run() -> None:
        for sentences, rows in work:
            encoder.encode(sentences, rows).fetch(str)

    run()
    seconds = statistics.median(_timed(loaded.device, run, 3)) / 1000
    tokens = int(lengths.sum())
    flops = _flops(loaded, layers, lengths)
    print(
        f"forward alone: {tokens / seconds:,.0f} tokens/s ({tokens:,} tokens in {seconds:.2f} s), "
        f"{flops / seconds / 1e12:.2f} TFLOP/s, {flops / seconds / rate:.0%} of the matrix rate"
    )
    return seconds


def _write(
    loaded: LoadedModel, layers: tuple[int, ...], work: Sequence[Batch], writers: Sequence[int], forward: float
) -> None:
    """The same with every row made durable."""
    print(f"{len(layers)} banks of width {loaded.lm.dim}, {cores()} cores:")
    for number in writers:
        rows, seconds = gpu_banks.write(loaded, layers, work, number)
        print(
            f"  {number} writing: {rows:,} rows of each layer durable in {seconds:.2f} s, "
            f"{rows / seconds:,.0f} rows/s, {seconds / forward:.2f} x the forward passes alone"
        )


def _search(loaded: LoadedModel, banks: int, rows: int, states: int) -> None:
    """Exact search of random rows of the model's width."""
    found = gpu_banks.search(loaded.device, banks, rows, loaded.lm.dim, states)
    print(
        f"exact search of {states:,} states in {banks} x {rows:,} rows of width {loaded.lm.dim}: "
        f"{found['first']:.3f} s at first, {found['then']:.3f} s then, {found['then'] / found['bare']:.2f} x the "
        f"product alone ({found['bare']:.3f} s)"
    )


def _flops(loaded: LoadedModel, layers: tuple[int, ...], lengths: Any) -> float:
    """Multiplications and additions of the blocks that run, padding not counted."""
    blocks = list(loaded.lm.blocks)[: max(layers)]
    weights = sum(p.numel() for block in blocks for p in block.parameters() if p.ndim == 2)
    attention = 4 * loaded.lm.dim * len(blocks) * float((lengths.astype(float) ** 2).sum())
    return 2.0 * weights * float(lengths.sum()) + attention


def _matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Operations per second of one large product, the best of ten."""
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    one @ other
    return 2.0 * side**3 / (min(_timed(device, lambda: one @ other, 10)) / 1000)


def _timed(device: torch.device, call: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call, after one that does not count."""
    call()
    return [1000 * timed(device, call) for _ in range(times)]


def _allocated(device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.memory_allocated(device))


def _peak(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def _loaded(shape: str, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """A model made where it will run."""
    torch.manual_seed(_SEED)
    tokenizer = _tokenizer()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model, processor = _qwen(shape, tokenizer) if shape.startswith("qwen") else _llava(shape, tokenizer)
    finally:
        torch.set_default_dtype(before)
    model = model.to(device, dtype).eval().requires_grad_(False)
    lm = find_language_model(model)
    verify_language_model(lm)
    lm = with_own_logits(lm, model)
    prints = weights_fingerprint(lm), tokenizer_fingerprint(tokenizer), computation(lm)
    return LoadedModel(model, tokenizer, processor, lm, device, dtype, shape, shape, None, *prints, is_vlm=True)


def _llava(shape: str, tokenizer: Any) -> tuple[Any, Any]:
    """A CLIP ViT-L/14 at 336 px before LLaMA."""
    tower = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                 image_size=336, patch_size=14, projection_dim=768)  # fmt: skip
    if shape == "tiny":
        tower = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=56,
                     patch_size=14, projection_dim=32)  # fmt: skip
    side = int(tower["image_size"])
    config = LlavaConfig(
        vision_config=dict(model_type="clip_vision_model", **tower),
        text_config=dict(model_type="llama", **_TEXT[shape]),
        image_token_index=_IMAGE,
    )
    make: Any = LlavaProcessor
    processor = make(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return LlavaForConditionalGeneration(config), processor


def _qwen(shape: str, tokenizer: Any) -> tuple[Any, Any]:
    """Qwen2.5-VL's own tower at any size, 2 x 2 patches merged."""
    text = {
        **_TEXT[shape],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=3584),
        image_token_id=_IMAGE, video_token_id=_VIDEO, vision_start_token_id=_START, vision_end_token_id=_END,
    )  # fmt: skip
    images = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2)
    processor = images_only(Qwen2_5_VLProcessor)(image_processor=images, tokenizer=tokenizer, video_processor=NoVideo())
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _tokenizer() -> Any:
    """Whole words, the few of the default prompt; the ids of a corpus are drawn, not made of text."""
    special = ["<s>", "<pad>", "<unk>", "</s>", "<image>", "<video>", "<|vision_start|>", "<|vision_end|>"]
    words = {word: place for place, word in enumerate([*special, "What", "is", "in", "this", "image", "?"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast
    return make(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", unk_token="<unk>", eos_token="</s>",
        extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
