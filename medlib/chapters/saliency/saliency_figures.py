"""How the chapter about saliency draws what it compares: a panel for each medical domain.

Grey is what the model does not know, as in `figures.py`, whose looks and panels these use.
"""

import numpy as np
import seaborn as sns

from medlib import figures


def by_layer(curves, kind, controls, known, ylabel):
    """Each medical domain's curve beside its control's, with right answers, on one logarithmic axis.

    >>> by_layer(curves(tables), "grad", {"drugs": "foods"}, known, "nats / unit of weight")
    """
    shown = {name: curve for (name, answer, of), curve in curves.items() if answer == "own" and of == kind}
    limits = min(table["low"].min() for table in shown.values()), max(table["high"].max() for table in shown.values())
    return figures.beside_controls(
        shown, controls, known, ylabel, yscale="log", ylim=(limits[0] / 1.1, limits[1] * 1.1)
    )


def ratios(curves, levels, changed, reference, controls, known):
    """Medical over control by layer, with right answers and with those of other items: the figure and its axes.

    >>> ratios(curves, levels, corrected(tests["own"]), band(tables, controls, known), {"drugs": "foods"}, known)

    `curves` and `levels`: (domain, answer) -> result of `ratio` and of `level`, whose own one is a thin line; layers
    that are `clear` in `changed` are circled.  `reference`: result of `band`, or None; a band around the level.
    """
    figure, axes = figures.panels(controls, sharey=True)
    for domain, control in controls.items():
        one, both, level = axes[domain], known[domain] and known[control], levels[domain, "own"].value
        if reference is not None:
            ends = (level * np.exp(side * reference["value"]) for side in (-1, 1))
            words = "how far two controls differ (not matched in form)"
            one.fill_between(
                reference["layer"], *ends, color=figures.LOOKS["control"]["color"], alpha=0.25, lw=0, label=words
            )
        for answer, look, label in (("own", "difference", "right answers"), ("other", "other", "other items' answers")):
            figures.curve(one, curves[domain, answer], look, label, both)
        clear = changed[(changed["domain"] == domain) & changed["clear"]]["layer"]
        own = curves[domain, "own"].set_index("layer").loc[list(clear)]
        circle = dict(facecolors="none", edgecolors="black" if both else figures.NOT_KNOWN, s=45, zorder=3)
        one.scatter(
            own.index, own["value"], label="right answers, differs from its mean" if len(own) else None, **circle
        )
        one.axhline(level, color="0.3", lw=0.8, ls=(0, (1, 3)), zorder=0)
        one.axhline(1, color="0.6", lw=1, zorder=0)
        one.set(yscale="log", ylabel="medical / control")
        one.set_title(f"{domain} / {control}", fontsize="medium")
    ticks = [tick for tick in (0.125, 0.25, 0.5, 1, 2, 4, 8) if _within(tick, axes.values())]
    for one in axes.values():
        one.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        one.minorticks_off()
    figures.outer(axes.values())
    figures.legend(figure, axes.values(), ncol=2)
    return figure, axes


def sanity(steps, labels, templates, controls, known):
    """Rank correlation with the curve as it is: the more blocks are scrambled, and with other items' answers.

    >>> sanity(steps, labels, templates, {"drugs": "foods"}, known)

    `steps`: result of `sanity.spread_of_orders`; `labels`: domain -> the `Interval` with other answers; `templates`:
    domain -> the rank correlation of its two least alike templates, a dotted line.
    """
    figure, axes = figures.panels(controls, sharey=True)
    lowest = min(0, steps["low"].min(), *(labels[domain].low for domain in axes))
    for domain, one in axes.items():
        table = steps[steps["domain"] == domain]
        for blocks, look, words in (
            ("all", "medical", "weights in random orders: all blocks"),
            ("intact", "difference", "the same: blocks still intact"),
        ):
            _bars(one, look, words, known[domain], table[table["blocks"] == blocks])
        label = labels[domain]
        point = dict(scrambled=[0], value=[label.value], low=[label.low], high=[label.high])
        _bars(one, "other", "answers of other items", known[domain], point)
        one.axhline(templates[domain], color="0.3", lw=0.9, ls=":", label="least alike two templates", zorder=0)
        one.axhline(0, color="0.6", lw=1, zorder=0)
        one.set(xlabel="blocks scrambled, from the last", ylabel="rank correlation", ylim=(lowest - 0.05, 1.05))
        one.set_title(domain, fontsize="medium")
    figures.outer(axes.values())
    figures.legend(figure, axes.values(), ncol=2)
    return figure, axes


def _bars(axes, look, label, known, table):
    drawn = figures.LOOKS[look] if known else figures.LOOKS[look] | dict(color=figures.NOT_KNOWN)
    value, low, high = (np.asarray(table[name], dtype=float) for name in ("value", "low", "high"))
    label = label if known else f"{label}, not known"
    axes.plot(table["scrambled"], value, label=label, **drawn)
    axes.vlines(table["scrambled"], low, high, color=drawn["color"], lw=1.2)


def modules(table, controls, known):
    """Heat maps of weight matrix by layer: medical over control, over the ratio's own mean, as a power of two.

    `table`: `domain, module, layer, value` (natural log), `clear` (whether to set a dot).
    """
    figure, axes = figures.panels(controls, sharey=True)
    span = float(table["value"].abs().max()) / np.log(2)
    colours = sns.color_palette("vlag", as_cmap=True)
    for domain, one in axes.items():
        part = table[table["domain"] == domain]
        names = list(dict.fromkeys(part["module"]))
        grid = part.pivot(index="module", columns="layer", values="value").loc[names] / np.log(2)
        edges = [grid.columns[0] - 0.5, *(grid.columns + 0.5)], np.arange(len(names) + 1) - 0.5
        mesh = one.pcolormesh(*edges, grid.to_numpy(), cmap=colours, vmin=-span, vmax=span)
        dots = part[part["clear"]]
        one.plot(dots["layer"], [names.index(name) for name in dots["module"]], ".", color="black", ms=2.5)
        one.set_yticks(range(len(names)), names)
        one.set(xlabel="layer", ylim=(len(names) - 0.5, -0.5))
        both = known[domain] and known[controls[domain]]
        one.set_title(f"{domain} / {controls[domain]}" + ("" if both else "\nnot known"), fontsize="medium")
    figures.outer(axes.values())
    label = "log2 of the ratio over its own mean"
    figure.colorbar(mesh, ax=list(axes.values()), label=label, shrink=0.7)
    return figure, axes


def _within(tick, axes):
    low, high = next(iter(axes)).get_ylim()
    return low <= tick <= high
