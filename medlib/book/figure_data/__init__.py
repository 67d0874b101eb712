"""A figure's data and notebook, one click away: a line that goes into each caption when a run is taken into the book.

A figure drawn by matplotlib is drawn from the run's table: what is offered as CSV are the rows that it is drawn from
(figure_rows.toml), and beside them the whole table, as CSV where it is short and else as parquet.  A figure of Plotly's
carries its points in the page: they become a table of their own, with the frame, panel, label and text of each point.
A few figures of matplotlib's show the same points, and lead to these.
"""

import base64
import json
import re
import tomllib
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd

LONG = 20_000  # rows: about 2 MB as CSV, which a spreadsheet still opens at once
DIGITS = "%.6g"  # of what is drawn; the whole table has them all
_SELECTED = ("domain", "item", "metric", "component", "space", "variant")
_PLOT = re.compile(r'Plotly\.newPlot\(\s*["\']([^"\']+)["\'],\s*')
_FRAMES = re.compile(r"Plotly\.addFrames\(\s*['\"]([^'\"]+)['\"],\s*")


def link(notebook, page, folder, table, long=False):
    """Add the line to the captions of an executed notebook, in place, and a cell after what Plotly drew.

    `page` is the chapter's place in the book, such as `runs/smollm2-135m/lesion`; the tables of figures go into
    `folder`.  `table`: the run's; `long`: it lies in the book as parquet, and not as CSV.  A figure without rows of its
    own, in a run that left something out or is older than its selection, leads to all summaries.
    """
    _, model, technique = page.split("/")
    drawn = {place: _drawn(cell) for place, cell in enumerate(notebook.cells)}
    points_of = {name: points for of_cell in drawn.values() for name, points in of_cell.items()}
    for name, points in points_of.items():
        points.to_csv(folder / f"{name}.csv", index=False)
    cells = []
    for place, cell in enumerate(notebook.cells):
        cells.append(cell)
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("caption"):
            name = figure.get("name", "").removesuffix(f"-{model}")
            whole = f"{page}.parquet" if long else f"{page}.csv"
            rows = drawn_from(table, name, points_of)
            selected = name in _rows_of_figures() and len(rows) > 0
            own = name if selected else technique
            if selected or long:
                if not (folder / f"{own}.csv").exists():
                    rows = rows if selected else drawn_from(table, None)
                    rows.to_csv(folder / f"{own}.csv", index=False, float_format=DIGITS)
                files = {"CSV": f"runs/{model}/{own}.csv", "whole table": whole}
            else:
                files = {"CSV": whole}
            figure["caption"] = f"{figure['caption'].strip()} {_line(page, files)}"
        if drawn[place]:
            files = {f"CSV ({_told(name, model)})": f"runs/{model}/{name}.csv" for name in drawn[place]}
            text = f":::{{container}} figure-data\n{_line(page, files)}\n:::"
            cells.append(nbformat.v4.new_markdown_cell(text, id=f"data-{len(cells)}"))
    notebook.cells = cells


def drawn_from(table, figure, points=None):
    """What a figure is drawn from: rows of a results table, those selected for it, else all that sum up items.

    >>> drawn_from(results.read("lesion.parquet"), "fig-lesion-kl")

    `points`: name -> table of what Plotly drew on the same page, for a figure that shows the same.
    """
    selections = _rows_of_figures().get(figure, [{}])
    if "points" in selections[0]:
        return _of_points(points or {}, **selections[0])
    return table[np.any([_selected(table, selection) for selection in selections], axis=0)]


def _selected(table, selection):
    """Which rows one selection of figure_rows.toml takes."""
    own = pd.Series(True, index=table.index) if selection.get("items") else table["item"].isna()
    for column in (name for name in _SELECTED if name in selection):
        texts = table[column].fillna("")
        own &= texts.isin([text for text in texts.unique() if re.fullmatch(selection[column], text)])
    if own.any() and "first" in selection:
        own &= table[selection["first"]] == table.loc[own, selection["first"]].iloc[0]
    return own


def _of_points(found, points, frames=None):
    """The points of those interactive figures whose name fits, one under the other; `frames`: so many of each."""
    tables = [_of_frames(table, frames) for name, table in found.items() if re.fullmatch(points, name)]
    return pd.concat(tables, ignore_index=True).drop_duplicates() if tables else pd.DataFrame()


def _of_frames(table, count):
    every = list(table["frame"].dropna().unique())
    if count is None or len(every) <= count:
        return table
    return table[table["frame"].isin([every[round(place)] for place in np.linspace(0, len(every) - 1, count)])]


@cache
def _rows_of_figures():
    return tomllib.loads(Path(__file__).with_name("figure_rows.toml").read_text(encoding="utf-8"))


def points(html):
    """What Plotly drew in a piece of HTML, as tables by the figure's name.

    Columns: `frame` (null where nothing moves), `panel` (the title of a subplot, else its number), `label` (the name in
    the legend), `text` (what the mouse shows), `x`, `y`, and of a heat map `z`, a row for each of its fields.
    """
    read = json.JSONDecoder().raw_decode
    frames = {match[1]: read(html, match.end())[0] for match in _FRAMES.finditer(html)}
    found = {}
    for match in _PLOT.finditer(html):
        traces, end = read(html, match.end())
        layout, _ = read(html, re.compile(r"\s*,\s*").match(html, end).end())
        moving = frames.get(match[1]) or [{"name": None, "data": traces}]
        rows = [_rows(frame["name"], frame["data"], traces, _titles(layout)) for frame in moving]
        found[match[1]] = pd.concat(rows, ignore_index=True)
    return found


def _drawn(cell):
    """The figures of a cell made safe, in which a script is one of a figure's and the rest is text."""
    pieces = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return {name: table for piece in pieces if "<script" in piece for name, table in points(piece).items()}


def _titles(layout):
    """The titles of subplots, which Plotly keeps as notes in the order of the panels."""
    return [note["text"] for note in layout.get("annotations", []) if note.get("yref") == "paper"]


def _rows(frame, data, traces, titles):
    axes = list(dict.fromkeys(trace.get("yaxis", "y") for trace in traces))
    tables = []
    for moved, trace in zip(data, traces, strict=True):
        place = axes.index(trace.get("yaxis", "y"))
        panel = titles[place] if place < len(titles) else place + 1
        table = _fields(moved) if "z" in moved else _points(moved, trace)
        tables.append(table.assign(frame=frame, panel=panel, label=trace.get("name")))
    found = pd.concat(tables)
    return found[["frame", "panel", "label", "text", "x", "y", *found.columns.intersection(["z"])]]


def _points(moved, trace):
    return pd.DataFrame({"x": _numbers(moved["x"]), "y": _numbers(moved["y"]), "text": trace.get("text")})


def _fields(moved):
    x, y = _numbers(moved["x"]), _numbers(moved["y"])
    places = pd.MultiIndex.from_product([y, x], names=["y", "x"])
    return pd.DataFrame({"z": np.ravel(moved["z"])}, index=places).reset_index().assign(text=None)


def _numbers(values):
    """Plotly writes a list as it is, and an array as base64 with its type."""
    return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]) if isinstance(values, dict) else values


def _told(name, model):
    """What a figure of Plotly's is called in the line: its name without the model's."""
    return name.partition(f"-{model}-")[2] or name


def _line(page, files):
    data = ", ".join(f"{{download}}`{shown} </{place}>`" for shown, place in files.items())
    return f"Data: {data}; notebook: {{download}}`ipynb </{page}.ipynb>`."
