"""The pictures look as they were kept: no bar moved, no label lost, on every release of matplotlib."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from tests import drawn

TOLERATED = 50.0
"""Of 255, over three by three pixels and within two pixels: letters of matplotlib 3.9 and 3.11 differ by 42,
a bar that moves by three points of a hundred by 57, a label that is lost by 64 or more."""


def kept(name):
    from PIL import Image

    return np.asarray(Image.open(drawn.KEPT / f"{name}.png").convert("RGB"), dtype=float)


def difference(picture, other):
    """The most by which a place differs from all places of the other picture within two pixels."""
    from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

    assert picture.shape == other.shape
    one, two = (uniform_filter(array, (3, 3, 1)) for array in (picture, other))
    near = (5, 5, 1)
    outside = [
        np.maximum(minimum_filter(b, near) - a, a - maximum_filter(b, near)).max()
        for a, b in ((one, two), (two, one))
    ]
    return float(max(outside))


@pytest.mark.parametrize("name", drawn.PICTURES)
def test_a_picture_looks_as_it_was_kept(name):
    assert difference(drawn.draw(name), kept(name)) < TOLERATED


def a_bar_moves(ax):
    bar = ax.patches[4]
    bar.set_height(bar.get_height() - 0.05)


def a_label_is_lost(ax):
    ax.texts[2].remove()


def a_tick_is_lost(ax):
    ax.set_xticklabels(["1. signup", "", "3. paid"])


def the_title_is_lost(ax):
    ax.set_title("", loc="left")


def two_arms_look_alike(ax):
    for bar in ax.patches:
        bar.set_hatch("")


@pytest.mark.parametrize(
    "spoil", [a_bar_moves, a_label_is_lost, a_tick_is_lost, the_title_is_lost, two_arms_look_alike]
)
def test_what_goes_wrong_in_a_picture_is_seen(spoil, monkeypatch):
    def spoilt():
        ax = drawn.funnel()
        spoil(ax)
        return ax

    monkeypatch.setitem(drawn.PICTURES, "spoilt", spoilt)
    assert difference(drawn.draw("spoilt"), kept("funnel")) > TOLERATED
