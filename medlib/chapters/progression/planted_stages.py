"""Made-up stages along a line or in a ring, and how weak a ring is still found."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from medlib import geometry

SHAPES = ("line", "ring", "dealt")
SCATTERS = (0.5, 1, 2, 3, 4, 6, 8)  # of `planted`: the ring holds from nearly all of the variance to a tenth of it
N_DRAWS = 20
ENOUGH = 16  # of the draws: a ring of this size is found


def planted(shape, templates, n_stages, hidden, scatter=0.5, seed=0):
    """Made-up states of one series, [template, stage, hidden]: a `line`, a `ring`, or a ring `dealt` anew in each.

    >>> stages.planted("ring", templates=3, n_stages=10, hidden=576)

    `scatter` is the length of the noise of each state, in steps from one stage to the next.  Each template has a place
    of its own, far from the others.
    """
    generator = np.random.default_rng(seed)
    way = np.arange(n_stages)
    if shape == "line":
        flat = np.stack([way, np.zeros(n_stages)], axis=1).astype(float)
    else:
        around = 2 * np.pi * way / n_stages
        flat = np.stack([np.cos(around), np.sin(around)], axis=1) / (2 * np.sin(np.pi / n_stages))
    plane = np.linalg.qr(generator.normal(size=(hidden, 2)))[0]
    x = np.tile(flat @ plane.T, (templates, 1, 1))
    if shape == "dealt":
        x = np.stack([generator.permutation(one) for one in x])
    noise = generator.normal(size=x.shape) * scatter / np.sqrt(hidden)
    return x + noise + 10 * generator.normal(size=(templates, 1, hidden))


@threadpool_limits.wrap(limits=1)  # hundreds of small products
def _tested(shape, templates, hidden, scatter, seed):
    """The order and the loop of one made-up series: a dict of measures and p-values."""
    x = planted(shape, templates, 10, hidden, scatter, seed)
    loop = geometry.dealt_loop_test(x, n=39, seed=seed)
    return geometry.progression(x.mean(axis=0), range(10), n=99) | {"p_loop": loop["p"], "bar": loop["bar"]}


def check(templates, hidden, seed=0):
    """A line is a line, a ring is a ring, and what is dealt is neither, 20 draws each: `(passed, detail)`."""
    rows = [
        {"shape": shape, **_tested(shape, templates, hidden, 0.5, seed + draw)}
        for shape in SHAPES
        for draw in range(N_DRAWS)
    ]
    found = pd.DataFrame(rows).groupby("shape")
    line, ring, loop = (found[p].agg(lambda p: int((p <= 0.05).sum())) for p in ("p_line", "p_circularity", "p_loop"))
    middle = found[["csfs", "csls", "circularity"]].median()
    passed = (
        tuple(middle.loc["line", ["csfs", "csls"]]) == (1, 8)
        and middle.loc["line", "circularity"] < 0 < middle.loc["ring", "circularity"]
        and line["line"] == N_DRAWS
        and min(ring["ring"], loop["ring"]) >= N_DRAWS - 1
        and max(loop["line"], ring["line"], line["dealt"], ring["dealt"], loop["dealt"]) <= N_DRAWS // 4
    )
    parts = (f"{shape}: order {line[shape]}, ring {ring[shape]}, loop {loop[shape]}" for shape in SHAPES)
    return bool(passed), f"of {N_DRAWS} at p ≤ 0.05: " + "; ".join(parts)


def weaker_rings(templates, hidden, seed=0):
    """How often rings are found as the other differences between stages grow: a row for each of `SCATTERS`.

    >>> planted_stages.weaker_rings(templates=3, hidden=576)

    Columns: `share` of the variance between the stage means that the ring holds, `ring` and `loop`, how many of 20 have
    p at most 0.05 for circularity and for the longest bar, and `bar`, the mean bar as a share of the diameter.
    """
    radius = 1 / (2 * np.sin(np.pi / 10))
    rows = []
    for scatter in SCATTERS:
        found = pd.DataFrame(_tested("ring", templates, hidden, scatter, seed + draw) for draw in range(N_DRAWS))
        share = radius**2 / (radius**2 + scatter**2 / templates)
        p = found[["p_circularity", "p_loop"]].le(0.05).sum()
        rows.append((share, int(p["p_circularity"]), int(p["p_loop"]), found["bar"].mean()))
    return pd.DataFrame(rows, columns=["share", "ring", "loop", "bar"])


def found_from(table, column):
    """The smallest share of the variance from which on `ENOUGH` of the rings are found; None where none is.

    `table`: of `weaker_rings`; `column`: `ring` or `loop`.
    """
    found = None
    for share, count in table.sort_values("share", ascending=False)[["share", column]].itertuples(index=False):
        if count < ENOUGH:
            break
        found = share
    return found
