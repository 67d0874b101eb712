"""The figures of this chapter: comparisons of words over layers, words of neurons, patches part by part, and maps.

A curve that is held against another has the look of the medical one, what it is held against that of the control.  A
dot at the foot of a panel is a layer whose difference survives correction.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from medlib import figures, vision
from medlib.chapters.image_tokens.word_tests import MEASURES

_COLOURS = sns.color_palette("colorblind")
PARTS = {
    "all image": dict(color=_COLOURS[0], marker="o"),
    "lesion": dict(color=_COLOURS[1], marker="D"),
    "random": dict(color="0.55", marker=""),
    "other image": dict(color=_COLOURS[9], marker="v"),
    "question": dict(color=_COLOURS[2], marker="^"),
    "last": dict(color=_COLOURS[3], marker="s"),
}
NAMES = {
    "lesion": "tokens over the lesion",
    "random": "as many other brain tokens",
    "other image": "all other image tokens",
    "all image": "all image tokens",
    "question": "words after the picture",
    "last": "last token",
}
_GREYS = dict(zip(PARTS, ("0.3", "0.4", "0.75", "0.6", "0.5", "0.2"), strict=True))
FLAT = 0.1  # least height of a panel, in nats or as a share: one of ten words, so that less than a word looks flat
TITLES = {"place": "lesion words, by place"}


def comparisons(tests, measure):
    """A panel for each comparison of a measure: the picture, its control, and their difference with its interval.

    `tests`: the table of `word_tests.all_tests`.  Dots at the foot: q below 5 %.  Returns the figure and its axes.
    """
    own = tests[tests["measure"] == measure]
    names = list(own["comparison"].drop_duplicates())
    figure, axes = figures.panels(names, height=2.6, sharey=False, sharex=False)
    for name, one in axes.items():
        rows = own[own["comparison"] == name]
        one.axhline(0, color="0.8", lw=1, zorder=0)
        for column, look, label in (("own", "medical", "picture"), ("control", "control", "its control")):
            figures.curve(one, rows[["layer"]].assign(value=rows[column]), look, label)
        figures.curve(one, rows, "difference", "difference")
        clear = rows[rows["q"] < 0.05]
        if len(clear):  # an empty line would have no place, and upset the layout
            at_foot = dict(transform=one.get_xaxis_transform(), clip_on=False, ms=7, label="q < 5 %")
            one.plot(clear["layer"], [0.03] * len(clear), "k.", **at_foot)
        one.set_title(f"{TITLES.get(name, f'own word: {name}')} (n = {rows['n'].iloc[0]})", fontsize="small")
        one.set_xlabel("state")
        bottom, top = one.get_ylim()
        if top - bottom < FLAT:
            one.set_ylim((bottom + top - FLAT) / 2, (bottom + top + FLAT) / 2)
    for one in list(axes.values())[::3]:
        one.set_ylabel(MEASURES[measure], fontsize="small")
    figures.legend(figure, axes.values())
    return figure, axes


def likeness(tables):
    """Curves over layers of how like a picture's first words are to others: `tables`: label -> table with interval."""
    figure, axes = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    for look, (label, table) in zip(("medical", "control", "other"), tables.items(), strict=False):
        figures.curve(axes, table, look, label)
    axes.set(xlabel="state", ylabel="words in common, share", ylim=(-0.02, 1.02))
    figures.legend(figure, [axes])
    return figure, axes


def neurons(table):
    """A panel for each measure of `neuron_words.against_random`: strongest and random neurons, dots where q < 5 %."""
    names = list(table["measure"].drop_duplicates())
    figure, axes = figures.panels(names, height=2.6, sharey=False)
    for name, one in axes.items():
        rows = table[table["measure"] == name]
        for column, look, label in (("own", "medical", "strongest"), ("control", "control", "random")):
            figures.curve(one, rows[["layer"]].assign(value=rows[column]), look, f"{label} neurons")
        # the interval is that of the difference, and is drawn around the strongest at the level of the random ones
        band = [rows["control"] + rows[end] for end in ("low", "high")]
        colour = figures.LOOKS["medical"]["color"]
        one.fill_between(rows["layer"], *band, color=colour, alpha=0.2, lw=0)
        clear = rows[rows["q"] < 0.05]
        one.plot(clear["layer"], clear["own"], "k.", ms=8, label="q < 5 %" if len(clear) else None)
        one.set_ylabel("share of the words")
        one.set_xticks(sorted(set(rows["layer"])))
    figures.legend(figure, axes.values())
    return figure, axes


def parts(exact, estimated, known):
    """What patches of each part recover over layers, with bands, and beside them the estimates, dashed.

    `exact`, `estimated`: part -> table, as `image_sites.curves` gives them.  In greys where not known.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    sides = {left: ("lesion", "random", "other image"), right: ("all image", "question", "last")}
    for axes, names in sides.items():
        for level in (0, 1):
            axes.axhline(level, color="0.85", lw=1, zorder=0)
        for part in names:
            if part not in exact:
                continue
            table, look = exact[part], PARTS[part] | ({} if known else dict(color=_GREYS[part]))
            axes.plot(table["layer"], table["value"], label=NAMES[part], ms=3, **look)
            axes.fill_between(table["layer"], table["low"], table["high"], color=look["color"], alpha=0.15, lw=0)
            axes.plot(estimated[part]["layer"], estimated[part]["value"], color=look["color"], ls="--", lw=1)
        axes.set(xlabel="layer", ylim=(-0.6, 1.6))
    n = next(iter(exact.values()))["n"].iloc[0]
    left.set_ylabel("answer recovered\n(0: twin, 1: with the lesion)")
    left.set_title(f"parts of the picture (n = {n}" + (")" if known else ", answer not known)"), fontsize="small")
    right.set_title("where the answer goes", fontsize="small")
    handles = {label: handle for axes in sides for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    handles["estimate from one gradient"] = Line2D([], [], color="0.3", ls="--", lw=1)
    figure.legend(handles.values(), handles, loc="outside lower center", ncol=3, fontsize="small")
    return figure, (left, right)


def maps(prompts, values, masks, titles):
    """Maps over pictures side by side, on one scale: `values [picture, row, column]`, lesions outlined from `masks`.

    The values are differences, so the scale has its middle at zero.
    """
    figure, grid = plt.subplots(1, len(prompts), figsize=(2.9 * len(prompts), 3), squeeze=False, layout="constrained")
    most = float(np.max(np.abs(values)))
    for axes, prompt, heat, mask, title in zip(grid[0], prompts, values, masks, titles, strict=True):
        drawn = vision.overlay(axes, prompt, heat, limits=(-most, most))
        drawn.set_cmap("PuOr")
        axes.contour(mask, levels=[0.5], colors="white", linewidths=1.5)
        axes.contour(mask, levels=[0.5], colors="black", linewidths=0.6)
        axes.set_title(title, fontsize="small")
    figure.colorbar(drawn, ax=list(grid[0]), label="lesion words,\nnats above the twin", shrink=0.8)
    return figure, grid[0]
