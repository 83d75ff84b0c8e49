"""Pauses between attempts."""

import random

import pytest

from lensbank.schemas.backoff import Backoff


def test_pauses_double_up_to_the_longest():
    pauses = Backoff(0.2, 1.0, spread=0.0)
    assert [pauses.next() for _ in range(5)] == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0])


def test_half_of_each_pause_is_by_lot():
    random.seed(0)
    first = [Backoff(1.0, 8.0).next() for _ in range(200)]
    assert 0.5 <= min(first) < 0.55 and 0.95 < max(first) <= 1.0
    pauses = Backoff(1.0, 8.0)
    assert all(low <= pauses.next() <= 2 * low for low in (0.5, 1.0, 2.0, 4.0, 4.0))
