"""A figure's data and notebook, one click away: a line that goes into each caption when a run is taken into the book.

A figure drawn by matplotlib is drawn from the run's table.  Where that is short, the whole of it is offered as CSV;
where it is long, the rows that the figure is drawn from (figure_rows.toml), and the whole as parquet beside them.  A
figure of Plotly's carries its points in the page: they become a table of their own, with the frame, panel, label and
text of each point.
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
_SELECTED = ("metric", "component", "space", "variant")
_PLOT = re.compile(r'Plotly\.newPlot\(\s*["\']([^"\']+)["\'],\s*')
_FRAMES = re.compile(r"Plotly\.addFrames\(\s*['\"]([^'\"]+)['\"],\s*")


def link(notebook, page, folder, table=None):
    """Add the line to the captions of an executed notebook, in place, and a cell after what Plotly drew.

    `page` is the chapter's place in the book, such as `runs/smollm2-135m/lesion`; the tables of figures go into
    `folder`.  `table`: the run's, where it is too long to be offered whole as CSV.
    """
    cells = []
    _, model, technique = page.split("/")
    for cell in notebook.cells:
        cells.append(cell)
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("caption"):
            files = {"CSV": f"{page}.csv"}
            if table is not None:
                name = figure.get("name", "").removesuffix(f"-{model}")
                place = name if name in _rows_of_figures() else technique
                if not (folder / f"{place}.csv").exists():
                    drawn_from(table, name).to_csv(folder / f"{place}.csv", index=False, float_format=DIGITS)
                files = {"CSV": f"runs/{model}/{place}.csv", "whole table": f"{page}.parquet"}
            figure["caption"] = f"{figure['caption'].strip()} {_line(page, files)}"
        drawn = _drawn(cell)
        for name, points_of in drawn.items():
            points_of.to_csv(folder / f"{name}.csv", index=False)
        if drawn:
            files = {f"CSV ({name.partition(f'-{model}-')[2] or name})": f"runs/{model}/{name}.csv" for name in drawn}
            text = f":::{{container}} figure-data\n{_line(page, files)}\n:::"
            cells.append(nbformat.v4.new_markdown_cell(text, id=f"data-{len(cells)}"))
    notebook.cells = cells


def drawn_from(table, figure):
    """The rows of a results table that a figure is drawn from: those selected for it, else all that sum up items.

    >>> drawn_from(results.read("lesion.parquet"), "fig-lesion-kl")
    """
    chosen = [_selected(table, selection) for selection in _rows_of_figures().get(figure, [{}])]
    return table[np.any(chosen, axis=0)]


def _selected(table, selection):
    """Which rows one selection of figure_rows.toml takes."""
    own = pd.Series(True, index=table.index) if selection.get("items") else table["item"].isna()
    for column in (name for name in _SELECTED if name in selection):
        texts = table[column].fillna("")
        own &= texts.isin([text for text in texts.unique() if re.fullmatch(selection[column], text)])
    return own


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
    pieces = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return {name: table for piece in pieces for name, table in points(piece).items()}


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


def _line(page, files):
    data = ", ".join(f"{{download}}`{shown} </{place}>`" for shown, place in files.items())
    return f"Data: {data}; notebook: {{download}}`ipynb </{page}.ipynb>`."
