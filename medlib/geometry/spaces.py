"""Spaces: the states as they are, along their principal axes, and as UMAP draws them.

UMAP is for looking: a claim must hold in the raw states too, and every picture comes with its trustworthiness.
A fit takes seconds and the import of umap-learn as long again, so it happens only where asked for.
"""

import numpy as np

from medlib.errors import MedlibError
from medlib.geometry.points import points

NEIGHBOURS = 15  # umap-learn's own default, used for the trustworthiness too


def spaces(states, n_components=30, seed=0, umap=False):
    """The same states in each space a score is reported in.

    >>> for space, x in spaces(states[12]).items():
    ...     print(space, silhouette(x, drugs.specialty))

    `states`: [n, hidden] of one layer, or [state, n, hidden] of all; each layer gets its own fit.  Returns a dict
    `{"raw": ..., "pca30": ...}` of arrays of the same leading shape (the number is `n_components`), with `"umap30"`
    when `umap` is true (one slow fit a layer, drawn with `seed`).  Raises `MedlibError` when rows or dimensions do not
    allow so many components.
    """
    states = np.asarray(states)
    layers = states if states.ndim == 3 else [states]
    found = {"raw": list(layers), f"pca{n_components}": [_pca(layer, n_components) for layer in layers]}
    if umap:
        found[f"umap{n_components}"] = [_umap(layer, n_components, seed) for layer in layers]
    return {name: np.stack(x) if states.ndim == 3 else x[0] for name, x in found.items()}


def umap(x, n_components=30, seed=0):
    """One layer's states [n, hidden] by UMAP, [n, n_components]; another seed gives another answer.

    >>> [silhouette(umap(states[12], seed=seed), drugs.specialty) for seed in range(5)]
    """
    return _umap(x, n_components, seed)


def umap2(x, seed=0, start=None):
    """A picture of one layer: `{"points": [n, 2], "trustworthiness": float}`.

    >>> picture = umap2(states[12], seed=1)
    >>> following = umap2(states[13], seed=1, start=picture["points"])

    `start`: points [n, 2] where UMAP begins instead of the principal components: from one layer's picture to the next,
    what stays in place in the states then stays in place on the page.

    The trustworthiness (1 is best) falls when rows far apart in `x` are drawn as neighbours (15 of them).
    Raises `MedlibError` with fewer than 33 rows.
    """
    from sklearn.manifold import trustworthiness

    drawn = _umap(x, 2, seed, start)
    return {"points": drawn, "trustworthiness": float(trustworthiness(points(x), drawn, n_neighbors=NEIGHBOURS))}


def _pca(x, n_components):
    from sklearn.decomposition import PCA

    x = points(x)
    if not 1 <= n_components < min(len(x), x.shape[1] + 1):
        raise MedlibError(
            f"{n_components} principal axes of {len(x)} rows in {x.shape[1]} dimensions; "
            f"n_components can be 1 to {min(len(x) - 1, x.shape[1])}"
        )
    return PCA(n_components, svd_solver="full").fit_transform(x)


def _umap(x, n_components, seed, start=None):
    x = points(x, least=max(2 * NEIGHBOURS + 3, n_components + 2))
    from umap import UMAP  # seconds, so only when fitted; n_jobs=1 is what a seed means to it

    options = dict(n_neighbors=NEIGHBOURS, random_state=seed, n_jobs=1)
    if start is not None:  # nearly right already: at full strides, points moved as far as without a start, and at 0.3
        options |= dict(init=start, n_epochs=200, learning_rate=0.3)  # two thirds as far, at the same trustworthiness
    else:  # UMAP's own spectral start fails, with a warning, where the neighbours fall into several groups
        options |= dict(init="pca" if x.shape[1] >= n_components else "random")
    return UMAP(n_components=n_components, **options).fit_transform(x)
