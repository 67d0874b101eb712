"""The book is assembled from passing runs only, built strictly, and says of them what their records say."""

import shutil
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_output
from standins import a_house, a_notebook, a_record, a_run

from medlib import MedlibError
from medlib.book import building, new_chapter
from medlib.book.pages import markdown

ROOT = Path(__file__).resolve().parent.parent
TWO = ("smollm2-135m", "org/other-model")


@pytest.fixture
def house(tmp_path):
    return a_house(tmp_path, ROOT)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A book of two models' runs of the same notebooks, with the pages of a new chapter."""
    house = a_house(tmp_path_factory.mktemp("house"), ROOT)
    new_chapter.write("mine", house)
    for model in TWO:
        for technique in ("lesion", "geometry"):
            a_run(house / "book" / "runs", technique, model)
    return building.build(house)


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory):
    """A house without runs, and its book."""
    house = a_house(tmp_path_factory.mktemp("house"), ROOT)
    building.build(house)
    return house


@pytest.fixture
def good(without_runs, tmp_path):
    """A copy of that to change, and the first page of its book."""
    house = shutil.copytree(without_runs, tmp_path / "house")
    return house, house / "_build" / "html" / "index.html"


def local(house):
    return house / "_build" / "runs"


def committed(house):
    return house / "book" / "runs"


def chapters(house):
    return [(chapter.model, chapter.technique) for chapter in building.choose(house)[0]]


def test_two_models_runs_of_one_notebook_build_strictly_side_by_side(built):
    pages = sorted(path.relative_to(built.parent / "runs").as_posix() for path in built.parent.glob("runs/*/*.html"))
    assert pages == [f"{m}/{t}.html" for m in ("org--other-model", "smollm2-135m") for t in ("geometry", "lesion")]


def test_the_book_opens_on_its_first_page(built):
    assert "Where language models keep medical knowledge" in built.read_text(encoding="utf-8")


def test_the_page_of_a_new_chapter_builds_strictly_and_the_first_page_leads_to_it(built):
    from bs4 import BeautifulSoup

    page = BeautifulSoup((built.parent / "methods" / "mine.html").read_text("utf-8"), "html.parser")
    assert "How much does each layer change a state?" in page.get_text()
    assert 'href="methods/mine.html"' in built.read_text("utf-8")


def test_nothing_in_the_book_loads_from_another_site(built):
    import re

    loads = re.compile(r"""<(?:script|link|img|iframe|source)[^>]*?(?:src|href)=["']?(?:https?:)?//[^>]*>""")
    found = {path.name: loads.findall(path.read_text(encoding="utf-8")) for path in built.parent.rglob("*.html")}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_each_page_offers_its_table_and_record_for_download(built):
    names = {path.name for path in (built.parent / "_downloads").rglob("*.*")}
    assert {"lesion.csv", "lesion.json", "geometry.csv", "geometry.json"} <= names
    table = next((built.parent / "_downloads").rglob("lesion.csv")).read_text()
    assert table.splitlines()[0].startswith("model,technique,domain,item,variant,layer")
    assert "aspirin" in table


def test_the_record_page_says_what_the_records_say(built):
    from bs4 import BeautifulSoup

    text = BeautifulSoup((built.parent / "record.html").read_text(encoding="utf-8"), "html.parser").get_text(" ")
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    for told in ("planted block found", "block 1 | of [2] at $5 and $6", "layer 1 (95 % interval 1 to 2)", "12 s"):
        assert told in text
    assert "0" * 64 in text  # the weights
    assert "1" * 64 in text  # the code


def test_a_book_without_runs_says_so_and_builds(without_runs):
    page = (without_runs / "_build" / "html" / "index.html").read_text(encoding="utf-8")
    assert "none is in this copy of the book yet" in page


def test_nothing_is_built_again_when_nothing_changed(good):
    house, page = good
    before = page.stat().st_mtime_ns
    assert building.build(house) == page and page.stat().st_mtime_ns == before
    (house / "book" / "notation.md").write_text("# Notation\n", encoding="utf-8")
    assert building.build(house).stat().st_mtime_ns > before


def test_a_warning_fails_the_build_and_leaves_the_last_good_book(good):
    house, page = good
    before = page.read_text(encoding="utf-8")
    (house / "book" / "notation.md").write_text("# Notation\n\nSee {ref}`nowhere`.\n", encoding="utf-8")
    for _ in range(2):  # the second time too: nothing is remembered of the failed build
        with pytest.raises(MedlibError, match="nowhere"):
            building.build(house)
    assert page.read_text(encoding="utf-8") == before


def test_chapters_come_in_the_order_of_the_zoo_and_of_the_methods(house):
    for model in ("a-model", "gemma-3-270m", "smollm2-135m"):
        for technique in ("lesion", "patching", "geometry"):
            a_run(committed(house), technique, model)
    order = ("geometry", "lesion", "patching")
    assert chapters(house) == [(m, t) for m in ("smollm2-135m", "gemma-3-270m", "a-model") for t in order]


def test_every_run_is_in_the_table_of_contents_under_its_model_and_its_question(house):
    a_run(committed(house), "lesion", "org/other-model")
    toc = yaml.safe_load((building.assemble(house) / "_toc.yml").read_text())
    part = next(part for part in toc["parts"] if part["caption"] == "Results: org/other-model")
    assert part["chapters"] == [
        {"file": "runs/org--other-model/lesion", "title": "What is lost when one layer is taken out?"}
    ]


@pytest.mark.parametrize(
    ("here", "there", "taken"),
    [
        ("2026-02-02T00:00:00Z", "2026-01-01T00:00:00Z", "_build"),
        ("2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z", "book"),
    ],
)
def test_of_a_local_and_a_committed_run_the_later_is_taken(house, here, there, taken):
    a_run(local(house), "lesion", "m", finished=here)
    a_run(committed(house), "lesion", "m", finished=there)
    (chapter,), failed = building.choose(house)
    assert chapter.folder.parent == house / taken / "runs"
    assert failed == []


def a_failed_notebook():
    notebook = a_notebook("lesion", "m")
    notebook.cells[3].outputs = [new_output("error", ename="ValueError", evalue="no such layer", traceback=[])]
    return notebook


def test_a_failed_local_run_is_listed_and_gives_way_to_the_committed_one(house):
    a_run(committed(house), "lesion", "m", finished="2026-01-01T00:00:00Z")
    a_run(local(house), "lesion", "m", a_failed_notebook(), finished="2026-02-02T00:00:00Z")
    (chapter,), ((model, technique, why),) = building.choose(house)
    assert chapter.folder.parent == committed(house)
    assert (model, technique) == ("m", "lesion") and "no such layer" in why


def test_what_a_failed_run_left_is_listed_as_failed_with_its_reason(house):
    target = a_run(local(house), "geometry", "m")
    notebook = a_failed_notebook()
    notebook.metadata["medlib"] = {"state": "failed", "error": "ValueError: no such layer"}
    nbformat.write(notebook, target / "lesion.failed.ipynb")
    assert building.choose(house)[1] == [("m", "lesion", "ValueError: no such layer")]
    source = building.assemble(house)
    assert "no such layer" in (source / "generated" / "runs.md").read_text(encoding="utf-8")
    assert not list(source.glob("runs/*/lesion*"))


def test_a_failed_committed_run_is_refused_by_name(house):
    a_run(committed(house), "lesion", "m", a_failed_notebook())
    with pytest.raises(MedlibError, match=r"lesion on m: .*no such layer"):
        building.build(house)


def test_an_unexecuted_committed_run_is_refused(house):
    notebook = a_notebook("lesion", "m")
    notebook.cells[2].execution_count = None
    a_run(committed(house), "lesion", "m", notebook)
    with pytest.raises(MedlibError, match="lesion on m: .*not executed"):
        building.build(house)


@pytest.mark.parametrize("missing", ["lesion.parquet", "lesion.json"])
def test_an_incomplete_committed_run_is_refused(house, missing):
    (a_run(committed(house), "lesion", "m") / missing).unlink()
    with pytest.raises(MedlibError, match=f"lesion on m: incomplete: {missing} missing"):
        building.build(house)


def test_a_committed_run_put_together_from_two_executions_is_refused(house):
    target = a_run(committed(house), "lesion", "m")
    nbformat.write(a_notebook("lesion", "m", text="layer 2"), target / "lesion.ipynb")
    with pytest.raises(MedlibError, match="not those of one execution"):
        building.build(house)


def test_a_committed_run_with_a_failed_check_is_refused(house):
    a_run(committed(house), "lesion", "m", checks=[{"name": "no-op", "passed": False, "detail": ""}])
    with pytest.raises(MedlibError, match="check failed: no-op"):
        building.build(house)


@pytest.mark.parametrize("stray", ["lesion.csv", "notes.txt", "lesion.failed.ipynb"])
def test_a_stray_file_among_the_committed_runs_is_refused(house, stray):
    (a_run(committed(house), "lesion", "m") / stray).write_text("{}")
    with pytest.raises(MedlibError, match=f"m/{stray}: belongs to no run"):
        building.build(house)


def test_numbers_that_equal_their_record_pass():
    assert building.check_numbers(a_notebook("lesion", "m"), a_record("lesion", "m")) is None


def test_a_number_that_differs_from_its_record_is_named():
    notebook = a_notebook("lesion", "m", text="layer 2")
    with pytest.raises(MedlibError, match="peak_layer: the page says 'layer 2', the record 'layer 1"):
        building.check_numbers(notebook, a_record("lesion", "m"))


def test_a_glued_number_that_no_record_holds_is_named():
    with pytest.raises(MedlibError, match="peak_layer: .*the record 'nothing'"):
        building.check_numbers(a_notebook("lesion", "m"), a_record("lesion", "m", numbers={}))


def test_a_recorded_number_that_is_not_glued_is_named():
    more = {"share": {"value": 0.5, "text": "50 %"}}
    record = a_record("lesion", "m")
    with pytest.raises(MedlibError, match="share: the page says 'nothing'"):
        building.check_numbers(a_notebook("lesion", "m"), {**record, "numbers": {**record["numbers"], **more}})


def test_a_run_whose_prose_differs_from_its_record_is_refused(house):
    a_run(committed(house), "lesion", "m", a_notebook("lesion", "m", text="layer 2"))
    with pytest.raises(MedlibError, match="peak_layer"):
        building.build(house)


def test_models_that_read_pictures_come_after_the_claims(house):
    for model in ("scans-llava", "smollm2-135m"):
        a_run(committed(house), "lesion", model)
    toc = yaml.safe_load((building.assemble(house) / "_toc.yml").read_text())
    captions = [part["caption"] for part in toc["parts"]]
    wanted = ["Results: smollm2-135m", "The map and the claims", "Pictures and text", "Pictures and text: scans-llava"]
    assert [caption for caption in captions if caption in wanted] == wanted
    assert not any("glob" in entry for part in toc["parts"] for entry in part["chapters"])


def test_a_technique_without_a_run_is_a_dash(house):
    a_run(committed(house), "lesion", "m")
    a_run(committed(house), "geometry", "n")
    matrix = (building.assemble(house) / "generated" / "matrix.md").read_text(encoding="utf-8")
    assert "| chapter | `m` | `n` |" in matrix
    assert matrix.count("[read](") == matrix.count("| – |") == 2


def test_versions_that_differ_between_runs_are_told_apart(house):
    a_run(committed(house), "lesion", "m", versions={"python": "3.11.2"})
    a_run(committed(house), "geometry", "m", versions={"python": "3.11.9"})
    versions = (building.assemble(house) / "generated" / "versions.md").read_text(encoding="utf-8")
    assert "3.11.9 (geometry on m)" in versions and "3.11.2 (lesion on m)" in versions


def test_a_missing_maths_package_is_a_message_that_says_what_to_install(house, monkeypatch):
    monkeypatch.setattr(building, "find_spec", lambda name: None)
    with pytest.raises(MedlibError, match="django-static-mathjax"):
        building.build(house)


@pytest.mark.parametrize(("value", "told"), [(0.4, "0 s"), (99, "99 s"), (312, "5.2 min")])
def test_durations_read_well(value, told):
    assert markdown.seconds(value) == told


def test_the_citation_names_the_version_of_the_package():
    import medlib

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == medlib.__version__
    assert cited["license"] == "MIT"
