"""Fits: what UMAP makes of the states, and whether the states themselves show it.

UMAP pulls neighbours together and starts at random: its scores are held against shuffled labels in the same space, and
a case counts only if every seed and every template shows it.
"""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from medlib import geometry
from medlib.chapters import atlas


def in_umap(states, frame, labels, layers, seeds, n=200, seed=0, templates=2):
    """Silhouettes after UMAP to 30 dimensions with several seeds, beside those of the same raw states.

    >>> in_umap(states["entity"], frame, ["specialty"], layers=[0, 15, 30], seeds=range(5))

    The last `templates` of those that do not open with their item are taken.  Returns a row for each layer, template
    (`variant`), label and fit: `space` (raw, umap30), `draw` (the seed of UMAP; 0 for raw), `score`, `excess`, `p`,
    against the same `n` shuffles everywhere.
    """
    tables = []
    with threadpool_limits(1):
        for variant in frame.loc[~frame["opens"], "variant"].unique()[-templates:]:
            rows = np.flatnonzero(frame["variant"] == variant)
            for layer in layers:
                x = states[layer, rows]
                fits = [("raw", 0, x), *(("umap30", draw, geometry.umap(x, 30, draw)) for draw in seeds)]
                for space, draw, fit in fits:
                    found = atlas.silhouettes(fit, frame.iloc[rows], labels, n, seed).groupby("label", as_index=False)
                    means = found.agg(score=("score", "mean"), excess=("excess", "mean"), p=("p", "first"))
                    tables.append(means.assign(space=space, draw=draw, layer=layer, variant=variant))
    return pd.concat(tables, ignore_index=True)


def held_in_raw(table):
    """For each layer and label, whether the labels lie together after UMAP and in the raw states, in every template.

    `table`: that of `in_umap`, which may have a further column `domain`.  Returns its keys with `in_umap` (every seed
    and template) and `in_raw` (every template; both p at most 0.05, uncorrected), `after`, the mean excess after UMAP,
    `low` and `high`, that of the lowest and the highest seed, `raw`, that of the raw states, all means over templates.
    """
    keys = [name for name in ("domain", "label", "layer") if name in table]
    after, raw = (table[table["space"] == space] for space in ("umap30", "raw"))
    by_seed = after.groupby([*keys, "draw"])["excess"].mean().groupby(keys)
    found = pd.DataFrame({"after": by_seed.mean(), "low": by_seed.min(), "high": by_seed.max()})
    held = raw.groupby(keys)
    return found.assign(
        in_umap=after.groupby(keys)["p"].max() <= 0.05, in_raw=held["p"].max() <= 0.05, raw=held["excess"].mean()
    ).reset_index()


def made_up_kinds(code, hidden, n, seed=0):
    """Planted kinds, tested: `(silhouette, p)`, and how many of 20 shuffled labellings reach p <= 0.05.

    `code`: [n], the kind of each point; `n` shuffles for each test.
    """
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(len(code), hidden))
    points += 0.6 * generator.normal(size=(code.max() + 1, hidden))[code]
    found = geometry.silhouette_test(points, code, n=n)
    dealt = generator.permuted(np.tile(code, (20, 1)), axis=1)
    false = sum(geometry.silhouette_test(points, labels, n=n)["p"] <= 0.05 for labels in dealt)
    return found["silhouette"], found["p"], false


def clumps_of_noise(n, hidden, seed=0, groups=6):
    """What UMAP draws of points that hold no groups: `(silhouette in the picture, silhouette in the points)`.

    Groups are read off the picture of normal noise, as an eye would, by k-means; then they are scored in the picture
    and in the points themselves.
    """
    from sklearn.cluster import KMeans

    x = np.random.default_rng(seed).normal(size=(n, hidden))
    drawn = geometry.umap2(x, seed)["points"]
    seen = KMeans(groups, n_init=5, random_state=seed).fit_predict(drawn)
    return geometry.silhouette(drawn, seen), geometry.silhouette(x, seen)
