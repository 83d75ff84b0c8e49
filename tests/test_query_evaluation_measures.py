"""What is counted, patch by patch, on pictures small enough to count by hand."""

import numpy as np
import pytest
from evaluation_fixtures import CAR, DOG, TRUCK, annotated, said, thing

from lensbank.evaluate.measures import GroundTruth, leap
from lensbank.evaluate.statistics import Resampler

# Four patches each: on a street a dog, a dog and a car, a car, nothing; in a yard a fire truck, then nothing.
STREET = annotated("street", thing(DOG, 0, 0, 20, 10), thing(CAR, 10, 0, 30, 10))
YARD = annotated("yard", thing(TRUCK, 0, 0, 20, 10))


def truth(street, yard, random=("sky",), images=(STREET, YARD)):
    return GroundTruth(images, [said("street", street, random), said("yard", yard, random)])


def value(estimate):
    return None if estimate is None else estimate.value


def test_concrete_global_loose_and_background():
    found = truth(["puppies the", "car sky", "dog a", "Cars x"], ["vehicle", "truck", "firetruck", "sky"])
    measure = found.measure(8, "latent")
    assert (measure.object_patches, measure.background_patches) == (5, 3)
    # The dog, the dog or car; "dog" over the car is global; "vehicle" and "truck" name the fire truck loosely.
    assert value(measure.concrete) == pytest.approx(2 / 5)
    assert value(measure.elsewhere) == pytest.approx(1 / 5)
    assert value(measure.loose) == pytest.approx(4 / 5)
    # Background: "Cars" in the street, "firetruck" in the yard name something there; "sky" nothing.
    assert value(measure.background) == pytest.approx(2 / 3)


def test_one_thing_named_is_enough_and_counts_once():
    measure = truth(["dog car", "dog car", "dog car", "x"], ["x"] * 4).measure(8, "latent")
    assert value(measure.concrete) == pytest.approx(3 / 5) and value(measure.elsewhere) == 0


def test_shuffled_is_the_same_words_on_other_images():
    # Of the other image's things: half of the street's are dogs; the yard's only one is a fire truck.
    found = truth(["fire-truck", "dog", "x", "x"], ["dog", "dog car", "x", "x"])
    expected = 1 + 0 + 0 + 0.5 + 1
    assert value(found.measure(8, "latent").shuffled) == pytest.approx(expected / 5)
    # A third image with two dogs: the expectation is over both others.
    kennel = annotated("kennel", thing(DOG, 0, 0, 10, 10), thing(DOG, 10, 0, 20, 10))
    words = [said(n, w, ("x",)) for n, w in (("street", ["dog"] * 4), ("yard", ["x"] * 4), ("kennel", ["x"] * 4))]
    found = GroundTruth((STREET, YARD, kennel), words)
    assert value(found.measure(8, "latent").shuffled) == pytest.approx(3 * (0 + 1) / 2 / 7)
    empty = annotated("empty")
    words = [said("street", ["dog"] * 4, ("x",)), said("empty", ["x"] * 4, ("x",))]
    assert GroundTruth((STREET, empty), words).measure(8, "latent").shuffled is None


def test_random_patches_are_the_words_of_the_same_image_elsewhere():
    found = truth(["dog", "x", "x", "car"], ["x"] * 4).measure(8, "latent")
    # Under patch 0 a dog: none of the three others says so; under 1 either: two of three; under 2 a car: one of three.
    assert value(found.random_patches) == pytest.approx((0 + 2 / 3 + 1 / 3) / 5)


def test_random_vectors():
    found = truth(["x"] * 4, ["x"] * 4, random=("dog", "sky", "car", "firetruck")).measure(8, "latent")
    # Of four vectors: over the dog 1, over both 2, over the car 1, over the truck 1 and 1.
    assert value(found.random_vectors) == pytest.approx((1 + 2 + 1 + 1 + 1) / 4 / 5)


def test_patches_of_crowds_are_left_out():
    crowd = annotated("street", thing(DOG, 0, 0, 10, 10), thing(CAR, 0, 0, 30, 10, crowd=True))
    measure = truth(["dog", "dog", "car", "car"], ["x"] * 4, images=(crowd, YARD)).measure(8, "latent")
    assert (measure.object_patches, measure.background_patches) == (3, 3)
    assert value(measure.concrete) == pytest.approx(1 / 3)
    assert value(measure.background) == pytest.approx(1 / 3)  # the crowd's cars are in the image


def test_chance_is_subtracted_draw_by_draw():
    found = truth(["dog", "x", "car", "x"], ["dog", "dog", "x", "x"])
    measure = found.measure(8, "latent")
    assert value(measure.above_chance) == pytest.approx(value(measure.concrete) - value(measure.shuffled))
    assert measure.above_chance.low <= measure.above_chance.value <= measure.above_chance.high


def test_layers_lenses_means_and_leads():
    latent, logit = ["dog", "dog", "car", "x"], ["x", "x", "car", "x"]
    words = {0: {"latent": ["x"] * 4, "logit": logit}, 8: {"latent": latent, "logit": logit}}
    yard = {n: {lens: ["x"] * 4 for lens in ("latent", "logit")} for n in (0, 8)}
    found = GroundTruth((STREET, YARD), [said("street", words), said("yard", yard)])
    assert found.layers == (0, 8) and found.lenses == ("latent", "logit")
    assert value(found.mean("latent")) == pytest.approx((0 + 3 / 5) / 2)
    assert value(found.mean("latent", layers=(8,))) == pytest.approx(3 / 5)
    assert value(found.lead(8, "latent", "logit")) == pytest.approx(2 / 5)


def test_nothing_to_count_is_no_share():
    found = GroundTruth((annotated("street"),), [said("street", ["dog"] * 4, ("x",))])
    measure = found.measure(8, "latent")
    assert measure.concrete is None and measure.shuffled is None and measure.above_chance is None
    assert value(measure.background) == 0 and measure.background_patches == 4


def test_annotations_and_words_of_different_images_are_refused():
    with pytest.raises(ValueError, match="different images"):
        GroundTruth((YARD,), [said("street", ["x"] * 4)])


def test_where_neighbours_come_from():
    one = said("a", ["x"] * 2, bank_layers={0: ((8, 8), (8, 2)), 4: ((4, 4), (4, 4))})
    two = said("b", ["x"], bank_layers={0: ((2, 2),), 4: ((),)})
    layers, banks, shares = leap([one, two])
    assert (layers, banks) == ([0, 4], [2, 4, 8])
    np.testing.assert_allclose(shares, [[3 / 6, 0, 3 / 6], [0, 1, 0]])
    layers, banks, shares = leap([said("a", ["x"])])
    assert (layers, banks, shares.shape) == ([], [], (0, 0))


def test_intervals_draw_images_not_patches():
    draws = Resampler(3)
    found = draws.ratio(np.array([9.0, 0, 5]), np.array([10.0, 30, 10]))
    assert found.value == pytest.approx(0.28) and found.low < 0.1 and found.high > 0.6  # three images tell little
    assert draws.ratio(np.array([9.0, 0, 5]), np.array([10.0, 30, 10])) == found
    steady = Resampler(40).ratio(np.full(40, 3.0), np.full(40, 10.0))
    assert (steady.value, steady.low, steady.high) == pytest.approx((0.3, 0.3, 0.3))
    assert draws.ratio(np.zeros(3), np.zeros(3)) is None and Resampler(0).ratio(np.zeros(0), np.zeros(0)) is None
    one, same = (np.array([1.0, 2, 3]), np.full(3, 4.0)), (np.array([0.0, 1, 2]), np.full(3, 4.0))
    apart = draws.difference(one, same)  # a quarter in every image, whichever are drawn
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.25, 0.25, 0.25))
    assert draws.difference(one, (np.zeros(3), np.zeros(3))) is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Images differ, patches within one are alike: intervals over patches would be far too narrow."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        shares = rng.beta(2, 3, size=40)  # mean 0.4
        hits = rng.binomial(25, shares).astype(float)
        found = Resampler(40).ratio(hits, np.full(40, 25.0))
        inside += found.low <= 0.4 <= found.high
    assert 0.88 <= inside / 200 <= 0.99


def test_controls_that_cannot_be_had_are_none_and_not_zero():
    alone = GroundTruth([annotated("a", thing(DOG, 0, 0, 20, 10))], [said("a", ["dog", "x", "x"], ("x",))])
    measure = alone.measure(8, "latent")
    assert measure.concrete.value == 0.5
    assert measure.shuffled is None and measure.shuffled_loose is None and measure.above_chance is None
    assert alone.mean("latent", "shuffled") is None and alone.mean("latent").value == 0.5
    assert measure.random_patches.value == 0.25  # of the first, neither other; of the second, one of two
    images = [annotated(name, thing(DOG, 0, 0, 20, 10)) for name in "ab"]
    measure = GroundTruth(images, [said("a", ["dog"], ("x",)), said("b", ["dog", "dog"], ("x",))]).measure(8, "latent")
    assert measure.shuffled.value == 1
    assert measure.random_patches.value == 1  # of the image with two patches; the other has none to take words from
    single = GroundTruth(images, [said(name, ["dog"], ("x",)) for name in "ab"]).measure(8, "latent")
    assert single.random_patches is None
