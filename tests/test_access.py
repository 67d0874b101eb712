"""Pages for everyone: axe-core, run on each page in both themes and at both widths, finds nothing serious."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import ROOT, name, pages

PICTURES = ROOT / "_build" / "screenshots"  # each page at each width in each theme, kept for people to look at
SERIOUS = ("serious", "critical")
# Points of a scatter plot are no text and have no role; there are thousands.
RUN = """async serious => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const found = await axe.run({exclude: [[".scatterlayer"]]}, {resultTypes: ["violations"]});
  return found.violations.filter(one => serious.includes(one.impact)).flatMap(one => one.nodes.map(
    node => `${one.id}: ${node.target.join(" ")} (${(node.any[0] || node.all[0] || node.none[0] || {}).message})`));
}"""


@pytest.fixture(scope="session")
def axe():
    """The script of axe-core, from the Python package that carries it."""
    spec = find_spec("axe_playwright_python")
    assert spec, "axe-core comes with a package that only tests use: `make test` installs it (TOOLS in the Makefile)"
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


def violations(tab, path, axe):
    tab.goto(path.as_uri())
    tab.evaluate(axe)
    return tab.evaluate(RUN, list(SERIOUS))


@pytest.mark.parametrize(("width", "scheme", "other"), [("desk", "light", "dark"), ("phone", "dark", "light")])
def test_no_page_has_a_serious_obstacle(this_book, visit, axe, width, scheme, other):
    tab, _ = visit(width, scheme)
    wrong = {}
    for path in pages(this_book):
        if found := violations(tab, path, axe):
            wrong[name(this_book, path)] = found
        for theme in (scheme, other):
            tab.emulate_media(color_scheme=theme)
            kept = PICTURES / f"{width}-{theme}" / name(this_book, path.with_suffix(".jpg"))
            tab.screenshot(path=kept, full_page=True, type="jpeg", quality=60)
        tab.emulate_media(color_scheme=scheme)
    assert wrong == {}


def test_obstacles_are_seen(visit, axe, tmp_path):
    bad = """<!doctype html><html><title>Bad</title><img src="data:,"><p style="color: #aaa; background: #fff">Pale</p>
        <button></button><div style="overflow: auto; height: 2em"><p>Long<p>long<p>long</div></html>"""
    (tmp_path / "bad.html").write_text(bad)
    tab, _ = visit()
    said = " ".join(violations(tab, tmp_path / "bad.html", axe))
    for rule in ("image-alt", "color-contrast", "button-name", "html-has-lang", "scrollable-region-focusable"):
        assert f"{rule}:" in said
