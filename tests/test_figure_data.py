"""Each figure's data and notebook are one click away: its table in the caption, Plotly's points as a table."""

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output

from medlib.book import figure_data
from medlib.chapters.geometry import slider

LABELS = pd.Series(["k", "l", "k"])
ITEMS = pd.Series(["u", "v", "w"])


@pytest.fixture(scope="module")
def drawn():
    points = np.random.default_rng(0).normal(size=(2, 3, 2)).round(2)
    return {layer: {"points": points[place], "trustworthiness": 0.9} for place, layer in enumerate((0, 7))}


def test_a_sliders_points_are_read_back_as_they_were_drawn(drawn):
    html = slider.page({"a": drawn, "b": drawn}, dict.fromkeys("ab", ITEMS), dict.fromkeys("ab", LABELS), "slider-m-x")
    (table,) = figure_data.points(html).values()
    assert list(table.columns) == ["frame", "panel", "label", "text", "x", "y"] and len(table) == 12
    of = table[(table["frame"] == "7") & (table["panel"] == "b")].set_index("text").loc[list(ITEMS)]
    assert list(of["label"]) == list(LABELS)
    assert np.allclose(of[["x", "y"]], drawn[7]["points"])


def test_a_figure_that_does_not_move_is_read_too_also_from_arrays():
    figure = go.Figure(go.Scatter(x=np.array([1.5, 2.5]), y=np.array([3.0, 4.0]), text=["p", "q"], name="n"))
    (table,) = figure_data.points(figure.to_html(include_plotlyjs=False, full_html=False, div_id="still")).values()
    assert list(table["x"]) == [1.5, 2.5] and list(table["text"]) == ["p", "q"]
    assert table["frame"].isna().all()


def test_the_line_stands_in_the_caption_and_after_what_plotly_drew(drawn, tmp_path):
    html = slider.page({"a": drawn}, {"a": ITEMS}, {"a": LABELS}, "slider-m-x")
    output = new_output("display_data", {"text/html": html})
    captioned = {"mystnb": {"figure": {"caption": "A line.", "name": "f"}}}
    cells = [new_code_cell("1", metadata=captioned), new_code_cell("2"), new_code_cell("3", outputs=[output])]
    notebook = new_notebook(cells=cells)
    figure_data.link(notebook, "runs/m/geometry", tmp_path)
    caption = notebook.cells[0].metadata["mystnb"]["figure"]["caption"]
    assert re.search(r"^A line\. .*</runs/m/geometry\.csv>.*</runs/m/geometry\.ipynb>", caption)
    assert len(notebook.cells) == 4
    assert "`CSV (x) </runs/m/slider-m-x.csv>`" in notebook.cells[3].source
    assert len(pd.read_csv(tmp_path / "slider-m-x.csv")) == 6


def test_every_figure_of_a_results_chapter_has_both(this_book):
    lacking, seen = [], 0
    for page in sorted(this_book.glob("runs/*/*.html")):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        blocks = [figure.find("figcaption") or figure for figure in soup.find_all("figure")]
        if soup.select(".plotly-graph-div"):
            blocks += soup.select("div.figure-data") or [soup.new_tag("div")]
        for block in blocks:
            seen += 1
            files = [(page.parent / link["href"]).resolve() for link in block.select("a.download")]
            if {file.suffix for file in files if file.is_file()} != {".csv", ".ipynb"}:
                lacking.append(f"{page.parent.name}/{page.stem}: {block.get_text(' ')[:60]}")
    assert seen and lacking == []
