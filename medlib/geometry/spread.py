"""Spread: how evenly a cloud of states fills its space.

Everything here is read off the eigenvalues of the covariance, or off the cosines between states.  One direction
that takes all the variance, or cosines near one, is a collapse; a few huge dimensions can fake it, so measure again
after `rms_normalised` and `without_largest`.
"""

import numpy as np

from medlib.errors import MedlibError
from medlib.geometry.points import points, unit_rows, varying


def _shares(x):
    """The share of the squared length along each principal axis of `x`, as it stands, largest first."""
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    energy = np.clip(np.linalg.eigvalsh(gram)[::-1], 0, None)
    return energy / energy.sum()


def anisotropy(x):
    r"""Share of the variance in the first principal component, $\sigma_1^2/\sum\sigma_i^2$ of the centred states.

    >>> anisotropy(states[12])

    From 1/rank (isotropic) to 1 (a line).  Source: Razzhigaev et al. 2024, arXiv 2311.05928.
    """
    return float(_shares(varying(points(x, least=3)))[0])


def effective_rank(x):
    r"""The number of equally strong directions with the same entropy: $\exp H(\sigma_i^2/\sum\sigma^2)$, centred.

    >>> effective_rank(states[12])

    From 1 (a line) to min(n - 1, hidden).
    """
    share = _shares(varying(points(x, least=3)))
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def mean_cosine(x):
    """Mean cosine over all pairs of different rows.

    >>> mean_cosine(states[12])
    """
    unit = unit_rows(points(x))
    n = len(unit)
    return float(((unit.sum(axis=0) ** 2).sum() - n) / (n * (n - 1)))


def self_similarity(x):
    """SelfSim: the mean pairwise cosine of one token's states over its contexts.

    >>> self_similarity(states_of_one_token)              # [contexts, hidden]

    One is a token that no context changes.  Compare with the same number for random tokens of the layer.
    Source: Ethayarajh 2019, D19-1006.
    """
    return mean_cosine(x)


def intra_similarity(x):
    """IntraSim: the mean cosine between the tokens of one prompt and their mean state.

    >>> intra_similarity(states_of_one_prompt)            # [tokens, hidden]

    Source: Ethayarajh 2019, D19-1006.
    """
    x = points(x)
    return float((unit_rows(x) @ unit_rows(x.mean(axis=0, keepdims=True)).T).mean())


def mev(x):
    """MEV: the share of one token's states that their first principal axis explains, not centred.

    >>> mev(states_of_one_token)                          # [contexts, hidden]

    At one, all states lie on one line through the origin.  Source: Ethayarajh 2019, D19-1006.
    """
    x = points(x)
    if not x.any():
        raise MedlibError("all states are zero, so there is nothing to explain: check where they were read")
    return float(_shares(x)[0])


def local_anisotropy(x, k=20):
    r"""How line-like the cloud is around each point: $1-\lambda_2/\lambda_1$ of the local covariance, on average.

    >>> local_anisotropy(age_states, k=20)

    The local covariance is that of the `k` nearest other rows.  One is a curve; near zero is a ball.
    """
    return float(local_anisotropies(x, k).mean())


def local_anisotropies(x, k=20):
    """The local anisotropy around every row, [n]: what to resample for an interval of `local_anisotropy`.

    >>> stats.bootstrap(local_anisotropies(states[12]), groups=table.age)
    """
    x = points(x, least=4)
    if not 3 <= k < len(x):
        raise MedlibError(f"k is {k}; with {len(x)} rows it can be 3 to {len(x) - 1}")
    x = varying(x)
    gram = x @ x.T
    square = np.diag(gram)
    distance = square[:, None] + square - 2 * gram
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
    local = gram[nearest[:, :, None], nearest[:, None, :]]
    local -= local.mean(axis=1, keepdims=True)
    local -= local.mean(axis=2, keepdims=True)
    eigenvalue = np.linalg.eigvalsh(local)
    first, second = eigenvalue[:, -1], np.clip(eigenvalue[:, -2], 0, None)
    if (first <= 1e-12 * square.max()).any():
        raise MedlibError(f"some rows have {k} identical neighbours: remove duplicates first (geometry.distinct)")
    return 1 - second / first


def collapse(x):
    """Four signs that a layer's states collapse onto few directions or few dimensions.

    >>> collapse(states[20])["effective_rank"], collapse(rms_normalised(states[20]))["effective_rank"]

    Returns a dict: `effective_rank`, `mean_cosine`, `first_component` (the share of the variance) and
    `max_over_median` (largest over median absolute activation; large means a few huge dimensions).
    """
    x = points(x, least=3)
    size = np.abs(x)
    middle = np.median(size)
    if middle == 0:
        raise MedlibError("more than half of the activations are exactly zero: check where the states were read")
    return {
        "effective_rank": effective_rank(x),
        "mean_cosine": mean_cosine(x),
        "first_component": anisotropy(x),
        "max_over_median": float(size.max() / middle),
    }
