"""How the chapter on contextualisation draws: our pictures beside shuffled ones, a black one, and random tokens.

Real pictures are solid and blue, shuffled ones dashed and orange, random tokens dotted and green; published values are
black crosses.  Each function returns its matplotlib figure.
"""

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from medlib import figures
from medlib.chapters.contextualisation import published
from medlib.chapters.contextualisation.context_tables import SPACES, chosen

CROSS = dict(color="black", marker="x", ls="", markersize=6, zorder=5)


def with_controls(real, shuffled, black, question):
    """SelfSim of the tokens of one question: as it stands, and less that of random tokens.

    >>> with_controls(curves, curves_of_shuffled, curves_of_black, "Is there a lesion?")

    Tables as `context_tables.curves` gives them; `black`: of one picture asked several times.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    where = dict(component="text", variant=question, space="raw")
    for axes, end in zip(panels, ("", "_adjusted"), strict=True):
        for look, label, table in (("medical", "pictures", real), ("control", "shuffled pictures", shuffled)):
            figures.curve(axes, chosen(table, f"self_similarity{end}", **where), look, label)
    figures.curve(panels[0], chosen(black, "self_similarity", **where)[["layer", "value"]], "chance", "black picture")
    figures.curve(panels[0], chosen(real, "self_similarity_baseline", **where), "other", "random tokens")
    layers = real["layer"].max()
    panels[0].plot(*published.mapped("self_similarity", layers)[["layer", "value"]].to_numpy().T, **CROSS)
    panels[0].lines[-1].set_label("published (another model)")
    panels[0].set_ylabel("SelfSim, cosine")
    panels[1].set_ylabel("SelfSim less random tokens")
    figures.legend(figure, panels, ncol=5)
    return figure


def measures(table, question):
    """The three measures of the tokens of one question and of image tokens, each beside random tokens: six panels.

    >>> measures(curves, "Is there a lesion?")
    """
    figure, panels = plt.subplots(2, 3, figsize=(9.6, 5.4), sharex=True, sharey=True, layout="constrained")
    layers = table["layer"].max()
    for row, (kind, variant) in zip(panels, (("text", question), ("image", None)), strict=True):
        here = table[(table["component"] == kind) & (table["space"] == "raw")]
        here = here if variant is None else here[here["variant"] == variant]
        for axes, (metric, name) in zip(row, published.NAMES.items(), strict=True):
            figures.curve(axes, chosen(here, metric), "medical", "as it stands")
            figures.curve(axes, chosen(here, f"{metric}_baseline"), "other", "random tokens")
            if kind == "text":
                axes.plot(*published.mapped(metric, layers)[["layer", "value"]].to_numpy().T, **CROSS)
                axes.lines[-1].set_label("published (another model)")
            axes.set_title(f"{name}, {kind} tokens", fontsize="medium")
            axes.label_outer()
    figures.legend(figure, panels.flat)
    return figure


def spaces(table, questions):
    """SelfSim less random tokens with all dimensions and without the largest: a panel a question, and image tokens.

    >>> spaces(curves, ["Is there a lesion?"])
    """
    figure, axes = figures.panels([*questions, "image tokens of one place"], sharey=True)
    for name, one in axes.items():
        here = table[table["variant"] == name] if name in questions else table[table["component"] == "image"]
        words = ("all dimensions", "without the largest")
        for look, space, label in zip(("medical", "difference"), SPACES, words, strict=True):
            figures.curve(one, chosen(here, "self_similarity_adjusted", space=space), look, label)
        one.axhline(0, color="0.6", lw=1, zorder=0)
        one.set_title(name, fontsize="small")
    figures.outer(axes.values())
    figure.supylabel("SelfSim less random tokens", fontsize="medium")
    figures.legend(figure, axes.values())
    return figure


def change_map(changes, tokens):
    """How far each token of a question is from itself over pictures: states upwards, tokens across.

    >>> change_map(token_changes.change_map(look), read.tokens[question])

    `changes`: [state, token].
    """
    figure, axes = plt.subplots(figsize=(0.42 * len(tokens) + 2.5, 4.2), layout="constrained")
    mesh = axes.pcolormesh(range(len(tokens)), range(len(changes)), changes, cmap="rocket_r", shading="nearest", vmin=0)
    axes.set_xticks(range(len(tokens)), [shown(token) for token in tokens], rotation=45, ha="right")
    axes.set_ylabel("layer (0: embedding)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(mesh, ax=axes, label="1 - SelfSim")
    return figure


def falls(later, against):
    """The fall of SelfSim from the first to the last third of the layers, points with intervals: two panels.

    >>> falls(later_layers.later(looks), later_layers.against(looks, looks_of_shuffled))

    Left as cosines stand, right less random tokens.  Orange squares: less the fall with shuffled pictures.
    """
    groups = list(later[["component", "variant"]].drop_duplicates().itertuples(index=False))
    figure, panels = plt.subplots(
        1, 2, figsize=(9.6, 0.55 * len(groups) + 1.6), sharey=True, sharex=True, layout="constrained"
    )
    series = [("medical", later, "raw", "all dimensions"), ("difference", later, "without largest", "without largest")]
    series.append(("control", against, "raw", "less shuffled pictures"))
    for axes, metric in zip(panels, ("self_similarity", "self_similarity_adjusted"), strict=True):
        for step, (look, table, space, label) in enumerate(series):
            drawn = figures.LOOKS[look]
            names = (f"{metric}_fall", f"{metric}_fall_less_shuffled")
            rows = table[table["metric"].isin(names) & (table["space"] == space)]
            for row in rows.itertuples():
                at = _place(groups, row) + 0.22 * (step - 1)
                axes.plot([row.low, row.high], [at, at], color=drawn["color"], lw=1.5)
                axes.plot(row.value, at, drawn["marker"], color=drawn["color"], markersize=5)
                axes.lines[-1].set_label(label)
        axes.axvline(0, color="0.6", lw=1, zorder=0)
        axes.set_xlabel("fall of SelfSim" if metric == "self_similarity" else "fall of SelfSim less random tokens")
    panels[0].set_yticks(range(len(groups)), [g.variant if g.component == "text" else "image tokens" for g in groups])
    panels[0].set_ylim(len(groups) - 0.5, -0.5)
    figures.legend(figure, panels)
    return figure


def shown(token):
    """A token as an axis shows it: white space by its name."""
    return token.strip() or repr(token)


def _place(groups, row):
    return next(
        place
        for place, group in enumerate(groups)
        if group.component == row.component and (group.component == "image" or group.variant == row.variant)
    )
