"""Tables that stay in their columns whatever they show, and JSON that can be read anywhere."""

import json
import re
from dataclasses import replace

import pytest
from page_readings import positions_reading
from PIL import Image

from lensbank.schemas.results import LayerReading, Neighbor, PixelBox, Reading, TokenReading, View, VocabularyToken
from lensbank.schemas.results_json import reading_from_dict
from lensbank.schemas.searches import SearchSettings
from lensbank.show.display import BOLD, RESET, columns
from lensbank.show.ink import Ink
from lensbank.show.render import to_json, to_table

NASTY = "evil\x1b[2J\x1b]0;title\x07\u202egnp.exe\n\r\tnew\u2028line \x9b31m \u200b猫" + "x" * 60
WORDS = ["dog", "hund", "犬", "dog's", "internationalisation", "e\u0301te\u0301", "🐕", NASTY]


def neighbor(word, number=0, **changes):
    before = f"A sentence number {number} that leads to the "
    fields = dict(
        word=word,
        token=f"Ġ{word}",
        token_id=number,
        sentence=f"{before}{word} and goes on for quite some while after it.",
        char_start=len(before),
        char_end=len(before) + len(word),
        position=7,
        is_word=True,
        score=0.9 - number / 100,
        bank_layer=(2, 8, 16)[number % 3],
        corpus="lines.txt",
        document="lines.txt:1",
        point_id=f"id-{number}",
    )
    return Neighbor(**{**fields, **changes})


def image_reading(rows=7, cols=7, layers=(0, 8), words=WORDS, top_k=5, views=None, patches=()):
    views = views or (View(0, "image", rows, cols, PixelBox(0, 0, 224, 224)),)
    tokens = tuple(
        TokenReading(
            index=5 + number,
            label=f"{number // view.cols},{number % view.cols}",
            view=view.index,
            row=number // view.cols,
            col=number % view.cols,
            box=PixelBox(1.5, 2.5, 33.25, 34.0),
            norm=12.34,
            neighbors=tuple(neighbor(words[(number + n) % len(words)], n) for n in range(top_k)),
        )
        for view in views
        for number in range(view.rows * view.cols)
    )
    if patches:
        tokens = tuple(t for t in tokens if (t.row, t.col) in patches)
    return Reading(
        kind="image",
        source="photo.png",
        sha256="0" * 64,
        width=224,
        height=224,
        prompt="<image>",
        model={"id": "demo-model", "dtype": "bfloat16"},
        banks=({"name": "bank"},),
        search=SearchSettings(top_k, True, (), None, (2, 8, 16), None, patches),
        views=views,
        layers=tuple(LayerReading(layer, tokens) for layer in layers),
        tool="lensbank 0",
        notes=("Something to know.",),
    )


def text_reading(count, words=WORDS):
    tokens = tuple(
        TokenReading(n, f"Ġ{words[n % len(words)]}", None, None, None, None, 3.2, (neighbor("dog", n),))
        for n in range(count)
    )
    image = image_reading(1, 1)
    return replace(image, kind="text", source="a text", width=None, views=(), layers=(LayerReading(4, tokens),))


def with_lenses(reading, *lenses):
    """The same tokens, read by other lenses, too."""
    entries = {
        "logit": (VocabularyToken("rose", "Ġrose", 7, 11.5, 0.0345), VocabularyToken("", "Ġ", 8, 1.0, 0.001)),
        "embedding": (VocabularyToken(NASTY, NASTY, 9, 0.25, None), VocabularyToken("bed", "Ġbed", 3, 0.2, None)),
    }
    read = {lens: entries[lens] for lens in lenses if lens != "latent"}
    changes = {"vocabulary": read} if "latent" in lenses else {"vocabulary": read, "neighbors": ()}
    layers = tuple(
        replace(layer, tokens=tuple(replace(token, **changes) for token in layer.tokens)) for layer in reading.layers
    )
    return replace(reading, layers=layers, search=replace(reading.search, lenses=lenses))


READINGS = {
    "grid": image_reading(),
    "patches": image_reading(patches=((0, 0), (3, 4))),
    "few": image_reading(2, 2),
    "wide": image_reading(3, 40),
    "views": image_reading(views=tuple(View(n, "tile", 2, 3 + n, PixelBox(0, 0, 9, 9)) for n in range(5))),
    "text": text_reading(30),
    "short text": text_reading(3),
    "empty": image_reading(3, 3, top_k=0),
    "lenses": with_lenses(image_reading(), "embedding", "latent", "logit"),
    "lenses in full": with_lenses(image_reading(1, 2), "latent", "logit", "embedding"),
    "logit lens": with_lenses(image_reading(), "logit"),
    "lenses on a text": with_lenses(text_reading(12), "logit", "embedding"),
    "hostile": replace(image_reading(2, 2), source=NASTY, notes=(NASTY,), model={"id": NASTY, "dtype": NASTY}),
}


def test_each_image_of_a_prompt_is_seen_with_its_name():
    """Whoever holds the pixels: the caller (a reading from a file), or the reading itself."""
    red, blue = (Image.new("RGB", (40, 20), colour) for colour in ("#ff0000", "#0000ff"))
    plain = positions_reading()
    for reading, drawn in ((plain, [red, blue]), (replace(plain, pictures=(red, blue)), None)):
        lines = to_table([reading], 100, Ink.TRUE, [drawn]).split("\n")
        first, second = (lines.index(name) for name in ("  1: photo.png", "  2: tall.png"))
        assert "255;0;0" in lines[first + 1] and "0;0;255" not in "".join(lines[first:second])
        assert "0;0;255" in lines[second + 1]
    one = to_table([plain], 100, Ink.TRUE, [[None, blue]]).split("\n")  # the second alone is there
    assert "  2: tall.png" in one and "  1: photo.png" not in one


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.parametrize("width", [60, 61, 80, 100, 140])
@pytest.mark.parametrize("ink", list(Ink))
def test_lines_stay_in_their_columns(name, width, ink):
    picture = Image.new("RGB", (224, 224))
    for line in to_table([READINGS[name]], width, ink, [picture]).split("\n"):
        assert columns(line) <= width, line
        assert line == line.rstrip()


@pytest.mark.parametrize("name", READINGS)
def test_nothing_untrusted_reaches_the_terminal(name):
    shown = to_table([READINGS[name]])
    assert not {"\x1b", "\x07", "\r", "\t", "\x9b", "\u202e", "\u2028", "\u200b"} & set(shown)
    for ink in (Ink.STYLES, Ink.INDEXED, Ink.TRUE):
        coloured = to_table([READINGS[name]], ink=ink)
        assert "\x1b" not in re.sub("\x1b\\[([012]|38;[25];[0-9;]+48;[25];[0-9;]+)m", "", coloured)


def test_narrow_widths_are_raised_to_sixty():
    assert to_table([READINGS["grid"]], 10) == to_table([READINGS["grid"]], 60)


def test_grid_of_an_image():
    lines = to_table([image_reading(layers=(8,), words=["dog", "cat", "猫"], top_k=2)]).split("\n")
    assert lines[:4] == [
        "photo.png",
        "  224 x 224 px · 7 x 7 patches (image) · model demo-model in bfloat16",
        "  top 2 · exact · bank layers 2, 8, 16",
        "  Note: Something to know.",
    ]
    assert lines[5] == "Layer 8"
    assert lines[6].split() == [str(col) for col in range(7)]
    rows = [line.split() for line in lines[7:14]]
    assert rows[0][0::2] == ["0", *["90"] * 7]
    assert rows[0][1::2] == ["dog", "cat", "猫", "dog", "cat", "猫", "dog"]
    assert rows[1][:4] == ["1", "cat", "90", "猫"]  # row by row: the eighth patch begins the second row
    assert lines[14] == "  100 × cosine, lowest to highest:  90  90  90  90  90"
    assert lines[15] == "  most frequent of 49: cat 33, dog 33, 猫 32"
    assert lines[16] == "  from bank layers 2 (50%), 8 (50%)"
    assert len(lines) == 17


def scored(scores):
    """A grid of one row whose patches have these scores."""
    reading = image_reading(1, len(scores), layers=(8,), words=["dog"])
    tokens = tuple(
        replace(token, neighbors=(neighbor("dog", score=score),))
        for token, score in zip(reading.layers[0].tokens, scores, strict=True)
    )
    return replace(reading, layers=(LayerReading(8, tokens),))


def test_numbers_of_a_grid_and_their_legend():
    """Each quarter of the patches lies between two of the legend's five numbers; cosines may be negative."""
    lines = to_table([scored([0.5, -0.034, 0.7, 0.6, 0.8, 0.9, 1.0, 0.3, 0.2])], 140).split("\n")
    assert lines[7].split()[2::2] == ["50", "-3", "70", "60", "80", "90", "100", "30", "20"]
    assert lines[8].split() == ["100", "×", "cosine,", "lowest", "to", "highest:", "-3", "30", "60", "80", "100"]


def test_the_legend_has_the_shades_of_its_numbers():
    shown = to_table([scored([0.1 * n for n in range(9)])], 140, Ink.TRUE).split("\n")
    cells, legend = (re.findall("48;2;([0-9;]+)m *[a-z]* *([0-9-]+)", line) for line in shown[7:9])
    assert [number for _, number in legend] == ["0", "20", "40", "60", "80"]
    assert legend == cells[::2]


def test_probabilities_are_said_to_be_some():
    lines = to_table([with_lenses(image_reading(2, 5, layers=(8,)), "logit", "embedding")]).split("\n")
    logit, embedding = lines.index("  LogitLens"), lines.index("  EmbeddingLens")
    assert lines[logit + 2].split()[:3] == ["0", "rose", "3"]
    assert lines[logit + 4] == "  probability in %, lowest to highest:   3   3   3   3   3"
    assert lines[embedding + 4] == "  100 × cosine, lowest to highest:  25  25  25  25  25"


def test_columns_of_a_grid_are_aligned():
    lines = to_table([image_reading(layers=(8,), words=WORDS)]).split("\n")
    head = next(n for n, line in enumerate(lines) if line.split() == [str(col) for col in range(7)])
    starts = [lines[head].index(str(col)) for col in range(7)]
    for row, line in enumerate(lines[head + 1 : head + 8]):
        for col, start in enumerate(starts):
            before = next(n for n in range(len(line) + 1) if columns(line[:n]) >= start)
            assert columns(line[:before]) == start  # no wide character sits across the border
            assert line[before - 1] == " " and line[before] != " "
            expected = WORDS[(row * 7 + col) % len(WORDS)]
            assert line[before] in (expected[0], "é")
            assert line[before:].split()[1].isdecimal() or " " in expected


def test_wide_grid_goes_on_below():
    shown = to_table([image_reading(3, 40, layers=(8,))], 100)
    heads = [line.split() for line in shown.split("\n")]
    named = [int(number) for head in heads if all(part.isdigit() for part in head) for number in head]
    assert named == list(range(40))


def test_patches_without_a_token_are_blank_and_without_neighbours_a_dot():
    reading = image_reading(3, 4, layers=(8,), words=["dog"])
    tokens = reading.layers[0].tokens[4:]  # the first row sees only padding
    tokens = (replace(tokens[0], neighbors=()), *tokens[1:])
    # Nine tokens or more are shown as a grid.
    views = (replace(reading.views[0], rows=4),)
    extra = tuple(replace(token, row=3) for token in tokens[:4])
    lines = to_table([replace(reading, views=views, layers=(LayerReading(8, (*tokens, *extra)),))]).split("\n")
    rows = {line.split()[0]: line.split()[1:] for line in lines[6:] if line.split() and line.split()[0] in "0123"}
    assert rows["0"] == []
    assert rows["1"] == ["·", *["dog", "90"] * 3]


@pytest.mark.parametrize("reading", [image_reading(patches=((3, 4), (6, 6))), image_reading(1, 8)])
def test_few_tokens_are_shown_in_full(reading):
    shown = to_table([reading])
    for token in reading.layers[0].tokens:
        assert f"  patch {token.row},{token.col} · x 2-33, y 2-34 px · norm 12.3" in shown
    assert shown.count("[hund]") >= 2
    line = next(line for line in shown.split("\n") if "[hund]" in line)
    score, layer = line.split()[1:3]
    assert line.startswith("    hund") and 0.8 < float(score) < 1 and layer in ("L2", "L8", "L16")


def test_more_than_eight_chosen_patches_are_still_shown_in_full():
    patches = tuple((row, col) for row in range(2) for col in range(6))
    assert to_table([image_reading(patches=patches)]).count("  patch ") == 24  # at two layers


def test_word_is_marked_whole_and_bold_in_colour():
    """A token may be a piece; the reader sees the word."""
    sentence = "One giraffe drinks."
    piece = neighbor("giraffe", sentence=sentence, char_start=7, char_end=11)
    reading = image_reading(1, 1, layers=(8,))
    token = replace(reading.layers[0].tokens[0], neighbors=(piece,))
    reading = replace(reading, layers=(LayerReading(8, (token,)),))
    assert "One [giraffe] drinks." in to_table([reading])
    assert f"One {BOLD}giraffe{RESET}" in to_table([reading], ink=Ink.STYLES)


def test_text_is_shown_token_by_token():
    shown = to_table([text_reading(9, words=["dog", "cat"])])
    assert [line.split()[0] for line in shown.split("\n") if line.startswith("  ␣")] == ["␣dog", "␣cat"] * 4 + ["␣dog"]
    assert "dog 0.88" in shown and "most frequent of 9: dog 9" in shown
    assert "  token 2 ␣dog · norm 3.2" in to_table([text_reading(3, words=["dog", "cat"])])


def test_header_names_how_it_was_searched():
    search = SearchSettings(3, False, ("word!=the", "position>=3"), "word", (1, 2), 0.9876, recall_states=32)
    shown = to_table([replace(image_reading(2, 2), search=search)])
    assert "top 3 · approximate, recall@3 0.988 on 32 states · bank layers 1, 2" in shown
    unknown = to_table([replace(image_reading(2, 2), search=replace(search, recall=None, recall_states=None))])
    assert "top 3 · approximate, recall not measured · bank layers 1, 2" in unknown
    assert "distinct word" in shown and "where word!=the and position>=3" in " ".join(shown.split())


def test_each_lens_has_its_grid():
    lines = to_table([with_lenses(image_reading(2, 5, layers=(8,), words=["dog"]), "latent", "logit")]).split("\n")
    assert "lenses latent, logit" in lines[2]
    latent, logit = lines.index("  LatentLens"), lines.index("  LogitLens")
    assert lines[latent + 2].split()[1::2] == ["dog"] * 5 and lines[logit + 2].split()[1::2] == ["rose"] * 5
    assert "from bank layers" in lines[logit - 1] and "  most frequent of 10: rose 10, ␣ 10" in lines
    (lonely,) = [to_table([with_lenses(image_reading(2, 5, layers=(8,)), "logit")])]
    assert "LogitLens" not in lonely and "lenses logit" in lonely and "bank layers" not in lonely


def test_each_lens_has_its_line_below_a_token():
    shown = to_table([with_lenses(image_reading(1, 1, layers=(8,)), "latent", "logit", "embedding")])
    assert "    LogitLens: rose 3.5%, ␣ 0.1%" in shown
    assert "bed 0.20" in shown and "EmbeddingLens: " in shown and "[hund]" in shown
    assert "LogitLens: no entries" in to_table(
        [replace(READINGS["few"], search=replace(READINGS["few"].search, lenses=("logit",)))]
    )


def test_entries_that_look_alike_are_told_apart_by_their_tokens():
    """A space before a word makes it another entry, and is trimmed from what is shown and compared."""
    named = [VocabularyToken(word, token, n, 9.0 - n, 0.5) for n, (word, token) in enumerate(
        [("rose", "Ġrose"), ("rose", "rose"), ("tulip", "Ġtulip")])]  # fmt: skip
    reading = text_reading(1)
    layers = tuple(
        replace(layer, tokens=tuple(replace(t, vocabulary={"logit": tuple(named)}) for t in layer.tokens))
        for layer in reading.layers
    )
    search = replace(reading.search, lenses=("logit",))
    shown = to_table([replace(reading, layers=layers, search=search)], 100)
    [line] = {line.strip() for line in shown.splitlines() if "LogitLens:" in line}
    assert re.match(r"LogitLens: rose \[Ġrose\] \S+, rose \S+, tulip \S+$", line)


def test_nothing_found_is_said():
    assert "  no neighbours" in to_table([READINGS["empty"]])
    assert "    no neighbours" in to_table([image_reading(1, 2, top_k=0)])


def test_several_readings_follow_each_other():
    lines = to_table([READINGS["few"], replace(READINGS["few"], source="second.png")]).split("\n")
    at = lines.index("second.png")
    assert lines[at - 1] == "" and "photo.png" in lines[:at]


@pytest.mark.parametrize("name", READINGS)
def test_json_round_trip(name):
    text = to_json([READINGS[name]])
    assert "\n" not in text
    assert reading_from_dict(json.loads(text)) == READINGS[name]
    assert not {"\x1b", "\x9b", "\u202e", "\u2028"} & set(text)


def test_json_of_several():
    data = json.loads(to_json([READINGS["few"], READINGS["text"]]))
    assert list(data) == ["version", "readings"] and data["version"] == 3
    assert [reading_from_dict(one) for one in data["readings"]] == [READINGS["few"], READINGS["text"]]
    assert json.loads(to_json([READINGS["few"]]))["version"] == 3


def test_json_keeps_letters_and_survives_lone_surrogates():
    text = to_json([replace(READINGS["few"], source="猫\ud800.png")])
    assert "猫\\ud800.png" in text
    text.encode("utf-8")


def test_json_refuses_what_json_cannot_say():
    search = replace(READINGS["few"].search, recall=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json([replace(READINGS["few"], search=search)])


def test_scores_are_told_beside_what_chance_reaches():
    near = neighbor("the", score=0.974, typical=0.5, reach=0.968, gap=0.006)
    car = neighbor("car", score=0.879, typical=0.6, reach=0.731, gap=0.148)
    entry = VocabularyToken("bed", "Ġbed", 3, 0.2, None, 0.1, 0.15, 0.05)
    plain = with_lenses(image_reading(1, 2), "latent", "embedding")
    tokens = [replace(t, neighbors=(n,), vocabulary={"embedding": (entry,)}) for t, n in zip(
        plain.layers[0].tokens, (near, car), strict=True
    )]  # fmt: skip
    few = to_table([replace(plain, layers=(replace(plain.layers[0], tokens=tuple(tokens)),))], 100)
    assert re.search(r"the +0\.974 \+0\.006  L", few) and re.search(r"car +0\.879 \+0\.148  L", few)
    assert "EmbeddingLens: bed 0.20 +0.05" in few and "how far a cosine is above the level" in " ".join(few.split())
    many = replace(plain, layers=(replace(plain.layers[0], tokens=tuple(tokens * 5)),))
    assert "  furthest above chance: car +0.15 at 0,1, the +0.01 at 0,0\n" in to_table([many], 100)
    # A reading from before knows of none, and nothing is made up.
    assert "above" not in to_table([image_reading(3, 4)], 100)
