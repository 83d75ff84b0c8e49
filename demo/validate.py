"""A quick look at a projector, for choosing checkpoints: `python -m demo.validate --help`.

Validation scenes are drawn here (their seed is used nowhere else): scenes of the training
styles, and of a style kept out of training and of the final test. A small bank of text states
is held in memory. For every layer pair of interest the share of object patches whose nearest
five words name the object under the patch is printed, and greedy captions are scored.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM

from demo.captions import QUESTIONS
from demo.packing import PREFIX, TAIL, patches_under
from demo.projector import apply_projector, read_projector
from demo.scenes import Scene, compose
from demo.sprites import TRAIN_STYLES, VALIDATION_STYLES, load_concepts, load_sprites
from demo.vision import features, load_vision_tower, preprocess
from lensbank.evaluate.matching import any_names
from lensbank.schemas.words import word_span

BANK_LAYERS = (1, 2, 4, 8, 12, 16, 20, 24)
QUERY_LAYERS = (1, 4, 8, 12, 16, 20, 24, 28)
SEED = 987_001
TOP_K = 5


@dataclass
class Bank:
    """Unit-length text states per layer, (rows, dim), and the word each row belongs to."""

    states: dict[int, Tensor]
    words: list[str]


def validation_scenes(icons: Path, vision: Path, seen: int, unseen: int) -> tuple[list[Scene], Tensor]:
    """Scenes of the training styles first, then of the validation style, and their features."""
    rng = np.random.default_rng(SEED)
    tower = load_vision_tower(vision)
    made = []
    for styles, count in ((TRAIN_STYLES, seen), (VALIDATION_STYLES, unseen)):
        sprites = load_sprites(icons, styles)
        made += [compose(rng, sprites) for _ in range(count)]
    table = features(tower, np.stack([preprocess(image) for image, _ in made]))
    return [scene for _, scene in made], torch.from_numpy(table).float()


@torch.inference_mode()
def build_bank(model: LlamaForCausalLM, tokenizer: Any, sentences: list[str]) -> Bank:
    """States of every token of the sentences at BANK_LAYERS, first tokens left out."""
    rows: dict[int, list[Tensor]] = {layer: [] for layer in BANK_LAYERS}
    words: list[str] = []
    for start in range(0, len(sentences), 64):
        part = sorted(sentences[start : start + 64], key=len)
        encoded = tokenizer(part, return_tensors="pt", padding=True, return_offsets_mapping=True)
        keep = encoded["attention_mask"].bool()
        keep[:, 0] = False
        hidden = model(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], output_hidden_states=True
        ).hidden_states
        for layer in BANK_LAYERS:
            rows[layer].append(torch.nn.functional.normalize(hidden[layer][keep].float(), dim=-1))
        for sentence, offsets, used in zip(part, encoded["offset_mapping"].tolist(), keep.tolist(), strict=True):
            words += [
                sentence[slice(*word_span(sentence, *offset))] for offset, use in zip(offsets, used, strict=True) if use
            ]
    return Bank({layer: torch.cat(parts) for layer, parts in rows.items()}, words)


@torch.inference_mode()
def visual_states(
    model: LlamaForCausalLM, tokenizer: Any, tokens: Tensor, layers: tuple[int, ...]
) -> dict[int, Tensor]:
    """States of visual tokens (pictures, 49, dim) behind the chat prefix, per layer."""
    prefix = model.model.embed_tokens(torch.tensor(tokenizer(PREFIX)["input_ids"]))
    embedded = torch.cat([prefix.expand(len(tokens), -1, -1), tokens.to(prefix.dtype)], 1)
    hidden = model(inputs_embeds=embedded, output_hidden_states=True).hidden_states
    return {layer: hidden[layer][:, len(prefix) :].float() for layer in layers}


def nearest_words(bank: Bank, states: Tensor) -> list[list[str]]:
    """The words of the TOP_K nearest rows over all bank layers, per state (n, dim)."""
    states = torch.nn.functional.normalize(states, dim=-1)
    best = [torch.topk(states @ rows.T, TOP_K, dim=1) for rows in bank.states.values()]
    scores, indices = torch.cat([b.values for b in best], 1), torch.cat([b.indices for b in best], 1)
    order = scores.topk(TOP_K, dim=1).indices
    return [[bank.words[i] for i in row] for row in indices.gather(1, order).tolist()]


def lens_share(words: list[list[list[str]]], scenes: list[Scene], truth: list[Scene]) -> float:
    """Share of object patches whose words name the object; `truth` may be other scenes (chance)."""
    hits = total = 0
    for found, scene, other in zip(words, scenes, truth, strict=True):
        for number, thing in enumerate(scene.objects):
            accepted = other.objects[number % len(other.objects)].concept.names
            for patch in patches_under(scene, thing):
                hits += any_names(found[patch], accepted)
                total += 1
    return hits / max(1, total)


@torch.inference_mode()
def greedy_captions(model: LlamaForCausalLM, tokenizer: Any, tokens: Tensor, question: str) -> list[str]:
    """Greedy answers to a question for visual tokens (pictures, 49, dim)."""
    embed = model.model.embed_tokens
    before = embed(torch.tensor(tokenizer(PREFIX)["input_ids"])).expand(len(tokens), -1, -1)
    after = embed(torch.tensor(tokenizer("\n" + question + TAIL)["input_ids"])).expand(len(tokens), -1, -1)
    embedded = torch.cat([before, tokens.to(before.dtype), after], 1)
    mask = torch.ones(embedded.shape[:2], dtype=torch.long)
    talker: Any = model  # its own type forbids the call that its documentation shows
    out = talker.generate(inputs_embeds=embedded, attention_mask=mask, max_new_tokens=32, do_sample=False)
    texts: list[str] = tokenizer.batch_decode(out, skip_special_tokens=True)
    return texts


def caption_recall(captions: list[str], truth: list[Scene]) -> float:
    """Share of the objects that the captions name."""
    hits = total = 0
    for text, scene in zip(captions, truth, strict=True):
        said = set(re.findall(r"[a-z]+", text.lower()))
        for thing in scene.objects:
            hits += bool(said & thing.concept.names)
            total += 1
    return hits / max(1, total)


def validate(
    model: LlamaForCausalLM, tokenizer: Any, bank: Bank, scenes: list[Scene], visual: Tensor, seen: int, question: str
) -> dict[str, Any]:
    """Every figure of one projector: lens shares per query layer, caption recall, norms."""
    groups = {"seen": slice(0, seen), "unseen": slice(seen, None)}
    states = visual_states(model, tokenizer, visual, QUERY_LAYERS)
    report: dict[str, Any] = {"lens": {}, "captions": {}}
    for layer in QUERY_LAYERS:
        flat = nearest_words(bank, states[layer].flatten(0, 1))
        words = [flat[i : i + visual.shape[1]] for i in range(0, len(flat), visual.shape[1])]
        shares = {name: lens_share(words[part], scenes[part], scenes[part]) for name, part in groups.items()}
        shares["chance"] = lens_share(words, scenes, scenes[1:] + scenes[:1])
        report["lens"][layer] = {name: round(100 * share, 1) for name, share in shares.items()}
    captions = greedy_captions(model, tokenizer, visual, question)
    for name, part in groups.items():
        report["captions"][name] = round(100 * caption_recall(captions[part], scenes[part]), 1)
    report["captions"]["shuffled"] = round(100 * caption_recall(captions, scenes[1:] + scenes[:1]), 1)
    norms = visual.norm(dim=-1)
    report["norm"] = [round(float(q), 2) for q in torch.quantile(norms.flatten(), torch.tensor([0.01, 0.5, 0.99]))]
    report["examples"] = captions[:3]
    return report


def bank_sentences() -> list[str]:
    """A few sentences of the demo corpus for every concept."""
    from demo.corpus import sentences

    wanted = {concept.word for concept in load_concepts()}
    counts: dict[str, int] = {}
    kept = []
    for sentence in sentences():
        found = set(re.findall(r"[a-z]+", sentence.lower())) & wanted
        if any(counts.get(word, 0) < 6 for word in found):
            kept.append(sentence)
            for word in found:
                counts[word] = counts.get(word, 0) + 1
    return kept


def main() -> None:
    """Validate projectors, one line of JSON each; `--follow` waits for new checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--icons", type=Path, required=True)
    parser.add_argument("--vision", type=Path, required=True)
    parser.add_argument("--language", type=Path, required=True)
    parser.add_argument("--seen", type=int, default=60)
    parser.add_argument("--unseen", type=int, default=30)
    parser.add_argument("--follow", type=Path, help="a training folder to watch instead of a list")
    parser.add_argument("--question", default=QUESTIONS[0], help="for the captions")
    parser.add_argument("projectors", type=Path, nargs="*")
    arguments = parser.parse_args()
    model = LlamaForCausalLM.from_pretrained(arguments.language, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(arguments.language)
    bank = build_bank(model, tokenizer, bank_sentences())
    scenes, table = validation_scenes(arguments.icons, arguments.vision, arguments.seen, arguments.unseen)
    done: set[Path] = set()
    while True:
        found = sorted(arguments.follow.glob("projector-*.safetensors")) if arguments.follow else arguments.projectors
        for path in [p for p in found if p not in done]:
            done.add(path)
            visual = apply_projector(read_projector(path), table)
            report = validate(model, tokenizer, bank, scenes, visual, arguments.seen, arguments.question)
            sys.stdout.write(json.dumps({"projector": path.stem, **report}) + "\n")
            sys.stdout.flush()
        if not arguments.follow:
            return
        time.sleep(10)


if __name__ == "__main__":
    main()
