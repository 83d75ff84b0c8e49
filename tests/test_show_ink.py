"""Colours and small pictures on a terminal."""

import re
from dataclasses import replace

import pytest
from page_readings import image_reading, picture, text_reading
from PIL import Image

from lensbank.show.display import columns
from lensbank.show.ink import PREVIEW, Ink, preview_lines, ramp, shaded
from lensbank.show.render import to_table


def backgrounds(line):
    return [tuple(map(int, found)) for found in re.findall(r"48;2;(\d+);(\d+);(\d+)m", line)]


def test_patches_are_shaded_by_their_score():
    shown = to_table([image_reading(3, 4, layers=(4,))], 100, Ink.TRUE).split("\n")
    rows = [backgrounds(line) for line in shown if backgrounds(line) and "lowest" not in line]
    assert [len(row) for row in rows] == [4, 4, 4]
    cells = [cell for row in rows for cell in row]  # scores grow along the grid
    assert cells[0] == ramp(0) and cells[-1] == ramp(1)
    assert [green for _, green, _ in cells] == sorted(green for _, green, _ in cells)
    assert len(set(cells)) == 12


def test_the_table_says_the_same_with_and_without_colours():
    reading = image_reading(3, 4)
    plain = to_table([reading], 100)
    for ink in (Ink.INDEXED, Ink.TRUE):
        bare = re.sub("\x1b\\[[0-9;]*m", "", to_table([reading], 100, ink))
        assert [line.rstrip() for line in bare.split("\n")] == plain.split("\n")


def test_a_preview_has_the_pictures_colours_where_they_are():
    lines = preview_lines(picture((400, 200), corner=(200, 100)), 80, Ink.TRUE)
    assert len(lines) == 11 and {columns(line) for line in lines} == {44}
    red, grey = "48;2;230;20;20m", "48;2;120;120;120m"
    assert red in lines[0] and grey in lines[0] and lines[0].index(red) < lines[0].index(grey)
    assert red not in lines[-1] and grey in lines[-1]


def test_patches_asked_for_are_framed():
    bare = preview_lines(Image.new("RGB", (100, 100), "red"), 80, Ink.TRUE)
    framed = preview_lines(Image.new("RGB", (100, 100), "red"), 80, Ink.TRUE, [(0.5, 0.2, 0.7, 0.4)])
    changed = [n for n, (before, after) in enumerate(zip(bare, framed, strict=True)) if before != after]
    assert changed == [3, 4, 5]  # 30 rows of pixels in 15 lines: rows 6 to 11
    for line in changed:
        assert "255;255;255" in framed[line] and ";0;0;0" in framed[line]
    # 30 columns: what stands before column 15 and after column 20 is red.
    pixels = re.findall("48;2;([0-9;]+)m(▀+)", framed[4])
    drawn = [colour for colour, run in pixels for _ in run]
    assert len(drawn) == 30 and {*drawn[:15], *drawn[21:]} == {"255;0;0"}
    assert drawn[15] != "255;0;0" != drawn[20] and drawn[16:20] == ["255;0;0"] * 4


def test_frames_of_tiny_and_of_overhanging_boxes_stay_inside():
    for box in ((0.0, 0.0, 0.001, 0.001), (0.99, 0.99, 1.2, 1.4), (-0.5, -0.1, 2.0, 2.0)):
        assert len(preview_lines(Image.new("RGB", (100, 100), "red"), 80, Ink.TRUE, [box])) == 15


def test_a_table_frames_the_patches_that_were_asked_for():
    plain = Image.new("RGB", (300, 200), "red")
    every = image_reading(2, 3, layers=(4,))
    asked = replace(every, search=replace(every.search, patches=((1, 2),)))
    token = [t for t in every.layers[0].tokens if (t.row, t.col) == (1, 2)]
    asked = replace(asked, layers=(replace(every.layers[0], tokens=tuple(token)),))
    for reading, framed in ((every, False), (asked, True)):
        picture_lines = [line for line in to_table([reading], 100, Ink.TRUE, [plain]).split("\n") if "▀" in line]
        assert ("255;255;255" in "".join(picture_lines)) == framed


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (3, 3), (1600, 1600)])
@pytest.mark.parametrize("ink", [Ink.INDEXED, Ink.TRUE])
def test_previews_stay_small_and_end_their_colours(size, ink):
    lines = preview_lines(Image.new("RGB", size, "blue"), 60, ink)
    assert 1 <= len(lines) <= PREVIEW[1] + 1
    for line in lines:
        assert 1 <= columns(line) <= PREVIEW[0] and line.endswith("\x1b[0m")


def test_without_colours_there_is_no_picture_and_no_shade():
    for ink in (Ink.PLAIN, Ink.STYLES):
        assert preview_lines(picture(), 80, ink) == [] and shaded("dog", 0.5, ink) == "dog"
    shown = to_table([image_reading(), text_reading()], 100, Ink.TRUE, [picture(), None])
    assert "▀" in shown.split("photo.png")[1] and "▀" not in shown.split("a brown dog")[1]
