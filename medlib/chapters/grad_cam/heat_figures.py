"""The figures of this chapter: scores over layers, differences from controls, curves of filled pictures, overlays."""

import matplotlib.pyplot as plt
import numpy as np

from medlib import figures, scans, vision
from medlib.chapters.grad_cam.heat_maps import MAPS
from medlib.chapters.grad_cam.heat_scores import CONTROLS
from medlib.chapters.grad_cam.lesion_scenes import ask
from medlib.chapters.grad_cam.logit_sum import PAIRS

BASE_LOOKS = {  # map -> label, line style, colour
    "lesion": ("the lesion itself", "-", "black"),
    "head": ("the tower's own head", "-.", "C4"),
    "brightness": (CONTROLS["brightness"], "--", "C2"),
    "centre": (CONTROLS["centre"], "--", "0.45"),
    "random": (CONTROLS["random"], ":", "0.45"),
}
_QUIET = "0.45"
FILLED = {  # map -> label, look: maps in colours, controls in grey, and the two ends of the scale with their bands
    "lesion": ("the lesion itself", dict(color="black", ls="-")),
    "attention": (MAPS["attention"], dict(color="C0", ls="-")),
    "rollout": (MAPS["rollout"], dict(color="C1", ls="--")),
    "grad_cam": (MAPS["grad_cam"], dict(color="C2", ls="-.")),
    "contrast": (MAPS["contrast"], dict(color="C3", ls=":")),
    "all_logits": (MAPS["all_logits"], dict(color="C4", ls="--")),
    "head": ("the tower's own head", dict(color="C5", ls="-.")),
    "grad_cam randomised": ("Grad-CAM, random weights", dict(color=_QUIET, ls="-.")),
    "brightness": (CONTROLS["brightness"], dict(color=_QUIET, ls=":")),
    "centre": (CONTROLS["centre"], dict(color=_QUIET, ls="--")),
    "random": ("random tokens of the brain", dict(color="C9", ls="-")),
}
CONTROL_LOOKS = [figures.LOOKS[name] for name in ("difference", "other", "medical", "control")]  # one for each
SHORT = {"attention": "attention", "rollout": "rollout", "grad_cam": "answer", "contrast": "answer − other"}
SHORT |= {"all_logits": "all logits", "head": "tower's head", "lesion": "lesion", "centre": "centre"}


def score_curves(curves, levels, ylabel):
    """A panel for each map: its score over layers, the same with random weights, and the levels of what needs no map.

    `curves`: `heat_scores.layer_curves` of one kind of question; `levels`: map -> mean score.  The figure, its axes.
    """
    figure, axes = figures.panels([MAPS[name] for name in MAPS], sharey=True)
    for name, title in MAPS.items():
        one = axes[title]
        for weights, look, label in (("own", "medical", "the map"), ("randomised", "control", CONTROLS["randomised"])):
            part = curves[(curves["map"] == name) & (curves["weights"] == weights)]
            figures.curve(one, part, look, label)
        for base, (label, style, colour) in BASE_LOOKS.items():
            if base in levels:
                one.axhline(levels[base], color=colour, lw=1, ls=style, label=label, zorder=0)
        one.set_title(title, fontsize="small")
        one.set(ylabel=ylabel, ylim=(0, None))
    figures.outer(axes.values())
    figures.legend(figure, axes.values(), ncol=3)
    return figure, axes


def control_differences(compared, metric, xlabel):
    """A row for each map with its difference from each control and interval: the figure and its axes.

    `compared`: `heat_scores.compared` of one kind of question.
    """
    part = compared[(compared["metric"] == metric) & compared["control"].notna()]
    names = [name for name in [*MAPS, "head"] if name in set(part["map"])]
    figure, axes = plt.subplots(figsize=(7.2, 0.62 * len(names) + 1.3), layout="constrained")
    axes.axvline(0, color="0.6", lw=1, zorder=0)
    for step, (control, drawn) in enumerate(zip(CONTROLS, CONTROL_LOOKS, strict=True)):
        rows = part[part["control"] == control].set_index("map")
        at = [names.index(name) + 0.18 * (step - 1.5) for name in rows.index]
        axes.hlines(at, rows["low"], rows["high"], color=drawn["color"], lw=1.5)
        label = f"less {CONTROLS[control]}"
        axes.plot(rows["value"], at, drawn["marker"], color=drawn["color"], markersize=5, label=label)
    axes.set_yticks(range(len(names)), [MAPS.get(name, SHORT.get(name)) for name in names])
    axes.set(xlabel=f"{xlabel} (n = {part['n'].max():.0f} scenes)", ylim=(len(names) - 0.5, -0.5))
    figures.legend(figure, [axes], ncol=3)
    return figure, axes


def filling(curves, looks=FILLED):
    """Deletion and insertion beside each other, a row for each filling: mean probability of the answer, with intervals.

    `curves`: `filled_curves.mean_curves`; `looks`: map -> label and look, those that are drawn.  The axis is
    logarithmic from one token in a hundred on, since a lesion has few.  The figure and its axes.
    """
    fills = list(dict.fromkeys(curves["fill"]))
    size = (7.2, 2.6 * len(fills) + 0.6)
    figure, axes = plt.subplots(
        len(fills), 2, sharey=True, sharex=True, figsize=size, layout="constrained", squeeze=False
    )
    for line, fill in zip(axes, fills, strict=True):
        for one, curve in zip(line, ("deletion", "insertion"), strict=True):
            here = curves[(curves["fill"] == fill) & (curves["curve"] == curve)]
            for name, (label, look) in looks.items():
                part = here[here["map"] == name]
                one.plot(part["share"], part["value"], label=label, lw=1.5, **look)
                if name in ("lesion", "random"):
                    one.fill_between(part["share"], part["low"], part["high"], color=look["color"], alpha=0.12, lw=0)
            title = f"{curve}, filled from {'the' if fill == 'twin' else 'a'} {fill} (n = {here['n'].max()})"
            one.set_title(title, fontsize="small")
            one.set_xscale("symlog", linthresh=0.01, linscale=0.5)
            one.set(xlabel="share of tokens", ylabel="probability", xlim=(0, 1))
            one.set_xticks([0, 0.01, 0.1, 1], ["0", "1 %", "10 %", "100 %"])
            one.minorticks_off()
            one.label_outer()
    figures.legend(figure, axes.ravel(), ncol=3)
    return figure, axes


def likeness_panels(curves):
    """Rank correlation of two maps over layers, a panel for each pair of maps: the figure and its axes."""
    figure, axes = figures.panels(PAIRS.values(), sharey=True)
    for pair, title in PAIRS.items():
        part = curves[curves["pair"] == pair]
        if len(part):
            figures.curve(axes[title], part, "difference", "mean over scenes")
        axes[title].axhline(0, color="0.6", lw=1, zorder=0)
        axes[title].set_title(title, fontsize="small")
        axes[title].set(ylabel="rank correlation", ylim=(-1.05, 1.05))
    figures.outer(axes.values())
    return figure, axes


def patch_figure(curves, span):
    """How far patched tokens move the answer over layers, and how far the whole twin would: the figure and its axes."""
    figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    for tokens, look, label in (
        ("lesion", "medical", "tokens of the lesion"),
        ("random", "control", "as many random tokens of the brain"),
    ):
        figures.curve(axes, curves[curves["tokens"] == tokens], look, label)
    axes.axhline(span.value, color="0.35", lw=1, ls=":", label="the whole picture")
    axes.axhspan(span.low, span.high, color="0.9", lw=0, zorder=0)
    axes.axhline(0, color="0.6", lw=1, zorder=0)
    axes.set(ylabel="moved towards the twin, logits")
    figures.legend(figure, [axes], ncol=3)
    return figure, axes


def to_show(model, table, maps, noise, heads, chosen, traces):
    """What `overlays` draws of some questions: the maps at their chosen layers, of random weights, and the head's.

    `maps`, `noise`: of `heat_scores.scores`; `heads`: of `tower_head.head_scores`; `traces` name the layers.
    """
    shown = []
    for row in table.to_dict("records"):
        where = row["scene"], row["question_kind"]
        at = {name: traces[where].layers.index(chosen[where[1], name]) for name in MAPS}
        of_scene = {SHORT[name]: maps[where][name][at[name]] for name in MAPS}
        of_scene["answer, random weights"] = noise[where]["grad_cam"][at["grad_cam"]]
        if where in heads:
            of_scene["tower's head"] = heads[where]
        shown.append((ask(model, row), scans.draw(row)[1], of_scene))
    return shown


def overlays(shown):
    """A row for each scene: the picture with the lesion's outline, then each map over it: the figure and its axes.

    `shown`: a list of `(prompt, mask, {title: [row, column]})`.  Each map has its own colours, from its least to its
    largest value.
    """
    columns = 1 + max(len(maps) for _, _, maps in shown)
    size = (1.35 * columns, 1.5 * len(shown))
    figure, axes = plt.subplots(len(shown), columns, figsize=size, layout="constrained", squeeze=False)
    for line, (prompt, mask, maps) in zip(axes, shown, strict=True):
        line[0].imshow(prompt.picture.convert("L"), cmap="grey", vmin=0, vmax=255)
        for one, (title, heat) in zip(line[1:], maps.items(), strict=False):
            vision.overlay(one, prompt, heat)
            if one.get_subplotspec().is_first_row():
                one.set_title(title, fontsize="x-small")
        for one in line:
            one.contour(np.asarray(mask, float), [0.5], colors="white", linewidths=1)
            one.contour(np.asarray(mask, float), [0.5], colors="red", linewidths=0.6)
            one.set_axis_off()
    return figure, axes
