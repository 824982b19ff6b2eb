"""Common events, stratum by stratum: the Cochran-Mantel-Haenszel score and its sequential form.

Within a stratum (a stage, a day) the arms are compared with each other only, so a baseline that drifts
while the ramp grows harms nobody. For rare events the exact e-process of `events` is better: this is a
normal approximation and needs some ten events a stratum or many strata.

References
----------
Mantel & Haenszel (1959), doi:10.1093/jnci/22.4.719; Cochran (1954), doi:10.2307/3001616.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.any_look.sequential import K_AT_GATE, mixture_log_e
from canarykit.stats.checks import require_counts, require_number
from canarykit.stats.estimate import SequentialTest


@dataclass(frozen=True, eq=False)
class StratifiedScore:
    """Score of the canary's events after each stratum, added up in order.

    Parameters
    ----------
    score
        Canary events more than the stratum's split implies; above zero is harm.
    variance
        Its hypergeometric variance: the information so far.
    """

    score: np.ndarray
    variance: np.ndarray

    @property
    def z(self) -> np.ndarray:
        """Score in its standard errors; 0 while there is no information."""
        informed = self.variance > 0
        return np.where(informed, self.score / np.sqrt(np.where(informed, self.variance, 1.0)), 0.0)

    @property
    def log_odds_ratio(self) -> np.ndarray:
        """One-step estimate of the common log odds ratio, score over variance; NaN without information."""
        informed = self.variance > 0
        return np.where(informed, self.score / np.where(informed, self.variance, 1.0), np.nan)

    def test(
        self, *, gate_variance: float, k_at_gate: float = K_AT_GATE, side: str = "harm"
    ) -> SequentialTest | None:
        """Evidence at every look, sharpest when the information is `gate_variance`; None without looks.

        Parameters
        ----------
        gate_variance
            Variance of the score expected at the first planned gate.
        k_at_gate
            Width of the mixture there, as in `tune_k`.
        side
            "harm": above the null; "safe": below it; "two": either.

        Returns
        -------
        SequentialTest or None

        Examples
        --------
        >>> score = stratified_score([30, 35], [50, 52], [500, 500], [500, 500])
        >>> round(score.test(gate_variance=25).e_value, 2)
        24.16
        """
        gate = require_number("gate_variance", gate_variance, above=0.0)
        if side not in ("harm", "safe", "two"):
            raise DataError(f"side is {side!r}; expected 'harm', 'safe' or 'two'")
        if self.score.size == 0:
            return None
        k = k_at_gate * self.variance / gate
        log_e = mixture_log_e(-self.z if side == "safe" else self.z, k, "two" if side == "two" else "one")
        return SequentialTest(
            log_e=np.where(self.variance > 0, log_e, 0.0),
            null="the event is equally frequent in both arms of every stratum",
            method="stratified (Cochran-Mantel-Haenszel) score with a normal mixture, asymptotic",
            source="Mantel & Haenszel (1959), doi:10.1093/jnci/22.4.719",
        )


def stratified_score(
    x: ArrayLike, m: ArrayLike, n_canary: ArrayLike, n_control: ArrayLike
) -> StratifiedScore:
    """Cochran-Mantel-Haenszel score of units with an event, stratum after stratum.

    Parameters
    ----------
    x, m
        Units with the event in the canary, and in both arms together, per stratum (last axis).
    n_canary, n_control
        Units of each arm per stratum.

    Returns
    -------
    StratifiedScore

    Raises
    ------
    DataError
        On impossible counts: more units with the event than units, in either arm.

    Examples
    --------
    >>> score = stratified_score([4, 8], [10, 20], [1000, 9000], [3000, 9000])
    >>> float(score.score[-1]), float(score.variance[-1].round(6)), float(score.z[-1].round(6))
    (-0.5, 6.865502, -0.190824)
    """
    x, m = require_counts("x", x), require_counts("m", m)
    canary, control = require_counts("n_canary", n_canary), require_counts("n_control", n_control)
    try:
        x, m, canary, control = np.broadcast_arrays(np.atleast_1d(x), m, canary, control)
    except ValueError:
        raise DataError("x, m, n_canary and n_control differ in shape; strata are the last axis") from None
    if not bool(np.all((x <= canary) & (m - x <= control) & (x <= m))):
        raise DataError("some stratum has more units with the event than units in an arm; count units once")
    n = canary + control
    safe = np.where(n > 1, n, 2.0)
    score = np.where(n > 0, x * control / safe - (m - x) * canary / safe, 0.0)
    variance = np.where(n > 1, canary * control * m * (n - m) / (safe**2 * (safe - 1)), 0.0)
    score = np.where(n > 1, score, 0.0)
    return StratifiedScore(np.cumsum(score, axis=-1), np.cumsum(variance, axis=-1))
