"""This book for everyone: offline and at both widths every page reads well, and axe-core finds nothing serious in it.

`pytest tests/test_access.py --screenshots` keeps each page at each width in each theme, for people to look at.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import COMPLAINTS, ROOT, name, pages

PICTURES = ROOT / "_build" / "screenshots"
SERIOUS = ("serious", "critical")
# Points of a scatter plot are no text and have no role; there are thousands.  Without preload axe does not ask for the
# style sheets again, which from file:// is an error in the console, of this page or of the next.
RUN = """async serious => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const found = await axe.run({exclude: [[".scatterlayer"]]}, {resultTypes: ["violations"], preload: false});
  return found.violations.filter(one => serious.includes(one.impact)).flatMap(one => one.nodes.map(
    node => `${one.id}: ${node.target.join(" ")} (${(node.any[0] || node.all[0] || node.none[0] || {}).message})`));
}"""


@pytest.fixture(scope="session")
def axe():
    """The script of axe-core, from the Python package that carries it."""
    spec = find_spec("axe_playwright_python")
    assert spec, "axe-core comes with a package that only tests use: `make test` installs it (TOOLS in the Makefile)"
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


def violations(tab, axe):
    tab.evaluate(axe)
    return tab.evaluate(RUN, list(SERIOUS))


def one_of_each_kind(site):
    """The pages without those of a second model's runs of the same notebook."""
    return {re.sub("^runs/[^/]+/", "runs/", name(site, path)): path for path in pages(site)}.values()


@pytest.mark.parametrize(("width", "scheme", "axe_on"), [("desk", "light", pages), ("phone", "dark", one_of_each_kind)])
def test_every_page_reads_well_offline_and_has_no_serious_obstacle(
    this_book, visit, axe, width, scheme, axe_on, pytestconfig
):
    tab, heard = visit(width, scheme)
    wrong, for_axe = {}, set(axe_on(this_book))
    for path in pages(this_book):
        heard.clear()
        tab.goto(path.as_uri())
        found = [*tab.evaluate(COMPLAINTS), *heard]
        found += violations(tab, axe) if path in for_axe else []
        if found:
            wrong[name(this_book, path)] = found
        if pytestconfig.getoption("screenshots"):
            keep(tab, width, scheme, name(this_book, path.with_suffix(".jpg")))
    assert wrong == {}


def keep(tab, width, scheme, file):
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        tab.screenshot(path=PICTURES / f"{width}-{theme}" / file, full_page=True, type="jpeg", quality=60)
    tab.emulate_media(color_scheme=scheme)


def test_a_second_models_page_is_of_the_same_kind_and_no_other_is_left_out(this_book):
    every, chosen = pages(this_book), one_of_each_kind(this_book)
    left_out = [path for path in every if path not in chosen]
    assert left_out and all(path.parent.parent.name == "runs" for path in left_out)
    assert {path.name for path in left_out} <= {path.name for path in chosen if path.parent.parent.name == "runs"}


def test_obstacles_are_seen(visit, axe, tmp_path):
    bad = """<!doctype html><html><title>Bad</title><img src="data:,"><p style="color: #aaa; background: #fff">Pale</p>
        <button></button><div style="overflow: auto; height: 2em"><p>Long<p>long<p>long</div></html>"""
    (tmp_path / "bad.html").write_text(bad)
    tab, _ = visit()
    tab.goto((tmp_path / "bad.html").as_uri())
    said = " ".join(violations(tab, axe))
    for rule in ("image-alt", "color-contrast", "button-name", "html-has-lang", "scrollable-region-focusable"):
        assert f"{rule}:" in said
