"""Planted clouds: linear maps, noise and dimensions that are known, for the checks that come before the results."""

import numpy as np

from medlib import geometry
from medlib.chapters.embedding_geometry import two_traps
from medlib.errors import MedlibError

DIMENSIONS = (2, 8)
CLOUD = 1500  # tokens of a planted cloud whose dimension is asked for; TwoNN needs about so many


def cloud_of(dimension, n, hidden, seed=0):
    """A flat cloud of a known dimension, turned into `hidden` dimensions: [n, hidden]."""
    generator = np.random.default_rng(seed)
    turn = np.linalg.qr(generator.normal(size=(hidden, dimension)))[0]
    return generator.normal(size=(n, dimension)) @ turn.T


def answers(n, hidden, seed=0):
    """Every check of measures on data whose answer is known: (name, passed, what was found).

    >>> for name, passed, detail in answers(1200, 576): run.check(name, passed, detail)

    `n` tokens in `hidden` dimensions, as the clouds of the run; where these are too few for a held-out fit, so is the
    check, and refusing is what has to happen.
    """
    generator = np.random.default_rng(seed)
    x, noise = generator.normal(size=(2, n, hidden))
    mapped = x @ generator.normal(size=(hidden, hidden)) + 3
    chance = hidden / (n - 1)
    if n > 1.3 * (hidden + 1):
        inside, outside = geometry.linearity(x, mapped), geometry.linearity(x, mapped, held_out=True, seed=seed)
        detail = f"{inside:.4f} in sample, {outside:.4f} held out; 1 planted"
        yield "an exact linear map is linear", min(inside, outside) > 1 - 1e-6, detail
        inside, outside = geometry.linearity(x, noise), geometry.linearity(x, noise, held_out=True, seed=seed)
        detail = f"{inside:.2f} in sample, {outside:.2f} held out; {chance:.2f} by chance, and at most 0"
        yield "noise is linear by chance only", abs(inside - chance) < 0.05 and outside < 0.01, detail
    refused = False
    try:
        geometry.linearity(x[:hidden], noise[:hidden])
    except MedlibError:
        refused = True
    naive = two_traps.naive_linearity(x[:hidden], noise[:hidden])
    detail = f"the formula gives {naive:.4f} for {min(n, hidden)} tokens of noise, and the measure refuses"
    yield "too few tokens are refused", refused and naive > 1 - 1e-6, detail
    for dimension in DIMENSIONS:
        cloud = cloud_of(dimension, CLOUD, max(hidden, dimension), seed)
        again = np.concatenate([cloud, cloud[: CLOUD // 3]])
        found = geometry.two_nn(again, seed)
        naive, clean = two_traps.naive_dimensions(again), two_traps.naive_dimensions(cloud)
        right = all(abs(one[fit] / dimension - 1) < 0.2 for one in (found, clean) for fit in ("likelihood", "lowest"))
        wrecked = not 0.5 < naive["lowest"] / dimension < 2 and naive["likelihood"] < dimension / 10
        detail = (
            f"{found['likelihood']:.1f} and {found['lowest']:.1f} (likelihood, lowest fifth), {found['duplicates']} "
            f"duplicates removed; left in, {naive['likelihood']:.1f} and {naive['lowest']:.1f}; none put in, "
            f"{clean['likelihood']:.1f} and {clean['lowest']:.1f}"
        )
        passed = right and wrecked and found["duplicates"] == CLOUD // 3
        yield f"dimension {dimension} under duplicates", passed, detail
