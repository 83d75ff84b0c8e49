"""Quantiles of the beta and of Student's t distribution, which NumPy does not have."""

from __future__ import annotations

import math

_TINY = 1e-300
_TERMS = 10_000


def beta_quantile(share: float, a: float, b: float) -> float:
    """Where the distribution function of beta(a, b) reaches ``share``.

    Args:
        share: between 0 and 1.
        a: first parameter, above 0.
        b: second parameter, above 0.
    """
    low, high, at = 0.0, 1.0, a / (a + b)
    log_norm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(100):
        excess = beta_cdf(at, a, b) - share
        low, high = (at, high) if excess < 0 else (low, at)
        density = math.exp(min(700.0, log_norm + (a - 1) * math.log(at) + (b - 1) * math.log1p(-at)))
        step = at - excess / density if density > 0 else low
        # Newton's step where it stays between the bounds; else half way, in size where the root is small.
        following = step if low < step < high else math.sqrt(max(low, 1e-15) * high) if high < 0.1 else (low + high) / 2
        if abs(following - at) <= 1e-10 * at or high - low < 1e-14:
            return following
        at = following
    return at


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _away(1 + term * d), _away(1 + term / c)
            total *= d * c
        if abs(d * c - 1) < 1e-13:
            break
    return math.exp(front) * total / a


def t_quantile(share: float, degrees: float) -> float:
    """Student's t: the value that is not exceeded with probability ``share`` (at least a half)."""
    x = beta_quantile(2 * (1 - share), degrees / 2, 0.5)
    return math.sqrt(degrees * (1 - x) / x)


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
