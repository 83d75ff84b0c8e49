"""Differences of two settings over the same images: what holds for every pair, and how often the truth is inside."""

import numpy as np
import pytest

from benchmarks.paired_coverage import CHANGES, gains_and_losses, paired_coverage
from lensbank.evaluate.statistics import ClusteredShares

BY_NAME = {change.name: change for change in CHANGES}
TOTALS = np.array([18.0, 20, 22, 20] * 5)


def difference(one, other, totals=TOTALS):
    return ClusteredShares(len(totals)).difference((one, totals), (other, totals))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_identical_settings_have_no_lead(share):
    hits = np.round(TOTALS * share * np.tile([0.4, 1.6, 1.0, 1.0, 1.0], 4)).clip(0, TOTALS)
    found = difference(hits, hits)
    assert found.value == 0 and found.low == pytest.approx(-found.high) and found.high > 0
    if share == 0:  # nothing is known but that there was nothing in any image
        assert found.high == pytest.approx(1 - 0.025 ** ((TOTALS**2).sum() / TOTALS.sum() ** 2), abs=1e-6)


def test_one_image_that_differs_is_no_lead_and_turns_round():
    hits = np.round(TOTALS * np.tile([0.2, 0.5, 0.4, 0.6, 0.3], 4))
    more = hits.copy()
    more[7] += 8
    found = difference(more, hits)
    assert found.value == pytest.approx(8 / 400) and found.low < 0 < found.value < found.high
    turned = difference(hits, more)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_every_interval_has_its_value_inside_whichever_setting_comes_first():
    rng = np.random.default_rng(5)
    for _ in range(60):
        totals = np.round(rng.lognormal(3, 1, size=rng.integers(2, 30))) + 1
        one, other = (rng.binomial(totals.astype(int), rng.beta(0.3, 2)).astype(float) for _ in range(2))
        found, turned = difference(one, other, totals), difference(other, one, totals)
        assert found.low <= found.value <= found.high
        assert found.value == pytest.approx(one.sum() / totals.sum() - other.sum() / totals.sum())
        assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("sizes", ["mixed", "one has most"])
@pytest.mark.parametrize(
    "name", ["10 points gained, 1 lost", "independent, as many", "equally easy images, half as many"]
)
def test_settings_that_differ_in_many_images_hold_the_truth(name, sizes):
    found = paired_coverage(BY_NAME[name], 0.1, 20, sizes, runs=100)
    assert all(inside >= 0.92 for inside, _ in found.values())


def test_gains_and_losses_hold_rare_changes_at_the_price_of_the_rule_of_three():
    """Nothing narrower is honest of images that change as a whole: 20 of 20 unchanged leave three in twenty open."""
    for name in ("1 point gained", "3 points gained by whole images"):
        assert paired_coverage(BY_NAME[name], 0.4, 20, "mixed", runs=60)["gains and losses"][0] >= 0.92
    hits, even = np.full(20, 8.0), np.full(20, 20.0)
    low, high = gains_and_losses(hits, hits, even)
    assert high == -low == pytest.approx(1 - 0.025 ** (1 / 20), abs=1e-6)
