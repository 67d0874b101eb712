"""How the chapter on collapse draws.

`known`: domain -> bool.  A medical domain that the model does not show that it knows is grey, or named in brackets; a
control keeps its colour, since the medical curve is read against it.  Each function returns its matplotlib figure.
"""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, ScalarFormatter

from medlib import figures
from medlib.chapters.collapse.clouds import WAYS

WORDS = {"raw": "as they are", "rms": "scaled to one length", "without largest": "without the largest"}
THIN = {"rms": ":", "without largest": "-"}


def depth_maps(depths, controls, known, places):
    """Heat maps of the depth, places by ways, the deepest template in a cell and how many templates collapse.

    >>> depth_maps(depths, {"drugs": "foods"}, known, ["entity", "mean", "last"])
    """
    order = [name for pair in controls.items() for name in pair]
    size = (3.2 * len(WAYS), 3.2 * len(places))
    figure, panels = plt.subplots(
        len(places), len(WAYS), figsize=size, sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for axes, (place, way) in zip(panels.flat, ((p, w) for p in places for w in WAYS), strict=True):
        here = depths[(depths["place"] == place) & (depths["space"] == way)].groupby(["domain", "layer"])
        deepest, count = here["value"].min().unstack().loc[order], here["collapsed"].sum().unstack().loc[order]
        mesh = axes.pcolormesh(deepest.columns, range(len(order)), deepest, cmap="rocket", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(count.to_numpy()), strict=True):
            light = "white" if deepest.iat[row, column] < 0.6 else "black"
            text = dict(ha="center", va="center", fontsize=5.5, color=light)
            axes.text(count.columns[column], row, str(int(count.iat[row, column])), **text)
        axes.hlines(np.arange(1.5, len(order) - 1, 2), *axes.get_xlim(), color="0.6", lw=0.5)
        axes.set_title(f"{place}, {WORDS[way]}", fontsize="medium")
        axes.set_yticks(range(len(order)), [n if _coloured(n, controls, known) else f"({n})" for n in order])
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in panels[-1]:
        axes.set_xlabel("layer")
    panels[0, 0].invert_yaxis()
    figure.colorbar(mesh, ax=panels, label="depth (effective rank over that of both sides)", shrink=0.5)
    return figure


def curves(found, controls, known, ylabel, thin=("rms", "without largest"), centre=None):
    """A panel for each medical domain and its control: as the states are with a band, the other ways as thin lines.

    >>> curves({("drugs", "raw"): table, ...}, {"drugs": "foods"}, known, "effective rank")

    `found`: (domain, way) -> table with `layer, value, low, high`; `thin`: the ways to add, `centre`: where to draw a
    line.  All panels have the same limits.
    """
    figure, panels = figures.panels(controls, sharey=True)
    for domain, control in controls.items():
        axes = panels[domain]
        for look, name in (("medical", domain), ("control", control)):
            coloured = _coloured(name, controls, known)
            figures.curve(axes, found[name, "raw"], look, look, coloured)
            for way in thin:
                curve = found[name, way]
                colour = figures.LOOKS[look]["color"] if coloured else figures.NOT_KNOWN
                axes.plot(curve["layer"], curve["value"], color=colour, ls=THIN[way], lw=0.9)
        if centre is not None:
            axes.axhline(centre, color="0.6", lw=1, zorder=0)
        title = domain if known[domain] else f"{domain} (not known)"
        axes.set_title(f"{title} / {control}", fontsize="medium")
        axes.set(ylabel="", xlabel="layer")
    figures.outer(panels.values())
    figure.supylabel(ylabel, fontsize="medium")
    lines = [
        Line2D([], [], **(figures.LOOKS[look] if way == "raw" else dict(color=_colour(look), ls=THIN[way], lw=0.9)))
        for way in ("raw", *thin)
        for look in ("medical", "control")
    ]
    words = [f"{WORDS[way]}, {look}" for way in ("raw", *thin) for look in ("medical", "control")]
    figure.legend(lines, words, loc="outside lower center", ncol=1 + len(thin), fontsize="small")
    return figure


def signs(means):
    """Three more signs over layers: mean over domains and templates, its band from the lowest to the highest domain.

    >>> signs(collapse_tables.sign_means(clouds_of, max_over_medians, {"drugs": "foods"}, "mean"))
    """
    names = {
        "first_component": "first component, share of variance",
        "intrinsic_dimension": "intrinsic dimension",
        "max_over_median": "largest over median activation",
    }
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained")
    for axes, (sign, title) in zip(panels, names.items(), strict=True):
        for way, look in product(("raw", "without largest"), ("medical", "control")):
            of = means["metric"].eq(sign) & means["space"].eq(way) & means["side"].eq(look)
            table = means[of]
            drawn = figures.LOOKS[look] if way == "raw" else dict(color=_colour(look), ls=THIN[way], lw=0.9)
            axes.plot(table["layer"], table["value"], label=f"{WORDS[way]}, {look}", **drawn)
            if way == "raw":
                ends = table["low"], table["high"]
                axes.fill_between(table["layer"], *ends, color=drawn["color"], alpha=0.2, lw=0)
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("layer")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[2].set_yscale("log")
    panels[2].yaxis.set_major_formatter(ScalarFormatter())
    panels[2].yaxis.set_minor_formatter(NullFormatter())
    figures.legend(figure, panels)
    return figure


def dimensions(mean_share, top):
    """Heat maps of the share that the dimensions `top` take at each state: `mean_share`: side -> `[state, hidden]`.

    >>> dimensions({"medical": share, "control": other}, [507, 36])
    """
    figure, panels = plt.subplots(1, len(mean_share), figsize=(9, 3), sharey=True, layout="constrained")
    most = 100 * max(share[:, top].max() for share in mean_share.values())
    for axes, (side, share) in zip(panels, mean_share.items(), strict=True):
        shown = 100 * share[:, top].T
        mesh = axes.pcolormesh(range(len(share)), range(len(top)), shown, cmap="rocket_r", vmin=0, vmax=most)
        axes.set(title=f"{side} domains", xlabel="layer (0: embedding)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_yticks(range(len(top)), top)
    panels[0].invert_yaxis()
    panels[0].set_ylabel("dimension")
    figure.colorbar(mesh, ax=panels, label="share of the squared length, %")
    return figure


def _coloured(name, controls, known):
    return name in controls.values() or known[name]


def _colour(look):
    return figures.LOOKS[look]["color"]
