"""Readings and pictures made up for tests of the page: every cell's words say where it is."""

import base64
import json
import re
import zlib
from dataclasses import replace

from PIL import Image

from lensbank.schemas.positions import Emitted, SourceImage
from lensbank.schemas.results import LayerReading, Neighbor, PixelBox, Reading, TokenReading, View, VocabularyToken
from lensbank.schemas.searches import SearchSettings

LAYERS = (0, 4, 8)
BANKS = (2, 8, 16)


def neighbor(word, score, bank_layer=8, before="we saw the ", after=" in the garden", **changes):
    fields = dict(
        word=word,
        token=f"Ġ{word}",
        token_id=7,
        sentence=f"{before}{word}{after}",
        char_start=len(before),
        char_end=len(before) + len(word),
        position=3,
        is_word=True,
        score=score,
        bank_layer=bank_layer,
        corpus="lines.txt",
        document="lines.txt:12",
        point_id="id",
    )
    return Neighbor(**{**fields, **changes})


def entry(word, score, probability=None):
    return VocabularyToken(word, f"Ġ{word}", 9, score, probability)


def place_words(view, row, col, layer, top_k):
    """`r1c2L8`, then the same with a letter for each rank."""
    name = f"r{row}c{col}L{layer}" if view == 0 else f"v{view}r{row}c{col}L{layer}"
    return [name, *(f"{name}{chr(97 + rank)}" for rank in range(1, top_k))]


def cell(index, view, row, col, box, layer, lenses, top_k):
    words = place_words(view, row, col, layer, top_k)
    vocabulary = {}
    if "logit" in lenses:
        vocabulary["logit"] = tuple(entry(f"l{w}", 9.0 - n, 0.5 / (n + 1)) for n, w in enumerate(words))
    if "embedding" in lenses:
        vocabulary["embedding"] = tuple(entry(f"e{w}", 0.3 - n / 100) for n, w in enumerate(words))
    score = 0.3 + 0.05 * row + 0.01 * col
    neighbors = tuple(neighbor(w, score - n / 100, BANKS[(row + n) % 3]) for n, w in enumerate(words))
    return TokenReading(
        index, f"{row},{col}", view, row, col, box, 12.5, neighbors if "latent" in lenses else (), vocabulary
    )


def grid(view, layer, lenses, top_k, start=5):
    box = view.box
    wide, high = (box.x1 - box.x0) / view.cols, (box.y1 - box.y0) / view.rows
    return tuple(
        cell(
            start + row * view.cols + col,
            view.index,
            row,
            col,
            PixelBox(box.x0 + col * wide, box.y0 + row * high, box.x0 + (col + 1) * wide, box.y0 + (row + 1) * high),
            layer,
            lenses,
            top_k,
        )
        for row in range(view.rows)
        for col in range(view.cols)
    )


def image_reading(rows=3, cols=4, size=(400, 210), layers=LAYERS, lenses=("latent",), top_k=3, views=None, **changes):
    views = views or (View(0, "image", rows, cols, PixelBox(0, 0, *size)),)
    readings = []
    for layer in layers:
        tokens = ()
        for view in views:
            tokens += grid(view, layer, lenses, top_k, start=5 + len(tokens))
        readings.append(LayerReading(layer, tokens))
    fields = dict(
        kind="image",
        source="photo.png",
        sha256="ab" * 32,
        width=size[0],
        height=size[1],
        prompt="<|im_start|>user\n<image>What?<|im_end|>",
        model={"id": "org/model", "revision": "f00", "weights": "w" * 64, "dtype": "float32", "n_layers": 8, "dim": 32},
        banks=tuple({"name": f"model-L{n:02}", "layer": n, "rows": 1000, "corpora": []} for n in BANKS),
        search=SearchSettings(top_k, True, (), None, BANKS, None, lenses=lenses),
        views=views,
        layers=tuple(readings),
        tool="lensbank 0",
        notes=(),
    )
    return Reading(**{**fields, **changes})


def text_reading(text="a brown dog", layers=LAYERS, lenses=("latent",)):
    """One token a word."""
    tokens, start = [], 0
    for index, word in enumerate(text.split(" ")):
        tokens.append((index, f"Ġ{word}", start, start + len(word)))
        start += len(word) + 1
    readings = tuple(
        LayerReading(
            layer,
            tuple(
                TokenReading(i, label, None, None, None, None, 3.0, (neighbor(f"{text[a:b]}L{layer}", 0.5),), {}, a, b)
                for i, label, a, b in tokens
            ),
        )
        for layer in layers
    )
    plain = image_reading(1, 1, lenses=lenses)
    none = dict(width=None, height=None, views=(), images=(), read=("text",))
    return replace(plain, kind="text", source=text, prompt=text, layers=readings, **none)


PROMPT = "<|im_start|>user\n<image> and <image> What differs?<|im_end|>\n<|im_start|>assistant\n"
ANSWER = "A dog, 犬."


def _chip(index, kind, label, start, end, layer, lenses, emitted=None):
    """A token of a prompt or an answer; its words say its position."""
    name = f"p{index}L{layer}"
    near = (neighbor(name, 0.9), neighbor(f"{name}b", 0.8)) if "latent" in lenses else ()
    said = [] if emitted is None else [VocabularyToken(emitted.word, emitted.token, emitted.token_id, 9.0, 0.6)]
    # At layer 8 what is said next is the first word of LogitLens, at layer 4 the second, at layer 0 none of them.
    logit = {8: [*said, entry(f"l{name}", 3.0, 0.1)], 4: [entry(f"l{name}", 3.0, 0.7), *said]}.get(layer, [])
    vocabulary = {lens: tuple(logit) if lens == "logit" else (entry(f"e{name}", 0.3),) for lens in lenses[1:]}
    return TokenReading(index, label, None, None, None, None, 6.5, near, vocabulary, start, end, kind, None, emitted)


def positions_reading(images=2, sizes=((400, 210), (120, 180)), lenses=("latent", "logit"), layers=LAYERS, **changes):
    """Two images in a prompt, a 2 x 2 and a 3 x 2 grid, its tokens, special ones, and an answer."""
    views = (View(0, "image", 2, 2, PixelBox(0, 0, *sizes[0]), 0), View(1, "image", 3, 2, PixelBox(0, 0, *sizes[1]), 1))
    views = views[:images]
    plain = image_reading(size=sizes[0], views=views, layers=layers, lenses=lenses)
    at = PROMPT.index
    read = []
    for layer in plain.layers:
        patches = [replace(token, image=token.view) for token in layer.tokens]
        first = [replace(token, index=2 + n) for n, token in enumerate(patches[:4])]
        second = [replace(token, index=7 + n) for n, token in enumerate(patches[4:])]
        chips = lambda *rows: [_chip(*row, layer=layer.layer, lenses=lenses) for row in rows]  # noqa: B023, E731
        said = [Emitted("A", "A", 30), Emitted("dog", "Ġdog", 31), Emitted(",", ",", 32), Emitted("犬", "犬", 33)]
        tail = [
            _chip(13, "prompt", "ĠWhat", at("What"), at("What") + 4, layer.layer, lenses),
            _chip(14, "special", "<|im_end|>", at("<|im_end|>"), at("<|im_end|>") + 10, layer.layer, lenses),
            _chip(15, "prompt", "Ċ", len(PROMPT) - 1, len(PROMPT), layer.layer, lenses, said[0]),
        ]
        answer = [("A", 0, 1), ("Ġdog", 2, 5), (",", 5, 6), ("Ġå", 7, 8), ("±", 7, 8)]
        told = [*said[1:], None, None]
        tail += [_chip(16 + n, "answer", *token, layer.layer, lenses, told[n]) for n, token in enumerate(answer)]
        head = chips((0, "special", "<|im_start|>", 0, 12), (1, "prompt", "user", 12, 16))
        between = chips((6, "prompt", "Ġand", at(" and"), at(" and") + 4))
        read.append(LayerReading(layer.layer, (*head, *first, *between, *second, *tail)))
    names = ("photo.png", "tall.png")[:images]
    sources = tuple(SourceImage(name, "ab" * 32, *size) for name, size in zip(names, sizes, strict=False))
    fields = dict(
        layers=tuple(read),
        images=sources,
        prompt=PROMPT,
        answer=ANSWER,
        answer_given=False,
        read=("image", "prompt", "answer", "special"),
    )
    return replace(plain, **{**fields, **changes})


def tiles(size=(400, 200)):
    """Two tiles side by side, and a thumbnail of the whole."""
    half = size[0] / 2
    return (
        View(0, "thumbnail", 2, 2, PixelBox(0, 0, *size)),
        View(1, "tile", 2, 2, PixelBox(0, 0, half, size[1])),
        View(2, "tile", 2, 2, PixelBox(half, 0, *size)),
    )


def picture(size=(400, 210), corner=(100, 70)):
    """Grey, with a red rectangle in the upper left corner."""
    image = Image.new("RGB", size, (120, 120, 120))
    image.paste((230, 20, 20), (0, 0, *corner))
    return image


HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<!--<script>",
    "]]>&amp;&lt;",
    "\"quotes\" 'and' `ticks` ${window.hacked=1}",
    "{{data}} {{style}}",
    "javascript:window.hacked=1",
    "\u202egnp.exe\u2028\u2029\x00\x1b[2J\x0b\x1f\uffff",
    "\ud800 half",
)


def hostile_reading():
    """Every text that a corpus, a model or a file name could bring is an attack."""
    plain = image_reading(3, 3, lenses=("latent", "logit", "embedding"))

    def spoilt(token, n):
        text = HOSTILE[n % len(HOSTILE)]
        near = neighbor(text, 0.5, 8, before=f"{text} ", after=f" {text}", token=text, corpus=text, document=text)
        words = {lens: (VocabularyToken(text, text, 1, 0.5, 0.5),) for lens in ("logit", "embedding")}
        return replace(token, neighbors=(near,), vocabulary=words)

    layers = tuple(
        LayerReading(layer.layer, tuple(spoilt(token, n) for n, token in enumerate(layer.tokens)))
        for layer in plain.layers
    )
    everything = " ".join(HOSTILE)
    return replace(
        plain,
        images=(SourceImage(everything, everything, plain.width, plain.height),),
        source=everything,
        prompt=everything,
        model={"id": everything, "dtype": everything, "revision": everything, "libraries": {everything: everything}},
        banks=({"name": everything, "layer": 8, "corpora": [{"name": everything, "sentences": 1}]},),
        notes=(everything,),
        tool=everything,
        layers=layers,
        search=replace(plain.search, where=(everything,)),
    )


def hostile_positions():
    """The same for a prompt, an answer, their tokens, what is said next, and names of images."""
    plain = positions_reading(lenses=("latent", "logit"))
    everything = " ".join(HOSTILE)

    def spoilt(token, n):
        text = HOSTILE[n % len(HOSTILE)]
        if token.row is not None:
            return token
        near = neighbor(text, 0.5, 8, before=f"{text} ", after=f" {text}", token=text)
        words = {"logit": (VocabularyToken(text, text, n, 0.5, 0.5),)}
        start = sum(len(each) + 1 for each in HOSTILE[: n % len(HOSTILE)])
        place = dict(char_start=start, char_end=start + len(text))
        return replace(token, label=text, neighbors=(near,), vocabulary=words, emitted=Emitted(text, text, n), **place)

    layers = tuple(
        LayerReading(layer.layer, tuple(spoilt(token, n) for n, token in enumerate(layer.tokens)))
        for layer in plain.layers
    )
    images = tuple(replace(image, source=f"{n} {everything}") for n, image in enumerate(plain.images))
    return replace(plain, layers=layers, images=images, prompt=everything, answer=everything)


def data_of(page):
    """What a page's script unpacks."""
    (text,) = re.findall(r'<script type="text/plain" id="data">([A-Za-z0-9+/=]*)</script>', page)
    return json.loads(zlib.decompress(base64.b64decode(text)))
