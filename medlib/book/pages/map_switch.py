"""All maps in one figure: a model is chosen above it, and the mouse says domain, technique, layers and share.

The figure needs Plotly's script, which ships once with the book; the choice is the browser's own menu, which the
keyboard moves (book/_static/controls.js).  For print there are all maps side by side (map_pages.py).
"""

import pandas as pd
from matplotlib.colors import to_hex

from medlib import concepts, figures
from medlib.chapters.knowledge_map import map_figures, map_tables
from medlib.errors import MedlibError
from medlib.mapping import rules

COLOURS = {technique: to_hex(colour) for technique, colour in map_figures.COLOURS.items()}
NAMES = {name: name for name in COLOURS} | {"consensus": "two techniques or more"}
COLUMNS = [
    "model",
    "layers",
    "map",
    "domain",
    "known",
    "technique",
    "status",
    "stands_out",
    "first",
    "last",
    "share",
    "n",
]
TITLES = {"plain": "medical domains", "minus control": "minus their controls"}
GREY = to_hex(figures.NOT_KNOWN)
PALE = 0.2  # of a bar that is mapped in no resample, as map_figures has it


def intervals(maps):
    """The runs of layers of all maps as one table, a row for each run, and one where a technique maps nothing.

    >>> intervals({"smollm2-135m": results.read("knowledge_map.parquet")}).query("map == 'plain'")

    `maps`: model -> table of its knowledge map.  Columns: `COLUMNS`; `layers` is how many the model has, `share` of the
    resamples of the items in which these layers are mapped, `known` and `stands_out` are null where nobody asked.
    """
    found = []
    for model, table in maps.items():
        for space in map_tables.MAPS:
            read = map_tables.read_back(table, space)
            read = read[read["domain"].isin(concepts.medical())]
            layers = int(table.loc[table["metric"] == "mapped", "layer"].max())
            for (domain, technique), own in read.groupby(["domain", "technique"], sort=False):
                same = dict(model=model, layers=layers, map=space, domain=domain, technique=technique)
                found += [same | one for one in _runs(own.sort_values("layer"))]
    return pd.DataFrame(found, columns=COLUMNS).astype({"first": "Int64", "last": "Int64", "n": "Int64"})


def _runs(own):
    """What a lane holds: its runs of layers, or the reason why there is none."""
    one = own.iloc[0]
    same = dict(known=one["known"], status=one["status"], stands_out=one["sure"], n=one["n"])
    if one["status"] != "run":
        return [same]
    share = own["share"].to_numpy(dtype=float)
    runs = rules.runs(own["mapped"].to_numpy(dtype=bool))
    if not runs:
        return [same | dict(status="no interval")]
    return [same | dict(first=a, last=b, share=round(float(share[a - 1 : b].mean()), 3)) for a, b in runs]


def page(table, name):
    """The figure as HTML, the map above that of the difference from the controls, without Plotly's script.

    >>> page(intervals(maps), "maps-switch")

    `table`: of `intervals`; `name` is the figure's id.  Raises `MedlibError` where there is no map.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    if table.empty:
        raise MedlibError("There is no map to show.")
    figure = make_subplots(rows=2, cols=1, subplot_titles=list(TITLES.values()), vertical_spacing=0.1)
    domains = [domain for domain in concepts.medical() if (table["domain"] == domain).any()]
    for technique, colour in COLOURS.items():
        looks = dict(marker_color=colour, name=NAMES[technique], legendgroup=technique, hoverinfo="skip")
        figure.add_trace(go.Bar(x=[None], y=[None], **looks), row=1, col=1)
    always, traces = len(COLOURS), []
    for model, own in table.groupby("model", sort=False):
        for row, space in enumerate(TITLES, 1):
            part = own[own["map"] == space]
            for trace in (_bars(part[part["first"].notna()], domains), _reasons(part[part["first"].isna()], domains)):
                figure.add_trace(trace.update(visible=model == table["model"].iloc[0]), row=row, col=1)
                traces.append(model)
    buttons = []
    for model, own in table.groupby("model", sort=False):
        layers = int(own["layers"].iloc[0])
        shown = [True] * always + [of == model for of in traces]
        buttons.append(
            dict(method="update", label=f"{model}, {layers} layers", args=[{"visible": shown}, _axes(own, domains)])
        )
    figure.update_layout(
        template="none",
        barmode="overlay",
        updatemenus=[dict(buttons=buttons, visible=False)],
        meta=dict(choose="Model", says="Knowledge map of one model"),
        legend=dict(orientation="h", y=-0.07, yanchor="top", itemclick=False, itemdoubleclick=False),
        height=210 + 2 * 62 * len(domains),
        margin=dict(l=10, r=10, t=30, b=10),
        hoverlabel=dict(align="left"),
    )
    for row in (1, 2):
        figure.update_yaxes(
            range=[len(domains) - 0.5, -0.5], automargin=True, ticklabelstandoff=6, showgrid=False, row=row, col=1
        )
        figure.update_xaxes(
            title="layer" if row == 2 else None, showgrid=False, zeroline=False, ticks="outside", row=row, col=1
        )
        for place in range(1, len(domains)):
            figure.add_hline(place - 0.5, line=dict(color="#ddd", width=1), row=row, col=1)
    first = table[table["model"] == table["model"].iloc[0]]
    figure.update_layout(_axes(first, domains))
    config = {"displaylogo": False, "responsive": True, "plotlyServerURL": "", "showSendToCloud": False}
    options = dict(include_plotlyjs=False, include_mathjax=False, full_html=False, config=config)
    return figure.to_html(div_id=name, **options)


def _bars(part, domains):
    """The runs of layers of one map of one model, all techniques: colour, outline and opacity say how sure."""
    import plotly.graph_objects as go

    colours = [GREY if _no(row.known) else COLOURS[row.technique] for row in part.itertuples()]
    hollow = [_no(row.stands_out) for row in part.itertuples()]
    return go.Bar(
        orientation="h",
        base=[float(row.first) - 0.5 for row in part.itertuples()],
        x=[float(row.last - row.first + 1) for row in part.itertuples()],
        y=[_lane(row, domains) for row in part.itertuples()],
        width=[map_figures.LANE * (0.5 if row.technique == "consensus" else 0.85) for row in part.itertuples()],
        marker=dict(
            color=["rgba(0,0,0,0)" if empty else colour for empty, colour in zip(hollow, colours, strict=True)],
            opacity=[1 if empty else PALE + (1 - PALE) * s for empty, s in zip(hollow, part["share"], strict=True)],
            line=dict(color=colours, width=[1.2 * empty for empty in hollow]),
        ),
        hovertext=[_told(row) for row in part.itertuples()],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )


def _reasons(part, domains):
    """In an empty lane, why it is empty."""
    import plotly.graph_objects as go

    part = part[part["technique"] != "consensus"]
    return go.Scatter(
        mode="text",
        x=[0.6] * len(part),
        y=[_lane(row, domains) for row in part.itertuples()],
        text=[f"{row.technique}: {row.status}" for row in part.itertuples()],
        textposition="middle right",
        textfont=dict(size=10, color="#595959"),
        hoverinfo="skip",
        showlegend=False,
    )


def _lane(row, domains):
    return round(domains.index(row.domain) + (list(COLOURS).index(row.technique) - 2) * map_figures.LANE, 3)


def _told(row):
    """What the mouse says of a bar."""
    layers = f"layers {row.first} to {row.last}" if row.last > row.first else f"layer {row.first}"
    lines = [f"<b>{row.domain}</b>, {NAMES[row.technique]}", f"{layers} of {row.layers}"]
    lines.append(f"mapped in {row.share:.0%} of resamples")
    if _no(row.known):
        lines.append("not known to the model" if row.map == "plain" else "domain or control not known to the model")
    if _no(row.stands_out):
        lines.append("does not stand out from shuffled items")
    return "<br>".join(lines)


def _axes(own, domains):
    """Layers and names of the domains, for one model."""
    span, layout = [0.5, float(own["layers"].iloc[0]) + 0.5], {}
    for axis, space in zip(("", "2"), TITLES, strict=True):
        known = own[own["map"] == space].drop_duplicates("domain").set_index("domain")["known"]
        grey = "not known" if space == "plain" else "or control<br>not known"
        named = [f"{domain},<br>{grey}" if _no(known.get(domain)) else domain for domain in domains]
        layout |= {
            f"xaxis{axis}.range": span,
            f"yaxis{axis}.tickvals": list(range(len(domains))),
            f"yaxis{axis}.ticktext": named,
        }
    return layout


def _no(value):
    """Whether something is known to be false: what nobody found out is not."""
    return value in (False,)
