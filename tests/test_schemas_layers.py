"""Layers as they are asked for."""

import pytest

from lensbank.models.layers import asked_layers
from lensbank.schemas.errors import LayerError, UsageError
from lensbank.schemas.layers import LayerRange, layers_among, read_layer


@pytest.mark.parametrize(
    ("typed", "there", "chosen"),
    [
        (["2-4"], range(7), (2, 3, 4)),
        (["5-"], range(7), (5, 6)),
        (["-1"], range(7), (0, 1)),
        (["0", "2-3", "6"], range(7), (0, 2, 3, 6)),
        (["3-5", "4"], range(7), (3, 4, 5)),
        (["4-12"], [1, 4, 8, 16], (4, 8)),
        (["9-"], [1, 4, 8, 16], (16,)),
        (["4-999999999"], [1, 4, 8, 16], (4, 8, 16)),
    ],
)
def test_ranges_are_of_what_there_is(typed, there, chosen):
    assert layers_among([read_layer(one) for one in typed], there, "There are") == chosen


def test_a_range_with_nothing_in_it_says_what_there_is():
    with pytest.raises(LayerError, match=r"no layer in the range 9-12\. The store has layers 1, 4, 8, 16\."):
        layers_among([LayerRange(9, 12)], [1, 4, 8, 16], "The store has layers")
    with pytest.raises(LayerError, match=r"range 9-\. It has 0 to 6\."):
        layers_among([LayerRange(9, None)], range(7), "It has")
    with pytest.raises(UsageError, match=r"16-8 ends before it begins\. Write 8-16\."):
        read_layer("16-8")


def test_of_a_model_the_named_end_of_a_range_exists():
    assert asked_layers((LayerRange(4, None), 0), 6) == (0, 4, 5, 6)
    assert asked_layers("all", 2) == (0, 1, 2)
    for wrong in ((LayerRange(4, 7),), (LayerRange(0, 999_999_999),), (LayerRange(2, 3), 7)):
        with pytest.raises(LayerError, match="does not exist: this model has 6 blocks"):
            asked_layers(wrong, 6)
    with pytest.raises(LayerError, match="No layer was given"):
        asked_layers((), 6)
