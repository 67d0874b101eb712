"""The maps of single tokens for the page: one domain at a time, and the mouse says token, layer and share.

Which domain is chosen above the figure (book/_static/controls.js); for print there are all maps side by side
(patch_figures.py).  The page needs Plotly's script, which ships once with the book.
"""

from collections import Counter

import numpy as np

from medlib.errors import MedlibError

SPAN = 1.5  # the colours' ends: a patch that recovers half as much again as there was to recover


def page(found, known, name):
    """Heat maps as HTML, layers upwards and tokens across, without Plotly's script.

    >>> HTML(page(maps, known, f"sites-{model.name}-tokens"))

    `found`: domain -> `sites.token_map`; `known`: domain -> whether the model knows it; `name` is the figure's id.
    Shares are kept to two decimals.  Raises `MedlibError` where there is no map.
    """
    import plotly.graph_objects as go

    if not found:
        raise MedlibError("There is no map of tokens to show.")
    figure = go.Figure()
    for place, (domain, (matrix, tokens, _)) in enumerate(found.items()):
        looks = dict(colorscale="RdBu", reversescale=True, zmin=-SPAN) if known[domain] else dict(colorscale="Greys")
        figure.add_trace(
            go.Heatmap(
                x=_told_apart(tokens),
                y=list(range(1, len(matrix) + 1)),
                z=np.round(matrix, 2).tolist(),
                **{"zmin": 0, "reversescale": False} | looks,
                zmax=SPAN,
                name=domain,
                visible=place == 0,
                colorbar=dict(title="recovered, P", thickness=14),
                hovertemplate="token %{x}<br>layer %{y}<br>P = %{z:.2f}<extra></extra>",
            )
        )
    buttons = [
        dict(
            method="update",
            label=f"{domain}{'' if known[domain] else ', not known'} (n = {n} pairs)",
            args=[{"visible": [other == domain for other in found]}],
        )
        for domain, (_, _, n) in found.items()
    ]
    figure.update_layout(
        template="none",
        updatemenus=[dict(buttons=buttons, visible=False)],
        meta=dict(choose="Domain", says="Heat map of tokens and layers"),
        xaxis=dict(type="category", tickangle=-60, automargin=True, title="token"),
        yaxis=dict(title="layer"),
        height=460,
        margin=dict(l=50, r=10, t=10, b=10),
    )
    config = {"displaylogo": False, "responsive": True, "plotlyServerURL": "", "showSendToCloud": False}
    options = dict(include_plotlyjs=False, include_mathjax=False, full_html=False, config=config)
    return figure.to_html(div_id=name, **options)


def _told_apart(tokens):
    """Tokens with their count from the second of a kind on: a place on an axis of names has to have one of its own."""
    met = Counter()
    named = []
    for token in tokens:
        met[token] += 1
        named.append(token if met[token] == 1 else f"{token} ({met[token]})")
    return named
