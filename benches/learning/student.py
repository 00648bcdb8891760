"""The mean of a few numbers with its 95 % interval by Student's t distribution."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def two_sided(theta: float, freedom: int) -> float:
    """Returns P(|T| < t) for t = sqrt(freedom) tan(theta), by the finite sums of Abramowitz and Stegun, 26.7.3 and
    26.7.4.
    """
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = freedom % 2 == 1
    term = total = (cosine if odd else 1.0) if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        # The next power of the cosine, times 2/3, 4/5, … or 1/2, 3/4, …
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def quantile(freedom: int, level: float = 0.95) -> float:
    """Returns the t with P(|T| < t) = level, by bisection."""
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) < level else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Returns the mean, and half the width of its 95 % interval, which is none for a single number."""
    half = quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return fmean(values), half
