"""Pictures of the layers one after the other, that hold still: for the page, with a slider; for print, some of them.

UMAP draws each layer anew and turns it as it likes.  Here each layer starts from the picture of the one before and is
then turned onto it, so that what moves from one picture to the next moved in the states, or had no
fixed place to begin with.  The page needs Plotly's script, which ships once with the book (see book/building.py).
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from medlib import geometry
from medlib.errors import MedlibError

_COLOURS = sns.color_palette("colorblind").as_hex()
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star", "cross", "hexagon", "bowtie")


def pictures(states, layers, seed=0):
    """UMAP pictures of some layers, each begun at the one before and turned onto it, the first at principal components.

    >>> drawn = pictures(states["entity"][:, late], layers=range(0, 31, 3))
    >>> drawn[12]["points"], drawn[12]["trustworthiness"]

    `states`: [state, n, hidden].  Returns layer -> `{"points": [n, 2], "trustworthiness": float}`; the points are
    centred, at a mean square distance of one from their centre.  A picture so depends on those before it; its
    trustworthiness says what it is worth by itself.
    """
    found, last = {}, None
    for layer in layers:
        picture = geometry.umap2(states[layer], seed, last)
        points = picture["points"] - picture["points"].mean(axis=0)
        points = points / np.sqrt((points**2).sum(axis=1).mean())
        last = points if last is None else turned(points, last)
        found[layer] = picture | {"points": last}
    return found


def turned(points, onto):
    """Centred points [n, 2], rotated and mirrored to lie as near as they can to others: orthogonal Procrustes.

    Source: Schoenemann 1966.
    """
    left, _, right = np.linalg.svd(points.T @ onto)
    return points @ (left @ right)


def grid(panels, layers, coloured=6):
    """The pictures of some layers side by side: a row for each panel, the largest labels coloured, a matplotlib figure.

    >>> grid({"drugs": (drawn, rows["specialty"])}, layers=[0, 9, 21, 30])

    `panels`: name -> what `pictures` returns, and the labels [n]; `coloured` is at most 10.
    """
    size = (1.75 * len(layers) + 1.9, 1.85 * len(panels))
    figure, axes = plt.subplots(len(panels), len(layers), figsize=size, squeeze=False, layout="constrained")
    looks = list(zip(sns.color_palette("colorblind"), "osD^vPX*<>", strict=True))
    for row, (name, (drawn, labels)) in zip(axes, panels.items(), strict=True):
        largest = sorted(labels.value_counts().index[:coloured])
        for panel, layer in zip(row, layers, strict=True):
            points = drawn[layer]["points"]
            panel.scatter(*points[~labels.isin(largest).to_numpy()].T, s=5, color="0.85", linewidths=0)
            for label, (colour, marker) in zip(largest, looks, strict=False):
                of = points[(labels == label).to_numpy()]
                panel.scatter(*of.T, s=14, color=colour, marker=marker, label=label, linewidths=0)
            panel.set(xticks=[], yticks=[])
            panel.set_title(f"state {layer}, trust. {drawn[layer]['trustworthiness']:.2f}", fontsize="x-small")
        row[0].set_ylabel(name, fontsize="medium")
        row[-1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    return figure


def comparison(c, drawn, rows, name):
    """The page of one comparison: its medical domain above its control.

    >>> HTML(comparison(wanted[0], drawn, {"drugs": frame.iloc[kinds.last_template(frame)], ...}, "slider-drugs"))

    `c`: a `kinds.Comparison`; `drawn`: domain -> what `pictures` returns; `rows`: domain -> the rows of its points.
    """
    of = {title: (domain, label) for title, (domain, label) in zip(c.names, c.sides, strict=True)}
    return page(
        {title: drawn[domain] for title, (domain, _) in of.items()},
        {title: rows[domain]["item"] for title, (domain, _) in of.items()},
        {title: rows[domain][label] for title, (domain, label) in of.items()},
        name,
    )


def page(drawn, items, labels, name):
    """The pictures as HTML with a slider over the layers, without Plotly's script.

    >>> HTML(page({"drugs": drawn}, {"drugs": rows["item"]}, {"drugs": rows["specialty"]}, "drugs-specialty"))

    `drawn`: panel -> what `pictures` returns, all with the same layers; `items`, `labels`: panel -> [n], what the mouse
    shows and what is coloured; `name` is the figure's id on the page.  Coordinates are kept to two decimals.  Raises
    `MedlibError` where panels have different layers.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    layers = list(next(iter(drawn.values())))
    if any(list(of) != layers for of in drawn.values()):
        raise MedlibError("The panels have pictures of different layers; a slider needs the same ones in each.")
    figure = make_subplots(rows=len(drawn), cols=1, subplot_titles=list(drawn), vertical_spacing=0.06)
    groups = []
    for row, panel in enumerate(drawn, 1):
        names = sorted(set(labels[panel]))
        for place, label in enumerate(names):
            rows = np.flatnonzero(np.asarray(labels[panel]) == label)
            groups.append((panel, rows))
            symbol = _SYMBOLS[(place + place // len(_COLOURS)) % len(_SYMBOLS)]  # no pair of colour and symbol twice
            mark = {"color": _COLOURS[place % len(_COLOURS)], "size": 7, "symbol": symbol}
            trace = go.Scatter(
                **_at(drawn[panel][layers[0]]["points"], rows),
                mode="markers",
                marker=mark,
                name=label,
                text=[np.asarray(items[panel])[i] for i in rows],
                hovertemplate="%{text}",
                legendgroup=panel,
                legend="legend" if row == 1 else f"legend{row}",
            )
            figure.add_trace(trace, row=row, col=1)
    figure.frames = [
        go.Frame(
            name=str(layer),
            data=[go.Scatter(**_at(drawn[panel][layer]["points"], rows)) for panel, rows in groups],
            traces=list(range(len(groups))),
        )
        for layer in layers
    ]
    for row, of in enumerate(drawn.values(), 1):  # one frame for all layers, so that points move and axes do not
        for axis, side in (("update_xaxes", 0), ("update_yaxes", 1)):
            all_of_them = np.concatenate([picture["points"][:, side] for picture in of.values()])
            span = [round(float(all_of_them.min()) - 0.1, 2), round(float(all_of_them.max()) + 0.1, 2)]
            looks = dict(range=span, visible=True, showticklabels=False, ticks="", showgrid=False, zeroline=False)
            getattr(figure, axis)(row=row, col=1, mirror=True, showline=True, linecolor="#bbb", **looks)
    _dress(figure, drawn, layers)
    config = {"displaylogo": False, "responsive": True, "plotlyServerURL": "", "showSendToCloud": False}
    options = dict(include_plotlyjs=False, include_mathjax=False, full_html=False, auto_play=False, config=config)
    return figure.to_html(div_id=name, **options)


def _at(points, rows):
    return {"x": points[rows, 0].round(2).tolist(), "y": points[rows, 1].round(2).tolist()}


def _dress(figure, drawn, layers):
    """Legends beside their panels, and the slider below, which says the layer and how far to trust its pictures."""
    steps = []
    for layer in layers:
        trust = ", ".join(f"{of[layer]['trustworthiness']:.2f} ({panel})" for panel, of in drawn.items())
        move = {"mode": "immediate", "frame": {"duration": 400, "redraw": False}, "transition": {"duration": 400}}
        label = f"state {layer}; trustworthiness {trust}"
        steps.append(dict(method="animate", label=label, args=[[str(layer)], move]))
    slider = dict(steps=steps, active=0, pad={"t": 10}, font={"color": "rgba(0,0,0,0)", "size": 1}, ticklen=4)
    slider["currentvalue"] = {"font": {"color": "#222", "size": 13}, "xanchor": "left"}
    legends = {
        "legend" if row == 0 else f"legend{row + 1}": dict(
            x=1.01,
            y=1 - row * (1.06 / len(drawn)),
            yanchor="top",
            font={"size": 10},
            itemsizing="constant",
            tracegroupgap=0,
        )
        for row in range(len(drawn))
    }
    figure.update_layout(
        template="none",
        sliders=[slider],
        height=330 * len(drawn) + 110,
        margin=dict(l=10, r=10, t=30, b=10),
        hovermode="closest",
        **legends,
    )
