"""Pictures of stages: which series look like a ring, how far the stages lie apart, and which way they go.

They follow `figures`: medical series in blue and with solid lines, control series in orange and dashed, and grey where
the model does not know the domain.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from scipy.stats import rankdata

from medlib import figures


def heat_map(axes, tables, known, measure, label, marked=None):
    """`measure` by series and state, the series of each domain together: white is zero.

    >>> stage_figures.heat_map(axes, {"progression": main, "processes": control}, known, "circularity", "ring - line")

    `tables`: domain -> table with `layer`, `item`, `measure`; a dot stands where the column `marked` is true.
    """
    of_series, is_known, place = {}, {}, 0
    for domain, table in tables.items():
        for item, rows in table.groupby("item", sort=False):
            of_series[item] = rows[["layer", measure]].rename(columns={measure: "value"}).reset_index(drop=True)
            is_known[item] = known[domain]
            if marked is not None and rows[marked].any():
                dots = rows.loc[rows[marked], "layer"]
                axes.plot(dots, [place] * len(dots), ".", color="black", markersize=3)
            place += 1
    figures.layer_by_domain(axes, of_series, is_known, label, diverging=True)
    border = len(next(iter(tables.values()))["item"].unique()) - 0.5
    axes.axhline(border, color="black", lw=1.5)
    axes.set(xlabel="layer")
    axes.tick_params(axis="y", labelsize="small", length=0)


def measures(curves, known, labels, centres):
    """A panel for each measure: its mean over the series of each domain, and what shuffled orders give on average.

    `curves`: measure -> domain -> table with `layer, value, low, high`, the medical domain first; `labels`: measure ->
    label of the axis; `centres`: measure -> a number, or a table with `layer, value` to draw as a dotted line.
    """
    figure, axes = figures.panels(curves, height=2.6)
    for measure, of_domain in curves.items():
        for look, (domain, curve) in zip(("medical", "control"), of_domain.items(), strict=True):
            figures.curve(axes[measure], curve, look, domain, known[domain])
        centre = centres[measure]
        chance = dict(**figures.LOOKS["chance"], label="shuffled or dealt", zorder=0)
        if np.isscalar(centre):
            axes[measure].axhline(centre, **chance)
        else:
            axes[measure].plot(centre["layer"], centre["value"], **chance)
        axes[measure].set(title=labels[measure], ylabel="")
        axes[measure].set_xlabel("layer" if axes[measure].get_subplotspec().is_last_row() else "")
    figures.legend(figure, axes.values())
    return figure, axes


def apart(tables):
    """Matrices of the distances between stages, a panel each: `tables`: title -> [stage, stage]; returns the figure.

    Coloured by rank, as the scores see them, since one far stage would bleach all others.  The darker, the nearer.  A
    path is dark along the diagonal alone, a ring also in the two far corners.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(2.6 * len(tables), 2.9), sharey=True, layout="constrained")
    for one, (title, table) in zip(axes, tables.items(), strict=True):
        upper = np.triu_indices(len(table), 1)
        ranks = np.full(table.shape, np.nan)
        ranks[upper] = ranks.T[upper] = rankdata(table[upper])
        mesh = one.imshow(ranks, cmap=sns.color_palette("rocket", as_cmap=True), vmin=1, vmax=len(upper[0]))
        one.set_title(title, fontsize="medium")
        one.set(xlabel="stage", xticks=range(0, len(table), 3), yticks=range(0, len(table), 3))
    axes[0].set_ylabel("stage")
    figure.colorbar(mesh, ax=axes, label="rank of the distance", shrink=0.8)
    return figure


def paths(means, looks):
    """The way of each series through its stages on its two first principal components, numbered points.

    `means`: title -> [stage, hidden]; `looks`: title -> a name of `figures.LOOKS`.  The title says how much of the
    variance between its stages the two components hold; the rest of the way is not to be seen.  Returns the figure.
    """
    figure, axes = plt.subplots(1, len(means), figsize=(2.6 * len(means), 2.9), layout="constrained")
    for one, (title, x) in zip(axes, means.items(), strict=True):
        left, strength, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        flat = left[:, :2] * strength[:2] * np.sign(left[0, :2])  # the start to the upper right: signs mean nothing
        look = figures.LOOKS[looks[title]]
        one.plot(*flat.T, color=look["color"], ls=look["linestyle"], lw=1, alpha=0.7)
        one.scatter(*flat.T, s=150, color="white", edgecolor=look["color"], zorder=2)
        for stage, point in enumerate(flat):
            one.text(*point, str(stage), ha="center", va="center", fontsize="small", zorder=3)
        share = (strength[:2] ** 2).sum() / (strength**2).sum()
        one.set_title(f"{title}\n{share:.0%} of the variance", fontsize="medium")
        one.set(xticks=[], yticks=[], xlabel="first component")
        one.margins(0.15)
    axes[0].set_ylabel("second component")
    return figure
