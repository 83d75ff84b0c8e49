"""The tables of the demo's result say what the measures say."""

import json
import re

from evaluation_fixtures import said

from demo import result
from demo.annotations import coco, measured_pictures
from demo.make_images import HELDOUT, HELDOUT_MORE


def test_what_is_measured_and_by_which_groups():
    pictures = measured_pictures()
    groups = [row["group"] for row in coco(pictures)["images"]]
    counts = {group: groups.count(group) for group in dict.fromkeys(groups)}
    assert list(counts.items())[:2] == [("seen styles", 120), ("unseen style", 80)]
    assert counts["photographs"] >= 50 and counts["photographs of other things"] >= 50
    assert {name.split("/")[0] for name, _ in pictures} == {HELDOUT.name, HELDOUT_MORE.name, "heldout_photos", "images"}
    assert len(measured_pictures(3)) == 12


def test_the_table(tmp_path, monkeypatch):
    data = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 40, "height": 10, "group": "seen styles"},
            {"id": 2, "file_name": "b.png", "width": 40, "height": 10, "group": "seen styles"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 10]},
            {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 20, 10]},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "car"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(data), encoding="utf-8")

    def words(latent, logit):
        """Layers 0 (no lens right), 1 and 24, of four patches."""
        nothing = ["x"] * 4
        return {
            0: {"latent": nothing, "logit": nothing},
            1: {"latent": latent, "logit": logit},
            24: {"latent": latent, "logit": nothing},
        }

    found = [
        said("a.png", words(["dog", "dogs", "x", "x"], ["dog", "x", "x", "x"])),
        said("b.png", words(["car x", "dog", "x", "x"], ["x", "x", "x", "x"])),
    ]
    (tmp_path / "words.jsonl").write_text("".join(f"{one.to_json()}\n" for one in found), encoding="utf-8")
    text = result.tables(tmp_path)
    assert "**seen styles** (2 pictures, 4 object patches)" in text
    # Two pictures leave nearly everything open: of none with a hit, the share may be up to 1 - 0.025 ** (1 / 2).
    assert "| 0 | 0.0 % (0 to 84) | 0.0 % (0 to 84) | 0.0 %" in text
    assert re.search(
        r"\| 1 \| \*\*75.0 % \(\d+ to \d+\)\*\* \| 25.0 % \(\d+ to \d+\) \| 25.0 %", text
    )  # b.png's second
    assert re.search(r"Mean of layers 1, 24: LatentLens 75.0 % \(.*\), LogitLens 12.5 % \(.*\); chance 25.0 %\.", text)
    assert re.search(r"LatentLens minus the better of the others, LogitLens: 62.5 points \(-?\d+ to \d+\)\.", text)
