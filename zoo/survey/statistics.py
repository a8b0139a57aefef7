"""Means of ratings with confidence intervals, and how far raters agree.

Every rater rates every item, so a rating shares its rater with some ratings and its item with others. The intervals
are for other raters and other photographs of the same kind: both are taken as random (Clark 1973, The
language-as-fixed-effect fallacy). With V_r, V_i the variances of the mean as the means of raters and of items show
them, each divided by its number, and V_e that of what is left over, the mean's variance is V_r + V_i − V_e: the
residual is in both of the first two. It is kept at least as large as each of them. Student's t has the degrees of
freedom of Satterthwaite (1946), and never fewer than the smaller number less one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.errors import UsageError
from zoo.survey import LEVEL


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, which is None if there is but one rating."""

    mean: float
    interval: tuple[float, float] | None
    raters: int
    items: int
    ratings: int


def estimate(ratings: np.ndarray, bound: float) -> Estimate:
    """The mean of ratings (raters, items), or of differences of such; NaN where there is none.

    The interval is cut at ±``bound``, beyond which no rating can be. From one rater it tells of items alone, from one
    item of raters alone. ValueError if there is no rating at all.
    """
    given = ~np.isnan(ratings)
    ratings, given = ratings[given.any(1)][:, given.any(0)], given[given.any(1)][:, given.any(0)]
    (raters, items), n = ratings.shape, int(given.sum())
    if not n:
        raise ValueError("there are no ratings")
    mean = float(ratings[given].mean())
    if n == 1:
        return Estimate(mean, None, raters, items, n)
    deviations = np.where(given, ratings - mean, 0)
    axes = [axis for axis in (0, 1) if ratings.shape[axis] > 1]  # raters, items
    freedoms = np.array([ratings.shape[axis] - 1 for axis in axes])
    spread = np.array([_between(deviations.sum(1 - axis), n) for axis in axes])
    variance = max(*spread, spread.sum() - _residual(ratings, given) / n) if len(axes) == 2 else spread[0]
    parts = (spread**2 / freedoms).sum()
    freedom = max(freedoms.min(), variance**2 / parts if parts else 0)
    half = _quantile(freedom) * float(variance) ** 0.5
    return Estimate(mean, (max(mean - half, -bound), min(mean + half, bound)), raters, items, n)


def agreement(ratings: np.ndarray) -> float | None:
    """Krippendorff's alpha for interval data, of (raters, results) with NaN where there is no rating.

    1 where raters agree, 0 where they agree as by chance, below where they disagree; None if nothing is rated twice
    or all ratings are equal. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011).
    """
    pairable = [column[~np.isnan(column)] for column in ratings.T]
    pairable = [column for column in pairable if len(column) > 1]
    values = np.concatenate(pairable) if pairable else np.zeros(1)
    expected = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    if not expected:
        return None
    observed = sum(len(column) * column.var(ddof=1) for column in pairable) / len(values)
    return 1 - float(observed) / expected


def _between(sums: np.ndarray, n: int) -> float:
    """Variance of a mean over ``n`` deviations, as the sums of their groups, at least two, show it."""
    return float((sums**2).sum()) / n**2 * len(sums) / (len(sums) - 1)


def _residual(ratings: np.ndarray, given: np.ndarray) -> float:
    """Variance of what a rater's and an item's own level leave over; 0 if nothing is."""
    rater, item = np.nonzero(given)
    levels = np.hstack([np.eye(len(ratings))[rater], np.eye(ratings.shape[1])[item]])
    _, _, rank, _ = solution = np.linalg.lstsq(levels, ratings[given], rcond=None)
    left = ratings[given] - levels @ solution[0]
    return float((left**2).sum()) / (len(left) - rank) if len(left) > rank else 0.0


def _quantile(freedom: float) -> float:
    """Of Student's t, two-sided."""
    try:
        from scipy.special import stdtrit
    except ImportError as error:
        raise UsageError("the table needs SciPy", "pip install 'zoo-core[survey]'") from error
    return float(stdtrit(freedom, (1 + LEVEL) / 2))
