r"""Intrinsic dimension by TwoNN: how many coordinates move a point among its nearest neighbours.

The ratio $\mu=r_2/r_1$ of the distances to the two nearest neighbours follows $F(\mu)=1-\mu^{-d}$ whatever the density,
so d can be read off the ratios alone.  A duplicate has $r_1=0$ and its partners a false $r_2$: 500 rounded ones among
2000 points turn a true 8 into less than 1 by likelihood and into more than twice 8 by the lowest ratios, so duplicates
go first, and are counted.  The nearest neighbours are also where noise lives: with fewer points they are further apart,
so an estimate that falls when rows are dropped was measuring noise.
"""

import numpy as np

from medlib.errors import MedlibError
from medlib.geometry.points import distinct

LEAST = 20
DRAWS = 5


def intrinsic_dimension(x, fit="likelihood"):
    r"""Intrinsic dimension of a cloud, duplicates removed.

    >>> intrinsic_dimension(states[12])

    `fit="likelihood"` is the unbiased maximum-likelihood estimate over all ratios (Denti et al. 2022);
    `fit="lowest"` is a line through the origin on the lowest fifth of the ratios, $-\log(1-F)$ against $\log\mu$.
    Source: Facco et al. 2017, doi 10.1038/s41598-017-11873-y; fits by scikit-dimension.
    Raises `MedlibError` with fewer than 20 distinct rows.
    """
    kept, removed = distinct(x)
    _enough(kept, removed)
    return _fit(_ratios(kept), fit)


def two_nn(x, seed=0):
    """Intrinsic dimension with what is needed to believe it.

    >>> pd.DataFrame([two_nn(layer) for layer in states])

    Returns a dict: `likelihood` and `lowest` (see `intrinsic_dimension`), `half` and `quarter` (the likelihood estimate
    on so much of the rows, mean of 5 draws by `seed`; null below 20 rows), `n` (distinct rows), `duplicates` (removed).
    """
    kept, removed = distinct(x)
    _enough(kept, removed)
    ratios, generator = _ratios(kept), np.random.default_rng(seed)

    def fewer(n):
        if n < LEAST:
            return None
        draws = [generator.choice(len(kept), n, replace=False) for _ in range(DRAWS)]
        return float(np.mean([_fit(_ratios(kept[draw]), "likelihood") for draw in draws]))

    return {
        "likelihood": _fit(ratios, "likelihood"),
        "lowest": _fit(ratios, "lowest"),
        "half": fewer(len(kept) // 2),
        "quarter": fewer(len(kept) // 4),
        "n": len(kept),
        "duplicates": removed,
    }


def _enough(kept, removed):
    if len(kept) < LEAST:
        raise MedlibError(
            f"{len(kept)} distinct rows ({removed} duplicates removed); intrinsic dimension needs at least {LEAST}: "
            "give more tokens"
        )


def _ratios(x):
    """Distances to the first and second nearest neighbour, [n, 2]."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=2, algorithm="brute").fit(x - x.mean(axis=0)).kneighbors()[0]


def _fit(distances, fit):
    from skdim.id import TwoNN

    options = {"likelihood": {"method": "mle", "discard_fraction": 0.0}, "lowest": {"discard_fraction": 0.8}}
    if fit not in options:
        raise MedlibError(f"fit is {fit!r}; it can be {' or '.join(map(repr, options))}")
    with np.errstate(divide="ignore"):  # the largest ratio's log(1 - F), which the likelihood does not use
        return float(TwoNN(dist=True, **options[fit]).fit(distances).dimension_)
