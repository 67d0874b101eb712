"""How the book draws: one message a figure, the interval and the control drawn, readable in grey and colour-blind.

Medical curves are solid and blue, control curves dashed and orange, a difference is black; an interval is a band; what
the model does not know is grey.  The functions draw into matplotlib axes and return nothing, so that a chapter can go
on drawing.
"""

import matplotlib.pyplot as plt
import seaborn as sns

_COLOURS = sns.color_palette("colorblind")
LOOKS = {
    "medical": dict(color=_COLOURS[0], linestyle="-", marker="o"),
    "control": dict(color=_COLOURS[1], linestyle="--", marker="s"),
    "difference": dict(color="black", linestyle="-.", marker="D"),
    "other": dict(color=_COLOURS[2], linestyle=":", marker="^"),
    "chance": dict(color="0.45", linestyle=":", marker=""),
}

NOT_KNOWN = "0.7"


def style():
    """Set the house style; the first cell of a chapter calls it."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.figsize": (7.2, 4.0),
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "lines.markersize": 3.5,
            "svg.hashsalt": "medlib",
        }
    )


def curve(axes, table, look, label, known=True):
    """A curve over layers, and its interval as a band: `table` has `layer, value`, and perhaps `low, high`.

    What the model does not know (`knowledge.knows`) is drawn in grey, and its label says so.
    """
    drawn = LOOKS[look] if known else LOOKS[look] | dict(color=NOT_KNOWN)
    axes.plot(table["layer"], table["value"], label=label if known else f"{label}, not known", **drawn)
    if "low" in table:
        axes.fill_between(table["layer"], table["low"], table["high"], color=drawn["color"], alpha=0.2, lw=0)
    axes.set_xlabel("layer (state after this block)" if table["layer"].min() == 0 else "layer (block)")


def layer_by_token(axes, matrix, tokens, label, centre=0.0, known=True):
    """A heat map, layers upwards and tokens across: `matrix [layer 1..L, position]`, `tokens` the tokens' names.

    In shades of grey where the model does not know what is shown (`knowledge.knows`).
    """
    span = max(abs(matrix.min() - centre), abs(matrix.max() - centre))
    mesh = axes.pcolormesh(
        range(len(tokens)),
        range(1, len(matrix) + 1),
        matrix,
        cmap="vlag" if known else "Greys",
        vmin=centre - span,
        vmax=centre + span,
        shading="nearest",
    )
    axes.set_xticks(range(len(tokens)), tokens, rotation=45, ha="right")
    axes.set_ylabel("layer")
    axes.figure.colorbar(mesh, ax=axes, label=label if known else f"{label}, not known")


def scatter(axes, points, labels, title):
    """A cloud of points `[n, 2]`, a colour and a marker for each label; numbers on its axes would mean nothing."""
    shapes = "osD^vPX*<>ph"
    names = sorted(set(labels))
    for i, name in enumerate(names):
        chosen = [label == name for label in labels]
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=14,
            color=sns.color_palette("husl", len(names))[i],
            marker=shapes[i % len(shapes)],
            label=name,
            linewidths=0,
        )
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])


def accuracies(axes, table, known):
    """Accuracies with their intervals, a domain and its control together, and what chance gives: a short bar.

    `table`: `value, low, high, chance` by domain, each medical domain followed by its control; `known`: domain -> bool.
    """
    for place, (domain, row) in enumerate(table.iterrows()):
        look = LOOKS["control" if place % 2 else "medical"]
        colour = look["color"] if known[domain] else NOT_KNOWN
        at = -(place + 0.5 * (place // 2))
        axes.plot([row["low"], row["high"]], [at, at], color=colour, lw=2)
        axes.plot(row["value"], at, color=colour, marker=look["marker"], ls="", markersize=6)
        axes.plot([row["chance"]] * 2, [at - 0.35, at + 0.35], color="0.3", lw=1, ls=":")
    axes.set_yticks([-(place + 0.5 * (place // 2)) for place in range(len(table))], table.index)


def lengths(axes, tokens):
    """The distributions of two lists of token counts, `tokens`: domain -> counts, the medical domain first."""
    most = max(max(counts) for counts in tokens.values())
    least = min(min(counts) for counts in tokens.values())
    bins = [edge - 0.5 for edge in range(least, most + 2)]
    for (domain, counts), look, kind in zip(
        tokens.items(), ("medical", "control"), ("stepfilled", "step"), strict=True
    ):
        colour, weight = LOOKS[look]["color"], [1 / len(counts)] * len(counts)
        alpha = 0.4 if kind == "stepfilled" else 1
        axes.hist(counts, bins, weights=weight, histtype=kind, color=colour, alpha=alpha, lw=1.5, label=domain)
    axes.set(xlabel="tokens", ylabel="share")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncol=2, columnspacing=1)
