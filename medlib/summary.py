"""From one number per prompt and layer to a curve with its interval.

The unit that is resampled is the item, with all its templates, or, where a frame has a column `cluster`, what several
items are about (an age, a disease in stages).  A curve resamples units once for all layers.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from medlib import stats
from medlib.errors import MedlibError


def sample_items(frame, n, seed=0):
    """The rows of `n` items drawn at random, every template of each; all rows where there are not more items."""
    if n < 3:
        raise MedlibError(f"{n} items were asked for; an interval needs at least 3.")
    items = frame["item"].drop_duplicates()
    return frame if n >= len(items) else frame[frame["item"].isin(items.sample(n, random_state=seed))]


def by_layer(frame, column, statistic=np.mean, seed=0):
    """A statistic of `column` over items, for each layer, with its bootstrap interval.

    >>> by_layer(sweep, "kl").query("layer == 3")

    `frame` has the columns `item`, `variant`, `layer` and `column`, one row for each prompt and layer.  Returns
    `layer, value, low, high, n` (units), ready for the results table.  Raises `MedlibError` for NaN and for fewer than
    three units.
    """
    curves, units = _curves(frame, column)
    interval = stats.bootstrap(curves.to_numpy(), statistic, seed=seed, groups=units)
    return _table(curves, interval, len(set(units)))


def difference_by_layer(frame, other, column, statistic=np.mean, seed=0):
    """The statistic of `column` in `frame` minus that in `other`, two sets of items, with its interval."""
    (a, units_a), (b, units_b) = _curves(frame, column), _curves(other, column)
    interval = stats.bootstrap_difference(a.to_numpy(), b.to_numpy(), statistic, seed=seed, groups=(units_a, units_b))
    return _table(a, interval, min(len(set(units_a)), len(set(units_b))))


def rank_of_templates(frame, column):
    """How alike the curves of single templates are: the smallest rank correlation of any two, over layers.

    Raises `MedlibError` where there is one template only.
    """
    curves = frame.groupby(["variant", "layer"])[column].mean().unstack()
    names = list(curves.index)
    if len(names) < 2:
        raise MedlibError(f"There is one template only, {names[0]!r}; templates can be compared where there are two.")
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return min(stats.spearman(curves.loc[a], curves.loc[b]) for a, b in pairs)


def rank_agreement(frame, other, column, seed=0):
    """Rank correlation over layers of two mean curves on the same prompts, with its interval: prompts stay paired.

    >>> rank_agreement(right_answers, shuffled_answers, "saliency").low

    Noise in the curves lowers the correlation, and the interval does not undo that: where layers differ by less than
    twice the standard error of their means, the true agreement can lie above the interval (tests/test_intervals.py).
    Raises `MedlibError` where the two frames do not hold the same items and templates.
    """
    (a, units), (b, _) = _curves(frame, column), _curves(other, column)
    if not a.index.equals(b.index) or not a.columns.equals(b.columns):
        raise MedlibError(
            "The two curves are of different prompts or layers; give the same items, templates and layers."
        )
    return stats.bootstrap(np.stack([a, b], axis=1), _spearman_of_means, seed=seed, groups=units)


def _spearman_of_means(curves, axis):
    """Spearman of two mean curves: `curves [.., prompt, which, layer]`, `axis` that of the prompts."""
    ranks = rankdata(curves.mean(axis), axis=-1)
    a, b = np.moveaxis(ranks - ranks.mean(-1, keepdims=True), -2, 0)
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def _curves(frame, column):
    """One curve a prompt, `[prompt, layer]`, and the unit that each prompt belongs to."""
    curves = frame.pivot(index=["item", "variant"], columns="layer", values=column)
    return curves, units(frame, curves.index.get_level_values("item"))


def units(frame, items):
    """What is resampled for each of `items`: its `cluster` where the frame has such a column, else the item itself."""
    if "cluster" not in frame:
        return np.asarray(items)
    return frame.drop_duplicates("item").set_index("item")["cluster"].reindex(items).to_numpy()


def _table(curves, interval, n):
    return pd.DataFrame(
        {"layer": curves.columns, "value": interval.value, "low": interval.low, "high": interval.high, "n": n}
    )
