"""The figures of the map: lanes of layers, how alike maps are, and whether the mapped layers matter."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from medlib import figures
from medlib.mapping import TECHNIQUES, rules

_PALETTE = sns.color_palette("colorblind")
COLOURS = dict(zip(TECHNIQUES, (_PALETTE[0], _PALETTE[1], _PALETTE[2], _PALETTE[4]), strict=True))
COLOURS["consensus"] = "black"
LANE = 0.17  # of the height that a domain has
MARKS = {  # what a map is held against -> its look
    "half of the items": dict(color=_PALETTE[0], marker="o", label="two halves of its items"),
    "template": dict(color=_PALETTE[2], marker="^", label="two of its templates"),
    "control": dict(color=_PALETTE[1], marker="s", label="its control's map"),
    "others": dict(color="black", marker="D", label="other medical domains' maps"),
}


def lanes(axes, table, domains, n_layers=None, grey="not known"):
    """The map of some domains, a band each with a lane for each technique and, below these, one for the consensus.

    `table`: of `map_tables.read_back`, one map.  With `n_layers` the axis is the relative depth of a model of so many.
    A lane is fainter where a layer is mapped in fewer resamples; grey where the domain (of a difference: it or its
    control) is not known, and labelled with the words `grey`; outlined where a difference does not stand out.
    """
    scale = (lambda edge: edge / n_layers) if n_layers else (lambda edge: edge + 0.5)
    end = n_layers or int(table["layer"].max())
    for place, domain in enumerate(domains):
        for number, technique in enumerate(COLOURS):
            own = table[(table["domain"] == domain) & (table["technique"] == technique)].sort_values("layer")
            y = place + (number - 2) * LANE
            if own.empty or (own["status"] != "run").any():
                said = own["status"].iloc[0] if len(own) else "not run"
                if technique != "consensus":
                    said = f"{technique}: {said}"
                    axes.text(scale(0), y, f" {said}", size=5.5, va="center", color="0.35", style="italic")
                continue
            _lane(axes, own, y, scale)
        if place:
            axes.axhline(place - 0.5, color="0.85", lw=0.8)
    known = table.drop_duplicates("domain").set_index("domain")["known"]
    labels = [f"{name},\n{grey}" if _no(known.get(name)) else name for name in domains]
    axes.set_yticks(range(len(domains)), labels)
    axes.set(ylim=(len(domains) - 0.5, -0.5), xlim=(scale(0), scale(end)))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("relative depth" if n_layers else "layer")
    if not n_layers:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _lane(axes, own, y, scale):
    technique = own["technique"].iloc[0]
    colour = figures.NOT_KNOWN if _no(own["known"].iloc[0]) else COLOURS[technique]
    outlined = _no(own["sure"].iloc[0])
    height = LANE * (0.45 if technique == "consensus" else 0.85)
    if outlined:
        for first, last in rules.runs(own["mapped"].to_numpy(dtype=bool)):
            box = (scale(first - 1), y - height / 2), scale(last) - scale(first - 1), height
            axes.add_patch(Rectangle(*box, fill=False, ec=colour, lw=0.8, clip_on=False))
        return
    for row in own[own["mapped"]].itertuples():
        box = (scale(row.layer - 1), y - height / 2), scale(row.layer) - scale(row.layer - 1), height
        axes.add_patch(Rectangle(*box, color=colour, alpha=0.2 + 0.8 * row.share, lw=0))


def legend(figure, outlined=False):
    """The legend of lanes, below a figure."""
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    handles[-1].set_label("two techniques or more")
    if outlined:
        handles.append(Patch(fill=False, ec="0.3", label="does not stand out from the control"))
    figure.legend(handles=handles, loc="outside lower center", ncol=3, fontsize="small")


def two_maps(plain, less, domains):
    """The map and that of the difference from the controls, side by side."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.95 * len(domains) + 1.2), sharey=True, layout="constrained")
    for one, table, title in zip(axes[::-1], (less, plain), ("minus their controls", "medical domains"), strict=True):
        lanes(one, table, domains)  # the last one names the domains for both
        one.set_title(title, fontsize="medium")
    legend(figure, outlined=True)
    return figure, axes


def likeness(among, stable, domains, known):
    """A panel a technique: the overlap of each domain's map with what should be like it, and with what should not."""
    figure, axes = plt.subplots(1, 4, figsize=(9.4, 0.55 * len(domains) + 1.6), sharey=True, layout="constrained")
    for one, technique in zip(axes, TECHNIQUES, strict=True):
        own = among[among["technique"] == technique].set_index("domain")
        changed = stable[stable["technique"] == technique].set_index(["domain", "change"])
        for place, domain in enumerate(domains):
            for number, (what, look) in enumerate(MARKS.items()):
                y, grey = place + (number - 1.5) * 0.18, _no(known.get(domain))
                look = look | (dict(color=figures.NOT_KNOWN, label="_") if grey else {})
                if what in ("control", "others"):
                    one.plot(own[what].get(domain, np.nan), y, ls="", markersize=5, **look)
                elif (domain, what) in changed.index:
                    row = changed.loc[(domain, what)]
                    one.plot([row["low"], row["high"]], [y, y], color=look["color"], lw=1, alpha=0.6)
                    one.plot(row["overlap"], y, ls="", markersize=5, **look)
            chance = own["chance"].get(domain, np.nan)
            one.plot([chance] * 2, [place - 0.4, place + 0.4], color="0.45", lw=1, ls=":", label="chance")
        one.set(xlim=(-0.05, 1.05), xlabel="overlap", title=technique)
        one.title.set_fontsize("medium")
    _rows(axes[0], domains, known)
    figures.legend(figure, axes, ncol=5)
    return figure, axes


def agreement(whole, controls, known):
    """How far all techniques of a domain agree, and of its control: points with intervals; a dotted bar is chance."""
    figure, axes = plt.subplots(figsize=(6.4, 0.5 * len(controls) + 1.4), layout="constrained")
    table = whole.set_index("domain")
    for place, (domain, control) in enumerate(controls.items()):
        sides = (("medical", domain, "medical domain", -0.15), ("control", control, "its control", 0.15))
        for look, name, label, shift in sides:
            if name not in table.index or not np.isfinite(table.loc[name, "overlap"]):
                continue
            row, style, y = table.loc[name], dict(figures.LOOKS[look]), place + shift
            if _no(known.get(name)):
                style["color"], label = figures.NOT_KNOWN, "_"
            axes.plot([row["low"], row["high"]], [y, y], color=style["color"], lw=1.5)
            axes.plot(row["overlap"], y, markersize=5, label=label, **(style | dict(linestyle="")))
            axes.plot([row["chance"]] * 2, [y - 0.12, y + 0.12], color="0.3", lw=1.2, ls=":", label="chance")
    axes.set(xlim=(0, None), xlabel="overlap of the techniques, mean over pairs")
    _rows(axes, list(controls), known)
    figures.legend(figure, [axes])
    return figure, axes


def beaten(judged, domains, kinds):
    """A panel a kind of effect: how many random runs of layers the mapped ones beat; hollow: without the first."""
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(9.2, 0.6 * len(domains) + 1.6), sharey=True, layout="constrained"
    )
    looks = {"plain": figures.LOOKS["medical"], "minus control": figures.LOOKS["difference"]}
    agreed = judged[judged["technique"] == "consensus"]
    scopes = list(dict.fromkeys(judged["scope"]))
    for one, kind in zip(axes, kinds, strict=True):
        for place, domain in enumerate(domains):
            for number, (name, scope) in enumerate((name, scope) for name in looks for scope in scopes):
                row = agreed[(agreed["domain"] == domain) & (agreed["kind"] == kind)]
                row = row[(row["map"] == name) & (row["scope"] == scope)].dropna(subset=["beaten"])
                if row.empty:
                    continue
                row, y = row.iloc[0], place + (number - 1.5) * 0.18
                colour, full = looks[name]["color"], scope == scopes[0]
                one.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.2, alpha=1 if full else 0.5)
                look = dict(marker=looks[name]["marker"], color=colour, mfc=colour if full else "white")
                label = {"plain": "map", "minus control": "map minus control"}[name]
                one.plot(row["beaten"], y, ls="", markersize=5, label=f"{label}, {scope}", **look)
        one.axvline(0.5, color="0.6", lw=1, ls=":")
        one.axvline(0.95, color="0.6", lw=1, ls="--")
        one.set(xlim=(-0.03, 1.03), xlabel="random runs beaten", title=kind)
        one.title.set_fontsize("medium")
    _rows(axes[0], domains, {})
    figures.legend(figure, axes, ncol=2)
    return figure, axes


def effect_curves(curves, controls, known, masks, kind, ylabel, linear=None):
    """A panel a medical domain: an effect by layer, and its control's; shaded: the layers of its consensus.

    `curves`: rows of `map_tables.effect_rows`; `masks`: domain -> mask of layers or None; beyond `linear` the scale is
    logarithmic.  Domains that are not known are left out, unless none is: then they are all there, in grey.
    """
    there = [name for name in controls if len(_curve(curves, name, kind))]
    domains = [name for name in there if not _no(known.get(name))] or there
    figure, axes = figures.panels(domains, sharey=True)
    for domain in domains:
        parts = [("medical", domain, kind, "medical domain"), ("control", controls[domain], kind, "its control")]
        if kind == "steering":
            parts.append(("other", domain, "steering, random direction", "random direction"))
        for look, name, variant, label in parts:
            if len(own := _curve(curves, name, variant)):
                figures.curve(axes[domain], own, look, label, known.get(name, True))
        axes[domain].axhline(0, color="0.6", lw=1, zorder=0)
        for layer in np.flatnonzero(masks[domain]) + 1 if masks.get(domain) is not None else ():
            axes[domain].axvspan(layer - 0.5, layer + 0.5, color="0.9", lw=0, zorder=-1, label="mapped")
        axes[domain].set_ylabel(ylabel)
        if linear:
            axes[domain].set_yscale("symlog", linthresh=linear)
    figures.outer(axes.values())
    figures.legend(figure, axes.values())
    return figure, axes


def _curve(curves, domain, variant):
    return curves[(curves["domain"] == domain) & (curves["variant"] == variant)].sort_values("layer")


def _no(value):
    """Whether something is known to be false: what nobody found out is not."""
    return value in (False,)


def _rows(axes, domains, known):
    labels = [f"{name}, not known" if _no(known.get(name)) else name for name in domains]
    axes.set_yticks(range(len(domains)), labels)
    axes.set_ylim(len(domains) - 0.5, -0.5)
