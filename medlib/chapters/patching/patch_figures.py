"""The figures of the patching chapter: a panel for each medical domain, with what is held against it inside.

A part of the prompt, or of a block, has one colour and one marker in all of them, and each curve its band.  What the
model does not know is in shades of grey, and the legend says so; a domain with too few pairs keeps its panel, and the
panel says so.
"""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from medlib import figures
from medlib.chapters.patching.token_heat import SPAN

_COLOURS = sns.color_palette("colorblind")
PLACES = {
    "subject": dict(color=_COLOURS[0], marker="o"),
    "between": dict(color=_COLOURS[2], marker="^"),
    "last": dict(color=_COLOURS[3], marker="s"),
    "attention": dict(color=_COLOURS[4], marker="P"),
    "MLP": dict(color=_COLOURS[1], marker="D"),
}
_WORDS = {"between": "words between", "last": "last token"}
_GREYS = dict(zip(PLACES, ("0.35", "0.5", "0.65", "0.35", "0.6"), strict=True))


def beside_control(curves, controls, known, missing, ylabel="answer recovered, P"):
    """A panel for each medical domain with the curves of its parts, and thin and dashed those of its control.

    `curves`: domain -> part -> table `layer, value, low, high, n`; `controls`: medical domain -> control; `missing`: as
    in `overlay`.  Titles have the couples, the most of any part.
    """
    held = {domain: curves[control] for domain, control in controls.items() if control in curves}
    known_too = {domain: known[control] for domain, control in controls.items()}
    lines = [(curves, {}, "", known), (held, dict(ls="--", lw=0.9, marker=""), "its control", known_too)]
    figure, panels = overlay(controls, lines, known, ylabel, missing)
    for domain, control in controls.items():
        counts = " / ".join(filter(None, (_couples(name, curves) for name in (domain, control))))
        title = f"{domain}{'' if known[domain] else ' (not known)'} / {control}{', n = ' * bool(counts)}{counts}"
        panels[domain].set_title(title, fontsize="small")
        if domain in curves and domain not in held:
            place = dict(transform=panels[domain].transAxes, fontsize="x-small", color="0.5")
            panels[domain].text(0.03, 0.97, f"{control}: {missing[control]}", va="top", **place)
    return figure, panels


def against_estimate(curves, estimated, controls, known, missing):
    """Exact curves and their first-order estimates, dashed: arguments as `beside_control`, `estimated` as `curves`."""
    lines = [(curves, {}, "", known), (estimated, dict(ls="--", marker="", band=False), "its estimate", known)]
    figure, panels = overlay(controls, lines, known, "answer recovered, P", missing)
    for domain, axes in panels.items():
        counts = _couples(domain, curves)
        title = f"{domain}{'' if known[domain] else ' (not known)'}{', n = ' * bool(counts)}{counts}"
        axes.set_title(title, fontsize="small")
        axes.set_ylim(-1, 2)
    return figure, panels


def overlay(names, lines, known, ylabel, missing):
    """A panel for each name with several curves over layers and their bands: the figure and its axes.

    `lines`: a list of `(curves, style, label, known)`, where `curves` maps name -> part -> table `layer, value` and
    perhaps `low, high`, `style` is what matplotlib takes for a line (`band=False`: without one), `label` is what the
    legend calls this style beside the first one's, and `known` says what is drawn in colour.  `missing`: name -> what
    its panel says where the first of `lines` has nothing for it.
    """
    figure, panels = figures.panels(names, sharey=True)
    drawn, grey = set(), False
    for name, axes in panels.items():
        axes.axhline(0, color="0.85", lw=1, zorder=0)
        for curves, style, _, coloured in lines:
            for part, table in curves.get(name, {}).items():
                drawn.add(part)
                grey |= not coloured[name]
                _line(axes, table, part, coloured[name], **style)
        if name not in lines[0][0]:
            axes.text(0.5, 0.5, missing[name], transform=axes.transAxes, ha="center", va="center", color="0.5")
        if not known[name]:
            axes.set_title(axes.get_title(), color="0.4")
        axes.set(xlabel="layer", ylabel=ylabel)
    figures.outer(panels.values())
    if drawn:
        handles = [
            Line2D([], [], label=_WORDS.get(part, part), ms=4, **PLACES[part]) for part in PLACES if part in drawn
        ]
        for _, style, label, _ in lines:
            handles += [Line2D([], [], color="0.2", label=label, **_drawable(style))] * bool(label)
        handles += [Patch(color=_GREYS["last"], label="grey: not known to the model")] * grey
        figure.legend(handles=handles, loc="outside lower center", ncol=5, fontsize="small")
    return figure, panels


def _line(axes, table, part, known, band=True, **style):
    look = PLACES[part] | dict(ls="-", markersize=2.5) | style
    look["color"] = look["color"] if known else _GREYS[part]
    axes.plot(table["layer"], table["value"], **look)
    if band and "low" in table:
        alpha = 0.15 if look["ls"] == "-" else 0.08
        axes.fill_between(table["layer"], table["low"], table["high"], color=look["color"], alpha=alpha, lw=0)


def _drawable(style):
    return {key: value for key, value in style.items() if key != "band"}


def _couples(name, curves):
    """How many couples stand behind the curves of a name, the most of any part; "" without curves."""
    n = max((table["n"].max() for table in curves.get(name, {}).values()), default="")
    return f"{n}"


def maps(names, found, known, missing):
    """A heat map for each name, layers upwards and tokens across, on one scale: `found`: name -> `sites.token_map`."""
    figure, panels = figures.panels(names, height=3.2, sharex=False)
    mesh = None
    for name, axes in panels.items():
        if name not in found:
            axes.text(0.5, 0.5, missing[name], transform=axes.transAxes, ha="center", va="center", color="0.5")
            axes.set(xticks=[], yticks=[])
            continue
        matrix, tokens, n = found[name]
        drawn = axes.pcolormesh(
            range(len(tokens)),
            range(1, len(matrix) + 1),
            matrix,
            cmap="vlag" if known[name] else "Greys",
            vmin=-SPAN if known[name] else 0,
            vmax=SPAN,
            shading="nearest",
        )
        mesh = drawn if known[name] or mesh is None else mesh
        axes.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", rotation_mode="anchor", fontsize="x-small")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("layer")
        axes.set_title(f"{name}{'' if known[name] else ', not known'} (n = {n} pairs)", fontsize="small")
    if mesh is not None:
        figure.colorbar(mesh, ax=list(panels.values()), label="recovered, P", shrink=0.6, extend="both")
    return figure, panels


def forest(table, controls, known, layers):
    """Handover layers: each medical domain and its control on the left, their difference on the right, with intervals.

    `table`: `sites.handovers`, interpolated; `layers`: how many the model has.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.4, 0.5 * len(controls) + 1.6), sharey=True, layout="constrained", width_ratios=(3, 2)
    )
    looks = {"domain": ("medical", -0.15), "control": ("control", 0.15), "difference": ("difference", 0)}
    label = {"domain": "medical domain", "control": "its control", "difference": "difference"}
    for row in table.itertuples():
        look, shift = looks[row.what]
        both = {
            "domain": [row.domain],
            "control": [controls[row.domain]],
            "difference": [row.domain, controls[row.domain]],
        }
        at = list(controls).index(row.domain) + shift
        axes = right if row.what == "difference" else left
        counted = all(known[name] for name in both[row.what])
        colour = figures.LOOKS[look]["color"] if counted else figures.NOT_KNOWN
        axes.plot([row.low, row.high], [at, at], color=colour, lw=2)
        marker = dict(color=colour, marker=figures.LOOKS[look]["marker"], ls="", ms=4.5)
        axes.plot(row.value, at, label=label[row.what] if counted else "grey: not known to the model", **marker)
    missing = set(controls) - set(table.loc[table["what"] == "difference", "domain"])
    for domain in missing:
        right.text(
            0,
            list(controls).index(domain),
            "too few couples",
            color="0.5",
            ha="center",
            fontsize="small",
            backgroundcolor="white",
        )
    left.set_yticks(range(len(controls)), [f"{domain} / {control}" for domain, control in controls.items()])
    left.set(xlabel="handover, layer (interpolated)", xlim=(0.5, layers + 0.5))
    left.invert_yaxis()
    right.axvline(0, color="0.6", lw=1, zorder=0)
    ends = table.loc[table["what"] == "difference", ["low", "high"]].abs()
    width = 1.1 * max(ends.max(axis=None) if len(ends) else 0, 1)
    right.set(xlabel="medical minus control, layers", xlim=(-width, width))
    figures.legend(figure, [left, right])
    return figure, (left, right)


def dots(table, known, xlabel):
    """Values with intervals, a row for each domain: `table` has `domain, component, value, low, high`."""
    names, parts = list(table["domain"].drop_duplicates()), list(table["component"].drop_duplicates())
    figure, axes = plt.subplots(figsize=(7.2, 0.42 * len(names) + 1.4), layout="constrained")
    for row in table.itertuples():
        place = parts.index(row.component)
        at = names.index(row.domain) + 0.22 * (place - (len(parts) - 1) / 2)
        colour = _COLOURS[place] if known[row.domain] else ("0.35", "0.5", "0.65")[place]
        axes.plot([row.low, row.high], [at, at], color=colour, lw=2)
        label = row.component if known[row.domain] else None
        axes.plot(row.value, at, color=colour, marker="osD"[place], ls="", ms=5, label=label)
    axes.set_yticks(range(len(names)), [name if known[name] else f"{name}, not known" for name in names])
    axes.invert_yaxis()
    axes.axvline(0, color="0.6", lw=1, zorder=0)
    axes.set_xlabel(xlabel)
    figures.legend(figure, [axes])
    return figure, axes


def denominators(table, threshold):
    """What a small denominator does: largest |P| on the left, largest change in logits on the right, a dot a pair.

    `table`: `span`, `share`, `moved` and `domain`, as `sites.extremes` gives them.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4), sharex=True, layout="constrained")
    strong = table["span"] >= threshold
    for axes, column, ylabel in ((left, "share", "largest |P| of a pair"), (right, "moved", "largest change, logits")):
        for rows, look, label in ((strong, "medical", "used couples"), (~strong, "control", "left out")):
            chosen = table[rows]
            style = dict(
                color=figures.LOOKS[look]["color"], marker=figures.LOOKS[look]["marker"], ls="", ms=4, alpha=0.7
            )
            axes.plot(chosen["span"], chosen[column], label=label, **style)
        axes.axvline(threshold, color="0.6", lw=1, ls=":")
        axes.set(xscale="log", yscale="log", xlabel="|clean - corrupt|, logits", ylabel=ylabel)
    left.axhline(1, color="0.85", lw=1, zorder=0)
    figures.legend(figure, [left])
    return figure, (left, right)
