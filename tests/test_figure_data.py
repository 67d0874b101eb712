"""Each figure's data and notebook are one click away: its table in the caption, Plotly's points as a table."""

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output

from medlib import paths, results
from medlib.book import figure_data
from medlib.book.pairs import read
from medlib.chapters.geometry import slider

LABELS = pd.Series(["k", "l", "k"])
ITEMS = pd.Series(["u", "v", "w"])
MOST = 500_000  # bytes of CSV under one figure


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
    figure_data.link(notebook, "runs/m/geometry", tmp_path, a_table())
    caption = notebook.cells[0].metadata["mystnb"]["figure"]["caption"]
    assert re.search(r"^A line\. .*</runs/m/geometry\.csv>.*</runs/m/geometry\.ipynb>", caption)
    assert len(notebook.cells) == 4
    assert "`CSV (x) </runs/m/slider-m-x.csv>`" in notebook.cells[3].source
    assert len(pd.read_csv(tmp_path / "slider-m-x.csv")) == 6


# --- rows of a table --------------------------------------------------------------------------------------------------


def a_table():
    rows = [
        dict(metric=metric, component=component, layer=layer, value=layer / 3, item=item)
        for metric in ("kl", "kl_identity", "kl minus foods")
        for component in ("block", "window")
        for layer in (1, 2)
        for item in (None, "aspirin", "insulin")
    ]
    return results.tidy(rows, model="m", technique="lesion", seed=0)


def test_a_figure_gets_the_rows_that_it_is_drawn_from():
    table = a_table()
    kl = figure_data.drawn_from(table, "fig-lesion-kl")
    assert kl[["metric", "component"]].drop_duplicates().values.tolist() == [["kl", "block"]]
    assert kl["item"].isna().all() and list(kl["layer"]) == [1, 2]
    other = figure_data.drawn_from(table, "fig-of-mine")
    assert len(other) == 12 and other["item"].isna().all()  # no selection: whatever sums up items


def test_selections_of_one_figure_add_up_and_null_is_an_empty_text():
    rows = [dict(metric="step_t", item="17|18", layer=1, value=1.0, variant=variant) for variant in (None, "mean")]
    rows += [dict(metric=metric, value=1.0, component="consensus", space="minus control", variant=variant)
             for metric, variant in (("mapped", None), ("effect", "steering"), ("effect", "lesion"))]  # fmt: skip
    table = results.tidy(rows, model="m", technique="t", seed=0)
    assert figure_data.drawn_from(table, "fig-ages-map")["variant"].isna().tolist() == [True]
    steered = figure_data.drawn_from(table, "fig-map-steering")
    assert steered["metric"].tolist() == ["mapped", "effect"] and "lesion" not in set(steered["variant"])


def test_a_selection_may_keep_the_first_question_alone():
    asked = [dict(metric="mev", layer=1, value=1.0, domain="scans", component="text", space="raw", variant=question)
             for question in ("one?", "two?", "one?")]  # fmt: skip
    table = results.tidy(asked, model="m", technique="t", seed=0)
    assert figure_data.drawn_from(table, "fig-contextualisation-measures")["variant"].tolist() == ["one?", "one?"]


def test_a_figure_may_be_drawn_from_what_an_interactive_one_shows():
    points = pd.DataFrame({"frame": [str(i) for i in range(7)], "x": range(7)})
    found = {"slider-m-drugs": points, "slider-m-foods": points, "other": points}
    rows = figure_data.drawn_from(a_table(), "fig-geometry-umap", found | {"slider-m-age": points.assign(x=9)})
    assert rows["frame"].tolist() == ["0", "2", "4", "6"] * 2 and rows["x"].tolist() == [0, 2, 4, 6, 9, 9, 9, 9]


def test_a_figure_whose_rows_a_run_lacks_leads_to_all_summaries(tmp_path):
    figure = {"mystnb": {"figure": {"caption": "A line.", "name": "fig-lesion-drop-m"}}}
    notebook = new_notebook(cells=[new_code_cell("1", metadata=figure)])
    figure_data.link(notebook, "runs/m/lesion", tmp_path, a_table(), long=True)
    assert "`CSV </runs/m/lesion.csv>`" in notebook.cells[0].metadata["mystnb"]["figure"]["caption"]
    assert [file.name for file in tmp_path.iterdir()] == ["lesion.csv"]
    assert len(pd.read_csv(tmp_path / "lesion.csv")) == 12


@pytest.mark.parametrize(("long", "ending"), [(True, ".parquet"), (False, ".csv")])
def test_the_caption_leads_to_these_rows_and_to_the_whole(tmp_path, long, ending):
    named = [new_code_cell("1", metadata={"mystnb": {"figure": {"caption": "A line.", "name": name}}})
             for name in ("fig-lesion-kl-m", "fig-of-mine-m")]  # fmt: skip
    notebook = new_notebook(cells=named)
    figure_data.link(notebook, "runs/m/lesion", tmp_path, a_table(), long)
    first, second = (cell.metadata["mystnb"]["figure"]["caption"] for cell in notebook.cells)
    assert "`CSV </runs/m/fig-lesion-kl.csv>`" in first and "`CSV </runs/m/lesion.csv>`" in second
    assert f"`whole table </runs/m/lesion{ending}>`" in first and ("whole table" in second) == long
    assert len(pd.read_csv(tmp_path / "fig-lesion-kl.csv")) == 2
    assert not long or len(pd.read_csv(tmp_path / "lesion.csv")) == 12


RUNS = sorted(path for path in paths.committed().glob("*/*.parquet"))


@pytest.mark.parametrize("run", RUNS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_figure_of_the_recorded_runs_has_its_rows_and_they_are_few(run):
    notebook, table = read(run.with_suffix(".ipynb")), results.read(run)
    options = [cell.metadata.get("mystnb", {}).get("figure", {}).get("name", "") for cell in notebook.cells]
    points = {name: table for cell in notebook.cells for name, table in figure_data._drawn(cell).items()}
    sizes = {}
    for name in {name.removesuffix(f"-{run.parent.name}") for name in options} - {""}:
        rows = figure_data.drawn_from(table, name, points)
        sizes[name] = len(rows.to_csv(index=False, float_format=figure_data.DIGITS)) if len(rows) else 0
    assert {name: size for name, size in sizes.items() if not 0 < size < MOST} == {}
    selections = figure_data._rows_of_figures()
    of_rows = [(name, one) for name in sizes for one in selections[name] if "points" not in one]
    assert [(name, one) for name, one in of_rows if not figure_data._selected(table, one).any()] == []


def test_every_figure_of_a_notebook_has_a_selection_and_no_other_has():
    captions = "".join(path.read_text(encoding="utf-8") for path in (paths.root() / "notebooks").glob("*.py"))
    named = set(re.findall(r'"name": "(fig-[^"]+)"', captions))
    assert named == set(figure_data._rows_of_figures())


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
            if {file.suffix for file in files if file.is_file()} - {".parquet"} != {".csv", ".ipynb"}:
                lacking.append(f"{page.parent.name}/{page.stem}: {block.get_text(' ')[:60]}")
    assert seen and lacking == []
