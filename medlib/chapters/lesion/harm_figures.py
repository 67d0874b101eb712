"""The figures of this chapter: curves of several lesions, points with intervals, heat maps, and what orders agree with.

Divergences span decades and have a logarithmic axis.  What can be negative is drawn as points on a linear axis; what
lies beyond it has an arrow at the edge, so that single huge layers do not flatten the others.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from medlib import figures
from medlib.chapters.lesion import orders

_LOOKS = ("medical", "other", "control")
_ORDERS = dict(zip(orders.AGAINST, ("difference", "medical", "control", "other"), strict=True))


def several(curves, controls, known, ylabel, dashed=None):
    """A panel for each medical domain with up to three curves on a logarithmic axis: the figure and its axes.

    >>> several({"absent": absent, "mean": mean}, controls, known, "KL, nats", dashed={"absent": absent})

    `curves`: label -> domain -> table `layer, value, low, high`, those of medical domains and controls; the controls
    of the labels in `dashed` are drawn thin and dashed in the same colour.  Grey where not known.
    """
    figure, axes = figures.panels(controls, sharey=True)
    for look, (label, tables) in zip(_LOOKS, curves.items(), strict=False):
        for domain, one in axes.items():
            figures.curve(one, tables[domain], look, label, known[domain])
            one.lines[-1].set(linestyle="-")
            if label in (dashed or ()):
                table = tables[controls[domain]]
                drawn = dict(color=figures.NOT_KNOWN, ls="--", lw=1)
                if known[controls[domain]]:
                    drawn |= dict(color=figures.LOOKS[look]["color"], label=f"{label}, control")
                one.plot(table["layer"], table["value"], **drawn)
    for domain, one in axes.items():
        one.set_title(f"{domain} / {controls[domain]}" if dashed else domain, fontsize="medium")
        one.set(yscale="log", ylabel=ylabel)
    figures.outer(axes.values())
    figures.legend(figure, axes.values(), ncol=3)
    return figure, axes


def points(series, controls, known, ylabel):
    """A panel for each medical domain with points and intervals over layers on one linear axis: the figure, its axes.

    >>> points([("medical", "medical domain", drops), ("control", "its control", others)], controls, known, "nats")

    `series`: a list of (look, label, tables), the tables by medical domain, with `layer, value, low, high`.  The axis
    holds nine tenths of the values; a point beyond it is an arrow at the edge.  Grey where the domain, or of a series
    with the look "control" the control, is not known.
    """
    low, high = _limits([tables[domain]["value"] for _, _, tables in series for domain in controls])
    figure, axes = figures.panels(controls, sharey=True)
    for domain, one in axes.items():
        one.axhline(0, color="0.6", lw=1, zorder=0)
        for place, (name, label, tables) in enumerate(series):
            look, table = figures.LOOKS[name], tables[domain]
            shown = known[controls[domain] if name == "control" else domain]
            colour = look["color"] if shown else str(0.45 + 0.3 * place)
            at = table["layer"] + 0.3 * (place - (len(series) - 1) / 2)
            one.vlines(at, table["low"].clip(low, high), table["high"].clip(low, high), color=colour, lw=1)
            inside = table["value"].between(low, high)
            label = label if shown else f"{label}, not known"
            one.plot(at[inside], table["value"][inside], look["marker"], color=colour, markersize=3, label=label)
            edge = 0.02 * (high - low)
            for beyond, y, arrow in (
                (table["value"] > high, high - edge, "^"),
                (table["value"] < low, low + edge, "v"),
            ):
                one.plot(at[beyond], [y] * beyond.sum(), arrow, color=colour, markersize=5, mfc="none")
        one.set_title(f"{domain} / {controls[domain]}", fontsize="medium")
        one.set(ylabel=ylabel, ylim=(low, high), xlabel="layer")
    figures.outer(axes.values())
    figures.legend(figure, axes.values())
    return figure, axes


def difference_maps(differences, known):
    """A heat map of domains by layers for the absent block and one for another prompt's addition: figure and axes.

    `differences` is `ways.differences_of_ways`.  Red where the loss moves the medical domain more; dots where that
    holds at a false discovery rate of 5 %.  The colours end at the 95th percentile of the absolute values of each map.
    """
    hows = {"identity": "the block absent", "resample": "what it adds to another prompt"}
    domains = list(differences["domain"].unique())
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(7.2, 0.7 * len(domains) + 2), layout="constrained")
    for one, (how, title) in zip(axes, hows.items(), strict=True):
        part = differences[differences["how"] == how]
        grid = part.pivot(index="domain", columns="layer", values="value").loc[domains]
        span = np.quantile(np.abs(grid), 0.95) or 1.0
        cmap = sns.color_palette("vlag", as_cmap=True)
        edges = [*range(len(grid.columns) + 1)]
        mesh = one.pcolormesh(edges, range(len(domains) + 1), grid, cmap=cmap, vmin=-span, vmax=span)
        figure.colorbar(mesh, ax=one, label="difference of KL, nats", extend="both")
        clear = part[part["q"] < 0.05]
        at = grid.columns.get_indexer(clear["layer"]) + 0.5, [domains.index(name) + 0.5 for name in clear["domain"]]
        one.plot(*at, "k.", markersize=4)
        one.set_yticks(np.arange(len(domains)) + 0.5, [_named(name, part, known) for name in domains])
        step = max(1, len(grid.columns) // 10)
        one.set_xticks(np.arange(0, len(grid.columns), step) + 0.5, grid.columns[::step])
        one.invert_yaxis()
        one.set_title(title, fontsize="medium")
    axes[-1].set_xlabel("layer")
    return figure, axes


def draw_orders(table, unmatched, known):
    """A row for each domain, a point with its interval for each thing that its order of layers is compared with.

    `table` is `orders.orders`, `unmatched` its `among_controls`: the grey band is the middle half of the agreements of
    two controls, its line their median.  A domain that is not known is grey.  The figure and its axes.
    """
    domains = list(table["domain"].unique())
    figure, axes = plt.subplots(figsize=(7.2, 0.7 * len(domains) + 1.3), layout="constrained")
    among = unmatched.loc[unmatched["domain"] == "a control", "value"]
    if len(among):
        axes.axvspan(*among.quantile([0.25, 0.75]), color="0.9", lw=0, zorder=0)
        axes.axvline(among.median(), color="0.6", lw=1, ls=":", zorder=0, label="two controls (median, middle half)")
    for step, (against, look) in enumerate(_ORDERS.items()):
        look = figures.LOOKS[look]
        part = table[table["variant"] == against]
        for row in part.itertuples():
            at = domains.index(row.domain) + 0.2 * (step - 1.5)
            colour = look["color"] if known[row.domain] else figures.NOT_KNOWN
            first = row.domain == part["domain"].iloc[0]
            axes.plot([row.low, row.high], [at, at], color=colour, lw=1.5)
            axes.plot(row.value, at, look["marker"], color=colour, markersize=6, label=against if first else None)
    axes.axvline(0, color="0.6", lw=1, zorder=0)
    axes.set_yticks(range(len(domains)), [name if known[name] else f"{name}, not known" for name in domains])
    axes.set_ylim(len(domains) - 0.5, -0.5)
    axes.set(xlabel="rank correlation over layers", xlim=(min(-0.05, table["low"].min() - 0.05), 1.02))
    figures.legend(figure, [axes], ncol=3)
    return figure, axes


def _limits(values):
    """An axis that holds nine tenths of the values, and zero, with a margin."""
    low, high = np.quantile(np.concatenate(values), [0.05, 0.95])
    low, high = min(low, 0), max(high, 0)
    margin = 0.3 * (high - low) or 1.0
    return low - margin, high + margin


def _named(domain, part, known):
    control = part.loc[part["domain"] == domain, "variant"].iloc[0].removeprefix("minus ")
    name = f"{domain} minus {control}"
    return name if known[domain] and known[control] else f"{name}, not known"
