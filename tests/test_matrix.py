"""The matrix has a cell for every chapter, model and profile, and says of each where it stands and why."""

import json

import pytest
from standins import a_current_run as ran

from medlib.book import at_hand, matrix, profiles, promote
from medlib.book.pages import matrix_pages
from medlib.models import zoo

MODEL = "smollm2-135m"
NOTEBOOK = """# %% [markdown]
# # A question?

# %% tags=["parameters"{tag}]
model_name = "smollm2-135m"
rows = 2
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house with a chapter on text and one on pictures."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "requirements.lock").write_text("numpy==2\n")
    for name, tag in (("lesion", ""), ("seen", ', "images"')):
        (tmp_path / "notebooks" / f"{name}.py").write_text(NOTEBOOK.format(tag=tag))
    (tmp_path / "notebooks" / "quick.toml").write_text("[lesion]\nrows = 1\n")
    monkeypatch.setattr(at_hand, "missing", lambda model: "" if model in (MODEL, "scans-llava", "mine") else "weights")
    return tmp_path


def cells(house):
    return {(cell.technique, cell.model, cell.profile): cell for cell in matrix.matrix(house)}


def test_there_is_a_cell_for_every_chapter_model_and_profile(house):
    found = cells(house)
    assert set(found) == {(t, m, p) for t in ("lesion", "seen") for m in zoo.names() for p in profiles.PROFILES}
    assert found["lesion", MODEL, "full"].state == "never"
    assert found["seen", MODEL, "full"].state == found["lesion", "scans-llava", "full"].state == "not for it"
    assert found["seen", MODEL, "full"].unfit == "about pictures, and the model reads text only"
    assert "made around smollm2-135m" in found["lesion", "scans-llava", "full"].unfit
    assert found["lesion", "llama-3.3-70b", "quick"].state == "not runnable"
    assert found["lesion", "llama-3.3-70b", "quick"].missing == "weights"


def test_a_run_stands_in_the_cell_of_its_profile_only(house):
    ran(house, "_build", rows=1)
    found = cells(house)
    assert (found["lesion", MODEL, "quick"].state, found["lesion", MODEL, "full"].state) == ("current", "never")
    ran(house, "_build", rows=7)
    found = cells(house)
    assert found["lesion", MODEL, "own"].state == "current"
    assert found["lesion", MODEL, "quick"].state == "never"


def test_of_two_places_a_cell_says_the_better_and_both_are_told(house):
    ran(house, "_build", lock="other")
    cell = cells(house)["lesion", MODEL, "full"]
    assert (cell.state, cell.here) == ("stale", ("stale", ["requirements.lock changed"]))
    ran(house, "book")
    cell = cells(house)["lesion", MODEL, "full"]
    assert (cell.state, cell.here[0], cell.committed) == ("current", "stale", ("current", []))
    assert matrix_pages.reasons([cell]) == [
        ["lesion", MODEL, "full", "here", "stale", "requirements.lock changed"],
    ]


def a_failed_run(house, **told):
    folder = house / "_build" / "runs" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"medlib": {"state": "failed", "error": "In [4] ValueError: boom", **told}}
    (folder / "lesion.failed.ipynb").write_text(json.dumps({"metadata": metadata}))


def test_a_failed_run_is_seen_in_its_profile_over_a_stale_one_and_gives_way_to_a_current_one(house):
    a_failed_run(house, profile="quick")
    found = cells(house)
    assert found["lesion", MODEL, "quick"].here == ("failed", ["In [4] ValueError: boom"])
    assert found["lesion", MODEL, "full"].state == "never"
    a_failed_run(house)
    ran(house, "_build", lock="other")
    assert cells(house)["lesion", MODEL, "full"].state == "failed"
    ran(house, "_build")
    assert cells(house)["lesion", MODEL, "full"].state == "current"


def test_half_a_run_is_stale_and_one_whose_model_is_gone_unknown(house):
    ran(house, "_build")
    ran(house, "book", model="mine")
    (house / "_build" / "runs" / MODEL / "lesion.parquet").write_bytes(b"half")
    found = cells(house)
    assert found["lesion", MODEL, "full"].here == ("stale", ["its files do not belong together"])
    assert found["lesion", "mine", "full"].committed == ("unknown", ["its model's folder is not here"])


def test_of_a_run_whose_model_is_gone_all_else_is_compared_still(house):
    ran(house, "book", model="mine")
    path = house / "book" / "runs" / "mine" / "lesion.json"
    record = json.loads(path.read_text())
    record["model"]["weights_sha256"], record["run"]["model"] = "5" * 64, {"folder": {"config.json": "6" * 64}}
    path.write_text(json.dumps(record))
    assert cells(house)["lesion", "mine", "full"].state == "unknown"
    (house / "requirements.lock").write_text("numpy==3\n")
    assert cells(house)["lesion", "mine", "full"].committed == ("stale", ["requirements.lock changed"])
    notebook = house / "notebooks" / "lesion.py"
    notebook.write_text(notebook.read_text().replace("rows = 2", "rows = 3"))
    reasons = ["the notebook changed", "the parameters changed", "requirements.lock changed"]
    assert cells(house)["lesion", "mine", "full"].committed == ("stale", reasons)
    notebook.write_text(notebook.read_text().replace("model_name", "model"))
    assert cells(house)["lesion", "mine", "full"].committed[0] == "unknown"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("quick.toml", "[lesion", "notebooks/quick.toml cannot be read"),
        ("lesion.py", NOTEBOOK.format(tag="").replace("= 2", "= = 2"), "notebooks/lesion.py are not Python"),
    ],
)
def test_of_a_run_whose_chapter_is_broken_it_is_said_what_is_broken(house, file, content, said):
    ran(house, "_build", rows=1)
    path = house / "_build" / "runs" / MODEL / "lesion.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"run": record["run"] | {"profile": "quick"}}))
    (house / "notebooks" / file).write_text(content)
    state, (reason,) = cells(house)["lesion", MODEL, "quick"].here
    assert state == "unknown" and said in reason
    _, (refused,) = promote.record(house)
    assert said in refused and "model is not" not in refused


def test_a_chapter_on_pictures_is_not_for_a_folder_of_a_model_that_reads_text_only(house):
    ran(house, "_build", model="mine")
    path = house / "_build" / "runs" / "mine" / "lesion.json"
    path.write_text(path.read_text().replace('"model_name": "mine"', '"model_name": "./models/mine"'))
    (house / "models" / "mine").mkdir(parents=True)
    (house / "models" / "mine" / "config.json").write_text("{}")
    assert cells(house)["seen", "mine", "full"].state == "not for it"
    (house / "models" / "mine" / "config.json").write_text('{"vision_config": {}}')
    assert cells(house)["seen", "mine", "full"].unfit == ""


def test_a_run_on_a_folder_is_found_again_where_its_record_says(house):
    ran(house, "_build", model="mine")
    path = house / "_build" / "runs" / "mine" / "lesion.json"
    record = json.loads(path.read_text())
    (house / "models" / "mine").mkdir(parents=True)
    record["parameters"]["model_name"] = "./models/mine"
    record["run"]["model"] = {"folder": {}}
    path.write_text(json.dumps(record))
    assert cells(house)["lesion", "mine", "full"].state == "current"


def test_the_page_has_a_table_for_each_profile_the_reasons_and_what_is_missing(house, tmp_path):
    ran(house, "_build", lock="other")
    folder = tmp_path / "generated"
    folder.mkdir()
    matrix_pages.write(folder, house)
    standing, why, missing = (
        (folder / f"{name}.md").read_text() for name in ("standing", "standing_why", "standing_missing")
    )
    assert standing.count("**Profile") == 2 and f"| chapter | {MODEL} | scans-llava |" in standing
    assert "| lesion | stale | not for it |" in standing and "**Profile quick**: no run." in standing
    assert "llama" not in standing
    assert f"| lesion | {MODEL} | full | here | stale | requirements.lock changed |" in why
    assert "| `llama-3.3-70b` | weights |" in missing
    assert f"| `{MODEL}` | about pictures, and the model reads text only | seen |" in missing


def test_many_reasons_are_said_in_part_and_counted():
    assert matrix_pages.said([f"medlib/{i}.py changed" for i in range(7)]).endswith("4.py changed; and 2 more")
    mark = matrix_pages.mark("stale", ["medlib/__init__.py changed"], "medlib run lesion --model m")
    assert "since it was made, medlib/\\_\\_init\\_\\_.py changed." in mark and "medlib run lesion --model m" in mark
