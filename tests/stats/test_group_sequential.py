"""Planned looks: the tables of Lan and DeMets, Pocock, O'Brien and Fleming, gsDesign's defaults."""

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError

# K -> Lan-DeMets OBF two-sided .05, Pocock two-sided .05, OBF one-sided .05, Pocock one-sided .05
TABLE = """
2 | 2.963 1.969 | 2.157 2.201 | 2.538 1.662 | 1.866 1.885
3 | 3.710 2.511 1.993 | 2.279 2.295 2.296 | 3.200 2.141 1.695 | 2.002 1.994 1.980
4 | 4.333 2.963 2.359 2.014 | 2.368 2.368 2.358 2.350 | 3.750 2.540 2.016 1.720 | 2.100 2.077 2.053 2.035
5 | 4.877 3.357 2.680 2.290 2.031 | 2.438 2.427 2.410 2.397 2.386 | 4.229 2.888 2.298 1.962 1.740 \
| 2.176 2.144 2.113 2.090 2.071
6 | 5.367 3.710 2.970 2.539 2.252 2.045 | 2.495 2.477 2.455 2.437 2.423 2.412 \
| 4.660 3.200 2.552 2.180 1.933 1.755 | 2.239 2.200 2.165 2.137 2.115 2.097
7 | 5.815 4.033 3.235 2.767 2.455 2.229 2.056 | 2.543 2.520 2.494 2.473 2.457 2.443 2.432 \
| 5.055 3.486 2.785 2.380 2.111 1.917 1.768 | 2.291 2.248 2.209 2.178 2.154 2.134 2.117
8 | 6.232 4.333 3.481 2.980 2.644 2.401 2.215 2.066 | 2.585 2.558 2.529 2.506 2.487 2.471 2.459 2.448 \
| 5.421 3.750 3.002 2.566 2.277 2.067 1.906 1.778 | 2.337 2.291 2.249 2.216 2.189 2.167 2.149 2.134
9 | 6.623 4.613 3.712 3.179 2.822 2.562 2.363 2.205 2.074 \
| 2.622 2.592 2.561 2.535 2.514 2.497 2.483 2.471 2.461 \
| 5.764 3.996 3.205 2.741 2.432 2.208 2.037 1.900 1.787 \
| 2.377 2.329 2.284 2.249 2.221 2.197 2.178 2.161 2.147
10 | 6.991 4.877 3.930 3.367 2.989 2.715 2.504 2.336 2.198 2.081 \
| 2.655 2.623 2.590 2.562 2.540 2.521 2.506 2.493 2.482 2.472 \
| 6.088 4.229 3.396 2.906 2.579 2.342 2.160 2.015 1.895 1.795 \
| 2.412 2.363 2.317 2.280 2.250 2.225 2.204 2.187 2.171 2.158
"""
ROWS = [line.split("|") for line in TABLE.strip().splitlines()]
RAMP = [0.01, 0.05, 0.15, 0.40, 1.0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].strip()} looks")
def test_spending_boundaries_of_equal_looks(row):
    looks = int(row[0])
    times = [(look + 1) / looks for look in range(looks)]
    settings = [("obrien-fleming", "two"), ("pocock", "two"), ("obrien-fleming", "one"), ("pocock", "one")]
    for cells, (kind, sided) in zip(row[1:], settings, strict=True):
        plan = stats.spending_boundary(times, alpha=0.05, sided=sided, kind=kind)
        assert np.abs(np.array(plan.upper) - [float(cell) for cell in cells.split()]).max() < 1.1e-3


@pytest.mark.parametrize(
    "kind, sided, constants",
    [
        ("pocock", "two", (2.178, 2.289, 2.361, 2.413, 2.555)),
        ("obrien-fleming", "two", (1.977, 2.004, 2.024, 2.040, 2.087)),
        ("pocock", "one", (1.875, 1.992, 2.067, 2.122, 2.270)),
        ("obrien-fleming", "one", (1.678, 1.710, 1.733, 1.751, 1.801)),
    ],
)
def test_classical_constants(kind, sided, constants):
    limits = [stats.classical_boundary(k, kind=kind, sided=sided).upper[-1] for k in (2, 3, 4, 5, 10)]
    assert [round(c, 3) for c in limits] == list(constants)


def test_one_look_is_the_ordinary_test():
    assert round(stats.spending_boundary([1.0], sided="two").upper[0], 4) == 1.9600
    assert round(stats.spending_boundary([1.0], sided="one").upper[0], 4) == 1.6449


@pytest.mark.parametrize(
    "power, boundary",
    [(2, (3.0902, 2.7141, 2.4728, 2.2799, 2.1140)), (3, (3.5401, 2.9743, 2.6045, 2.3064, 2.0455))],
)
def test_kim_and_demets(power, boundary):
    times = [0.2, 0.4, 0.6, 0.8, 1.0]
    plan = stats.spending_boundary(times, sided="two", kind="kim-demets", parameter=power)
    assert [round(z, 4) for z in plan.upper] == list(boundary)


def test_hwang_shih_and_de_cani_by_the_defaults_of_gsdesign():
    plan = stats.futility_plan(
        [1 / 3, 2 / 3, 1],
        alpha=0.025,
        power=0.9,
        kind="hwang-shih-decani",
        parameter=-4,
        futility_kind="hwang-shih-decani",
        futility_parameter=-2,
    )
    assert [round(z, 4) for z in plan.upper] == [3.0107, 2.5465, 1.9992]
    assert [round(z, 4) for z in plan.lower] == [-0.2387, 0.9411, 1.9992]
    assert plan.drift == pytest.approx(3.352866, abs=1e-6)  # printed truncated
    assert round(plan.inflation, 5) == 1.06988


def test_futility_by_obrien_and_fleming():
    plan = stats.futility_plan([0.2, 0.4, 0.6, 0.8, 1.0], alpha=0.05, power=0.8)
    assert [round(z, 4) for z in plan.lower] == [-1.4321, -0.0283, 0.7201, 1.2479, 1.7397]
    assert plan.drift == pytest.approx(2.697883, abs=1e-6)  # printed truncated


def test_on_a_ramp_obrien_and_fleming_cannot_act_in_the_first_stages():
    obf = stats.spending_boundary(RAMP, kind="obrien-fleming").upper
    assert obf[:2] == (8.0, 8.0)
    assert [round(z, 3) for z in obf[2:]] == [4.927, 2.887, 1.651]
    pocock = stats.spending_boundary(RAMP, kind="pocock").upper
    assert [round(z, 3) for z in pocock] == [3.138, 2.711, 2.405, 2.113, 1.871]
    kim = stats.spending_boundary(RAMP, kind="kim-demets", parameter=1).upper
    assert [round(z, 3) for z in kim] == [3.291, 2.872, 2.549, 2.191, 1.793]


def test_the_third_stage_of_the_ramp_by_ordinary_quadrature():
    """Two looks that matter, .15 and .40: one integral instead of the recursion."""
    from scipy.integrate import quad
    from scipy.optimize import brentq
    from scipy.stats import norm

    spent = [stats.spending("obrien-fleming", t, 0.05) for t in (0.15, 0.40)]
    first, r = norm.isf(spent[0]), np.sqrt(0.15 / 0.40)

    def newly(z):
        inner = quad(
            lambda u: norm.pdf(u) * norm.sf((z - r * u) / np.sqrt(1 - r * r)), -12, first, epsabs=1e-13
        )
        return inner[0] - (spent[1] - spent[0])

    z = stats.spending_boundary(RAMP, kind="obrien-fleming").upper[3]
    assert z == pytest.approx(brentq(newly, 2, 4), abs=1e-8)


def test_a_boundary_spends_exactly_its_level():
    for kind in ("obrien-fleming", "pocock", "kim-demets", "hwang-shih-decani"):
        plan = stats.spending_boundary([0.1, 0.3, 0.7, 1.0], kind=kind)
        above, _ = stats.crossing_probabilities(plan.information, plan.upper)
        assert sum(above) == pytest.approx(0.05, abs=1e-9)


def test_crossing_probabilities_by_simulation():
    rng = np.random.default_rng(8)
    times = np.array([0.2, 0.5, 1.0])
    steps = rng.normal(size=(200_000, 3)) * np.sqrt(np.diff(times, prepend=0))
    z = (steps.cumsum(axis=1) + 1.5 * times) / np.sqrt(times)
    upper, lower = [2.5, 2.2, 2.0], [-1.0, 0.0, 2.0]
    above, below = stats.crossing_probabilities(times, upper, lower=lower, drift=1.5)
    alive = np.ones(len(z), bool)
    for look in range(3):
        up, down = alive & (z[:, look] >= upper[look]), alive & (z[:, look] <= lower[look])
        assert above[look] == pytest.approx(up.mean(), abs=4e-3)
        assert below[look] == pytest.approx(down.mean(), abs=4e-3)
        alive &= ~up & ~down


@pytest.mark.parametrize(
    "z, drift, final, chance",
    [
        (1.0, None, 1.96, 0.220099),
        (1.0, 2.8, 1.96, 0.582401),
        (0.0, 2.8, 1.96, 0.214192),
        (-1.0, 2.8, 1.645, 0.089074),
    ],
)
def test_conditional_power_halfway(z, drift, final, chance):
    assert round(stats.conditional_power(z, 0.5, drift=drift, z_final=final), 6) == chance


@pytest.mark.parametrize("bad", [[], [0.5, 0.5], [0.5, 0.2], [0.0, 1.0], [0.5, 1.5], [float("nan")]])
def test_information_must_grow_up_to_one(bad):
    with pytest.raises(DataError, match="information is"):
        stats.spending_boundary(bad)
