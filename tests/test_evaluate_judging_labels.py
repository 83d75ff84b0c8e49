"""Lists for people: blind, harmless in a spreadsheet and a browser, and read back whatever was done to them."""

import csv
import json
from collections import Counter
from dataclasses import replace

import pytest
from browser_fixtures import watched_page
from judging_fixtures import Silent, prepared
from PIL import Image

from lensbank.evaluate.judging.export import export
from lensbank.evaluate.judging.key import KEY_FILE, Key
from lensbank.evaluate.judging.labelled import summarise_labels
from lensbank.evaluate.judging.labels import read_labels
from lensbank.evaluate.judging.page import labelling_page
from lensbank.evaluate.judging.run import export_for_people
from lensbank.evaluate.report import to_markdown, to_table
from lensbank.schemas.errors import InputError, UsageError

COLUMNS = "item picture crop image view row col box words label".split()


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, ready):
    out = tmp_path_factory.mktemp("out")
    export_for_people(ready, out, Silent())
    return out


def rows_of(out):
    with (out / "labels" / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(path, rows, label):
    """A list as a spreadsheet saves it; `label` gives each row's label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["item", "label"])
        writer.writeheader()
        writer.writerows({"item": row["item"], "label": label(row)} for row in rows)
    return path


def test_the_lists_hold_everything_but_what_labellers_must_not_know(exported, ready):
    rows = rows_of(exported)
    assert list(rows[0]) == COLUMNS and len(rows) == len(ready.plan.to_ask)
    assert [row["item"] for row in rows] == [f"{n:04}" for n in range(1, len(rows) + 1)]
    assert {row["label"] for row in rows} == {""}
    lines = [json.loads(line) for line in (exported / "labels" / "labels.jsonl").read_text().splitlines()]
    assert [line["item"] for line in lines] == [row["item"] for row in rows] and list(lines[0]) == COLUMNS
    for row, line in zip(rows, lines, strict=True):
        assert row["words"] == ", ".join(line["words"]) and len(line["box"]) == 4
        with Image.open(exported / "labels" / line["picture"]) as picture:
            assert picture.format == "JPEG" and picture.size == (90, 90)
        with Image.open(exported / "labels" / line["crop"]) as crop:
            assert min(crop.size) == 224
    assert {path.name for path in exported.iterdir()} == {"labels", KEY_FILE}
    for path in (exported / "labels").glob("labels.*"):
        text = path.read_text()
        assert not any(word in text for word in ("shuffled", "random_", "LatentLens", "lens")), path


def test_the_order_is_by_lot_and_the_key_undoes_it(exported, ready):
    key = Key.read(exported)
    questions = [ready.plan.questions[key.items[row["item"]]] for row in rows_of(exported)]
    assert [", ".join(q.words) for q in questions] == [row["words"] for row in rows_of(exported)]
    order = list(ready.plan.questions)
    places = [order.index(q.id) for q in questions]
    assert places != sorted(places) and sorted(places) == list(range(len(order)))
    assert key.uses == ready.plan.uses and key.groups == ("a", "a", "b")
    lenses = [u.lens for q in questions for u in ready.plan.uses if u.question == q.id][:12]
    assert len(set(lenses[:6])) > 1 and len(set(lenses[6:])) > 1


def test_exporting_again_changes_nothing_and_never_writes_over_labels(exported, ready, tmp_path):
    before = {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    export_for_people(ready, exported, Silent())
    assert {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()} == before
    export_for_people(ready, tmp_path, Silent())
    filled = tmp_path / "labels" / "labels.csv"
    filled.write_text(filled.read_text().replace('""', '"none"', 1))
    with pytest.raises(UsageError, match="labels may have been filled in"):
        export_for_people(ready, tmp_path, Silent())
    assert '"none"' in filled.read_text()


def hostile_plan(ready, words):
    """Every question with these words."""
    return replace(ready.plan, questions={k: replace(q, words=words) for k, q in ready.plan.questions.items()})


@pytest.mark.parametrize("start", ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "＝1"])
def test_no_cell_is_a_formula(ready, tmp_path, start):
    images = [replace(image, name=f"{start}.png") for image in ready.done.images]
    export(tmp_path, images, hostile_plan(ready, (start, '"quoted", and', "x")), ready.pictures(True), 0, {}, Silent())
    for row in rows_of(tmp_path):
        for name in ("words", "image"):
            assert row[name].startswith("'" + start[0])
        assert row["words"] == f'\'{start}, "quoted", and, x'
    lines = (tmp_path / "labels" / "labels.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["words"][0] == start  # data stay as they are


@pytest.mark.browser
def test_the_page_labels(browser, ready, tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    images, plan = ready.done.images, hostile_plan(ready, (evil, "<!--", "dog"))
    export(tmp_path, images, plan, ready.pictures(True), 0, {}, Silent())
    with watched_page(browser, accept_downloads=True) as page:
        page.goto((tmp_path / "labels" / "label.html").as_uri())
        assert page.locator("#words li").all_inner_texts() == [evil, "<!--", "dog"]
        page.wait_for_function("document.getElementById('whole').naturalWidth == 90")
        page.keyboard.press("1")
        page.get_by_role("button", name="none").click()
        page.keyboard.press("ArrowLeft")
        assert page.get_by_role("button", name="none").get_attribute("aria-pressed") == "true"
        page.reload()
        assert "Item 3 of" in page.locator("#where").inner_text()  # goes on where it was left
        page.fill("#name", "Anna 1")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save").click()
        saved.value.save_as(tmp_path / saved.value.suggested_filename)
    found = read_labels(tmp_path / "labels-Anna-1.csv", [row["item"] for row in rows_of(tmp_path)])
    assert found.verdicts == {"0001": "concrete", "0002": "none"} and found.missing == len(ready.plan.to_ask) - 2


def test_the_page_has_a_place_for_its_items():
    row = {"item": "0001", "picture": "p", "crop": "c", "words": ["</script>"], "label": ""}
    page = labelling_page([row])
    assert "/*items*/" not in page and page.count("</script>") == 2 and '"0001"' in page


@pytest.mark.parametrize(
    "data",
    [
        b"item,words,label\r\n0001,x,concrete\r\n0002,y,none\r\n",
        "\ufeffitem;label\r\n1;CONCRETE\r\n2; n \r\n".encode(),  # a spreadsheet of another country
        'item\tlabel\n"0001"\tc\n"0002"\tNone\n'.encode("utf-16"),
        "Item,Label,note\n0001,concrete,caf\u00e9\n0002,none,\n\n,,\n".encode("cp1252"),
        b'{"item": "0001", "label": "concrete"}\n{"item": "0002", "label": "none"}\n{"item": "0003", "label": null}\n',
        b"label,item\nconcrete,'0001\nnone,0002\n,0003\n",
    ],
)
def test_lists_are_read_whatever_saved_them(tmp_path, data):
    path = tmp_path / "anna.csv"
    path.write_bytes(data)
    found = read_labels(path, ["0001", "0002", "0003"])
    assert found.verdicts == {"0001": "concrete", "0002": "none"} and found.rater == "anna" and found.missing == 1
    assert found.notes == ("anna.csv: 1 of 3 items have no valid label.",)


def test_labels_that_do_not_count_are_counted_and_said(tmp_path):
    path = tmp_path / "ben.csv"
    path.write_text("item,label\n0001,concrete\n0001,none\n0002,yes\n0003,\x1b[2Jmaybe\n0004,a\n0004,a\n9999,none\n")
    found = read_labels(path, ["0001", "0002", "0003", "0004", "0005"])
    assert found.verdicts == {"0004": "abstract"} and found.missing == 3
    notes = " ".join(found.notes)
    assert (
        "3 of 5 items have no valid label" in notes and "2 labels are not one of concrete" in notes and "'yes'" in notes
    )
    assert "1 rows have items that were not exported" in notes and "1 items have two different labels" in notes
    assert "\x1b" not in notes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no columns item and label"),
        (b"number,verdict\n1,none\n", "no columns item and label; found number, verdict"),
        (b"item,label\n0001,\n", "holds no label"),
        (b'{"label": "none"}\n', "Line 1 of .* is not an item"),
        (b'{"item": "0001"\n', "Line 1 of .* is not an item"),
        (b"\x00\x01\x02", "no columns item and label"),
    ],
)
def test_files_that_are_no_lists(tmp_path, data, message):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_labels(path, ["0001"])


def test_labels_become_the_same_report(exported, ready, tmp_path):
    rows, key = rows_of(exported), Key.read(exported)
    main = {use.question for use in ready.plan.uses if use.control is None}

    def anna(row):
        return "concrete" if "latent8" in row["words"] and key.items[row["item"]] in main else "none"

    one = fill(tmp_path / "anna.csv", rows, anna)
    summary = summarise_labels(exported, [one])
    assert {(r["lens"], r["layer"]) for r in summary["results"]} == {
        (n, k) for n in ("latent", "logit") for k in (0, 8)
    }
    shares = {(r["group"], r["lens"], r["layer"]): r["shares"]["interpretable"]["value"] for r in summary["results"]}
    assert shares["a", "latent", 8] == 1 and sum(shares.values()) == 2  # groups a and b
    assert summary["agreement"] == [] and summary["judge"] == "words"
    half = fill(tmp_path / "ben.csv", rows[::2], lambda _: "global")
    both = summarise_labels(exported, [one, half])
    (pair,) = both["agreement"]
    assert pair["raters"] == ["anna", "ben"] and pair["items"] == len(rows[::2]) and pair["kappa"] == 0
    table, report = to_table(both), to_markdown(both)
    assert "anna and ben" in table and "## Agreement" in report and f"labels of ben: {len(rows[::2])} of" in report
    assert any("ben.csv" in note and "have no valid label" in note for note in both["notes"])
    latent = [r["shares"] for r in both["results"] if (r["lens"], r["layer"]) == ("latent", 8)]
    counted = Counter(round(s["concrete"]["value"] + s["global"]["value"], 6) for s in latent)
    assert set(counted) == {1.0}  # two who differ count half each


def test_a_model_that_judged_in_the_same_folder_is_compared_with(ready, tmp_path):
    from standin_judge import judge_server, shown_words, verdict

    from lensbank.evaluate.judging.llm import JudgeLimits
    from lensbank.evaluate.judging.run import judge_with_llm
    from lensbank.evaluate.judging.settings import EndpointSettings

    with judge_server() as server:
        server.answer = lambda r: verdict("concrete", *shown_words(r)) if "8" in shown_words(r)[0] else verdict("none")
        endpoint = EndpointSettings(server.url, "some-model")
        judge_with_llm(ready, endpoint, JudgeLimits(), tmp_path, Silent(), lambda _: None, lambda: True)
    export_for_people(ready, tmp_path, Silent())
    rows = rows_of(tmp_path)
    file = fill(tmp_path / "anna.csv", rows, lambda r: "concrete" if r["words"].startswith("latent8") else "none")
    (pair,) = summarise_labels(tmp_path, [file])["agreement"]
    assert pair["raters"] == ["anna", "model some-model"] and pair["items"] == len(rows) and pair["kappa"] == 1


def test_mistakes_with_the_folder(exported, tmp_path):
    with pytest.raises(InputError, match="There is no labels-key.json"):
        summarise_labels(exported / "labels", [])
    (tmp_path / KEY_FILE).write_text('{"version": 9}')
    with pytest.raises(InputError, match="version 9, expected 1"):
        summarise_labels(tmp_path, [])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    files = [fill(tmp_path / folder / "x.csv", rows_of(exported), lambda _: "none") for folder in ("a", "b")]
    with pytest.raises(UsageError, match="same name"):
        summarise_labels(exported, files)
