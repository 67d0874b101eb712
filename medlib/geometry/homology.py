r"""Loops: does a cloud go round a hole, whatever the order of its points?

Balls grow around the points, and a loop is born when they close into a ring and dies when the hole is filled: the bars
of persistent homology in dimension one, H1, of the Vietoris-Rips complex.  A long bar is a hole that is seen at many
scales.  It is known for k points evenly on a circle of radius R: born at the side $2R\sin(\pi/k)$, filled at
$2R\sin(\pi\lceil k/3\rceil/k)$ (Adamaszek & Adams 2017), so a test can hold the code to it.

Nothing here knows which stage follows which: a set of points is all that is looked at, so shuffled stages have the very
same bars.  What can be shuffled is what makes a point one stage, before the wordings of it are averaged.
"""

import numpy as np
from scipy.spatial.distance import pdist, squareform

from medlib.errors import MedlibError
from medlib.geometry.points import points


def longest_loop(x):
    """The longest bar of H1 of a cloud: `{"birth": ..., "death": ..., "bar": ...}`, as shares of its diameter.

    >>> longest_loop(stage_means)["bar"]

    `x`: [n, hidden], at least 4 rows.  All are zero where there is no loop.  For 10 points evenly on a circle `bar` is
    0.64; it is zero for points on a line.  Source: Ripser (Bauer 2021).
    """
    return dict(zip(("birth", "death", "bar"), _longest(squareform(pdist(points(x, least=4)))), strict=True))


def dealt_loop_test(x, n=200, seed=0):
    """The longest H1 bar of the stages, against stages dealt anew within each template before they are averaged.

    >>> dealt_loop_test(states)["p"]                      # states: [template, stage, hidden]

    Dealing breaks what the templates agree about, which is all that a mean over templates keeps of a stage; it needs
    two templates or more.  Returns a dict: `bar` (share of the diameter), `p` (share of `n` deals with a bar at least
    as long, counting the true one) and `null_mean`.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 3 or len(x) < 2 or x.shape[1] < 4:
        raise MedlibError(f"x has shape {x.shape}; give [template, stage, hidden], at least 2 templates and 4 stages")
    templates, stages, hidden = x.shape
    flat = points(x.reshape(-1, hidden))
    flat = flat - flat.mean(axis=0)
    gram = (flat @ flat.T) / templates**2
    generator = np.random.default_rng(seed)
    deals = generator.permuted(np.tile(np.arange(stages), (n, templates, 1)), axis=2)
    deals = np.concatenate([np.tile(np.arange(stages), (1, templates, 1)), deals])
    rows = deals + stages * np.arange(templates)[:, None]  # [deal, template, stage]: a row of `flat`
    means = gram[rows[:, :, None, :, None], rows[:, None, :, None, :]].sum(axis=(1, 2))  # Gram matrices of the means
    square = np.diagonal(means, axis1=1, axis2=2)
    distances = np.sqrt(np.clip(square[:, :, None] + square[:, None, :] - 2 * means, 0, None))
    bars = np.array([_longest(table)[2] for table in distances])
    return {
        "bar": float(bars[0]),
        "p": float((bars >= bars[0] - 1e-9).mean()),
        "null_mean": float(bars[1:].mean()),
    }


def _longest(distances):
    """Birth, death and length of the longest H1 bar, as shares of the largest distance."""
    from ripser import ripser  # a third of a second, so only where asked for

    diameter = distances.max()
    if diameter == 0:
        raise MedlibError("all rows are one point, so there is no diameter to measure a loop by: check the prompts")
    bars = ripser(distances / diameter, distance_matrix=True, maxdim=1)["dgms"][1]
    if not len(bars):
        return 0.0, 0.0, 0.0
    birth, death = bars[np.argmax(bars[:, 1] - bars[:, 0])].astype(float)
    return birth, death, death - birth
