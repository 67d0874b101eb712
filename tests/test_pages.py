"""Every page as a reader meets it: in a browser, from a file, with the network cut, on a desk and on a phone."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright
from standins import TITLES, a_house, a_run

from medlib.book import building

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-dev-shm-usage"),
]
# What is wrong with the page that is open, as sentences.
COMPLAINTS = """async () => {
  const found = [];
  const article = document.querySelector("article.bd-article") || document.body;
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  for (const picture of document.querySelectorAll("img")) {
    if (!(picture.getAttribute("alt") || "").trim()) found.push("no alt text: " + picture.src);
    if (picture.complete && picture.naturalWidth === 0) found.push("picture not loaded: " + picture.src);
  }
  for (const formula of article.querySelectorAll(".math"))
    if (!formula.querySelector("mjx-container svg")) found.push("formula not rendered: " + formula.textContent);
  if (article.querySelector("[data-mjx-error], mjx-merror")) found.push("formula with an error");
  const prose = article.cloneNode(true);
  for (const node of prose.querySelectorAll("pre, code, mjx-container, script, style")) node.remove();
  const raw = prose.textContent.match(/\\\\[(\\[]|\\$\\$|\\\\(frac|sum|mathrm|begin|ln|pi)\\b|\\{(glue|cite|ref|doc)/);
  if (raw) found.push("raw source left: " + raw[0]);
  const page = document.documentElement;
  const excess = page.scrollWidth - page.clientWidth;
  if (excess > 0) found.push(`wider than the window by ${excess}`);
  if (!document.title.trim()) found.push("no title");
  return found;
}"""


@pytest.fixture(scope="session")
def this_book():
    """The book of this checkout: its pages and the runs it has."""
    return building.build(ROOT).parent


@pytest.fixture(scope="session")
def full_book(tmp_path_factory):
    """The same pages with a stand-in run for each technique, so that every kind of page is there."""
    house = a_house(tmp_path_factory.mktemp("house"), ROOT)
    for technique in TITLES:
        a_run(house / "book" / "runs", technique, "smollm2-135m")
    return building.build(house).parent


@pytest.fixture(params=["this_book", "full_book"])
def site(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    assert path, "the pages are looked at in Debian's chromium: apt-get install chromium"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open a page offline in a window of a width; returns the tab and what it asked for or complained of."""
    contexts = []

    def opener(width="desk", scheme="light"):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        context.set_offline(True)
        heard = []
        context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), lambda route: _refuse(route, heard))
        tab = context.new_page()
        tab.on(
            "console", lambda line: heard.append(f"console: {line.text}") if line.type in ("error", "warning") else None
        )
        tab.on("pageerror", lambda error: heard.append(f"script: {error}"))
        tab.on("requestfailed", lambda request: heard.append(f"not loaded: {request.url}"))
        return tab, heard

    yield opener
    for context in contexts:
        context.close()


def _refuse(route, heard):
    heard.append(f"asked the network for {route.request.url}")
    route.abort()


def pages(site):
    """The pages a reader can reach, without the site's own helpers."""
    return sorted(path for path in site.rglob("*.html") if not path.is_relative_to(site / "_static"))


def name(site, path):
    return path.relative_to(site).as_posix()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_reads_well_offline(site, visit, width):
    tab, heard = visit(width)
    wrong = {}
    for path in pages(site):
        tab.goto(path.as_uri())
        complaints = [*tab.evaluate(COMPLAINTS), *heard]
        heard.clear()
        if complaints:
            wrong[name(site, path)] = complaints
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


@pytest.mark.parametrize("width", WIDTHS)
def test_the_search_box_finds_a_word(site, visit, width):
    tab, heard = visit(width)
    tab.goto((site / "index.html").as_uri())
    tab.locator(".search-button:visible, .search-button-field:visible").first.click()
    box = tab.locator("input[type=search]:visible").first
    box.fill("silhouette")
    box.press("Enter")
    found = tab.locator("#search-results ul.search li a")
    found.get_by_text("Geometry of activations", exact=True).wait_for()  # results come in one after the other
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


def test_the_data_of_a_page_is_one_click_away(full_book, visit):
    tab, _ = visit()
    tab.goto((full_book / "runs" / "smollm2-135m" / "lesion.html").as_uri())
    link = tab.get_by_role("link", name="CSV").first.get_attribute("href")
    table = (full_book / "runs" / "smollm2-135m" / link).resolve()
    assert table.read_text().startswith("model,technique,domain")
