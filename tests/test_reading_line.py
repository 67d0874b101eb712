"""Under each chapter's title: how long it takes to read, and what to read before it."""

import nbformat
import pytest
import yaml
from browser import ROOT
from standins import a_house, a_run

from medlib import MedlibError
from medlib.book import building, reading

ORDER = ["methods/data", "methods/knowledge", "methods/lesion"]


def test_prose_and_figures_take_time_and_code_tables_and_formulas_do_not():
    prose = "# Title\n\n" + "word " * 399
    assert reading.minutes(prose) == 2
    assert reading.minutes(prose, figures=4) == 4
    other = "\n```python\n" + "code " * 900 + "\n```\n| a | b |\n|---|---|\n" + "| c | d |\n" * 400
    other += "\n$$\n" + "x " * 900 + "\n$$\n\n::::{dropdown} More\n" + "item " * 900 + "\n::::\n"
    assert reading.minutes(prose + other) == 2
    assert reading.minutes("short") == 1


def test_a_page_needs_what_its_front_matter_names():
    assert reading.needs("---\nneeds: [data, knowledge]\n---\n\n# T\n", "methods/lesion", ORDER) == ORDER[:2]
    assert reading.needs("# T\n", "methods/lesion", ORDER) == []


@pytest.mark.parametrize("name", ["lesion", "nowhere"])
def test_what_does_not_come_before_cannot_be_needed(name):
    with pytest.raises(MedlibError, match=f"needs {name}, which does not stand before it.*can need: data"):
        reading.needs(f"---\nneeds: [{name}]\n---\n", "methods/knowledge", ORDER)


def test_every_methods_page_and_results_chapter_says_both_under_its_title(tmp_path):
    house = a_house(tmp_path, ROOT)
    a_run(house / "book" / "runs", "lesion", "m")
    source = building.assemble(house)
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    listed = [entry.get("file", "") for part in parts for entry in part["chapters"]]
    for page in [name for name in listed if name.startswith("methods/")]:
        text = "\n" + (source / f"{page}.md").read_text()
        assert text.count("Reading time: ") == 1
        assert text.index("\n# ") < text.index("Reading time: ") < text.index("\n## ")
    cell = next(c for c in nbformat.read(source / "runs" / "m" / "lesion.ipynb", 4).cells if "# " in c.source)
    assert "Reading time: 1 min. Read first: [](/methods/lesion.md)." in cell.source
    assert cell.source.index("# ") < cell.source.index("Reading time") < cell.source.index("The answer")
