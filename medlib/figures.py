"""How the book draws: one message a figure, the interval and the control drawn, readable in grey and colour-blind.

Medical curves are solid and blue, control curves dashed and orange, a difference is black; an interval is a band; what
the model does not know is grey.  The functions draw into matplotlib axes and return nothing, so that a chapter can go
on drawing.
"""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import MaxNLocator

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


def panels(names, height=2.3, **options):
    """A panel for each name, three to a row, titled with it: the figure and a dict name -> axes.

    >>> figure, axes = figures.panels(controls)
    >>> figures.curve(axes["drugs"], table, "medical", "drugs")

    `options` are those of `plt.subplots`; places without a name stay empty.
    """
    names = list(names)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    options = dict(figsize=(3.1 * columns, height * rows + 0.4), sharex=True, layout="constrained") | options
    figure, grid = plt.subplots(rows, columns, squeeze=False, **options)
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    for axes, name in zip(grid.flat, names, strict=False):
        axes.set_title(name, fontsize="medium")
    return figure, dict(zip(names, grid.flat, strict=False))


def outer(axes):
    """Labels at the left, and at the lowest panel of each column, also above a place that stays empty.

    >>> figures.outer(axes.values())

    `axes`: those of `panels`, which share their x axis, once all labels are set.
    """
    axes = list(axes)
    lowest = {one.get_subplotspec().colspan.start: (one, one.get_xlabel()) for one in axes}
    for one in axes:
        one.label_outer()
    for one, label in lowest.values():
        one.tick_params(labelbottom=True)
        one.set_xlabel(label)


def legend(figure, axes, **options):
    """One legend for a figure of panels, below it: what is drawn in `axes` (a list), each label once."""
    found = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(found.values(), found, **dict(loc="outside lower center", ncol=4, fontsize="small") | options)


def curve(axes, table, look, label, known=True):
    """A curve over layers, and its interval as a band: `table` has `layer, value`, and perhaps `low, high`.

    What the model does not know (`knowledge.knows`) is drawn in grey, and its label says so.
    """
    drawn = LOOKS[look] if known else LOOKS[look] | dict(color=NOT_KNOWN)
    axes.plot(table["layer"], table["value"], label=label if known else f"{label}, not known", **drawn)
    if "low" in table:
        axes.fill_between(table["layer"], table["low"], table["high"], color=drawn["color"], alpha=0.2, lw=0)
    axes.set_xlabel("layer (0: embedding)" if table["layer"].min() == 0 else "layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def beside_controls(curves, controls, known, ylabel, centre=None, **options):
    """A panel for each medical domain with its curve over layers, and that of its control: the figure and its axes.

    >>> figures.beside_controls(curves, {"drugs": "foods"}, known, "KL, nats", yscale="log")

    `curves`: domain -> table with `layer, value` and perhaps `low, high`; `controls`: medical domain -> control;
    `known`: domain -> bool; `centre`: where to draw a line; `options` are set on all axes.
    """
    figure, axes = panels(controls, sharey=True)
    for domain, control in controls.items():
        for look, name, label in (("medical", domain, "medical domain"), ("control", control, "its control")):
            curve(axes[domain], curves[name], look, label, known[name])
        axes[domain].set_title(f"{domain} / {control}", fontsize="medium")
    return _finished(figure, axes, ylabel, centre, options)


def differences(curves, controls, known, ylabel, centre=0.0, **options):
    """A panel for each medical domain with one curve: the domain against its control, around a line at `centre`.

    Arguments as `beside_controls`; `curves` are by medical domain.  Grey where either of the two is not known.
    """
    figure, axes = panels(controls, sharey=True)
    for domain, control in controls.items():
        curve(axes[domain], curves[domain], "difference", "against its control", known[domain] and known[control])
        axes[domain].set_title(f"{domain} / {control}", fontsize="medium")
    return _finished(figure, axes, ylabel, centre, options)


def _finished(figure, axes, ylabel, centre, options):
    for one in axes.values():
        if centre is not None:
            one.axhline(centre, color="0.6", lw=1, zorder=0)
        one.set(ylabel=ylabel, **options)
    outer(axes.values())
    legend(figure, axes.values())
    return figure, axes


def layer_by_domain(axes, curves, known, label, diverging=False):
    """A heat map, a row for each domain and a column for each layer: `curves`: domain -> table with `layer, value`.

    Each row of a domain that is not known is in shades of grey.  `diverging` puts white at zero.
    """
    values = [value for table in curves.values() for value in table["value"]]
    low, high = (-max(map(abs, values)), max(map(abs, values))) if diverging else (min(values), max(values))
    colours = "vlag" if diverging else "rocket_r"
    meshes = []
    for place, (name, table) in enumerate(curves.items()):
        layers = [table["layer"].min() - 0.5, *(table["layer"] + 0.5)]
        cmap = sns.color_palette(colours if known[name] else "Greys", as_cmap=True)
        row = [table["value"].tolist()]
        meshes.append(axes.pcolormesh(layers, [place - 0.5, place + 0.5], row, cmap=cmap, vmin=low, vmax=high))
    axes.set_yticks(range(len(curves)), [name if known[name] else f"{name}, not known" for name in curves])
    axes.invert_yaxis()
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    shown = next((mesh for mesh, name in zip(meshes, curves, strict=True) if known[name]), meshes[0])
    axes.figure.colorbar(shown, ax=axes, label=label)


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
