"""Identities, names and records of banks; payloads and point ids."""

import dataclasses
import json
import uuid

import pytest

from lensbank.schemas.collection import BankIdentity, BankRecord
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.errors import BankMismatchError
from lensbank.schemas.payload import FIELD_KINDS, INDEXED_FIELDS, TokenPayload, prefix_ids
from lensbank.schemas.plans import PlanRecord, copy_plan

IDENTITY = BankIdentity(
    model="org/Some_Model-1B",
    revision="abc",
    weights="w1",
    tokenizer="t1",
    layer=8,
    n_layers=30,
    dim=576,
    compute_dtype="float32",
    vector_dtype="float32",
    max_contexts=20,
    seed=0,
)


def change(**kwargs):
    return dataclasses.replace(IDENTITY, **kwargs)


def test_name_is_readable_and_stable():
    assert IDENTITY.name().startswith("some-model-1b-L08-")
    assert IDENTITY.name() == change(revision="other", seed=1, compute_dtype="bfloat16").name()
    assert (
        len({IDENTITY.name(), change(layer=9).name(), change(weights="w2").name(), change(tokenizer="t2").name()}) == 4
    )


@pytest.mark.parametrize("field", ["weights", "tokenizer", "layer", "dim", "convention", "normalisation"])
def test_another_model_is_refused_with_both_values(field):
    value = 99 if field in ("layer", "dim") else "different"
    with pytest.raises(BankMismatchError) as caught:
        IDENTITY.require_model(change(**{field: value}))
    assert repr(value) in str(caught.value) and repr(getattr(IDENTITY, field)) in str(caught.value)


def test_dtype_and_selection_matter_for_writing_but_not_for_searching():
    other = change(compute_dtype="bfloat16", seed=3)
    IDENTITY.require_model(other)
    with pytest.raises(BankMismatchError, match="seed 0 in the bank, 3 now"):
        IDENTITY.require_match(other)


def test_record_survives_json():
    record = BankRecord(IDENTITY, "complete", "/m", (CorpusRecord("c", "f", 1, 2, 3),), "2026-01-01T00:00:00Z", "x 1")
    assert BankRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_record_survives_a_store_that_drops_what_is_null():
    every = dataclasses.replace(IDENTITY, revision=None, max_contexts=None)
    plan = PlanRecord("ingest", "k", {"c": "f"}, {"rows": 2}, total=7, done=3, rows={"c": 20})
    record = BankRecord(every, "building", "/m", (), "2026-01-01T00:00:00Z", "x 1", plan)
    for kept in (record, dataclasses.replace(record, plan=None)):
        data = kept.to_dict()
        data["identity"] = {k: v for k, v in data["identity"].items() if v is not None}
        assert BankRecord.from_dict({k: v for k, v in data.items() if v is not None}) == kept


def test_a_copy_that_an_older_version_began_is_the_same_copy():
    record = BankRecord(IDENTITY, "building", "/m", (), "2026-01-01T00:00:00Z", "x 1")
    old = {**record.to_dict(), "version": 1, "copying": "http://host:6333"}
    del old["plan"]
    read = BankRecord.from_dict(old)
    assert (read.copying, read.version) == ("http://host:6333", 1)
    assert read.plan.key == copy_plan("http://host:6333", record.created, {"c": "f"}).key
    assert read.plan.key != copy_plan("http://host:6333", "2026-02-02T00:00:00Z", {}).key


def test_a_newer_record_is_refused():
    record = BankRecord(IDENTITY, "complete", "/m", (), "2026-01-01T00:00:00Z", "x 1")
    with pytest.raises(BankMismatchError, match="format version 99"):
        BankRecord.from_dict({**record.to_dict(), "version": 99})


def test_equal_prefixes_are_the_same_point():
    a, b = prefix_ids([1, 5, 7, 9]), prefix_ids([1, 5, 8, 9])
    assert a[:2] == b[:2] and a[2] != b[2] and a[3] != b[3]
    assert len(set(a)) == 4
    assert all(str(uuid.UUID(x)) == x for x in a)
    assert prefix_ids([257]) != prefix_ids([1, 1])


def test_payload_fields_and_kinds_agree():
    payload = TokenPayload("Ġa", 3, "a", "a b", 0, 0, 1, 2.5, ("c", "d"), "c.txt:1", True)
    assert TokenPayload.from_dict({**payload.to_dict(), "corpus": "c"}).corpus == ("c",), "as older versions wrote it"
    assert TokenPayload.from_dict({**payload.to_dict(), "later": 1}) == payload
    # Where a long sentence was cut is stored, not asked for.
    assert [f.name for f in dataclasses.fields(TokenPayload)] == [*FIELD_KINDS, "sentence_start"]
    assert INDEXED_FIELDS.keys() <= FIELD_KINDS.keys()


def test_a_field_that_was_never_false_is_gone_and_records_that_hold_it_are_read():
    assert "special_tokens" not in IDENTITY.to_dict()
    assert BankIdentity.from_dict({**IDENTITY.to_dict(), "special_tokens": True}) == IDENTITY


@pytest.mark.parametrize("damaged", ["{", "[" * 100_000, "[1]", "3", '"x"', "null", ""])
def test_a_computation_that_was_damaged_is_another(damaged):
    here = dataclasses.replace(IDENTITY, computation=damaged)
    now = dataclasses.replace(IDENTITY, computation='{"rms_norm_eps": 1e-05}')
    with pytest.raises(BankMismatchError, match="computation"):
        here.require_model(now)
