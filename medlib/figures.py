"""How the book draws: one message a figure, the interval and the control drawn, readable in grey and colour-blind.

Medical curves are solid and blue, control curves dashed and orange, a difference is black; an interval is a band.  The
functions draw into matplotlib axes and return nothing, so that a chapter can go on drawing.
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


def curve(axes, table, look, label):
    """A curve over layers, and its interval as a band: `table` has `layer, value`, and perhaps `low, high`."""
    axes.plot(table["layer"], table["value"], label=label, **LOOKS[look])
    if "low" in table:
        axes.fill_between(table["layer"], table["low"], table["high"], color=LOOKS[look]["color"], alpha=0.2, lw=0)
    axes.set_xlabel("layer (state after this block)" if table["layer"].min() == 0 else "layer (block)")


def layer_by_token(axes, matrix, tokens, label, centre=0.0):
    """A heat map, layers upwards and tokens across: `matrix [layer 1..L, position]`, `tokens` the tokens' names."""
    span = max(abs(matrix.min() - centre), abs(matrix.max() - centre))
    mesh = axes.pcolormesh(
        range(len(tokens)),
        range(1, len(matrix) + 1),
        matrix,
        cmap="vlag",
        vmin=centre - span,
        vmax=centre + span,
        shading="nearest",
    )
    axes.set_xticks(range(len(tokens)), tokens, rotation=45, ha="right")
    axes.set_ylabel("layer")
    axes.figure.colorbar(mesh, ax=axes, label=label)


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
