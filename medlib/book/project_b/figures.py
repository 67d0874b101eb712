"""How project B is drawn beside a recorded run, and the three experiments on what its numbers can mean.

B is grey bands and black crosses; ours are blue, or black where this book goes by another measure; controls are
orange.  Figures are two panels wide, so that they can be read on a phone.  Each function returns its figure.
"""

import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator

from medlib import figures
from medlib.book.project_b import published

WIDTH = 5.6  # inches: letters keep their size on a phone
LEAST_LINEARITY, LEAST_DIMENSION = -1.0, 0.1  # what lies below is drawn there
B_BAND = dict(facecolor="0.82", edgecolor="0.5", lw=0.8, zorder=0)
B_POINT = dict(color="black", marker="x", ls="", markersize=6, mew=1.5, zorder=5)
LABELS = {  # in the order of the legend
    "range": "B, range (approximate)",
    "values": "B, values",
    "peak": "B, place of the peak",
    "own": "ours, B's measure",
    "stricter": "ours, our own measure",
    "control": "ours, control",
}
MAPS = {"grad_cam": "answer", "contrast": "answer less other", "all_logits": "sum of all logits"}
BASES = {"head": "the tower's own head", "centre": "centre of the brain", "random": "random brain token"}
BASES |= {"brightness": "brightness alone", "lesion": "the lesion itself"}
ALIKE = {
    "shifted_sum": ("difference", "sum of all, and sum of all of a model\nwith the same probabilities"),
    "answer_sum": ("medical", "answer, and sum of all"),
}


def shown(figure, folder, name, caption, alt):
    """Write a figure into `folder` as `<name>.png` and return the directive that shows it."""
    figure.savefig(folder / f"{name}.png", dpi=200)
    plt.close(figure)
    return f":::{{figure}} generated/{name}.png\n:name: fig-{name.replace('_', '-')}\n:alt: {alt}\n\n{caption}\n:::\n"


def curves(quantities, found):
    """A panel for each of B's quantities over relative depth, ours beside it.

    >>> curves(quantities, {name: published.curves(quantity, runs) for name, quantity in quantities.items()})
    """
    figures.style()
    figure, grid = plt.subplots(5, 2, figsize=(WIDTH, 9.6), sharex=True, layout="constrained")
    for axes, (name, quantity) in zip(grid.flat, quantities.items(), strict=False):
        _of_b(axes, quantity)
        _of_ours(axes, quantity, found[name])
        axes.set_title(quantity["title"].removeprefix("intrinsic "), fontsize="small")
        axes.tick_params(labelsize="small")
        axes.set(xlim=(-0.03, 1.03), xticks=(0, 0.5, 1))
        _scaled(axes, quantity, found[name])
    for axes in (grid[-1, 0], grid[-2, 1]):
        axes.set_xlabel("relative depth", fontsize="small")
        axes.tick_params(labelbottom=True)
    last, labels = grid[-1, 1], {}
    last.axis("off")
    for axes in grid.flat:
        labels |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    there = [label for label in LABELS.values() if label in labels]
    last.legend([labels[label] for label in there], there, loc="center left", fontsize="small", borderaxespad=0)
    return figure


def _of_b(axes, quantity):
    blocks = published.read()[0]["blocks"]
    if "points" in quantity:
        layers, values = zip(*quantity["points"].items(), strict=True)
        axes.plot([layer / blocks for layer in layers], values, label=LABELS["values"], **B_POINT)
        return
    axes.axhspan(quantity["low"], quantity["high"], label=LABELS["range"], **B_BAND)
    for at, name in ((0, "start"), (1, "end")):
        if name in quantity:
            edges = quantity[name] if isinstance(quantity[name], list) else [quantity[name]]
            axes.plot([at] * len(edges), edges, label=LABELS["values"], clip_on=False, **B_POINT)
    if "peak" in quantity:
        middle = sum(quantity["peak"]) / 2 / blocks
        axes.axvline(middle, color="0.5", lw=1, ls="--", zorder=0, label=LABELS["peak"])


def _of_ours(axes, quantity, found):
    if not found:
        return _say(axes, quantity, "ours: not run\nin this copy")
    if found["own"].empty:
        _say(axes, quantity, "ours: too few tokens\nfor this measure")
    for name, look in (("control", "control"), ("stricter", "difference"), ("own", "medical")):
        part = found.get(name)
        if part is None or part.empty:
            continue
        drawn = figures.LOOKS[look] | (dict(marker="", lw=1.2) if name == "control" else {})
        axes.plot(part["depth"], part["value"], label=LABELS[name], **drawn)
        if name != "control":
            axes.fill_between(part["depth"], part["low"], part["high"], color=drawn["color"], alpha=0.2, lw=0)
    return None


def _scaled(axes, quantity, found):
    """A share from below zero to one; a dimension on a logarithmic axis, since controls are many times higher."""
    if quantity["metric"].startswith("dimension"):
        values = [part["value"] for part in found.values() if len(part)]
        top = max([quantity["high"], *(value.max() for value in values)])
        bottom = min([quantity["low"], *(value.min() for value in values)])
        axes.set(yscale="log", ylim=(min(4, 0.8 * bottom), max(25, 1.25 * top)))
        axes.yaxis.set_major_locator(FixedLocator([2, 5, 10, 20, 50, 100, 200, 500]))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    else:
        least = min((part["value"].min() for part in found.values() if len(part)), default=0)
        axes.set_ylim(-0.3 if least < 0 else -0.03, 1.05)


def _say(axes, quantity, text):
    """Write into a panel where B's numbers are not."""
    at = 0.17 if quantity["metric"].startswith("dimension") else 0.4
    axes.text(0.5, at, text, ha="center", va="center", transform=axes.transAxes, fontsize="small")


def few_tokens(made, ours, ratio):
    """Linearity over tokens per dimension of noise, and of the states of a run where there is one.

    `made`, `ours`: `ratio, score, value`, `ours` with no rows where nothing was recorded; `ratio`: that of B's text.
    """
    figures.style()
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    looks = {"in sample": dict(ls="-"), "held out": dict(ls=":")}
    for table, look, name in ((made, "control", "noise"), (ours, "medical", "our text tokens")):
        for score, style in looks.items():
            part = table[table["score"] == score]
            if len(part):
                drawn = figures.LOOKS[look] | dict(linestyle=style["ls"])
                axes.plot(part["ratio"], part["value"].clip(lower=LEAST_LINEARITY), label=f"{name}, {score}", **drawn)
    axes.axvline(ratio, color="0.3", lw=1.2, ls="--", zorder=1, label="B's text tokens")
    axes.axvspan(0, 1, color="0.92", lw=0, zorder=0, label="no more tokens than dimensions")
    axes.set(xlabel="tokens as a multiple of the dimensions", ylabel="linearity", xlim=(0, None), ylim=(-1.06, 1.08))
    figures.legend(figure, [axes], ncol=2)
    return figure


def copies(made, known, ours):
    """TwoNN over the share of copies in a cloud: one of known dimension, and the image tokens of a run if there is one.

    `made`, `ours`: as of `two_traps.with_copies`; `ours` with no rows where nothing was recorded.
    """
    figures.style()
    panels = [(made, f"a made cloud of {known} dimensions")]
    if len(ours):
        panels.append((ours, "image tokens, middle layer"))
    figure, grid = plt.subplots(1, len(panels), figsize=(WIDTH, 3.6), sharey=True, squeeze=False, layout="constrained")
    looks = {"lowest": ("medical", "lowest fifth, B's fit"), "likelihood": ("other", "maximum likelihood")}
    for axes, (table, title) in zip(grid.flat, panels, strict=True):
        for fit, (look, label) in looks.items():
            part = table[table["fit"] == fit]
            low, value, high = (part[name].clip(lower=LEAST_DIMENSION) for name in ("low", "value", "high"))
            axes.plot(100 * part["share"], value, label=label, **figures.LOOKS[look])
            axes.fill_between(100 * part["share"], low, high, color=figures.LOOKS[look]["color"], alpha=0.2, lw=0)
            if fit == "lowest":
                axes.plot(
                    100 * part["share"], part["clean"], color="0.45", lw=1, ls="--", label="B's fit, copies removed"
                )
        axes.set_title(title, fontsize="small")
        axes.set(xlabel="copies, % of the tokens", yscale="log")
    grid[0, 0].set_ylabel("intrinsic dimension")
    grid[0, 0].yaxis.set_major_formatter("{x:g}")
    figures.legend(figure, grid.flat, ncol=3)
    return figure


def logit_sum(scores, middle, alike, n_layers):
    """Where maps point, at two choices of the layer and beside what needs no map; and how alike two maps are.

    `scores`, `middle`: by name of a map, `value, low, high`, at its chosen layer and at the middle one; `alike`: `pair,
    layer, value, low, high`.
    """
    figures.style()
    names = [name for name in (*MAPS, *BASES) if name in scores.index]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(WIDTH, 0.42 * len(names) + 4.6), layout="constrained", height_ratios=[0.42 * len(names) + 1, 3]
    )
    for table, look, step, label in (
        (scores[scores.index.isin(MAPS)], "medical", -0.14, "map, at the layer best in other scenes"),
        (middle, "other", 0.14, "map, at the middle layer"),
        (scores[scores.index.isin(BASES)], "difference", 0, "no map"),
    ):
        at, drawn = [names.index(name) + step for name in table.index], figures.LOOKS[look]
        above.hlines(at, table["low"], table["high"], color=drawn["color"], lw=1.8)
        above.plot(table["value"], at, drawn["marker"], color=drawn["color"], markersize=6, label=label)
    above.set_yticks(range(len(names)), [(MAPS | BASES)[name] for name in names])
    above.set(xlabel="pointing score", ylim=(len(names) - 0.5, -0.5), xlim=(min(0, scores["low"].min()), None))
    above.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.4, 1), ncol=1)
    for pair, (look, label) in ALIKE.items():
        part = alike[alike["pair"] == pair].sort_values("layer")
        if len(part):
            below.plot(part["layer"] / n_layers, part["value"], label=label, **figures.LOOKS[look])
            colour = figures.LOOKS[look]["color"]
            below.fill_between(part["layer"] / n_layers, part["low"], part["high"], color=colour, alpha=0.2, lw=0)
    below.axhline(0, color="0.6", lw=1, zorder=0)
    below.set(xlabel="relative depth", ylabel="rank correlation", ylim=(-1.05, 1.05), xlim=(0, 1.03))
    below.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure
