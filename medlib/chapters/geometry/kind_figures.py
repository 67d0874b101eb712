"""How the chapter on kinds draws: a panel for each comparison, the medical domain solid and its control dashed.

`above`: the table of `atlas.curves` (`kinds.of_side` reads it); `known`: domain -> bool.  A medical domain that the
model does not show that it knows is grey; a control keeps its colour, since the medical curve is read against it.
Each function returns its matplotlib figure.
"""

from medlib import figures
from medlib.chapters.geometry import kinds

SIDES = (("medical", "medical domain"), ("control", "its control"))
ABOVE = "silhouette above shuffled labels"


def silhouettes(wanted, above, known):
    """The silhouette above shuffled labels over states, at the last token of the item.

    >>> silhouettes(wanted, above, known)
    """
    figure, panels = figures.panels(c.title for c in wanted)
    for c in wanted:
        for side, (look, name) in zip(c.sides, SIDES, strict=True):
            figures.curve(panels[c.title], kinds.of_side(above, side), look, name, _in_colour(side, c, known))
    return finish(figure, panels, ABOVE)


def differences(curves, known):
    """The medical domain minus its control: `curves` as `kinds.against_control` returns them.

    >>> differences(kinds.against_control(by_item, wanted), known)
    """
    figure, panels = figures.panels(c.title for c in curves)
    for c, curve in curves.items():
        figures.curve(panels[c.title], curve, "difference", "medical minus control", known[c.domain])
    return finish(figure, panels, "difference of silhouettes above shuffled labels")


def two_labels(wanted, between, known):
    """The second label of a domain minus its first, above: all names; below: without names that share a piece.

    >>> two_labels(wanted, kinds.two_labels(by_item, wanted), known)

    None where no domain is compared twice.
    """
    views = {"item": "all names", "apart": "no shared piece"}
    titles = {}
    for view, words in views.items():
        for one, other in kinds.twice(wanted):
            titles[one, view] = f"{one.domain}: {kinds.spoken(other.label)} − {kinds.spoken(one.label)},\n{words}"
    if not titles:
        return None
    size = dict(columns=len(titles) // 2, figsize=(3.6 * len(titles) // 2, 5.2), sharey=True)
    figure, panels = _grid(titles.values(), **size)
    for (c, view), title in titles.items():
        for domain, (look, name) in zip((c.domain, c.control), SIDES, strict=True):
            of = between["domain"].eq(domain) & between["view"].eq(view) & between["column"].eq("excess")
            curve = between[of & between["first"].isin((c.label, c.control_label))].dropna(subset="layer")
            figures.curve(panels[title], curve, look, name, _in_colour((domain, None), c, known))
    return finish(figure, panels, "second − first label", columns=len(titles) // 2)


def spelling(wanted, above, known):
    """As `silhouettes`, without names that share a piece; dotted, all names.

    >>> spelling(wanted, above, known)
    """
    figure, panels = figures.panels(c.title for c in wanted)
    for c in wanted:
        for side, (look, _) in zip(c.sides, SIDES, strict=True):
            axes = panels[c.title]
            curve, coloured = kinds.of_side(above, side, "apart"), _in_colour(side, c, known)
            figures.curve(axes, curve, look, f"{look}, no shared piece", coloured)
            _dotted(axes, kinds.of_side(above, side), f"{look}, all names")
    return finish(figure, panels, ABOVE)


def places(wanted, above, known):
    """The medical domain at three places of the prompt, and its control at the prompt's last token.

    >>> places(wanted, above, known)
    """
    looks = {
        "item": ("medical", "item's last token"),
        "mean": ("other", "mean over the item"),
        "end": ("difference", "prompt's last token"),
    }
    figure, panels = figures.panels(c.title for c in wanted)
    for c in wanted:
        axes = panels[c.title]
        for view, (look, name) in looks.items():
            figures.curve(axes, kinds.of_side(above, c.sides[0], view), look, name, known[c.domain])
        at_end, colour = kinds.of_side(above, c.sides[1], "end"), figures.LOOKS["control"]["color"]
        axes.plot(at_end["layer"], at_end["value"], color=colour, ls="--", lw=1, label="control, prompt's last")
    return finish(figure, panels, ABOVE)


def after_umap(wanted, held, known):
    """The excess after UMAP, its band from the lowest to the highest seed; dotted, the raw states.

    >>> after_umap(wanted, fits.held_in_raw(table), known)
    """
    figure, panels = figures.panels(c.title for c in wanted)
    for c in wanted:
        for (domain, label), (look, _) in zip(c.sides, SIDES, strict=True):
            here = held[(held["domain"] == domain) & (held["label"] == label)]
            axes, coloured = panels[c.title], _in_colour((domain, label), c, known)
            figures.curve(axes, here.rename(columns={"after": "value"}), look, f"{look}, UMAP", coloured)
            _dotted(axes, here.rename(columns={"raw": "value"}), f"{look}, raw")
    return finish(figure, panels, ABOVE)


def finish(figure, panels, ylabel, columns=3):
    """Finish a figure of panels, `columns` to a row: a line at zero, labels at its edges, one legend.

    >>> finish(*figures.panels(names), "silhouette")
    """
    for place, axes in enumerate(panels.values()):
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        axes.set(ylabel="", xlabel="layer (0: embedding)")
        if place + columns < len(panels):
            axes.set_xlabel("")
        else:
            axes.tick_params(labelbottom=True)
    figure.supylabel(ylabel, fontsize="medium")
    figures.legend(figure, panels.values())
    return figure


def _grid(names, columns, **options):
    """`figures.panels` with another number of columns."""
    import matplotlib.pyplot as plt

    names = list(names)
    figure, grid = plt.subplots(
        -(-len(names) // columns), columns, squeeze=False, sharex=True, layout="constrained", **options
    )
    for axes, name in zip(grid.flat, names, strict=True):
        axes.set_title(name, fontsize="medium")
    return figure, dict(zip(names, grid.flat, strict=True))


def _in_colour(side, comparison, known):
    return side[0] == comparison.control or known[comparison.domain]


def _dotted(axes, curve, label):
    """A thin dotted line in the colour of the last curve, without interval."""
    colour = [line for line in axes.lines if line.get_marker() not in ("", "None")][-1].get_color()
    axes.plot(curve["layer"], curve["value"], color=colour, ls=":", lw=1.2, label=label)
