"""Every page as a reader meets it: in a browser, from a file, with the network cut, on a desk and on a phone."""

from urllib.parse import unquote, urldefrag

import pytest
from browser import COMPLAINTS, WIDTHS, name, pages
from bs4 import BeautifulSoup


def article(path):
    text = path.read_text(encoding="utf-8")
    return text.partition("<article")[2].partition("</article>")[0] or text


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_that_this_book_has_not_reads_well_offline(full_book, this_book, visit, width):
    tab, heard = visit(width)
    known = {name(this_book, path): article(path) for path in pages(this_book)}  # test_access.py reads these
    own = [path for path in pages(full_book) if article(path) != known.get(name(full_book, path))]
    assert {"intro.html", "record.html", "runs/smollm2-135m/lesion.html"} <= {name(full_book, path) for path in own}
    wrong = {}
    for path in own:
        tab.goto(path.as_uri())
        complaints = [*tab.evaluate(COMPLAINTS), *heard]
        heard.clear()
        if complaints:
            wrong[name(full_book, path)] = complaints
    assert wrong == {}


def test_a_bad_page_is_seen_to_be_bad(visit, tmp_path):
    bad = """<!doctype html><title>Bad</title><script src="https://example.org/x.js"></script>
        <img src="gone.png"><div class="math">x</div><p>$$\\frac12$$</p><div style="width: 2000px">wide</div>
        <script>console.error("broken"); nowhere();</script>"""
    (tmp_path / "bad.html").write_text(bad)
    tab, heard = visit("phone")
    tab.goto((tmp_path / "bad.html").as_uri())
    said = " ".join([*tab.evaluate(COMPLAINTS), *heard])
    for complaint in (
        *("no alt text", "picture not loaded", "formula not rendered", "raw source left", "wider than the window"),
        *("asked the network for https://example.org/x.js", "console: broken", "script: nowhere is not defined"),
    ):
        assert complaint in said


def test_formulas_are_there_to_be_rendered(full_book, visit):
    tab, _ = visit()
    tab.goto((full_book / "methods" / "replay.html").as_uri())
    tab.wait_for_selector("mjx-container svg")
    assert tab.locator("div.math mjx-container svg").count() >= 5


def test_every_link_within_the_book_leads_somewhere(site):
    soups = {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in pages(site)}
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in soups.items()}
    dead = []
    for path, soup in soups.items():
        for tag, attribute in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
            for found in soup.find_all(tag, **{attribute: True}):
                link, anchor = urldefrag(found[attribute])
                if link.startswith(("https:", "http:", "mailto:", "data:")) or found[attribute] == "#":
                    continue
                target = (path.parent / unquote(link.split("?")[0])).resolve() if link else path
                missing = anchor and target in anchors and anchor not in anchors[target]
                if not target.is_file() or missing:
                    dead.append(f"{name(site, path)}: {found[attribute]}")
    assert dead == []


FOUND = {"silhouette": "Geometry of activations", "metformin": "The tables behind the questions"}


@pytest.mark.parametrize("word", FOUND)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_search_box_finds_a_word(site, visit, width, word):
    tab, heard = visit(width)
    tab.goto((site / "index.html").as_uri())
    tab.locator(".search-button:visible, .search-button-field:visible").first.click()
    box = tab.locator("input[type=search]:visible").first
    box.fill(word)
    box.press("Enter")
    found = tab.locator("#search-results ul.search li a")
    found.get_by_text(FOUND[word], exact=True).wait_for()  # results come in one after the other
    assert heard == []


def test_a_desk_shows_one_search_box(site, visit):
    tab, _ = visit("desk")
    tab.goto((site / "index.html").as_uri())
    assert tab.locator(".search-button-field:visible, .search-button:visible, input[type=search]:visible").count() == 1


@pytest.mark.parametrize(("scheme", "lighter"), [("light", "background"), ("dark", "text")])
def test_pages_follow_the_reader_into_the_dark(full_book, visit, scheme, lighter):
    tab, _ = visit("desk", scheme)
    tab.goto((full_book / "intro.html").as_uri())
    brightness = """name => getComputedStyle(document.body)[name].match(/[0-9.]+/g).slice(0, 3)
        .reduce((sum, part) => sum + Number(part), 0)"""
    background, text = (tab.evaluate(brightness, style) for style in ("backgroundColor", "color"))
    assert (background > text) == (lighter == "background")


def test_in_the_dark_tables_take_the_pages_colours_and_figures_are_dimmed(this_book, visit):
    tab, _ = visit("desk", "dark")
    tab.goto((this_book / "runs" / "smollm2-135m" / "patching.html").as_uri())
    styled = tab.locator(".text_html:has(table):not(:has(table.dataframe))").first
    body = tab.evaluate("getComputedStyle(document.body).color")
    assert styled.evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert styled.evaluate("e => getComputedStyle(e).color") == body
    figure, picture = (tab.locator(f".cell_output {name}").first for name in (".plotly-graph-div", "img"))
    dimmed = [one.evaluate("e => getComputedStyle(e).filter") for one in (figure, picture)]
    assert dimmed[0] == dimmed[1] != "none"
    assert picture.evaluate("e => getComputedStyle(e).padding") == "0px"


def test_the_data_of_a_page_is_one_click_away(full_book, visit):
    tab, _ = visit()
    tab.goto((full_book / "runs" / "smollm2-135m" / "lesion.html").as_uri())
    link = tab.locator("a[download]", has_text="CSV").first.get_attribute("href")
    table = (full_book / "runs" / "smollm2-135m" / link).resolve()
    assert table.read_text().startswith("model,technique,domain")
