"""Pictures of stages: which series look like a ring, how far the stages lie apart, and which way they go.

They follow `figures`: medical series in blue and with solid lines, control series in orange and dashed.  Diseases that
the model does not know are grey; processes keep their colours, since diseases are read against them.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from scipy.stats import rankdata

from medlib import figures, summary

LOOKS = {"progression": "medical", "processes": "control"}
LABELS = {
    "line": "like a line (Spearman)",
    "circularity": "ring minus line",
    "late_return": "late return (share of mean distance)",
    "csfs": "nearest to start (stage)",
    "csls": "nearest to end (stage)",
    "bar": "longest H1 bar (of diameter)",
}


def look_of(domain, known, **options):
    """How a domain is drawn, with its label: grey where a medical one is not known."""
    look = figures.LOOKS[LOOKS[domain]] | options
    if LOOKS[domain] == "medical" and not known[domain]:
        look = look | dict(color=figures.NOT_KNOWN)
    return look | dict(label=domain if known[domain] else f"{domain}, not known")


def mean_curve(table, measure, seed=0):
    """The mean of a measure over the series, with its interval, by layer."""
    return summary.by_layer(table.assign(variant=""), measure, seed=seed)


def mean_curves(main, loops, seed=0):
    """Each measure of `LABELS` -> domain -> `mean_curve`; `main`, `loops`: tables by domain."""
    return {
        measure: {name: mean_curve((loops if measure == "bar" else main)[name], measure, seed) for name in main}
        for measure in LABELS
    }


def heat_map(axes, tables, known, measure, label, marked=None):
    """`measure` by series and state, the series of each domain together: white is zero.

    >>> stage_figures.heat_map(axes, {"progression": main, "processes": control}, known, "circularity", "ring - line")

    `tables`: domain -> table with `layer`, `item`, `measure`; a dot stands where the column `marked` is true.
    """
    of_series, is_known, place = {}, {}, 0
    for domain, table in tables.items():
        for item, rows in table.groupby("item", sort=False):
            control = LOOKS[domain] == "control"
            name = f"{item}, not known" if control and not known[domain] else item
            of_series[name] = rows[["layer", measure]].rename(columns={measure: "value"}).reset_index(drop=True)
            is_known[name] = known[domain] or control
            if marked is not None and rows[marked].any():
                dots = rows.loc[rows[marked], "layer"]
                axes.plot(dots, [place] * len(dots), ".", color="black", markersize=3)
            place += 1
    figures.layer_by_domain(axes, of_series, is_known, label, diverging=True)
    border = len(next(iter(tables.values()))["item"].unique()) - 0.5
    axes.axhline(border, color="black", lw=1.5)
    axes.set(xlabel="layer")
    axes.tick_params(axis="y", labelsize="small", length=0)


def measures(curves, known, dealt):
    """A panel for each measure: its mean over the series of each domain, and what shuffled orders give on average.

    `curves`: of `mean_curves`; `dealt`: table with `layer, value`, the mean bar of dealt stages.
    """
    centres = dict.fromkeys(LABELS, 0) | dict(csfs=5, csls=4, bar=dealt)
    figure, axes = figures.panels(curves, height=2.6)
    for measure, of_domain in curves.items():
        for domain, curve in of_domain.items():
            grey = LOOKS[domain] == "medical" and not known[domain]
            label = domain if known[domain] or grey else f"{domain}, not known"
            figures.curve(axes[measure], curve, LOOKS[domain], label, not grey)
        centre = centres[measure]
        chance = dict(**figures.LOOKS["chance"], label="shuffled or dealt", zorder=0)
        if np.isscalar(centre):
            axes[measure].axhline(centre, **chance)
        else:
            axes[measure].plot(centre["layer"], centre["value"], **chance)
        axes[measure].set_title(LABELS[measure], fontsize="small")
        axes[measure].set_xlabel("layer" if axes[measure].get_subplotspec().is_last_row() else "")
    figures.legend(figure, axes.values())
    return figure, axes


def late(main, known):
    """The late return of the two diseases singled out by the paper, among the processes: `main`: tables by domain."""
    figure, axes = plt.subplots()
    for i, (_, rows) in enumerate(main["processes"].groupby("item")):
        thin = figures.LOOKS["control"] | dict(marker="", lw=0.8, alpha=0.6)
        axes.plot(rows["layer"], rows["late_return"], label=None if i else "processes", **thin)
    for item, look in (("Parkinson's disease", "medical"), ("COPD", "other")):
        rows = main["progression"].query("item == @item")
        curve = rows[["layer", "late_return"]].set_axis(["layer", "value"], axis=1)
        figures.curve(axes, curve, look, item, known["progression"])
        sure = curve[rows["significant_late_return"].to_numpy()]
        axes.plot(*sure.to_numpy().T, "o", mfc="none", color="black", ms=8)
    axes.axhline(0, color="0.6", lw=1)
    axes.set_ylabel("late stages nearer to the start\n(share of mean distance)")
    axes.legend(ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def corrected(curves, left, known):
    """Line (above) and circularity (below) of each domain, as they are and with the causes taken out.

    `curves`: of `mean_curves`; `left`: measure -> domain -> curve of the view with the causes taken out.
    """
    figure, grid = plt.subplots(2, 2, figsize=(7.6, 5.2), sharex=True, sharey="row", layout="constrained")
    for column, name in zip(grid.T, left["line"], strict=True):
        shown = known[name] or LOOKS[name] == "control"
        for axes, measure in zip(column, ("line", "circularity"), strict=True):
            figures.curve(axes, curves[measure][name], LOOKS[name], "as they are", shown)
            figures.curve(axes, left[measure][name], "other", "length and words taken out", shown)
            axes.axhline(0, color="0.6", lw=1)
        column[0].set(title=name if known[name] else f"{name}, not known", xlabel="")
    for axes, label in zip(grid[:, 0], ("like a line", "ring minus line"), strict=True):
        axes.set_ylabel(label)
    figures.legend(figure, grid.flat)
    return figure


def views(table, named, known):
    """Line and circularity with their intervals, a row for each view: `table`: of `stage_tables.by_view`.

    `named`: view -> its name on the page.
    """
    figure, grid = plt.subplots(1, 2, figsize=(7.6, 4.6), sharey=True, layout="constrained")
    for axes, measure in zip(grid, ("line", "circularity"), strict=True):
        for name, shift in zip(LOOKS, (-0.15, 0.15), strict=True):
            rows = table.xs((name, measure), level=("domain", "measure")).loc[list(named)]
            bars = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
            look = look_of(name, known, linestyle="")
            axes.errorbar(rows["value"], np.arange(len(rows)) + shift, xerr=bars, **look)
        axes.axvline(0, color="0.6", lw=1)
        axes.set(yticks=range(len(named)), yticklabels=named.values())
    grid[0].set(xlabel="like a line")
    grid[1].set(xlabel="ring minus line")
    grid[0].invert_yaxis()
    figures.legend(figure, grid)
    return figure


def in_umap(bent, known):
    """Circularity after UMAP, mean and range over seeds, against that of the raw states: `stage_prose.beside_raw`."""
    figure, grid = plt.subplots(1, 2, figsize=(7.6, 3.8), sharex=True, sharey=True, layout="constrained")
    for axes, space in zip(grid, ("umap30", "umap2"), strict=True):
        for name in LOOKS:
            rows = bent[(bent["space"] == space) & (bent["domain"] == name)].groupby(["layer", "item"])
            raw, fits = rows["circularity_raw"].first(), rows["circularity"].agg(["mean", "min", "max"])
            error = [fits["mean"] - fits["min"], fits["max"] - fits["mean"]]
            axes.errorbar(raw, fits["mean"], yerr=error, lw=0.8, **look_of(name, known, linestyle="", alpha=0.7))
        axes.axline((0, 0), slope=1, color="0.6", lw=1)
        axes.axhline(0, color="0.6", lw=0.6)
        axes.axvline(0, color="0.6", lw=0.6)
        axes.set(title=f"UMAP to {space[4:]} dimensions", xlabel="raw circularity")
    grid[0].set_ylabel("circularity in UMAP")
    figures.legend(figure, grid)
    return figure


def ranked(table):
    """Distances [stage, stage] as ranks among the pairs, 1 the nearest; the diagonal is null."""
    upper = np.triu_indices(len(table), 1)
    ranks = np.full(table.shape, np.nan)
    ranks[upper] = ranks.T[upper] = rankdata(table[upper])
    return ranks


def apart(tables):
    """Matrices of the distances between stages, a panel each: `tables`: title -> what `ranked` returns; the figure.

    Coloured by rank, as the scores see them, since one far stage would bleach all others.  The darker, the nearer.  A
    path is dark along the diagonal alone, a ring also in the two far corners.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(2.6 * len(tables), 2.9), sharey=True, layout="constrained")
    for one, (title, ranks) in zip(axes, tables.items(), strict=True):
        most = len(ranks) * (len(ranks) - 1) // 2
        mesh = one.imshow(ranks, cmap=sns.color_palette("rocket", as_cmap=True), vmin=1, vmax=most)
        one.set_title(title, fontsize="medium")
        one.set(xlabel="stage", xticks=range(0, len(ranks), 3), yticks=range(0, len(ranks), 3))
    axes[0].set_ylabel("stage")
    figure.colorbar(mesh, ax=axes, label="rank of the distance", shrink=0.8)
    return figure


def flattened(x):
    """Stage means [stage, hidden] on their two first principal components [stage, 2], and the share of the variance."""
    left, strength, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    flat = left[:, :2] * strength[:2] * np.sign(left[0, :2])  # the start to the upper right: signs mean nothing
    return flat, (strength[:2] ** 2).sum() / (strength**2).sum()


def paths(points, looks):
    """The way of each series through its stages on its two first principal components, numbered points.

    `points`: title -> what `flattened` returns; `looks`: title -> a name of `figures.LOOKS`.  The title says how much
    of the variance between its stages the two components hold; the rest is not to be seen.  Returns the figure.
    """
    figure, axes = plt.subplots(1, len(points), figsize=(2.6 * len(points), 2.9), layout="constrained")
    for one, (title, (flat, share)) in zip(axes, points.items(), strict=True):
        look = figures.LOOKS[looks[title]]
        one.plot(*flat.T, color=look["color"], ls=look["linestyle"], lw=1, alpha=0.7)
        one.scatter(*flat.T, s=150, color="white", edgecolor=look["color"], zorder=2)
        for stage, point in enumerate(flat):
            one.text(*point, str(stage), ha="center", va="center", fontsize="small", zorder=3)
        one.set_title(f"{title}\n{share:.0%} of the variance", fontsize="medium")
        one.set(xticks=[], yticks=[], xlabel="first component")
        one.margins(0.15)
    axes[0].set_ylabel("second component")
    return figure
