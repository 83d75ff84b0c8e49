"""What is judged: the sample, the controls, the pictures, and the figures made of verdicts."""

import io
from dataclasses import replace

import numpy as np
import pytest
from judging_fixtures import SIDE, make_images, prepared
from PIL import Image

from lensbank.evaluate.judging.items import CONTROLS
from lensbank.evaluate.judging.pictures import RED, Pictures, boxed, cropped, region
from lensbank.evaluate.judging.questions import plan_questions
from lensbank.evaluate.judging.summary import judged_summary
from lensbank.evaluate.sampling import ReadingOptions
from lensbank.schemas.errors import InputError
from lensbank.schemas.results import PixelBox


def test_every_lens_and_layer_is_judged_on_the_same_patches(tmp_path):
    images, found = make_images(tmp_path)
    plan = plan_questions(images, found, ReadingOptions(sample=4, spare=1), controls=0)
    assert plan.patches == 4 and len(plan.uses) == 4 * 2 * 2
    at = {}
    for use in plan.uses:
        question = plan.questions[use.question]
        assert question.words[1] == f"from{question.place}" == f"from{use.place}"
        at.setdefault((use.lens, use.layer), set()).add((question.place, question.patch))
    assert len(set(map(frozenset, at.values()))) == 1 and sorted(len(p) for p in at.values()) == [4] * 4
    assert sorted(np.bincount([place for place, _ in at["latent", 0]])) == [1, 1, 2]


def test_the_same_words_about_the_same_patch_are_one_question(tmp_path):
    images, found = make_images(tmp_path)
    plan = plan_questions(images, found, ReadingOptions(sample=4), controls=0)
    assert len(plan.questions) == 4 * 3  # LogitLens says the same at both layers
    logit = [use.question for use in plan.uses if use.lens == "logit"]
    assert len(logit) == 8 and len(set(logit)) == 4


def test_the_seed_decides(tmp_path):
    images, found = make_images(tmp_path)
    plans = [plan_questions(images, found, ReadingOptions(sample=4, seed=s), 2) for s in (0, 0, 1)]
    assert plans[0] == plans[1] and plans[0].uses != plans[2].uses
    assert list(plans[0].questions) == list(plans[1].questions)


def test_controls_bring_words_elsewhere(tmp_path):
    images, found = make_images(tmp_path)
    plan = plan_questions(images, found, ReadingOptions(sample=6, spare=1), controls=4)
    for lens in ("latent", "logit"):
        for control in CONTROLS:
            uses = [use for use in plan.uses if (use.lens, use.control) == (lens, control)]
            assert len(uses) == 4
            for use in uses:
                question = plan.questions[use.question]
                said, here = question.words, f"patch{question.patch.row * 3 + question.patch.col}"
                if control == "shuffled":
                    assert question.place != use.place and said[1] == f"from{use.place}"
                    # Images 0 and 1 are of one group, 2 is alone in its own.
                    assert use.place == 2 or question.place != 2
                elif control == "random_patches":
                    assert question.place == use.place and said[1] == f"from{use.place}" and said[2] != here
                else:
                    assert question.place == use.place and said in (("lot1",), ("lot2",))


def test_controls_that_cannot_be_had_are_named(tmp_path):
    images, found = make_images(tmp_path, count=1, grid=1)
    plan = plan_questions(images, found, ReadingOptions(sample=4, spare=1), controls=4)
    assert len(plan.lacking) == 2 and {use.control for use in plan.uses} == {None, "random_vectors"}
    assert plan.patches == 1


def test_without_words_there_is_nothing_to_ask(tmp_path):
    images, found = make_images(tmp_path, count=1)
    empty = {8: {"latent": ((), ("\u200b", " "), ("dog\u202e", "x" * 500, "dog"), *((),) * 6)}}
    said = replace(found[0], words=empty, random={8: {"latent": ()}})
    plan = plan_questions(images, [said], ReadingOptions(), controls=2)
    assert [question.words for question in plan.to_ask if question.patch.col == 2] == [("dog", "x" * 80)]
    assert len(plan.questions) == 9 + sum(use.control == "random_patches" for use in plan.uses) - _shared(plan)


def _shared(plan):
    """Controls whose words are those of the patch itself: empty lists are all alike."""
    return sum(
        1 for use in plan.uses if use.control and any(u.question == use.question for u in plan.uses if not u.control)
    )


def test_the_region_is_three_patches_each_way():
    box = PixelBox(30, 30, 60, 50)
    assert region(box, 100, 100) == PixelBox(0, 10, 90, 70)
    assert region(PixelBox(0, 0, 30, 20), 100, 100) == PixelBox(0, 0, 60, 40)
    assert region(PixelBox(70, 80, 100, 100), 100, 100) == PixelBox(40, 60, 100, 100)


@pytest.mark.parametrize("size", [(90, 60), (3000, 1500), (40, 400)])
def test_the_red_line_is_around_the_region_and_covers_none_of_it(size):
    image = Image.new("RGB", size, "white")
    third = PixelBox(size[0] / 3, size[1] / 3, size[0] * 2 / 3, size[1] * 2 / 3)
    shown = boxed(image, third)
    assert max(shown.size) == min(1024, max(size)) and image.getpixel((0, 0)) == (255, 255, 255)
    red = np.all(np.asarray(shown) == RED, axis=2)
    scale = shown.width / size[0]
    inner = red[
        round(third.y0 * scale) + 1 : round(third.y1 * scale) - 1,
        round(third.x0 * scale) + 1 : round(third.x1 * scale) - 1,
    ]
    assert red.any() and not inner.any()
    rows, cols = np.nonzero(red)
    assert abs(cols.min() - third.x0 * scale) < 7 and abs(rows.max() - third.y1 * scale) < 7
    edge = np.all(np.asarray(boxed(image, PixelBox(0, 0, *size))) == RED, axis=2)
    assert edge[0].all() and edge[:, -1].all()  # at the image's edge the line is still in sight


def test_the_crop_is_the_region_alone():
    image = Image.new("RGB", (90, 60), "white")
    image.paste("blue", (30, 20, 60, 40))
    crop = cropped(image, PixelBox(30, 20, 60, 40))
    assert min(crop.size) == 224 and crop.getcolors() == [(crop.width * crop.height, (0, 0, 255))]
    assert max(cropped(Image.new("RGB", (4000, 3000)), PixelBox(0, 0, 4000, 3000)).size) == 768
    assert max(cropped(Image.new("RGB", (900, 9)), PixelBox(0, 0, 900, 9)).size) <= 900
    assert cropped(image, PixelBox(89.8, 59.9, 90, 60)).size == (224, 224)


def test_pictures_carry_no_metadata_and_notice_a_changed_file(tmp_path):
    images, found = make_images(tmp_path, count=1)
    shown = Pictures(images, found, 10**8)
    whole, crop = shown.of(0, found[0].patches[4])
    assert whole.url.startswith("data:image/png;base64,") and Image.open(io.BytesIO(crop.data)).size == (224, 224)
    assert not Image.open(io.BytesIO(whole.data)).info
    Image.new("RGB", (3 * SIDE, 3 * SIDE)).save(images[0].path)
    with pytest.raises(InputError, match="has changed"):
        shown.of(0, found[0].patches[0])


def test_verdicts_become_shares(tmp_path):
    ready = prepared(tmp_path)
    plan, groups = ready.plan, ready.groups
    scores = {}
    for use in plan.uses:
        if use.lens == "latent":
            kind = "none" if use.control else "concrete" if use.layer == 8 else "global"
            scores[use.question] = {kind: 1.0}
    summary = judged_summary(ready.header({"kind": "x"}), groups, plan.uses, scores)
    rows = {(row["group"], row["lens"], row["layer"]): row for row in summary["results"]}
    assert set(rows) == {(g, lens, layer) for g in "ab" for lens in ("latent", "logit") for layer in (0, 8)}
    assert rows["a", "latent", 8]["shares"]["concrete"] == {"value": 1, "low": 0.158114, "high": 1}
    assert rows["a", "latent", 0]["shares"]["concrete"]["value"] == 0
    assert rows["a", "latent", 0]["shares"]["interpretable"]["value"] == 1
    logit = rows["a", "logit", 0]
    assert logit["judged"] == 0 and logit["missing"] > 0 and logit["shares"]["interpretable"] is None
    assert sum(rows[g, "latent", 8]["judged"] for g in "ab") == 4
    controls = {(row["lens"], row["control"]): row for row in summary["controls"]}
    assert controls["latent", "shuffled"]["interpretable"]["value"] == 0
    assert controls["latent", "shuffled"]["judged"] == 2 and len(controls) == 6
    means = {(row["group"], row["lens"]): row["interpretable"] for row in summary["means"]}
    assert means["a", "latent"]["value"] == 1 and means["a", "logit"] is None
    assert [lead["lead"] for lead in summary["leads"]] == [None] * 4


def test_intervals_draw_whole_images_again(tmp_path):
    """Nine patches of one image are right, nine of the other wrong: two images say nothing."""
    ready = prepared(tmp_path, controls=0, sample=18, count=2, groups=("a",))
    scores = {use.question: {"concrete" if use.place else "none": 1.0} for use in ready.plan.uses}
    row = judged_summary(ready.header({}), ready.groups, ready.plan.uses, scores)["results"][0]
    share = row["shares"]["interpretable"]
    assert row["judged"] == 18 and (share["low"], share["value"], share["high"]) == (0, 0.5, 1)
