"""Two traps: numbers that come out of the formula whatever the data are.

With no more tokens than dimensions, a linear map explains anything, so a linearity of one says nothing.  And a token
that is in the cloud twice has its copy as nearest neighbour, at no distance, while every other token near the two has
its nearest neighbours equally far away: TwoNN then gives a dimension that is no property of the cloud.
Both are shown on the states of this run and on noise; nothing here refuses what the measures of the page refuse.
"""

import numpy as np
import pandas as pd

DRAWS = 3
COPY_DRAWS = 6  # of copies, whose effect differs more from draw to draw
SIZES = (0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0)  # tokens, as multiples of the dimensions
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # of the tokens that are copies


def few_tokens(x, y, seed=0):
    """Linearity from `x` to `y` on part of the tokens, beside unrelated noise of the same size: how few are too few?

    >>> few_tokens(states[15], states[16] - states[15])

    `x`, `y`: [n, hidden].  One row for each size (see `SIZES`; at most n), `data` ("states", "noise") and `score`
    ("in sample", "held out": fitted on four fifths and scored on the last): `tokens`, `ratio` (tokens over dimensions),
    `value`, `low`, `high` (mean and range of three draws) and `chance` (dimensions / (tokens - 1) at most 1; in
    sample).
    """
    generator = np.random.default_rng(seed)
    hidden, rows = x.shape[1], []
    sizes = sorted({min(int(ratio * hidden) + 1, len(x)) for ratio in SIZES} - {0})
    for n in sizes:
        scores = {}
        for _ in range(DRAWS):
            chosen = generator.choice(len(x), n, replace=False)
            clouds = {"states": (x[chosen], y[chosen]), "noise": generator.normal(size=(2, n, hidden))}
            for data, (a, b) in clouds.items():
                scores.setdefault((data, "in sample"), []).append(naive_linearity(a, b))
                scores.setdefault((data, "held out"), []).append(naive_linearity(a, b, fitted=n * 4 // 5))
        for (data, score), values in scores.items():
            chance = min(1.0, hidden / (n - 1)) if score == "in sample" else None
            row = dict(tokens=n, ratio=n / hidden, data=data, score=score, chance=chance)
            rows.append(row | dict(value=np.mean(values), low=min(values), high=max(values)))
    return pd.DataFrame(rows)


def naive_linearity(x, y, fitted=None):
    """The R2 of the shortest least-squares map, whatever the number of rows; fitted on the first `fitted` of them."""
    fit, test = (slice(None),) * 2 if fitted is None else (slice(fitted), slice(fitted, None))
    middle_x, middle_y = x[fit].mean(axis=0), y[fit].mean(axis=0)
    weights = np.linalg.lstsq(x[fit] - middle_x, y[fit] - middle_y)[0]
    target = y[test] - middle_y
    return float(1 - ((target - (x[test] - middle_x) @ weights) ** 2).sum() / (target**2).sum())


def naive_dimensions(x):
    """TwoNN of a cloud as it stands, copies and all: {"lowest": float, "likelihood": float}.

    `lowest` is a line through the origin on the lowest fifth of the ratios of distances; `likelihood` uses all of them,
    and is zero where a copy makes one infinite.
    """
    from sklearn.neighbors import NearestNeighbors

    x = x - x.mean(axis=0)
    apart = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(x).kneighbors()[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(apart[:, 1] > 0, apart[:, 1] / apart[:, 0], 1.0)  # three copies: no distance to either
        log = np.sort(np.log(ratio))
    low = log[: max(2, len(log) // 5)]
    height = -np.log(1 - np.arange(len(low)) / len(log))
    steep = (low @ height) / (low @ low) if low.any() else np.inf
    return {"lowest": float(steep), "likelihood": float((len(log) - 1) / log.sum())}


def with_copies(x, seed=0):
    """TwoNN with a growing share of exact copies in the cloud, its size held: does the number survive?

    >>> with_copies(image.states[15])

    `x`: distinct rows [n, hidden].  Returns `share`, `fit` ("lowest", "likelihood"), `value` (mean of six draws),
    `low`, `high` (their range) and `clean`, the same fit on the distinct rows of each draw alone.
    """
    generator, rows = np.random.default_rng(seed), []
    for share in SHARES:
        drawn = []
        for _ in range(COPY_DRAWS):
            distinct = x[generator.permutation(len(x))[: len(x) - int(share * len(x))]]
            copies = distinct[generator.choice(len(distinct), int(share * len(x)), replace=False)]
            drawn.append((naive_dimensions(np.concatenate([distinct, copies])), naive_dimensions(distinct)))
        for fit in ("lowest", "likelihood"):
            values = [dirty[fit] for dirty, _ in drawn]
            clean = np.mean([clean[fit] for _, clean in drawn])
            row = dict(share=share, fit=fit, value=np.mean(values), low=min(values), high=max(values), clean=clean)
            rows.append(row)
    return pd.DataFrame(rows)


def as_read(cloud):
    """TwoNN of the states as they were read, repeated pictures left in, and without them: a row a state and fit.

    >>> as_read(clouds["image"])

    `cloud`: a `TokenCloud` that kept states with repeats.  Returns `layer`, `fit`, `value` (repeats left in), `clean`
    (without), `repeats` (how many) and `n` (rows with them).
    """
    from medlib.geometry import distinct

    rows = []
    for state, x in cloud.with_repeats.items():
        kept, repeats = distinct(x)
        dirty, clean = naive_dimensions(x.astype(np.float64)), naive_dimensions(kept)
        rows += [
            dict(layer=state, fit=fit, value=dirty[fit], clean=clean[fit], repeats=repeats, n=len(x)) for fit in dirty
        ]
    return pd.DataFrame(rows)
