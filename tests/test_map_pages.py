"""The page with all maps: a panel a model, a file for tools, and the word that there is none where none was made."""

import json

import pandas as pd
import pytest
from test_map_chapter import L, maps, table  # noqa: F401 (fixtures)

from medlib import MedlibError, cli, results
from medlib.book import building, choosing
from medlib.book.pages import map_pages

RECORD = {
    "model": {"name": "org/made-up", "weights_sha256": "0" * 64},
    "run": {"made_of": {"lesion": "1" * 64}},
    "seed": 0,
}


class Chapter(building.Chapter):
    """A run without a notebook: what the page reads of it."""

    record = RECORD
    name = "org/made-up"


@pytest.fixture
def chapters(table, tmp_path):  # noqa: F811
    results.write(table, tmp_path / "knowledge_map.parquet")
    return [Chapter("org--made-up", "knowledge_map", tmp_path)]


def test_the_page_has_a_figure_for_each_map_and_a_file_for_each_model(chapters, tmp_path):
    folder = tmp_path / "generated"
    folder.mkdir()
    map_pages.write(folder, chapters)
    said = (folder / "maps.md").read_text()
    for name in ("maps_plain.png", "maps_minus_control.png"):
        assert f"generated/{name}" in said and (folder / name).stat().st_size > 10_000
    advice = json.loads((folder / "knowledge_maps" / "org--made-up.json").read_text())
    assert advice["made_of"] == {"lesion": "1" * 64} and advice["layers"] == L
    switch = (folder / "maps_switch.md").read_text()
    assert "Plotly.newPlot" in switch and "</generated/knowledge_maps/maps.csv>" in switch
    assert set(pd.read_csv(folder / "knowledge_maps" / "maps.csv")["model"]) == {"org/made-up"}
    rows = (folder / "maps_advice.md").read_text()
    assert "generated/knowledge_maps/org--made-up.json" in rows
    assert "[org/made-up](/runs/org--made-up/knowledge_map.ipynb)" in rows
    assert "| drugs | " in rows and "| minus control | yes | yes | " in rows


def test_without_a_map_the_page_says_how_to_make_one(tmp_path):
    map_pages.write(tmp_path, [])
    assert (tmp_path / "maps.md").read_text() == (tmp_path / "maps_advice.md").read_text() == map_pages.NO_MAP
    assert (tmp_path / "maps_switch.md").read_text() == ""


def test_the_command_prints_the_map_of_a_model_and_says_how_to_make_one(chapters, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(choosing, "chosen", lambda model, technique: (tmp_path, RECORD))
    cli.map_of("org/made-up")
    assert json.loads(capsys.readouterr().out)["domains"]["drugs"]["known"] is True
    monkeypatch.setattr(choosing, "chosen", lambda model, technique: None)
    with pytest.raises(MedlibError, match="Make one after the chapters"):
        cli.map_of("org/made-up")
