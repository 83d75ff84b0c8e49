"""Votes of neighbours for labels: as counted by hand over every row."""

import csv
import json
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from test_images_finding import folder, loaded, texts, where  # noqa: F401
from test_images_index import LAYERS, contents, index

from lensbank.images.finding import open_images
from lensbank.images.labels import Entry, read_labels, things_as_labels, words_as_labels
from lensbank.images.precision import average_precision
from lensbank.images.scoring import score
from lensbank.schemas.errors import InputError, UsageError
from lensbank.show.scores_table import scores_table
from lensbank.store.opening import open_store


@pytest.fixture(scope="module")
def store(loaded, texts, folder):  # noqa: F811
    things = {"categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}], "images": [], "annotations": []}
    for number in range(12):
        name = f"{'in' if number % 2 else 'out'}/p{number:02}.png"
        things["images"].append({"id": number, "file_name": name, "width": 120, "height": 90})
        if number < 8:
            box = {"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": [0, 0, 60, 60]}
            things["annotations"].append(box)
    (folder / "coco.json").write_text(json.dumps(things))
    with open_store(str(folder / "scored"), create=True) as store:
        index(loaded, texts, folder / "photos", store, annotations=folder / "coco.json")
        yield store


@pytest.fixture
def images(store):
    with open_images(store) as images:
        yield images


def rows(store, images, layer):
    name = next(bank.name for bank in images.banks if bank.record.identity.layer == layer)
    return [payload for payload, _ in contents(store, [name])[name].values()]


def test_shares_are_votes_over_neighbours(store, images):
    scores = score(images, words_as_labels(["dog", "trees", "xylophone"]))
    for layer in LAYERS:
        for lens, field in (("latent", "word"), ("logit", "logit")):
            said = [word for payload in rows(store, images, layer) for word in payload.get(field, ())]
            counts = Counter(said)
            for label, forms in (("dog", ("dog", "dogs")), ("trees", ("trees",)), ("xylophone", ())):
                (one,) = [s for s in scores.scores if (s.layer, s.lens, s.label) == (layer, lens, label)]
                assert one.share.value == pytest.approx(sum(counts[form] for form in forms) / len(said))
                assert one.share.low <= one.share.value <= one.share.high
    assert scores.images == 12 and len(scores.by_image) == 12 * 2 * 2
    assert sum(one["dog"] for one in scores.by_image if one["lens"] == "latent") > 0


def test_shuffled_labels_get_what_any_labels_get(images):
    scores = score(images, words_as_labels(["dog", "trees"]))
    for layer in LAYERS:
        mine = [one for one in scores.scores if (one.layer, one.lens) == (layer, "latent")]
        both = sum(one.share.value for one in mine)
        assert sum(one.shuffled for one in mine) == pytest.approx(both)  # a deal gives each vote to somebody
        assert all(one.shuffled_low <= one.shuffled <= one.shuffled_high for one in mine)
    (alone,) = [s for s in score(images, words_as_labels(["dog"])).scores if (s.layer, s.lens) == (1, "latent")]
    assert alone.shuffled == pytest.approx(alone.share.value)


def test_sentences_vote_as_words_do(store, images):
    sentence = rows(store, images, 1)[0]["sentence"][0]
    (one, *_) = [s for s in score(images, (Entry("group", "sentence", sentence),)).scores if s.lens == "latent"]
    every = [each for payload in rows(store, images, 1) for each in payload["sentence"]]
    assert one.share.value == pytest.approx(every.count(sentence) / len(every))


def test_a_neighbour_has_one_vote_for_a_label(store, images):
    first = rows(store, images, 1)[0]
    word, sentence = first["word"][0], first["sentence"][0]
    entries = tuple(Entry("group", "word", form) for form in (word, word.upper(), f"{word}s"))
    entries = (*entries, Entry("group", "sentence", sentence), Entry("other", "word", word))
    group, other = (s for s in score(images, entries).scores if (s.layer, s.lens) == (1, "latent"))
    pairs = [
        pair for payload in rows(store, images, 1) for pair in zip(payload["word"], payload["sentence"], strict=True)
    ]
    mine = [said in (word, f"{word}s") for said, _ in pairs]
    assert other.share.value == pytest.approx(sum(mine) / len(pairs))
    met = [one or behind == sentence for one, (_, behind) in zip(mine, pairs, strict=True)]
    assert group.share.value == pytest.approx(sum(met) / len(pairs)) and sum(met) > sum(mine)


def test_precision_beside_chance_where_things_are_annotated(images):
    assert set(things_as_labels(images)) == {"dog", "cat"}
    scores = score(images, words_as_labels(["dog", "cat"]))
    for one in scores.scores:
        by_image = {
            r["image"]: r[one.label] for r in scores.by_image if (r["layer"], r["lens"]) == (one.layer, one.lens)
        }
        shows = {image: int(image[-6:-4]) < 8 and int(image[-6:-4]) % 2 == (one.label == "cat") for image in by_image}
        assert sum(shows.values()) == 4 and 4 / 12 < one.chance < 0.5
        order = np.array([by_image[image] for image in sorted(by_image)])
        positive = np.array([shows[image] for image in sorted(by_image)])
        assert one.precision == pytest.approx(average_precision(order, positive))
    assert len(scores.means) == 4 and all(
        m.precision.low <= m.precision.value <= m.precision.high for m in scores.means
    )


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_of_ties_is_the_mean_over_their_orders(seed):
    dice = random.Random(seed)
    scores = [dice.randrange(3) for _ in range(9)]
    positive = [dice.random() < 0.4 for _ in range(8)] + [True]
    total, tries = 0.0, 20_000
    rng = np.random.default_rng(seed)
    for _ in range(tries):
        order = np.lexsort((rng.random(9), -np.array(scores)))
        hits = np.array(positive)[order]
        total += (np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean()
    found = average_precision(np.array(scores, float), np.array(positive))
    assert found == pytest.approx(total / tries, abs=0.01)


def test_average_precision_without_ties():
    assert average_precision(np.array([3.0, 2, 1, 0]), np.array([True, False, True, False])) == pytest.approx(5 / 6)


def test_conditions_choose_the_voters(store, images):
    some = score(images, words_as_labels(["dog"]), where("group=in"))
    assert some.images == 6
    with pytest.raises(UsageError, match="No patch"):
        score(images, words_as_labels(["dog"]), where("group=nowhere"))


def test_labels_from_a_file(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_bytes("\ufefflabel,word\nindoor,sofa\nindoor,kitchen\noutdoor,sky\n".encode())
    assert [(e.label, e.value) for e in read_labels(file)] == [
        ("indoor", "sofa"),
        ("indoor", "kitchen"),
        ("outdoor", "sky"),
    ]
    file.write_bytes(b'Label, SENTENCE ,\r\ndog,"Yes, a ""dog"".",\r\n,,\r\n\r\n')
    assert [(e.label, e.kind, e.value) for e in read_labels(file)] == [("dog", "sentence", 'Yes, a "dog".')]
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "none.csv")
    file.write_text("label,word\nindoor," + "x" * 200_000 + "\n")
    for process_wide in (131_072, 1 << 24):
        before = csv.field_size_limit(process_wide)
        with pytest.raises(InputError, match=r"[Ll]ine [12]( of|:)"):
            read_labels(file)
        csv.field_size_limit(before)
    file.write_bytes("label,word\nindoor,canapé\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_labels(file)
    with pytest.raises(UsageError):
        words_as_labels(["", " "])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\nx,y\n", "columns a, b; expected label and word"),
        ("label,label,word\na,b,dog\n", "columns label, label, word"),
        ("label,word\n", "no row with a label"),
        ("", "columns none"),
        ("label,word\na,dog\n,cat\n", "Line 3 .* has no label"),
        ("word,label\ndog\n", "Line 2 .* has no label"),
        ("label,word\na,dog\nb,\n", "Line 3 .* has no word or sentence"),
        ("label,sentence\na,Yes, a dog.\n", "Line 2 .* has 3 cells, but there are 2 columns"),
        ('label,word\na,dog\n"b,cat\nc,bird\n', "not a CSV file: line 4"),
    ],
)
def test_a_file_of_which_a_row_would_be_lost_is_refused(tmp_path, text, said):
    file = tmp_path / "labels.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_labels(file)


def test_the_command(store):
    command = [sys.executable, "-m", "lensbank", "score", "--store", store.address]

    def ran(*more):
        return subprocess.run([*command, *more], capture_output=True, text=True, timeout=120)

    table = ran("photos", "--labels", "dog,cat")
    assert table.returncode == 0 and "shuffled labels" in table.stdout and "chance" in table.stdout
    assert json.loads(ran("--things", "--format", "json").stdout)["version"] == 1
    assert ran("--labels", "dog", "--format", "csv").stdout.startswith("layer,lens,label,")
    for wrong in ([], ["--labels", "dog", "--things"], ["nobody", "--labels", "dog"], ["--labels-file", "none.csv"]):
        done = ran(*wrong)
        assert done.returncode in (1, 2) and done.stderr.startswith("Error: ") and "Traceback" not in done.stderr


def test_the_table_of_a_label_that_nothing_names(images):
    scores = score(images, words_as_labels(["xylophone"]))
    assert "0.0" in scores_table(scores.to_dict()) and scores.unheard() == ("xylophone",)
    assert "12 images, 1 label." in scores_table(scores.to_dict())
