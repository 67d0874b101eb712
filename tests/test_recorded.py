"""A chapter made of others' tables finds the later run of each, says what is missing, and knows when it is old."""

import json

import pytest
from standins import a_current_run, a_house, a_run

from medlib import paths
from medlib.book import current, forms, recorded
from medlib.errors import MedlibError

MODEL = "smollm2-135m"


@pytest.fixture
def house(tmp_path, request):
    house = a_house(tmp_path, request.config.rootpath)
    a_run(paths.committed(house), "lesion", MODEL, finished="2026-01-01T00:00:00Z")
    return house


def made_of(house, *techniques):
    return {source["technique"]: source["sha256"] for source in recorded.tables(MODEL, techniques, house)[1]}


def test_of_a_local_and_a_committed_run_the_later_is_read(house):
    a_run(paths.runs(house), "lesion", MODEL, finished="2026-02-01T00:00:00Z")
    assert recorded.latest(MODEL, "lesion", house)[0] == paths.runs(house) / MODEL
    a_run(paths.committed(house), "lesion", MODEL, finished="2026-03-01T00:00:00Z")
    assert recorded.latest(MODEL, "lesion", house)[0] == paths.committed(house) / MODEL


def test_a_run_of_the_code_as_it_is_now_counts_before_a_later_one_of_other_code(house):
    (house / "notebooks" / "lesion.py").write_text(
        "# %% [markdown]\n# # Q\n\n# %% tags=['parameters']\nmodel_name = ''\nrows = 2\n"
    )
    (house / "requirements.lock").touch()
    a_current_run(house, "_build", finished="2025-01-01T00:00:00Z")
    for latest in (recorded.latest, forms.latest):
        assert latest(MODEL, "lesion", house)[0] == paths.runs(house) / MODEL


@pytest.mark.parametrize("files", [{}, {"lesion.parquet": ""}, {"lesion.ipynb": ""}, [], "lesion.parquet", None])
def test_a_record_that_does_not_name_its_table_and_its_notebook_is_none(house, files):
    folder = paths.committed(house) / MODEL
    record = json.loads((folder / "lesion.json").read_text())
    if isinstance(files, dict):
        files = {name: record["run"]["files"][name] for name in files}
    (folder / "lesion.json").write_text(json.dumps(record | {"run": record["run"] | {"files": files}}))
    assert recorded.complete(folder, "lesion") is None and forms.complete(folder, "lesion") is None


def test_a_record_without_a_date_is_not_the_latest(house):
    folder = a_run(paths.runs(house), "lesion", MODEL)
    record = json.loads((folder / "lesion.json").read_text())
    del record["finished"]
    (folder / "lesion.json").write_text(json.dumps(record))
    assert recorded.latest(MODEL, "lesion", house)[0] == paths.committed(house) / MODEL


def test_a_chapter_that_did_not_run_is_said_not_to_have_run(house):
    tables, sources = recorded.tables(MODEL, ["lesion", "patching"], house)
    assert list(tables) == ["lesion"] and len(tables["lesion"]) == 2
    assert [(source["technique"], source["status"]) for source in sources] == [
        ("lesion", "run"),
        ("patching", "not run"),
    ]
    assert sources[0]["finished"] == "2026-01-01" and sources[0]["items"] == 1


def test_half_a_run_is_none(house):
    (paths.committed(house) / MODEL / "lesion.parquet").write_bytes(b"cut off")
    assert recorded.latest(MODEL, "lesion", house) is None


def test_code_that_changed_since_a_run_is_named(house):
    code = recorded.tables(MODEL, ["lesion"], house)[1][0]["code"]
    assert code == "since then notebooks/lesion.py, medlib/run.py changed"  # the stand-in's hashes are made up


def test_tables_that_are_others_now_or_new_or_gone_are_named(house):
    before = made_of(house, "lesion", "patching", "geometry")
    assert recorded.other_tables(before, MODEL, house) == []
    a_run(paths.runs(house), "patching", MODEL)
    assert recorded.other_tables(before, MODEL, house) == ["patching"]
    for path in (paths.committed(house) / MODEL).glob("lesion.*"):
        path.unlink()
    assert recorded.other_tables(before, MODEL, house) == ["lesion", "patching"]
    assert recorded.other_tables(before | {"lesion": "0" * 64}, MODEL, house) == ["lesion", "patching"]


def of_weights(folder, technique, weights, finished):
    """A run of a model that is no model of the zoo, `mine`."""
    path = a_run(folder, technique, "mine", finished=finished) / f"{technique}.json"
    path.write_text(path.read_text().replace("0" * 64, weights))


def test_runs_of_two_models_with_one_name_are_not_taken_for_one(house):
    for technique in ("lesion", "saliency"):
        of_weights(paths.runs(house), technique, "5" * 64, "2026-01-01T00:00:00Z")
    lesion = recorded.latest("mine", "lesion", house)[1]
    assert recorded.tables("mine", ["lesion", "saliency"], house)[0].keys() == {"lesion", "saliency"}
    (house / "notebooks" / "lesion.py").touch()
    of_weights(paths.runs(house), "saliency", "6" * 64, "2026-02-01T00:00:00Z")
    with pytest.raises(MedlibError, match="lesion: 555555555555; saliency: 666666666666"):
        recorded.tables("mine", ["lesion", "saliency"], house)
    assert current.why_stale(lesion, house) == ["saliency was run later on other weights of the same name"]
