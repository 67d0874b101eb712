"""Windows of consecutive blocks: what is lost with blocks `first` to `last`, and how it is drawn.

One block at a time cannot see blocks that stand in for each other; a window that costs more than its blocks one by one
holds some that do.  All windows make a triangle: single blocks along its edge, the whole model in its corner.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm, SymLogNorm

from medlib import stats, summary
from medlib.errors import MedlibError


def by_window(frame, column, other=None, seed=0):
    """The mean of `column` for each window with its interval over items; with `other`, the difference of two domains.

    >>> by_window(windows, "kl").query("first == 3 and last == 7")

    `frame`: `item`, `variant`, `first`, `last` and `column`, one row for each prompt and window.  Returns `first`,
    `last`, `value`, `low`, `high`, `n` (items).  Raises `MedlibError` as `stats.bootstrap` does.
    """
    (curves, items) = _curves(frame, column)
    if other is None:
        found, n = stats.bootstrap(curves.to_numpy(), n=500, seed=seed, groups=items), len(set(items))
    else:
        others, other_items = _curves(other, column)
        both = curves.to_numpy(), others.to_numpy()
        found = stats.bootstrap_difference(*both, n=500, seed=seed, groups=(items, other_items))
        n = min(len(set(items)), len(set(other_items)))
    first, last = (curves.columns.get_level_values(name) for name in ("first", "last"))
    return pd.DataFrame({"first": first, "last": last, **found._asdict(), "n": n})


def beyond_single(frame, column="kl"):
    """By how much a window costs more than the costliest of its blocks alone: mean over prompts, a row a window.

    >>> beyond_single(windows).query("last == first + 1").nlargest(3, "value")

    Returns `first`, `last`, `value`; a window of one block has 0.
    """
    mean = frame.groupby(["first", "last"])[column].mean()
    single = {last: value for (first, last), value in mean.items() if first == last}
    if len(single) < max(single):
        raise MedlibError("Not every block was lesioned alone; give the table of medlib.lesion_windows as it is.")
    rows = [(a, b, value - max(single[layer] for layer in range(a, b + 1))) for (a, b), value in mean.items()]
    return pd.DataFrame(rows, columns=["first", "last", "value"])


def triangle(axes, table, label, known=True, diverging=False, log=False):
    """Draw a value for each window: the first block across, the number of blocks upwards.

    `table`: `first`, `last`, `value`.  In shades of grey where the model does not know what is shown.
    """
    size = int(table["last"].max())
    grid = np.full((size, size), np.nan)
    grid[table["last"] - table["first"], table["first"] - 1] = table["value"]
    norm = None
    if diverging:
        span = np.nanmax(np.abs(grid)) or 1.0
        norm = SymLogNorm(span / 100, vmin=-span, vmax=span)  # the corner would bleach the rest
    elif log:
        norm = LogNorm(max(np.nanmin(grid), np.nanmax(grid) / 1e3), np.nanmax(grid))
    cmap = sns.color_palette("Greys" if not known else "vlag" if diverging else "rocket_r", as_cmap=True)
    edges = np.arange(size + 1) + 0.5
    mesh = axes.pcolormesh(edges, edges, grid, cmap=cmap, norm=norm)
    axes.set(xlabel="first block taken out", ylabel="how many blocks")
    axes.figure.colorbar(mesh, ax=axes, label=label if known else f"{label}, not known")


def _curves(frame, column):
    curves = frame.pivot(index=["item", "variant"], columns=["first", "last"], values=column)
    return curves, summary.units(frame, curves.index.get_level_values("item"))
