"""Plotly's script ships once with the book, and only pages that have a figure of it load it."""

import re

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_output
from standins import a_house, a_notebook, a_run

from medlib import paths
from medlib.book import building
from medlib.chapters.geometry import slider


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A book of two runs, one of them with a slider."""
    house = a_house(tmp_path_factory.mktemp("house"), paths.root())
    points = np.random.default_rng(0).normal(size=(6, 2))
    drawn = {layer: {"points": points, "trustworthiness": 0.9} for layer in (0, 1)}
    html = slider.page({"a": drawn}, {"a": list("uvwxyz")}, {"a": ["k", "l"] * 3}, "slider-a")
    notebook = a_notebook("geometry", "m")
    output = new_output("display_data", {"text/html": html, "text/plain": "slider"})
    notebook.cells.append(new_code_cell("slider.page(...)", execution_count=9, outputs=[output]))
    a_run(house / "book" / "runs", "geometry", "m", notebook)
    a_run(house / "book" / "runs", "lesion", "m")
    return building.build(house).parent


def scripts(built, page):
    text = (built / page).read_text(encoding="utf-8")
    return [match for match in re.findall(r'<script[^>]*src="([^"]*)"', text) if "plotly" in match], text


def test_a_page_with_a_slider_loads_the_script_before_it_and_without_delay(built):
    (script,), text = scripts(built, "runs/m/geometry.html")
    assert (built / "runs" / "m" / script.split("?")[0]).resolve().is_file()
    tag = re.search(r"<script[^>]*plotly[^>]*>", text)
    assert tag.start() < text.index("Plotly.newPlot")
    assert "defer" not in tag[0] and "async" not in tag[0]


def test_a_page_without_one_does_not_load_it(built):
    for page in ("runs/m/lesion.html", "intro.html"):
        assert scripts(built, page)[0] == []


def test_the_script_is_there_once(built):
    assert len(list(built.rglob("plotly.min.js"))) == 1
