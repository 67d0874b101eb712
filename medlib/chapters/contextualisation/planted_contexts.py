r"""Planted: states whose SelfSim, IntraSim and MEV are known, for the check that comes before the results.

Directions at right angles give every number exactly.  With a common direction $c$ and directions $e_i$ of their own,
states $\sqrt{\rho}\,c + \sqrt{1-\rho}\,e_i$ have SelfSim $\rho$, MEV $\rho + (1-\rho)/n$ and, as the tokens of
one prompt, IntraSim $\sqrt{\rho + (1-\rho)/n}$.
"""

import numpy as np

from medlib.chapters.contextualisation import context_tables, later_layers
from medlib.chapters.contextualisation.pictures_read import Read
from medlib.errors import MedlibError
from medlib.geometry import intra_similarity, mev, self_similarity

LARGE = 50.0  # of the planted dimension, beside states of length one


def with_cosine(n, hidden, cosine, seed=0):
    """States of length one, each two of them with one cosine: `[n, hidden]`; `MedlibError` for too few dimensions.

    >>> self_similarity(with_cosine(50, 576, 0.8))
    0.8
    """
    if n >= hidden:
        raise MedlibError(f"{n} states with one common direction need more than {hidden} dimensions; give fewer.")
    directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(hidden, n + 1)))
    return np.sqrt(cosine) * directions[:, 0] + np.sqrt(1 - cosine) * directions[:, 1:].T


def made_up(n, hidden, cosines, n_tokens=3, large=False, seed=0):
    """A `Read` of made-up states, `cosines`: the SelfSim of each state 0..L; `large` adds one huge dimension to all.

    >>> made_up(20, 64, np.linspace(1, 0.5, 31)).text["planted"].shape
    (31, 20, 3, 64)
    """
    states = np.stack(
        [
            np.stack([with_cosine(n, hidden - 1, cosine, seed + t) for t in range(n_tokens)], axis=1)
            for cosine in cosines
        ]
    )
    size = np.full((*states.shape[:-1], 1), LARGE if large else 0.0)
    states = np.concatenate([states, size], axis=-1)
    names = [f"token {number}" for number in range(n_tokens)]
    return Read({"planted": states}, {"planted": names}, states, np.arange(n_tokens), 0, 0.0, 0.0)


def answers(n, hidden, n_layers, seed=0):
    """Every planted check: (name, passed, what was found).

    >>> for name, passed, detail in answers(50, 576, 30): run.check(name, passed, detail)
    """
    cosine = 0.8
    x = with_cosine(n, hidden, cosine, seed)
    share = cosine + (1 - cosine) / n
    for name, measure, known in (
        ("SelfSim", self_similarity, cosine),
        ("MEV", mev, share),
        ("IntraSim", intra_similarity, np.sqrt(share)),
    ):
        found = measure(x)
        yield f"{name} of states with one cosine", abs(found - known) < 1e-9, f"{found:.4f}, planted {known:.4f}"
    small = min(hidden, 4 * n)
    falling, level = np.linspace(1, 0.5, n_layers + 1), np.full(n_layers + 1, cosine)
    for name, cosines, large, without, planted in (
        ("falling", falling, False, False, "falls"),
        ("level", level, False, False, "undecided"),
        ("falling under one large dimension", falling, True, True, "falls"),
    ):
        read = made_up(n, small, cosines, large=large, seed=seed)
        largest = context_tables.largest_dimensions(read, 1) if without else None
        look = context_tables.looks(read, largest)[0]
        row = later_layers.later([look], seed).iloc[0]
        found = later_layers.direction(row) if abs(row["value"]) > 1e-9 else "undecided"  # rounding is no direction
        yield f"SelfSim {name}", found == planted, f"{found} by {row['value']:.3f}, planted: {planted}"
    hidden_by = context_tables.looks(made_up(n, small, falling, large=True, seed=seed))[0].own.min()
    yield "a large dimension hides the fall", hidden_by > 0.99, f"least cosine {hidden_by:.4f}"
