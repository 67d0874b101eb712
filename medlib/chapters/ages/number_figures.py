"""The pictures of a number line: where it is bent, which of its steps stand out, and what it looks like.

People are drawn as medical and routes as their control, as in `figures`.  Ages that the model does not know are grey;
miles keep their colours, since nothing can be held against a control that is not to be seen, and are named not known.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from medlib import figures

LOOK = {"people": "medical", "routes": "control", "age": "medical", "numbers": "control"}


def _shown(name, known):
    """Colour and label of a family or domain: grey only for people, since miles are what ages are read against."""
    look = LOOK[name]
    grey = look == "medical" and not known[name]
    return figures.NOT_KNOWN if grey else figures.LOOKS[look]["color"], name if known[name] else f"{name}, not known"


def _curve(axes, table, name, known):
    colour, label = _shown(name, known)
    figures.curve(axes, table, LOOK[name], label, known=True)
    if colour == figures.NOT_KNOWN:
        axes.lines[-1].set_color(colour)
        axes.collections[-1].set_color(colour)


def read(r2, known):
    """How well the number is read off, by layer: `r2` with `domain`, `layer`, `value, low, high`."""
    _, axes = plt.subplots()
    for domain in ("age", "numbers"):
        _curve(axes, r2[r2["domain"] == domain], domain, known)
    axes.set(ylabel="cross-validated $R^2$", ylim=(max(0, r2["low"].min() - 0.05), 1.005))
    axes.legend()


def carried(moved, control, tasks, known):
    """A panel for each two tasks, there and back: the share of pairs in order, dotted for the control task.

    `moved`, `control`: tables with `task`, `layer`, `value, low, high`; `tasks`: their names, in pairs.
    """
    tasks = list(tasks)
    figure, panels = figures.panels(("man and woman", "road and trail", "age and miles"), 2.9, sharey=True)
    for at, (axes, look) in enumerate(zip(panels.values(), ("medical", "control", "other"), strict=True)):
        for task, style in zip(tasks[2 * at : 2 * at + 2], (look, "difference"), strict=True):
            shown = known["age"] if look == "medical" else True
            figures.curve(axes, moved[moved["task"] == task], style, task, shown)
            null = control[control["task"] == task]
            axes.plot(null["layer"], null["value"], color=axes.lines[-1].get_color(), ls=":")
        axes.axhline(0.5, **figures.LOOKS["chance"])
        axes.set(ylim=(0, 1.02), ylabel="share of pairs in order", xlabel="layer")
        axes.label_outer()
        axes.legend(fontsize="x-small", loc="lower right")


def likeness(shape, noise, umap, known):
    """A panel for each space, with local anisotropy by layer, and dotted or as crosses that of noise.

    `shape`, `noise`: curves with `space` and `domain`; `umap`: `number_line.in_umap` with `layer` and `domain`.
    """
    spaces = {"raw": "raw states", "pca30": "30 components", "umap30": "UMAP to 30"}
    figure, panels = figures.panels(spaces.values(), 2.9, sharey=True)
    for space, axes in zip(spaces, panels.values(), strict=True):
        for domain in ("age", "numbers"):
            if space == "umap30":
                fits = umap[umap["domain"] == domain].groupby("layer")
                curve, null = (
                    fits[name].agg(value="mean", low="min", high="max").reset_index() for name in ("value", "noise")
                )
            else:
                curve, null = (t[(t["space"] == space) & (t["domain"] == domain)] for t in (shape, noise))
            _curve(axes, curve, domain, known)
            marker = "x" if space == "umap30" else ""
            colour = axes.lines[-1].get_color()
            axes.plot(null["layer"], null["value"], ls=":", marker=marker, color=colour, label=f"noise like {domain}")
        axes.set(ylim=(0, 1.02), ylabel="local anisotropy", xlabel="layer")
        axes.label_outer()
    figures.legend(figure, panels.values())


def residuals(table, known):
    """A panel for each layer, with what a probe reads minus the number: the mean of each number and its whole range.

    The few numbers that are read worst lie outside.  `table`: `layer`, `domain`, `cluster` (the number), `residual`,
    one row for each prompt; `known`: domain -> bool.
    """
    figure, panels = figures.panels(table["layer"].unique(), height=2.6, sharey=True)
    for (layer, domain), part in table.groupby(["layer", "domain"]):
        colour, label = _shown(domain, known)
        look = figures.LOOKS[LOOK[domain]] | dict(marker="", color=colour)
        each = part.groupby("cluster")["residual"].agg(["mean", "min", "max"])
        panels[layer].plot(each["mean"], label=label, **look)
        panels[layer].fill_between(each.index, each["min"], each["max"], color=look["color"], alpha=0.2, lw=0)
    span = 1.5 * table["residual"].abs().quantile(0.98)
    for layer, axes in panels.items():
        axes.set_ylim(-span, span)
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        axes.axvline(17.5, **figures.LOOKS["chance"])
        axes.set(title=f"state {layer}", xlabel="age, years; length, miles", ylabel="read minus true")
    figures.outer(panels.values())
    figures.legend(figure, panels.values())


def standing_out(tables, at, known, named=5):
    """A panel for each family, with how much each step stands out over all layers; the step `at` is filled.

    `tables`: family -> `age_steps.over_all`; `known`: family -> bool; the `named` most outstanding steps are named.
    """
    _, panels = plt.subplots(len(tables), 1, figsize=(7.2, 2.9 * len(tables)), sharex=True, sharey=True)
    for axes, (family, table) in zip(panels, tables.items(), strict=True):
        colour, title = _shown(family, known)
        axes.vlines(table["step"], table["low"], table["high"], color=colour, lw=1, alpha=0.5)
        axes.plot(table["step"], table["even"], ls="", marker=figures.LOOKS[LOOK[family]]["marker"], color=colour)
        here = table[table["step"] == at]
        axes.plot(here["step"], here["even"], ls="", marker="*", color="black", markersize=11)
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        axes.set(title=title, ylabel="t over the spread nearby")
        axes.margins(y=0.15)
    for axes, table in zip(panels, tables.values(), strict=True):
        _name_steps(axes, table, (table["rank"] <= named) | (table["step"] == at), at)
    panels[-1].set_xlabel("step, from this number to the next")


def _name_steps(axes, table, named, at):
    """Write the names of some steps above all ranges beneath them, each in a place where no other one stands."""
    low, high = axes.get_ylim()
    taken = []  # the middle and height of each name
    for row in table[named].sort_values("high").itertuples():
        text = f"{row.step}|{row.step + 1}" + (f" (no. {row.rank})" if row.step == at else "")
        wide, tall = (15 if row.step == at else 6), (high - low) / 11
        height = table.loc[(table["step"] - row.step).abs() <= wide / 2, "high"].max() + tall / 4
        while any(abs(x - row.step) < (wide + w) / 2 + 1 and abs(y - height) < tall for x, w, y in taken):
            height += tall / 4
        taken.append((row.step, wide, height))
        axes.text(row.step, height, text, ha="center", va="bottom", fontsize="x-small")
    axes.set_ylim(low, max([high, *(y + (high - low) / 10 for *_, y in taken)]))


def ranks(found, at, known):
    """A panel for each family, with the percentile of the step `at` by layer: a curve for each kind, thin by wording.

    `found`: `age_steps.breaks`; `known`: family -> bool.
    """
    families = list(found["family"].unique())
    _, panels = plt.subplots(len(families), 1, figsize=(7.2, 3 * len(families)), sharex=True, sharey=True)
    for axes, family in zip(panels, families, strict=True):
        part = found[(found["family"] == family) & (found["step"] == at)]
        for kind, look in zip(part["kind"].unique(), ("medical", "other"), strict=True):
            look = look if family == "people" else {"medical": "control", "other": "difference"}[look]
            wide = part[part["kind"] == kind].pivot(index="layer", columns="variant", values="percentile")
            grey = family == "people" and not known[family]
            colour = figures.NOT_KNOWN if grey else figures.LOOKS[look]["color"]
            axes.plot(wide, color=colour, lw=0.8, alpha=0.4)
            figures.curve(axes, wide.mean(axis=1).rename("value").reset_index(), look, kind, not grey)
        axes.axhline(50, **figures.LOOKS["chance"])
        axes.set(ylabel=f"percentile of {at}|{at + 1}", ylim=(-3, 103))
        axes.set_title(_shown(family, known)[1], loc="left")
        axes.set_xlabel("layer" if axes is panels[-1] else "")
        axes.legend(ncol=2, loc="lower right", bbox_to_anchor=(1, 1), fontsize="small")


def by_layer(found, at, known):
    """A heat map for each family: how much each step stands out at each layer, mean of kinds and wordings.

    Arguments as `ranks`; the step `at` is marked by arrows.  Both in the same colours, and named where not known.
    """
    families = list(found["family"].unique())
    means = found.groupby(["family", "step", "layer"])["t"].mean()
    span = np.quantile(means.abs(), 0.995)
    figure, panels = plt.subplots(
        len(families), 1, figsize=(7.2, 2.8 * len(families)), sharex=True, layout="constrained"
    )
    for axes, family in zip(panels, families, strict=True):
        wide = means[family].unstack("step")
        cmap = sns.color_palette("vlag", as_cmap=True)
        mesh = axes.pcolormesh(wide.columns, wide.index, wide, cmap=cmap, vmin=-span, vmax=span, shading="nearest")
        for y, tail in ((1, 8), (0, -8)):
            arrow = dict(arrowstyle="-|>", color="black")
            place = dict(xycoords=("data", "axes fraction"), textcoords="offset points", annotation_clip=False)
            axes.annotate("", (at, y), (0, tail), arrowprops=arrow, **place)
        axes.set(title=_shown(family, known)[1], ylabel="layer (state after)")
        figure.colorbar(mesh, ax=axes, label="mean t", extend="both")
    panels[-1].set_xlabel("step, from this number to the next")


def flattened(states, rows, layers):
    """Clouds along their first two principal axes, each kind around its own mean.

    The way from one kind to the other would take up the first axis, and no number with it.

    `states`: [state, prompt, hidden]; `rows`: `family`, `kind` and `value` of each prompt, one wording.  Returns one
    row a layer and prompt: `layer, family, kind, number, first, second` and `share`, that of the variance in both axes.
    """
    tables = []
    for layer, family in ((layer, family) for layer in layers for family in rows["family"].unique()):
        chosen = np.flatnonzero(rows["family"] == family)
        x, of = states[layer, chosen].astype(np.float64), rows["kind"].iloc[chosen].to_numpy()
        for kind in np.unique(of):
            x[of == kind] -= x[of == kind].mean(axis=0)
        left, strength, _ = np.linalg.svd(x, full_matrices=False)
        first, second = (left[:, :2] * strength[:2]).T
        share = (strength[:2] ** 2).sum() / (strength**2).sum()
        points = dict(kind=of, number=rows["value"].iloc[chosen].to_numpy(), first=first, second=second)
        tables.append(pd.DataFrame(points | dict(layer=layer, family=family, share=share)))
    return pd.concat(tables, ignore_index=True)


def pictures(flat):
    """The points of `flattened`: a column a layer, a row a family, coloured by the number."""
    families, layers = flat["family"].unique(), flat["layer"].unique()
    figure, panels = plt.subplots(
        len(families), len(layers), figsize=(7.4, 2.6 * len(families)), layout="constrained", squeeze=False
    )
    for (i, family), (j, layer) in ((a, b) for a in enumerate(families) for b in enumerate(layers)):
        axes, part = panels[i, j], flat[(flat["family"] == family) & (flat["layer"] == layer)]
        for (kind, points), marker in zip(part.groupby("kind", sort=False), "o^", strict=True):
            look = dict(c=points["number"], cmap="viridis", s=9, marker=marker, linewidths=0, label=kind)
            drawn = axes.scatter(points["first"], points["second"], **look)
        axes.set_title(f"state {layer} ({part['share'].iloc[0]:.0%} of variance)", fontsize="small")
        axes.set(xticks=[], yticks=[], ylabel=family if j == 0 else "")
        if j == len(layers) - 1:
            axes.legend(fontsize="x-small", loc="best", handletextpad=0, markerscale=1.5)
    figure.colorbar(drawn, ax=panels, label="age, years; length, miles", aspect=40)
