"""Of a local and a committed run that which is current counts, whatever the clocks said, and else the later."""

import json
import sys

import pytest
from standins import a_current_run

from medlib import cli, paths
from medlib.book import building, choosing, current, execute, matrix, promote
from medlib.book.jobs import Matrix
from medlib.chapters.knowledge_map import map_tables

MODEL = "smollm2-135m"
NOTEBOOK = "# %% [markdown]\n# # Q\n\n# %% tags=['parameters']\nmodel_name = 'smollm2-135m'\nrows = 2\n"
THEN, NOW, AHEAD = (f"{year}-01-01T00:00:00Z" for year in (2025, 2026, 2099))


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house with one chapter."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "lesion.py").write_text(NOTEBOOK)
    (tmp_path / "requirements.lock").write_text("numpy==2\n")
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def counts(house):
    """Where the run lies that counts, as all who choose one say."""
    (chapter,), _ = building.choose(house)
    assert choosing.chosen(MODEL, "lesion", house)[0] == chapter.folder
    return "book" if chapter.folder == paths.committed(house) / MODEL else "_build"


def test_a_current_run_counts_before_a_stale_one_that_a_wrong_clock_made_the_later(house):
    a_current_run(house, "book", lock="other", finished=AHEAD)
    a_current_run(house, "_build", finished=NOW)
    assert counts(house) == "_build"
    assert execute.kept("lesion", MODEL, house=house).state == "current"
    assert Matrix({"profile": "full"}, house).to_do() == []
    assert [cell.state for cell in matrix.matrix(house) if cell[:3] == ("lesion", MODEL, "full")] == ["current"]
    a_current_run(house, "book", finished=THEN)
    a_current_run(house, "_build", lock="other", finished=NOW)
    assert counts(house) == "book" and execute.kept("lesion", MODEL, house=house).state == "current"


@pytest.mark.parametrize("lock", [None, "other"])
def test_of_two_that_are_alike_the_later_counts(house, lock):
    a_current_run(house, "book", lock=lock, finished=NOW)
    for finished, place in ((THEN, "book"), (AHEAD, "_build")):
        a_current_run(house, "_build", lock=lock, finished=finished)
        assert counts(house) == place


def test_a_run_of_which_it_is_not_known_stands_between_the_two(house, monkeypatch):
    monkeypatch.setattr(current, "standing", lambda record, house: (record["state"], []))
    ranks = [choosing.rank({"state": state, "finished": NOW}, house) for state in ("stale", "unknown", "current")]
    assert ranks == sorted(ranks) and len(set(ranks)) == 3


def test_the_map_that_is_printed_is_that_of_the_run_that_counts(house, monkeypatch, capsys):
    (house / "notebooks" / "knowledge_map.py").write_text(NOTEBOOK)
    a_current_run(house, "book", "knowledge_map", lock="other", finished=AHEAD)
    a_current_run(house, "_build", "knowledge_map", finished=NOW)
    monkeypatch.setattr(map_tables, "advice", lambda table, record: record["finished"])
    monkeypatch.setattr(sys, "argv", ["medlib", "map", MODEL])
    with pytest.raises(SystemExit):
        cli.main()
    assert json.loads(capsys.readouterr().out) == NOW


def test_a_current_run_of_a_model_in_a_folder_is_recorded_and_a_stale_or_quick_one_is_not(house):
    (house / "models" / "mine").mkdir(parents=True)
    (house / "models" / "mine" / "config.json").write_text("{}")
    a_current_run(house, "_build", model="mine")
    path = paths.runs(house) / "mine" / "lesion.json"
    record = json.loads(path.read_text())
    _, _, values = current.prepare("lesion", "./models/mine", {}, house)
    record["parameters"] = paths.public(values, house)
    record["run"] |= {"model": current.pinned("./models/mine"), "profile": "full"}
    path.write_text(json.dumps(record))
    (house / "models" / "mine" / "config.json").write_text("[]")
    assert promote.record(house) == ([], ["lesion on mine: the model's pin changed"])
    (house / "models" / "mine" / "config.json").write_text("{}")
    assert promote.record(house) == (["lesion on mine"], [])
    path.write_text(json.dumps(record | {"parameters": record["parameters"] | {"rows": 1}}))
    (house / "notebooks" / "quick.toml").write_text("[lesion]\nrows = 1\n")
    assert "a quick run" in promote.record(house)[1][0]
