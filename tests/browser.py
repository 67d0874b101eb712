"""The browser of the tests of pages: Debian's chromium without a network, and the books that it opens."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import sync_playwright
from standins import TITLES, a_house, a_run

from medlib.book import building

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no address but this machine's, by name or number
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
def this_book(once):
    """The book of this checkout: its pages and the runs it has."""
    return once("this_book", lambda folder: building.build(ROOT).parent)


@pytest.fixture(scope="session")
def full_book(once):
    """The same pages with a stand-in run for each technique, so that every kind of page is there."""

    def build(folder):
        house = a_house(folder, ROOT)
        for technique in TITLES:
            a_run(house / "book" / "runs", technique, "smollm2-135m")
        return building.build(house).parent

    return once("full_book", build)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Make something once for all workers, in a folder of its own that they share, and say where it is."""
    mine = tmp_path_factory.getbasetemp()
    common = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "once"

    def where(name, make):
        folder, told = common / name, common / f"{name}.path"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(common / f"{name}.lock"):
            if not told.is_file():
                told.write_text(str(make(folder)), encoding="utf-8")
            return Path(told.read_text(encoding="utf-8"))

    return where


@pytest.fixture(params=["this_book", "full_book"])
def site(request):
    return request.getfixturevalue(request.param)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said):
        pass


@pytest.fixture(scope="session")
def server(this_book):
    """The address of a local server of this book."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=this_book)) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


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
    """Open a page offline in a window of a width; returns the tab and what it asked for or complained of.

    With `server`, the address of one on this machine, that one is reached and no other machine.
    """
    contexts = []

    def opener(width="desk", scheme="light", server=None):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        context.set_offline(server is None)
        context.set_default_timeout(180_000)  # milliseconds; a busy machine takes its time
        heard = []
        near = (server or "file:", "data:", "blob:")
        tab = context.new_page()
        tab.on("request", lambda request: _far(request.url, near, heard))
        tab.on(
            "console", lambda line: heard.append(f"console: {line.text}") if line.type in ("error", "warning") else None
        )
        tab.on("pageerror", lambda error: heard.append(f"script: {error}"))
        tab.on("requestfailed", lambda request: _lost(request, heard))
        return tab, heard

    yield opener
    for context in contexts:
        context.close()


def _far(url, near, heard):
    if not url.startswith(near):
        heard.append(f"asked the network for {url}")


def _lost(request, heard):
    """What did not load; but an icon whose page was left before it came is no fault of the page."""
    if not (request.failure == "net::ERR_ABORTED" and request.url.endswith("/icon.svg")):
        heard.append(f"not loaded: {request.url}")


def pages(site):
    """The pages a reader can reach, without the site's own helpers."""
    return sorted(path for path in site.rglob("*.html") if not path.is_relative_to(site / "_static"))


def name(site, path):
    return path.relative_to(site).as_posix()
