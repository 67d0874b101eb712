"""The figures of this chapter: curves of image tokens and of text tokens with their controls and B's ranges.

Image tokens are solid, text tokens dotted; a control is thin and dashed in the colour of its curve; what project B
published is a grey band.  A state of too few distinct tokens (enough_tokens.py) has no point in a cloud's curves.  Each
function returns the figure and its axes.
"""

import textwrap

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from medlib import figures
from medlib.chapters.embedding_geometry import project_b
from medlib.chapters.embedding_geometry.enough_tokens import comparable
from medlib.vision.states import KINDS

LOOK = {"image": "medical", "text": "other"}
THIN = dict(lw=1, marker="", alpha=0.9)


def by_kind(table, metrics, ylabel, control=True, **options):
    """A panel for each kind of token with the curves of some metrics; the control of the last is dashed.

    >>> by_kind(steps, {"linearity_held_out": "held out", "linearity": "in sample"}, "linearity")

    `table`: `kind, layer, metric, value, low, high, control, reason`; `metrics`: metric -> label.  A panel whose curves
    were all refused says why.  `options` are set on all axes.
    """
    figure, axes = figures.panels([f"{kind} tokens" for kind in KINDS], height=3, sharey=True)
    looks = ("medical", "other", "difference")
    for kind, one in zip(KINDS, axes.values(), strict=True):
        _band(one, project_b.band(next(reversed(metrics)), kind))
        for look, (metric, label) in zip(looks, metrics.items(), strict=False):
            part = _of(table, metric, kind)
            if len(part):
                figures.curve(one, part, look, label)
            if len(part) and control:
                drawn = dict(color=figures.LOOKS[look]["color"], ls="--", **THIN)
                one.plot(part["layer"], part["control"], label=f"{label}, by chance", **drawn)
        _refused(one, table, metrics, kind)
        one.set(ylabel=ylabel, **options)
        one.set_xlabel("block")
        one.label_outer()
    figures.legend(figure, axes.values(), ncol=3)
    return figure, axes


def both_kinds(table, metrics, controls):
    """A panel for each metric with the curves of image and text tokens: figure and axes by metric.

    >>> both_kinds(shapes, {"anisotropy": "share of the first axis"}, "each dimension dealt")

    `metrics`: metric -> axis label; `controls`: metric -> what its dashed curve is.
    """
    figure, axes = figures.panels(metrics, height=3.2, figsize=(4.2 * len(metrics), 3.6))
    for metric, one in axes.items():
        for kind in KINDS:
            part = comparable(_of(table, metric, kind))
            if not len(part):
                continue
            colour = figures.LOOKS[LOOK[kind]]["color"]
            _band(one, project_b.band(metric, kind), f"project B, {kind}", colour)
            figures.curve(one, part, LOOK[kind], f"{kind} tokens")
            if metric in controls and part["control"].notna().any():
                one.plot(
                    part["layer"], part["control"], color=colour, ls="--", label=f"{kind}, {controls[metric]}", **THIN
                )
        _refused(one, table, [metric], "text")
        one.set_title("")
        one.set_ylabel("\n".join(textwrap.wrap(metrics[metric], 26)))
        one.set_xlabel("layer (0: embedding)")
    figures.legend(figure, axes.values(), ncol=3)
    return figure, axes


def scale(table):
    """The dimension of all, half and a quarter of the tokens, and on the lowest fifth: figure and axes by kind."""
    figure, axes = figures.panels([f"{kind} tokens" for kind in KINDS], height=3, sharey=True)
    lines = {"dimension": "-", "dimension_half": "--", "dimension_quarter": ":", "dimension_lowest": "-."}
    words = ("likelihood, all tokens", "half of them", "a quarter", "lowest fifth, all tokens")
    for kind, one in zip(KINDS, axes.values(), strict=True):
        _band(one, project_b.band("dimension_lowest", kind), "project B (lowest fifth)")
        for (metric, line), label in zip(lines.items(), words, strict=True):
            part = comparable(_of(table, metric, kind))
            colour = "black" if metric == "dimension_lowest" else figures.LOOKS[LOOK[kind]]["color"]
            one.plot(part["layer"], part["value"], ls=line, color=colour, label=label)
        _refused(one, table, ["dimension"], kind)
        one.set(ylabel="intrinsic dimension", xlabel="layer (0: embedding)")
        one.label_outer()
    figures.legend(figure, [axes["image tokens"]], ncol=3)
    return figure, axes


def few_tokens(table):
    """Linearity over the number of tokens, in sample and held out, states and noise: the figure and its axes."""
    figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    looks = {"states": "medical", "noise": "control"}
    for data, score in (("states", "in sample"), ("noise", "in sample"), ("states", "held out"), ("noise", "held out")):
        part = table[(table["data"] == data) & (table["score"] == score)]
        look = figures.LOOKS[looks[data]] | dict(linestyle="-" if score == "in sample" else ":")
        axes.plot(part["ratio"], part["value"].clip(lower=-1), label=f"{data}, {score}", **look)
        axes.fill_between(
            part["ratio"], part["low"].clip(lower=-1), part["high"].clip(lower=-1), color=look["color"], alpha=0.2, lw=0
        )
    part = table[(table["data"] == "noise") & (table["score"] == "in sample")]
    axes.plot(part["ratio"], part["chance"], **figures.LOOKS["chance"], label="dimensions / (tokens - 1)")
    axes.axvline(1, color="0.6", lw=1, zorder=0)
    axes.set(xlabel="tokens as a multiple of the dimensions", ylabel="linearity", ylim=(-1.05, 1.05))
    figures.legend(figure, [axes], ncol=3)
    return figure, axes


def copies(table):
    """The dimension over the share of copies in the cloud, both fits, on a logarithmic scale: figure and axes."""
    figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    looks = {"lowest": ("medical", "lowest fifth"), "likelihood": ("other", "likelihood")}
    floor = 0.1
    for fit, (look, label) in looks.items():
        part = table[table["fit"] == fit]
        look = figures.LOOKS[look]
        low, value, high = (part[name].clip(lower=floor) for name in ("low", "value", "high"))
        axes.plot(part["share"], value, label=f"{label}, copies left in", **look)
        axes.fill_between(part["share"], low, high, color=look["color"], alpha=0.2, lw=0)
        clean = part["clean"].clip(lower=floor)
        axes.plot(part["share"], clean, color=look["color"], ls="--", label=f"{label}, copies removed", **THIN)
    axes.set(xlabel="share of the tokens that are copies", ylabel="intrinsic dimension", yscale="log")
    figures.legend(figure, [axes], ncol=2)
    return figure, axes


def _of(table, metric, kind):
    part = table[(table["metric"] == metric) & (table["kind"] == kind)]
    numbers = {name: part[name].astype(float) for name in ("value", "low", "high", "control")}
    return part.assign(**numbers).dropna(subset=["value"]).sort_values("layer")


def _band(axes, edges, label="project B", colour="0.6"):
    if edges is not None:
        axes.axhspan(*edges, color=sns.desaturate(colour, 0.4), alpha=0.35, lw=0, zorder=0, label=label)


def _refused(axes, table, metrics, kind):
    """Say in a panel that a curve is missing because it was refused."""
    part = table[table["metric"].isin(list(metrics)) & (table["kind"] == kind)]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(part) and part["value"].isna().all():
        text = dict(ha="center", va="center", transform=axes.transAxes, fontsize="small")
        axes.text(0.5, 0.5, f"{kind} tokens: too few\nfor this measure", **text)
