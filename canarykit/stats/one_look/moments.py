"""What a frame is reduced to before anything is compared: counts, means and spreads that can be added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.checks import require_count, require_number, require_numbers


@dataclass(frozen=True)
class Moments:
    """Number of units, their mean, and their variance (divisor n - 1).

    Parameters
    ----------
    n
        Units.
    mean, variance
        Of the values over units; the variance is the unbiased one.

    Examples
    --------
    >>> Moments.of([1, 2, 3, 4])
    Moments(n=4, mean=2.5, variance=1.6666666666666667)
    >>> Moments.of([1, 2]) + Moments.of([3, 4]) == Moments.of([1, 2, 3, 4])
    True
    """

    n: int
    mean: float
    variance: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", require_count("n", self.n))
        object.__setattr__(self, "mean", require_number("mean", self.mean))
        object.__setattr__(self, "variance", require_number("variance", self.variance, at_least=0.0))

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """Moments of values, one a unit.

        Parameters
        ----------
        values
            One a unit.
        """
        array = require_numbers("values", values).ravel()
        if array.size == 0:
            return cls(0, 0.0, 0.0)
        return cls(array.size, float(array.mean()), float(array.var(ddof=1)) if array.size > 1 else 0.0)

    @classmethod
    def of_sums(cls, n: int, total: float, total_of_squares: float) -> Moments:
        """Moments from a count, a sum and a sum of squares.

        Parameters
        ----------
        n
            Units.
        total
            Sum of the values.
        total_of_squares
            Sum of their squares.
        """
        n = require_count("n", n)
        total, squares = require_number("total", total), require_number("total_of_squares", total_of_squares)
        if n == 0:
            return cls(0, 0.0, 0.0)
        return cls(n, total / n, _centred(n, total, total, squares, "total_of_squares"))

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        if n == 0 or other.n == 0:
            return self
        if self.n == 0:
            return other
        step = other.mean - self.mean
        spread = _spread(self.n, self.variance) + _spread(other.n, other.variance)
        spread += step**2 * self.n * other.n / n
        return Moments(n, self.mean + step * other.n / n, spread / (n - 1))


@dataclass(frozen=True)
class PairMoments:
    """Moments of two quantities of the same units, and how they vary together.

    Parameters
    ----------
    n
        Units; clusters where clusters were assigned.
    mean, variance
        Of the quantity itself: the numerator of a ratio, the outcome, the sum within a cluster.
    mean_other, variance_other
        Of the other: the denominator, the value before exposure, the size of a cluster.
    covariance
        Of both (divisor n - 1).

    Examples
    --------
    >>> PairMoments.of([1, 2, 3], [2, 4, 6]).covariance
    2.0
    """

    n: int
    mean: float
    mean_other: float
    variance: float
    variance_other: float
    covariance: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", require_count("n", self.n))
        for name in ("mean", "mean_other", "covariance"):
            object.__setattr__(self, name, require_number(name, getattr(self, name)))
        for name in ("variance", "variance_other"):
            object.__setattr__(self, name, require_number(name, getattr(self, name), at_least=0.0))

    @classmethod
    def of(cls, values: ArrayLike, others: ArrayLike) -> PairMoments:
        """Moments of two columns, one row a unit.

        Parameters
        ----------
        values, others
            One of each a unit, in the same order.
        """
        first, second = require_numbers("values", values).ravel(), require_numbers("others", others).ravel()
        if first.shape != second.shape:
            raise DataError(
                f"values has {first.size} rows, others {second.size}; expected one of each a unit"
            )
        n = first.size
        if n < 2:
            one = (float(first[0]), float(second[0])) if n else (0.0, 0.0)
            return cls(n, *one, 0.0, 0.0, 0.0)
        a, b = first - first.mean(), second - second.mean()
        squares: tuple[Any, ...] = ((a * a).sum() / (n - 1), (b * b).sum() / (n - 1), (a * b).sum() / (n - 1))
        return cls(n, float(first.mean()), float(second.mean()), *(float(value) for value in squares))

    @classmethod
    def of_sums(
        cls,
        n: int,
        total: float,
        total_other: float,
        total_of_squares: float,
        total_of_squares_other: float,
        total_of_products: float,
    ) -> PairMoments:
        """Moments from a count, two sums, two sums of squares and the sum of products.

        Parameters
        ----------
        n
            Units.
        total, total_other
            Sums of the two columns.
        total_of_squares, total_of_squares_other
            Sums of their squares.
        total_of_products
            Sum of their products.
        """
        n = require_count("n", n)
        if n == 0:
            return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        x, y = require_number("total", total), require_number("total_other", total_other)
        variance = _centred(n, x, x, total_of_squares, "total_of_squares")
        other = _centred(n, y, y, total_of_squares_other, "total_of_squares_other")
        products = require_number("total_of_products", total_of_products)
        together = (products - x * y / n) / (n - 1) if n > 1 else 0.0
        return cls(n, x / n, y / n, variance, other, together)

    def __add__(self, other: PairMoments) -> PairMoments:
        n = self.n + other.n
        if n == 0 or other.n == 0:
            return self
        if self.n == 0:
            return other
        share = self.n * other.n / n
        step, step_other = other.mean - self.mean, other.mean_other - self.mean_other
        spreads = (
            _spread(self.n, self.variance) + _spread(other.n, other.variance) + step**2 * share,
            _spread(self.n, self.variance_other)
            + _spread(other.n, other.variance_other)
            + step_other**2 * share,
            _spread(self.n, self.covariance) + _spread(other.n, other.covariance) + step * step_other * share,
        )
        part = other.n / n
        return PairMoments(
            n,
            self.mean + step * part,
            self.mean_other + step_other * part,
            *(spread / (n - 1) for spread in spreads),
        )

    @property
    def own(self) -> Moments:
        """The quantity alone."""
        return Moments(self.n, self.mean, self.variance)

    @property
    def other(self) -> Moments:
        """The other quantity alone."""
        return Moments(self.n, self.mean_other, self.variance_other)


def _spread(n: int, variance: float) -> float:
    return variance * (n - 1)


def _centred(n: int, x: float, y: float, products: float, name: str) -> float:
    """Variance from sums; rounding just below zero is zero, anything further below is impossible."""
    products = require_number(name, products, at_least=0.0)
    centred = products - x * y / n
    if centred < -1e-9 * max(products, 1e-300):
        raise DataError(
            f"{name} is {products:g}, less than the square of the sum over n allows ({x * y / n:g})"
        )
    return max(centred, 0.0) / (n - 1) if n > 1 else 0.0
