"""The pictures of a number line: where it is bent, which of its steps stand out, and what it looks like.

Numbers run along the horizontal axis.  People are drawn as medical and routes as their control, as in `figures`.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from medlib import figures

LOOK = {"people": "medical", "routes": "control"}


def residuals(table, known):
    """A panel for each layer, with what a probe reads minus the number: the mean of each number and its whole range.

    The few numbers that are read worst lie outside.  `table`: `layer`, `domain`, `cluster` (the number), `residual`,
    one row for each prompt; `known`: domain -> bool.
    """
    figure, panels = figures.panels(table["layer"].unique(), height=2.6, sharey=True)
    for (layer, domain), part in table.groupby(["layer", "domain"]):
        look = figures.LOOKS["medical" if domain == "age" else "control"] | dict(marker="")
        look = look if known[domain] else look | dict(color=figures.NOT_KNOWN)
        each = part.groupby("cluster")["residual"].agg(["mean", "min", "max"])
        panels[layer].plot(each["mean"], label=domain if known[domain] else f"{domain}, not known", **look)
        panels[layer].fill_between(each.index, each["min"], each["max"], color=look["color"], alpha=0.2, lw=0)
    span = 1.5 * table["residual"].abs().quantile(0.98)
    for layer, axes in panels.items():
        axes.set_ylim(-span, span)
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        axes.axvline(17.5, **figures.LOOKS["chance"])
        axes.set(title=f"state {layer}", xlabel="age, years; length, miles", ylabel="read minus true")
        axes.label_outer()
    figures.legend(figure, panels.values())


def standing_out(tables, at, known, named=5):
    """A panel for each family, with how much each step stands out over all layers; the step `at` is filled.

    `tables`: family -> `number_line.over_all`; `known`: family -> bool; the `named` most outstanding steps are named.
    """
    _, panels = plt.subplots(len(tables), 1, figsize=(7.2, 2.7 * len(tables)), sharex=True, sharey=True)
    for axes, (family, table) in zip(panels, tables.items(), strict=True):
        look = figures.LOOKS[LOOK[family]]
        colour = look["color"] if known[family] else figures.NOT_KNOWN
        axes.vlines(table["step"], table["low"], table["high"], color=colour, lw=1, alpha=0.5)
        axes.plot(table["step"], table["t"], ls="", marker=look["marker"], color=colour, mfc="white")
        here = table[table["step"] == at]
        axes.plot(here["step"], here["t"], ls="", marker="*", color="black", markersize=11)
        shown = table[(table["rank"] <= named) | (table["step"] == at)]
        before = -10
        for row in shown.sort_values("step").itertuples():
            near, before = row.step - before < 5, row.step
            axes.annotate(
                f"{row.step}|{row.step + 1}" + (f" (no. {row.rank})" if row.step == at else ""),
                (row.step, row.high),
                (0, 3),
                textcoords="offset points",
                ha="left" if near or row.step < 5 else "right",
                fontsize="x-small",
            )
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        axes.set(title=family if known[family] else f"{family}, not known", ylabel="mean t of the step")
    panels[-1].set_xlabel("step, from this number to the next")


def ranks(found, at, known):
    """A panel for each family, with the percentile of the step `at` by layer: a curve for each kind, thin by wording.

    `found`: `number_line.breaks` with a column `family`; `known`: family -> bool.
    """
    families = list(found["family"].unique())
    _, panels = plt.subplots(len(families), 1, figsize=(7.2, 3 * len(families)), sharex=True, sharey=True)
    for axes, family in zip(panels, families, strict=True):
        part = found[(found["family"] == family) & (found["step"] == at)]
        for kind, look in zip(part["kind"].unique(), ("medical", "other"), strict=True):
            look = look if family == "people" else {"medical": "control", "other": "difference"}[look]
            wide = part[part["kind"] == kind].pivot(index="layer", columns="variant", values="percentile")
            colour = figures.LOOKS[look]["color"] if known[family] else figures.NOT_KNOWN
            axes.plot(wide, color=colour, lw=0.8, alpha=0.4)
            figures.curve(axes, wide.mean(axis=1).rename("value").reset_index(), look, kind, known[family])
        axes.axhline(50, **figures.LOOKS["chance"])
        axes.set(ylabel=f"percentile of {at}|{at + 1}", ylim=(-3, 103))
        axes.set_title(family, loc="left")
        axes.set_xlabel("layer" if axes is panels[-1] else "")
        axes.legend(ncol=2, loc="lower right", bbox_to_anchor=(1, 1), fontsize="small")


def by_layer(found, at, known):
    """A heat map for each family: how much each step stands out at each layer, mean of kinds and wordings.

    Arguments as `ranks`; the step `at` is marked by arrows.  In shades of grey where the family is not known.
    """
    families = list(found["family"].unique())
    means = found.groupby(["family", "step", "layer"])["t"].mean()
    span = np.quantile(means.abs(), 0.995)
    figure, panels = plt.subplots(
        len(families), 1, figsize=(7.2, 2.8 * len(families)), sharex=True, layout="constrained"
    )
    for axes, family in zip(panels, families, strict=True):
        wide = means[family].unstack("step")
        colours = "vlag" if known[family] else "Greys"
        cmap = sns.color_palette(colours, as_cmap=True)
        mesh = axes.pcolormesh(wide.columns, wide.index, wide, cmap=cmap, vmin=-span, vmax=span, shading="nearest")
        for y, tail in ((1, 8), (0, -8)):
            arrow = dict(arrowstyle="-|>", color="black")
            place = dict(xycoords=("data", "axes fraction"), textcoords="offset points", annotation_clip=False)
            axes.annotate("", (at, y), (0, tail), arrowprops=arrow, **place)
        axes.set(title=family if known[family] else f"{family}, not known", ylabel="layer (state after)")
        figure.colorbar(mesh, ax=axes, label="mean t", extend="both")
    panels[-1].set_xlabel("step, from this number to the next")


def pictures(states, rows, layers):
    """Clouds along their first two principal axes, a column for each layer and a row for each family.

    `states`: [state, prompt, hidden]; `rows`: `family`, `kind` and `value` of each prompt, one wording.
    """
    families = rows["family"].unique()
    figure, panels = plt.subplots(
        len(families), len(layers), figsize=(7.4, 2.6 * len(families)), layout="constrained", squeeze=False
    )
    for (i, family), (j, layer) in ((a, b) for a in enumerate(families) for b in enumerate(layers)):
        axes, chosen = panels[i, j], np.flatnonzero(rows["family"] == family)
        x = states[layer, chosen].astype(np.float64)
        left, strength, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        share = strength[:2] ** 2 / (strength**2).sum()
        for kind, marker in zip(rows["kind"].iloc[chosen].unique(), "o^", strict=True):
            of_kind = (rows["kind"].iloc[chosen] == kind).to_numpy()
            drawn = axes.scatter(
                *(left[of_kind, :2] * strength[:2]).T,
                c=rows["value"].iloc[chosen][of_kind],
                cmap="viridis",
                s=9,
                marker=marker,
                linewidths=0,
                label=kind,
            )
        axes.set_title(f"state {layer} ({share.sum():.0%})", fontsize="small")
        axes.set(xticks=[], yticks=[], ylabel=family if j == 0 else "")
        if j == len(layers) - 1:
            axes.legend(fontsize="x-small", loc="best", handletextpad=0, markerscale=1.5)
    figure.colorbar(drawn, ax=panels, label="age, years; length, miles", aspect=40)
