"""Windows of consecutive blocks: what is lost with blocks `first` to `last`, and how it is drawn.

One block at a time cannot see blocks that stand in for each other; a window that costs more than its blocks one by one
holds some that do.  All windows make a triangle: single blocks along its edge, the whole model in its corner.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm, SymLogNorm

from medlib import figures, stats, summary
from medlib.errors import MedlibError


def by_window(frame, column, other=None, seed=0):
    """The mean of `column` for each window with its interval over units; with `other`, the difference of two domains.

    >>> by_window(windows, "kl").query("first == 3 and last == 7")

    `frame`: `item`, `variant`, `first`, `last` and `column`, one row for each prompt and window.  Returns `first`,
    `last`, `value`, `low`, `high`, `n` (units, see summary.py).  Raises `MedlibError` as `stats.bootstrap` does.
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
    """By how much a window costs more than the costliest of its blocks, or groups of blocks, alone: a row a window.

    >>> beyond_single(windows).nlargest(3, "value")

    Returns `first`, `last`, `groups` (how many of them the window holds) and `value`, a mean over prompts; a window of
    one has 0.  Raises `MedlibError` where not every block is in the table alone or in a group.
    """
    mean = frame.groupby(["first", "last"])[column].mean()
    groups = _groups(frame)
    single = [mean[group] for group in groups]
    rows = []
    for i, (first, _) in enumerate(groups):
        for j in range(i, len(groups)):
            last = groups[j][1]
            rows.append((first, last, j - i + 1, mean[first, last] - max(single[i : j + 1])))
    return pd.DataFrame(rows, columns=["first", "last", "groups", "value"])


def neighbours(tables, controls, n=6, seed=0):
    """The pairs of neighbours with the largest excess over the costliest of the two alone on the controls: a row each.

    >>> neighbours(of_windows, {"drugs": "foods"})[["first", "last", "value", "low", "high"]]

    `tables`: domain -> the windows' sweep.  The pairs are picked on the controls alone, so `value` (`low`, `high`), the
    excess on the medical domains, is not the larger for the picking; `controls` is what they were picked by.  All
    prompts of the medical domains, or of the controls, are one pool, and their units are resampled.
    """
    medical, others = (_pool(tables, names) for names in (controls, dict.fromkeys(controls.values())))
    excess = beyond_single(others).query("groups == 2").nlargest(n, "value")
    curves, units = _curves(medical, "kl")
    groups, rows = _groups(medical), []
    for row in excess.itertuples():
        at = next(i for i, (first, _) in enumerate(groups) if first == row.first)
        three = curves[[(row.first, row.last), groups[at], groups[at + 1]]].to_numpy()
        rows.append((row.first, row.last, *stats.bootstrap(three, _excess, seed=seed, groups=units), row.value))
    found = pd.DataFrame(rows, columns=["first", "last", "value", "low", "high", "controls"])
    return found.assign(n=len(set(units)))


def _excess(costs, axis):
    """`costs [.., prompt, (both, one, other)]`: by how much both cost more than the costlier of the two."""
    mean = costs.mean(axis)
    return mean[..., 0] - mean[..., 1:].max(-1)


def _pool(tables, names):
    """The tables of several domains as one, items and units named after their domain."""
    parts = [tables[name] for name in names]
    named = [
        part.assign(**{key: name + " " + part[key].astype(str) for key in ("item", "cluster") if key in part})
        for name, part in zip(names, parts, strict=True)
    ]
    return pd.concat(named, ignore_index=True)


def rows(table, domain, metric):
    """A table of `by_window` as rows of the results table: `layer` is the last block out, `variant` names the first."""
    first = "from block " + table["first"].astype(str)
    window = dict(domain=domain, metric=metric, component="window", layer=table["last"], variant=first)
    return table.drop(columns=["first", "last"]).assign(**window)


def all_rows(tables, gaps, pairs, controls):
    """The windows' tables as rows of the results table: means by domain, gaps to the control, `neighbours`."""
    parts = [rows(table, name, "kl") for name, table in tables.items()]
    parts += [rows(table, name, f"kl minus {controls[name]}") for name, table in gaps.items()]
    parts.append(rows(pairs.drop(columns="controls"), "all medical domains", "kl_excess"))
    return pd.concat(parts, ignore_index=True)


def triangles(tables, known, label, diverging=False):
    """A panel for each domain with a triangle of its windows, all on one scale: the figure and its axes.

    `tables`: domain -> table with `first`, `last`, `value`; `known`: domain -> bool.  The scale is logarithmic, or with
    `diverging` symmetric around zero; there the title alone says what is not known, since grey has no sign.
    """
    values = np.concatenate([table["value"] for table in tables.values()])
    span = np.abs(values).max() or 1.0
    if diverging:
        norm = SymLogNorm(span / 100, vmin=-span, vmax=span)  # the corner would bleach the rest
    else:
        norm = LogNorm(max(values[values > 0].min(initial=span), span / 1e3), span)
    figure, axes = figures.panels(tables, height=2.5, sharey=True)
    meshes = {
        name: triangle(axes[name], table, norm, diverging or known[name], "vlag" if diverging else "rocket_r")
        for name, table in tables.items()
    }
    shown = next((mesh for name, mesh in meshes.items() if known[name]), next(iter(meshes.values())))  # not a grey one
    figure.colorbar(shown, ax=[*axes.values()], label=label, shrink=0.8)
    for name, one in axes.items():
        one.set(xlabel="first block taken out", ylabel="blocks taken out")
        if not known[name]:
            one.set_title(f"{name}, not known", fontsize="medium")
    figures.outer(axes.values())
    return figure, axes


def triangle(axes, table, norm, known=True, colours="rocket_r"):
    """Draw a value for each window: the first block across, the number of blocks upwards; returns the mesh.

    `table`: `first`, `last`, `value`.  In shades of grey where the model does not know what is shown.
    """
    groups = _groups(table)
    grid = np.full((len(groups), len(groups)), np.nan)
    at_first, at_last = ({block: i for i, block in enumerate(blocks)} for blocks in zip(*groups, strict=True))
    for row in table.itertuples():
        grid[at_last[row.last] - at_first[row.first], at_first[row.first]] = row.value
    edges = np.array([*at_first, groups[-1][1] + 1]) - 0.5
    cmap = sns.color_palette(colours if known else "Greys", as_cmap=True)
    return axes.pcolormesh(edges, edges, np.ma.masked_invalid(grid), cmap=cmap, norm=norm)


def _groups(frame):
    """The groups of blocks that windows are made of, `(first, last)`; single blocks where the stride is 1."""
    firsts, lasts = sorted(frame["first"].unique()), sorted(frame["last"].unique())
    if len(firsts) != len(lasts) or any(last + 1 != first for last, first in zip(lasts, firsts[1:], strict=False)):
        raise MedlibError("Not every block was lesioned alone; give the table of medlib.lesion_windows as it is.")
    return [*zip(firsts, lasts, strict=True)]


def _curves(frame, column):
    curves = frame.pivot(index=["item", "variant"], columns=["first", "last"], values=column)
    return curves, summary.units(frame, curves.index.get_level_values("item"))
