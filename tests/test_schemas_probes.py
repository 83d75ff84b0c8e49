"""Probes as records hold them."""

import dataclasses
import json

import pytest
from test_schemas_collection import IDENTITY

from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.errors import OtherCodeError
from lensbank.schemas.probes import NUMBERS, Probe, packed

UP = packed([1.0] * NUMBERS)
ASIDE = packed([1.0, -1.0] * (NUMBERS // 2))
PROBE = Probe((1, 2, 3), {"8": UP, "30": UP}, "bfloat16", "A of x 1")


def probe(**changes):
    return dataclasses.replace(PROBE, **changes)


def test_a_probe_survives_json_in_an_identity():
    identity = dataclasses.replace(IDENTITY, probe=PROBE)
    assert BankIdentity.from_dict(json.loads(json.dumps(identity.to_dict()))).probe == PROBE
    assert "probe" not in identity.facts()


def test_a_probe_decides_no_name_and_no_equality():
    identity = dataclasses.replace(IDENTITY, probe=PROBE)
    assert identity == IDENTITY and identity.name() == IDENTITY.name() and hash(identity) == hash(IDENTITY)


def test_other_states_at_one_layer_are_told_with_both_values():
    other = probe(states={"8": UP, "30": ASIDE}, dtype="float32", code="B of x 2")
    one = dataclasses.replace(IDENTITY, probe=PROBE)
    with pytest.raises(OtherCodeError) as caught:
        one.require_model(dataclasses.replace(IDENTITY, probe=other))
    assert (
        "cosine of 0 with the current ones (first difference at layer 30), expected 0.98 or more"
        in caught.value.message
    )
    assert "(bfloat16 in the bank, float32 now)" in caught.value.message
    assert "A of x 1; this is B of x 2" in caught.value.hint
    one.require_model(IDENTITY)
    IDENTITY.require_model(one)


def test_the_very_same_values_must_agree_to_their_last_digits():
    near = packed([1.0 + (i % 2) / 50 for i in range(NUMBERS)])  # 1 - cosine is 5e-5
    one, other = probe(dtype="float32", values="v"), probe(dtype="float32", values="v", states={"8": near})
    assert "expected 0.999999 or more" in one.difference(other)
    assert one.difference(dataclasses.replace(other, values="w")) is None
    assert one.difference(dataclasses.replace(other, values=None)) is None


def test_another_reading_of_the_text_is_told_and_a_shorter_one_is_not_compared():
    assert "[1, 2, 3] in the bank, [1, 2, 4] now" in PROBE.difference(probe(ids=(1, 2, 4)))
    assert PROBE.difference(probe(ids=(1, 2), states={"8": ASIDE})) is None


def test_what_another_version_made_in_another_way_is_not_compared():
    data = json.loads(json.dumps(dataclasses.asdict(PROBE)))
    assert Probe.from_dict({**data, "kind": "of the future", "states": "any"}) is None
    assert Probe.from_dict({**data, "more": 1}) == PROBE
    assert PROBE.difference(probe(kind="of the future", states={"8": ASIDE})) is None


@pytest.mark.parametrize("numbers", ["AAAA", "no base64", packed([0.0] * NUMBERS), packed([float("nan")] * NUMBERS), 3])
def test_a_damaged_probe_is_none(numbers):
    data = dataclasses.asdict(PROBE)
    with pytest.raises((ValueError, TypeError)):
        Probe.from_dict({**data, "states": {"8": numbers}})
