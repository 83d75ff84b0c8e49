"""What comes from a file as JSON is held to its type, bounded, and named where it is not of it."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_store_rows import CORPUS, IDENTITY, Rows

from lensbank.evaluate.annotations import read_annotations
from lensbank.evaluate.judging.key import KEY_FILE, Key
from lensbank.models.machine.large import LargeModel
from lensbank.schemas.errors import DamagedRecordError, InputError, LensbankError, UsageError
from lensbank.schemas.reading import NotOfKindError, checked, parse_json, read_json
from lensbank.schemas.results_json import reading_from_dict
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.records import RECORD_FILE

NAMES = ["version", "identity", "state", "rows", "layers", "search", "seed", "items", "uses", "images", "categories"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), parts),
    max_leaves=12,
)
DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": "1"}', 'a: expected a valid integer, found "1"'),
        ('{"a": 1.0}', "a: expected a valid integer, found 1.0"),
        ('{"a": true}', "a: expected a valid integer, found true"),
        ('{"a": null}', "a: expected a valid integer, found null"),
        ("[1]", "expected an object, found [1]"),
        ("{", "it is not JSON"),
        ("", "it is not JSON"),
        (DEEP, "it is not JSON (recursion limit exceeded"),
        ('{"a": ' + DEEP + "}", "it is not JSON (recursion limit exceeded"),
    ],
)
def test_types_are_strict_and_depth_is_bounded(text, said):
    with pytest.raises(NotOfKindError) as caught:
        parse_json(text, dict[str, int])
    assert said in str(caught.value) and len(str(caught.value)) < 200


def test_size_is_bounded(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": "' + "x" * 100 + '"}')
    assert read_json(path, dict[str, str], 200)["a"] == "x" * 100
    with pytest.raises(NotOfKindError, match="more than 50 bytes"):
        read_json(path, dict[str, str], 50)


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a FIFO"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(NotOfKindError, match=f"it is {kind}, not a file"):
            read_json(path, dict[str, str])


def test_what_was_put_together_is_held_to_its_class():
    assert checked(CORPUS) is CORPUS
    with pytest.raises(NotOfKindError, match='rows: expected a valid integer, found "many"'):
        checked(dataclasses.replace(CORPUS, rows="many"))
    with pytest.raises(NotOfKindError):
        checked(dataclasses.replace(CORPUS, name=object()))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rows, store = Rows(30, layers=(4,)), EmbeddedStore(tmp_path_factory.mktemp("store"))
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS)
    return store


def leaves(value, at=()):
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, (*at, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from leaves(part, (*at, number))
    yield at


@pytest.mark.parametrize("wrong", [{"x": {}}, [[1]], -1.5])
def test_a_record_with_any_field_of_another_kind_is_named_with_file_and_field(store, wrong):
    [path] = store.root.glob(f"*/{RECORD_FILE}")
    whole = path.read_text()
    try:
        for at in list(leaves(json.loads(whole))):
            data: Any = json.loads(whole)
            part = data
            for name in at[:-1]:
                part = part[name]
            if at:
                part[at[-1]] = wrong
            path.write_text(json.dumps(data if at else wrong))
            with pytest.raises(DamagedRecordError) as caught:
                store.open(path.parent.name)
            assert str(path) in caught.value.message or "it has the record of another bank" in caught.value.message, at
            if at and len(at) > 1:
                assert (
                    str(at[-1]) in caught.value.message or "it has the record of another bank" in caught.value.message
                ), at
            assert store.list() == [] and len(store.damaged()) == 1
    finally:
        path.write_text(whole)
    assert len(store.list()) == 1


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_any_json_is_read_or_refused_in_words(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("any")
    bank = folder / "store" / "some-model-L04-ae99ce"
    bank.mkdir(parents=True)
    text = json.dumps(value)
    for path in (bank / RECORD_FILE, folder / KEY_FILE, folder / "file.json"):
        path.write_text(text)
    store = EmbeddedStore(folder / "store")
    assert store.list() == [] and len(store.damaged()) == 1
    with pytest.raises(InputError):
        Key.read(folder)
    with pytest.raises(LensbankError):
        read_annotations(folder / "file.json", folder)
    with pytest.raises(ValueError, match="^(it is not a reading|result schema version)"):
        reading_from_dict(value)


@pytest.mark.parametrize("text", ['{"a": true}', '{"a": 1.5}', "{}", "[]", "{", DEEP, '{"a": {"b": 1}}'])
def test_device_maps(tmp_path, text):
    path = tmp_path / "map.json"
    path.write_text(text)
    import torch

    with pytest.raises(UsageError, match="is not a table of module names and devices"):
        LargeModel(device_map=str(path)).arguments("auto", torch.float32)


def test_an_identity_survives():
    assert checked(IDENTITY) is IDENTITY
