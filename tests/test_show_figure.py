"""The figure for a paper: the right boxes on the right pixels, and no character lost in silence."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import BytesIO

import pytest
from page_readings import (
    hostile_positions,
    hostile_reading,
    image_reading,
    neighbor,
    picture,
    positions_reading,
    text_reading,
    tiles,
)
from PIL import Image, ImageColor, ImageDraw

from lensbank.schemas.results import LayerReading
from lensbank.show import fonts
from lensbank.show.figure import COLOURS, HIGHEST, IMAGE, LINE, MARGIN, chosen_patches, draw_figure
from lensbank.show.figure_chips import laid_out
from lensbank.show.fonts import Letters, cut_end, cut_start


def drawn(*readings):
    pictures = [[picture((image.width, image.height)) for image in r.images] for r in readings]
    data, notes = draw_figure(readings, pictures)
    return Image.open(BytesIO(data)).convert("RGB"), notes


def only(reading, patches):
    """As a query with --patch gives it."""
    layers = tuple(
        LayerReading(layer.layer, tuple(t for t in layer.tokens if (t.row, t.col) in patches))
        for layer in reading.layers
    )
    return replace(reading, layers=layers, search=replace(reading.search, patches=tuple(patches)))


@pytest.mark.parametrize("size", [(400, 210), (90, 300)])
def test_boxes_lie_on_the_patches_that_were_asked_for(size):
    reading = only(image_reading(size=size, layers=(4,)), [(1, 2), (2, 3)])
    figure, _ = drawn(reading)
    scale = IMAGE / size[0]
    for token, colour in zip(reading.layers[0].tokens, COLOURS, strict=False):
        box = token.box
        middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        inside = figure.getpixel([round(MARGIN + v * scale) for v in middle])
        assert inside == picture(size).getpixel([int(v) for v in middle])
        for x, y in ((box.x1, middle[1]), (middle[0], box.y1)):  # right and bottom edge
            edge = figure.getpixel((round(MARGIN + x * scale) - 3, round(MARGIN + y * scale) - 3))
            assert edge == ImageColor.getrgb(colour)
    # The red corner of the picture is where it was.
    assert figure.getpixel((MARGIN + 20, MARGIN + 20))[0] > 200


def test_without_patches_the_best_scores_with_different_words_are_chosen():
    reading = image_reading(layers=(0, 4))
    assert chosen_patches(reading) == [8, 9, 10, 11]  # scores grow along the grid
    tokens = list(reading.layers[1].tokens)
    tokens[11] = replace(tokens[11], neighbors=(neighbor("same", 0.99),))
    tokens[3] = replace(tokens[3], neighbors=(neighbor("Same", 0.9),))
    tokens[10] = replace(tokens[10], neighbors=())
    changed = replace(reading, layers=(reading.layers[0], LayerReading(4, tuple(tokens))))
    assert chosen_patches(changed) == [7, 8, 9, 11]


def test_every_kind_of_reading_can_be_drawn():
    lenses = ("latent", "logit", "embedding")
    plain, _ = drawn(image_reading(layers=(4,)))
    several, _ = drawn(image_reading(layers=(0, 4, 8), lenses=lenses))
    both, _ = drawn(image_reading(layers=(4,)), image_reading(layers=(0, 4, 8), lenses=lenses))
    assert both.height == plain.height + several.height
    drawn(image_reading(views=tiles(), size=(400, 200), lenses=("logit",)), hostile_reading())
    nothing = replace(image_reading(1, 1, layers=(4,)).layers[0].tokens[0], neighbors=())
    drawn(replace(image_reading(1, 1), layers=(LayerReading(4, (nothing,)),)))
    with pytest.raises(ValueError, match="text"):
        draw_figure([text_reading()], [None])


def test_a_number_does_not_hide_a_small_patch():
    """It stands above it, or below one of the first row."""
    reading = only(image_reading(10, 10, size=(400, 400), layers=(4,)), [(0, 5), (5, 5)])
    figure, _ = drawn(reading)
    scale = IMAGE / 400
    for token, colour, below in zip(reading.layers[0].tokens, COLOURS, (True, False), strict=False):
        left, top, bottom = (round(MARGIN + edge * scale) for edge in (token.box.x0, token.box.y0, token.box.y1))
        assert figure.getpixel((left + 12, top + 12)) == (120, 120, 120)
        assert figure.getpixel((left + 4, bottom + 4 if below else top - 30)) == ImageColor.getrgb(colour)


def test_each_of_several_images_has_its_own_boxes():
    reading = positions_reading(layers=(8,))
    chosen = [reading.layers[0].tokens[number] for number in (3, 12)]  # a patch of each image
    words = tuple(replace(token, neighbors=(neighbor(f"w{n}", 0.9),)) for n, token in enumerate(chosen))
    figure, _ = drawn(
        replace(reading, layers=(LayerReading(8, words),), search=replace(reading.search, patches=((0, 1), (2, 1))))
    )
    column = (IMAGE - MARGIN) // 2
    for token, colour, left in zip(words, COLOURS, (MARGIN, MARGIN + column + MARGIN), strict=False):
        box, scale = token.box, column / reading.images[token.image].width
        edge = round(left + box.x1 * scale) - 3, round(MARGIN + LINE + (box.y0 + box.y1) / 2 * scale)
        assert figure.getpixel(edge) == ImageColor.getrgb(colour)


def test_tokens_of_prompt_and_answer_are_chips_below():
    """With their best words at the last layer, in the order of the sequence; the answer's framed otherwise."""
    reading = positions_reading(layers=(8,))
    chips = laid_out(reading, Letters(), 10, 100, 700)
    assert [chip.text for chip in chips if chip.kind == "label"] == [
        "Prompt; dashed: special tokens",
        "Answer, the model's own",
    ]
    told = [(chip.text, chip.word) for chip in chips if chip.kind != "label"]
    assert told[:4] == [("<|im_start|>", "p0L8"), ("user", "p1L8"), ("image 1", ""), ("␣and", "p6L8")]
    assert told[-4:] == [("␣dog", "p17L8"), ("“,”", "p18L8"), ("␣犬 1/2", "p19L8"), ("犬 2/2", "p20L8")]
    boxes = [chip.box for chip in chips]
    assert all(10 <= x0 < x1 <= 710 for x0, _, x1, _ in boxes) and len({box[1] for box in boxes}) > 4
    figure, _ = drawn(reading)
    alone, _ = drawn(image_reading(layers=(4,)))
    assert figure.height > alone.height
    colours = {colour for _, colour in figure.getcolors(1 << 24)}
    assert ImageColor.getrgb("#a3225a") in colours
    with pytest.raises(ValueError, match="picture"):
        draw_figure([reading], [picture()])
    drawn(replace(hostile_positions(), layers=hostile_positions().layers[:1]))


def test_without_patches_the_chips_are_explained():
    whole = positions_reading(layers=(8,))
    said = tuple(token for token in whole.layers[0].tokens if token.kind == "answer")
    reading = replace(whole, layers=(LayerReading(8, said),), read=("answer",))
    assert chosen_patches(reading) == [0, 1, 2, 3]
    drawn(reading)


def test_long_sentences_and_words_end_inside_the_figure():
    reading = image_reading(1, 1, layers=(4,))
    long = neighbor("w" * 300, 0.5, before="before " * 60, after=" after" * 60)
    token = replace(
        reading.layers[0].tokens[0], neighbors=(long, neighbor("dog", 0.4, before="on " * 200, after=" off" * 200))
    )
    figure, _ = drawn(replace(reading, layers=(LayerReading(4, (token,)),)))
    edge = figure.crop((figure.width - MARGIN + 2, 0, figure.width, figure.height))
    assert edge.getcolors() == [(edge.width * edge.height, (255, 255, 255))]


def test_characters_that_no_font_has_are_reported(monkeypatch):
    monkeypatch.setattr(fonts, "_FALLBACKS", ())
    for cached in (fonts._font, fonts._has, fonts._first_with):
        cached.cache_clear()
    try:
        reading = image_reading(1, 1, layers=(4,))
        token = replace(reading.layers[0].tokens[0], neighbors=(neighbor("猫", 0.5),))
        _, notes = drawn(replace(reading, layers=(LayerReading(4, (token,)),)))
        assert len(notes) == 1 and "猫 (U+732B)" in notes[0]
    finally:
        for cached in (fonts._font, fonts._has, fonts._first_with):
            cached.cache_clear()
    assert drawn(image_reading())[1] == ()


def test_texts_are_cut_to_fit_and_drawn_as_wide_as_measured():
    letters = Letters()
    text = "the quick brown fox jumps over the lazy dog"
    for cut, kept in ((cut_end, text[:4]), (cut_start, text[-4:])):
        shown = cut(letters, text, 30, 200)
        assert letters.width(shown, 30) <= 200 < letters.width(text, 30)
        assert "…" in shown and kept.strip() in shown
        assert cut(letters, text, 30, 10_000) == text and cut(letters, text, 30, 1) == ""
    pen = ImageDraw.Draw(Image.new("RGB", (900, 60)))
    assert letters.draw(pen, (10, 40), text, 30, "#fff") == pytest.approx(10 + letters.width(text, 30))
    assert letters.missing == set()


def test_the_figure_as_svg_says_the_same_words_and_as_pdf_is_a_page():
    """Texts stay texts, frames and badges shapes; several figures stand below each other."""
    one = image_reading()
    data, _ = draw_figure([one, one], [picture(), picture()], "svg")
    root = ElementTree.fromstring(data)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    word = one.layers[-1].tokens[chosen_patches(one)[0]].neighbors[0].word
    assert word in texts and "1" in texts and any(text.startswith("photo.png") for text in texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}image"))) == 2
    moves = [node.get("transform") for node in root.iter("{http://www.w3.org/2000/svg}g")]
    pixels = Image.open(BytesIO(draw_figure([one, one], [picture(), picture()])[0]))
    assert moves == ["translate(0 0)", f"translate(0 {pixels.height // 2})"]
    assert root.get("width") == str(pixels.width) and {COLOURS[0], COLOURS[1]} <= {
        node.get("stroke") for node in root.iter("{http://www.w3.org/2000/svg}rect")
    }
    assert draw_figure([one], [picture()], "pdf")[0].startswith(b"%PDF")


def test_words_from_right_to_left_begin_at_their_right_end_in_the_svg():
    """There the spaces around the word stay between it and its neighbours."""
    here = neighbor("שלום", 0.9, before="הוא אמר ", after=" בגינה")
    token = replace(image_reading(1, 1, layers=(4,)).layers[0].tokens[0], neighbors=(here,))
    one = replace(image_reading(1, 1, layers=(4,)), layers=(LayerReading(4, (token,)),))
    root = ElementTree.fromstring(draw_figure([one], [picture()], "svg")[0])
    texts = [node for node in root.iter("{http://www.w3.org/2000/svg}text") if node.get("direction") == "rtl"]
    assert [node.text for node in texts] == [" בגינה", "שלום", "הוא אמר "]
    left = [float(node.get("x")) - float(node.get("textLength")) for node in texts]
    assert [round(float(node.get("x"))) for node in texts[:2]] == [round(x) for x in left[1:]]


def test_a_very_tall_image_is_made_narrower():
    one = image_reading(40, 1, size=(20, 2000), layers=(4,))
    figure = Image.open(BytesIO(draw_figure([one], [Image.new("RGB", (20, 2000), "#ff0000")])[0])).convert("RGB")
    picture_only = figure.crop((MARGIN, MARGIN, MARGIN + HIGHEST // 100, MARGIN + HIGHEST))
    (most, colour), *_ = sorted(picture_only.getcolors(1 << 16), reverse=True)
    assert figure.height < HIGHEST + 200 and colour == (255, 0, 0) and most > HIGHEST


def test_hostile_words_stay_text_in_the_svg():
    reading = hostile_positions()
    pictures = [Image.new("RGB", (image.width, image.height)) for image in reading.images]
    root = ElementTree.fromstring(draw_figure([reading], [pictures], "svg")[0])
    names = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert names <= {"svg", "g", "rect", "path", "text", "image"}
