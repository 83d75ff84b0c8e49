"""What is counted, patch by patch, on pictures small enough to count by hand."""

import numpy as np
import pytest
from evaluation_fixtures import CAR, DOG, TRUCK, annotated, said, thing

from benchmarks.interval_coverage import coverage
from lensbank.evaluate.matching import Concept
from lensbank.evaluate.measures import GroundTruth, leap
from lensbank.evaluate.quantiles import beta_cdf, beta_quantile, t_quantile
from lensbank.evaluate.statistics import ClusteredShares

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


def test_shuffled_is_the_same_words_on_object_patches_of_other_images():
    # Of the street's three object patches one has a dog, one both, one a car; the yard's two have a fire truck.
    found = truth(["fire-truck", "dog", "x", "x"], ["dog", "dog car", "x", "x"])
    expected = 1 + 0 + 0 + 2 / 3 + 1
    assert value(found.measure(8, "latent").shuffled) == pytest.approx(expected / 5)
    # A third image with two dogs: every object patch elsewhere is as likely, two of the yard and two of the kennel.
    kennel = annotated("kennel", thing(DOG, 0, 0, 10, 10), thing(DOG, 10, 0, 20, 10))
    words = [said(n, w, ("x",)) for n, w in (("street", ["dog"] * 4), ("yard", ["x"] * 4), ("kennel", ["x"] * 4))]
    found = GroundTruth((STREET, YARD, kennel), words)
    assert value(found.measure(8, "latent").shuffled) == pytest.approx(3 * 2 / 4 / 7)
    empty = annotated("empty")
    words = [said("street", ["dog"] * 4, ("x",)), said("empty", ["x"] * 4, ("x",))]
    assert GroundTruth((STREET, empty), words).measure(8, "latent").shuffled is None


def test_a_thing_counts_for_chance_by_the_patches_that_it_covers():
    # One large dog and nine small cars in an image: nine of ten patches are the dog's.
    large = [thing(DOG, 0, 0, 90, 10), *(thing(CAR, 90, 0, 100, 10) for _ in range(9))]
    images = [annotated(name, *large) for name in "ab"]
    found = GroundTruth(images, [said(name, ["dog"] * 10, ("x",)) for name in "ab"]).measure(8, "latent")
    assert value(found.concrete) == 0.9
    assert value(found.shuffled) == pytest.approx(0.9) and value(found.above_chance) == pytest.approx(0)


def test_words_meet_all_boxes_over_a_random_patch_at_once():
    # Three boxes over each patch: two words that name two of them are right once, by chance as on their own image.
    images = [annotated(name, *(thing(c, 0, 0, 40, 10) for c in (DOG, CAR, TRUCK))) for name in "ab"]
    found = GroundTruth(images, [said(name, ["dog car"] * 4, ("x",)) for name in "ab"]).measure(8, "latent")
    assert value(found.concrete) == value(found.shuffled) == 1 and value(found.above_chance) == 0


@pytest.mark.parametrize("kind", ["overlapping", "one large thing", "few objects"])
def test_a_lens_that_never_looks_is_not_above_chance(kind):
    """Words drawn without a look at the image, over groups of images drawn again and again."""
    concepts = [Concept(f"kind{n}") for n in range(12)]
    frequent = np.arange(12, 0, -1) / 78
    rng, inside, above = np.random.default_rng(5), 0, []
    for _ in range(60):
        images = [annotated(f"{n}", *_things(rng, kind, concepts, frequent)) for n in range(15)]
        words = [
            said(image.name, [f"kind{a} kind{b}" for a, b in rng.choice(12, p=frequent, size=(20, 2))], ("x",))
            for image in images
        ]
        found = GroundTruth(images, words).measure(8, "latent").above_chance
        inside += found.low <= 0 <= found.high
        above.append(found.value)
    assert inside >= 57
    assert abs(np.mean(above)) < 3 * np.std(above) / np.sqrt(60)


def _things(rng, kind, concepts, frequent):
    def box(number, start, count):
        return thing(concepts[number], 10 * start, 0, 10 * (start + count), 10)

    if kind == "overlapping":  # three boxes over each patch
        return [box(n, 0, 20) for n in rng.choice(12, p=frequent, size=3)]
    if kind == "one large thing":  # the frequent kinds are large
        large, *small = rng.choice(12, p=frequent, size=5)
        return [box(large, 0, 15 if large < 2 else 2), *(box(n, 15 + i, 1) for i, n in enumerate(small))]
    return [box(n, 3 * i, 2) for i, n in enumerate(rng.choice(12, p=frequent, size=rng.integers(0, 4)))]


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


def test_chance_is_subtracted():
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
    assert value(found.lead("latent", "logit", (8,))) == pytest.approx(2 / 5)
    assert value(found.lead("latent", "logit", (0, 8))) == pytest.approx((-1 / 5 + 2 / 5) / 2)


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


def test_intervals_rest_on_images_not_patches():
    three, totals = ClusteredShares(3), np.array([10.0, 30, 10])
    found = three.ratio(np.array([9.0, 0, 5]), totals)
    assert found.value == pytest.approx(0.28) and found.low < 0.1 and found.high > 0.6  # three images tell little
    assert three.ratio(np.array([9.0, 0, 5]), totals) == found
    assert three.ratio(np.zeros(3), np.zeros(3)) is None and ClusteredShares(0).mean([]) is None
    # As many hits of as many patches: alike in all images, or all in a few of them.
    spread = ClusteredShares(40).ratio(np.full(40, 3.0), np.full(40, 10.0))
    lumped = ClusteredShares(40).ratio(np.repeat([10.0, 0], [12, 28]), np.full(40, 10.0))
    assert spread.value == lumped.value == pytest.approx(0.3)
    assert spread.low > 0.25 and spread.high < 0.36 and lumped.low < 0.18 and lumped.high > 0.45
    # Whoever turns hits and misses round turns the interval round.
    turned = three.ratio(totals - np.array([9.0, 0, 5]), totals)
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low))


@pytest.mark.parametrize("images", [10, 30, 100, 1000])
def test_no_hit_and_nothing_but_hits_leave_three_in_so_many_images_open(images):
    none = ClusteredShares(images).ratio(np.zeros(images), np.full(images, 50.0))
    every = ClusteredShares(images).ratio(np.full(images, 50.0), np.full(images, 50.0))
    assert (none.value, none.low) == (0, 0) and 2.9 < none.high * images < 3.8
    assert (every.value, every.high) == (1, 1) and every.low == pytest.approx(1 - none.high)
    # Images on which nothing could be counted tell nothing.
    half = ClusteredShares(2 * images).ratio(np.zeros(2 * images), np.repeat([50.0, 0], images))
    assert half == none
    # One hit more does not make the end come closer than three hundred more patches would.
    one = ClusteredShares(images).ratio(np.eye(images)[0], np.full(images, 50.0))
    assert 0 <= one.low < one.value < one.high and one.high > none.high / 3


@pytest.mark.parametrize(
    ("images", "truth", "patches", "rho"),
    [(10, 0.005, 576, 0.1), (10, 0.02, 16, 0.1), (10, 0.02, 576, 0.3), (10, 0.05, 64, 0.1), (10, 0.5, 64, 0.3)]
    + [(20, 0.01, 576, 0.3), (20, 0.1, 64, 0.3), (50, 0.005, 64, 0.1), (50, 0.02, 576, 0.3), (100, 0.2, 16, 0.1)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(images, truth, patches, rho):
    found = coverage(["lensbank"], truth, images, patches, rho, runs=150)
    inside, _ = found["lensbank"]
    assert inside >= 0.92


@pytest.mark.parametrize("sizes", ["lognormal", "one large", "some empty"])
@pytest.mark.parametrize(("images", "truth", "rho"), [(5, 0.1, 0.3), (10, 0.02, 0.1), (10, 0.5, 0.3), (30, 0.5, 0.05)])
def test_intervals_hold_the_truth_over_images_of_very_different_sizes(images, truth, rho, sizes):
    """Object patches an image has from one to a few thousand; one image may hold nearly all of them."""
    rng, inside, runs = np.random.default_rng(7), 0, 250
    a, b = truth * (1 - rho) / rho, (1 - truth) * (1 - rho) / rho
    for _ in range(runs):
        totals = np.maximum(1, np.round(np.exp(rng.normal(3, 1.5, images))))
        if sizes == "one large":
            totals = np.array([2000.0, *[10.0] * (images - 1)])
        if sizes == "some empty":
            totals[rng.random(images) < 0.4] = 0
        hits = rng.binomial(totals.astype(int), rng.beta(a, b, size=images)).astype(float)
        found = ClusteredShares(images).ratio(hits, totals)
        inside += found is None or found.low <= truth <= found.high
    assert inside / runs >= 0.92


def test_an_image_with_nearly_all_patches_is_one_image():
    totals = np.array([5000.0, 10, 10, 10])
    found = ClusteredShares(4).ratio(np.array([1500.0, 1, 9, 4]), totals)
    assert found.low < 0.02 and found.high > 0.98
    # Of images of nearly one size, nothing changes.
    even = np.array([48.0, 50, 52, 50] * 5)
    alike = ClusteredShares(20).ratio(np.round(even * 0.3), even)
    assert alike.low > 0.2 and alike.high < 0.4


def test_differences_over_the_same_images_hold_the_truth():
    """Two lenses that read the same images: what makes an image easy makes it easy for both."""
    rng, inside, wide = np.random.default_rng(3), 0, 0.0
    for _ in range(300):
        easy, totals = rng.beta(0.5, 4, size=12), np.full(12, 40.0)
        one, two = (rng.binomial(40, share * easy).astype(float) for share in (0.9, 0.3))
        found = ClusteredShares(12).difference((one, totals), (two, totals))
        inside += found.low <= 0.6 / 9 <= found.high
        wide += (found.high - found.low) / 300
    assert inside / 300 >= 0.92 and wide < 0.25
    zero = np.zeros(12)
    both = ClusteredShares(12).difference((zero, totals), (zero, totals))
    assert both.value == 0 and both.low < -0.2 and both.high > 0.2  # neither says anything: no lead is known
    assert ClusteredShares(12).difference((one, totals), (zero, zero)) is None


def test_quantiles():
    # Closed forms: beta(a, 1) has x^a, beta(1, b) has 1 - (1 - x)^b; Student's t from printed tables.
    assert beta_quantile(0.025, 10, 1) == pytest.approx(0.025**0.1)
    assert beta_quantile(0.975, 1, 40) == pytest.approx(1 - 0.025 ** (1 / 40))
    assert [round(t_quantile(0.975, n), 3) for n in (1, 2, 9, 30)] == [12.706, 4.303, 2.262, 2.042]
    for a, b in ((0.2, 50), (3, 4000), (40000, 10), (0.5, 0.5), (2, 1e5)):
        for share in (0.025, 0.5, 0.975):
            assert beta_cdf(beta_quantile(share, a, b), a, b) == pytest.approx(share, abs=1e-6)


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
