"""The printed book: every page once, in order, with its text, links within and none to a file of this machine."""

import re
import shutil
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
import yaml
from bs4 import BeautifulSoup

from medlib import MedlibError
from medlib.book import printing


@pytest.fixture(scope="module")
def toc(full_book):
    return yaml.safe_load((full_book.parent / "source" / "_toc.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def names(toc):
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


@pytest.fixture(scope="module")
def soup(full_book, toc):
    return BeautifulSoup(printing.whole(full_book, toc), "html.parser")


@pytest.fixture(scope="module")
def printed(full_book, tmp_path_factory):
    assert find_spec("pypdf"), "PDFs are read by a package that only tests use: `make test` installs it"
    from pypdf import PdfReader

    target = tmp_path_factory.mktemp("printed") / "book.pdf"
    site = shutil.copytree(full_book, target.parent / "html")  # printing writes a page beside the others
    with ThreadPoolExecutor(1) as own_thread:  # the browser of other tests holds this one's event loop
        assert own_thread.submit(printing.pdf, site, full_book.parent / "source" / "_toc.yml", target).result()
    assert target.is_file()
    assert not (site / "print.html").exists()
    return PdfReader(target)


def test_every_page_is_there_once_and_in_order(soup, names):
    articles = [article["id"] for article in soup.select("article.bd-article")]
    assert articles == [name.replace("/", "-") for name in names]


def test_links_stay_within_and_lead_somewhere(soup):
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(set(ids)) == len(ids)
    links = [link["href"] for link in soup.find_all("a", href=True)]
    inside = [link for link in links if not link.startswith(("https:", "http:", "mailto:"))]
    assert len(inside) > 100
    assert [link for link in inside if link[1:] not in ids or link[0] != "#"] == []


def test_pictures_are_found_and_scripts_and_hidden_code_left_out(soup, full_book):
    pictures = [image["src"] for image in soup.find_all("img")]
    assert pictures and all((full_book / source).is_file() for source in pictures if not source.startswith("data:"))
    assert not any(caption.get_text().strip().endswith("Data:") for caption in soup.select("figcaption"))
    assert not soup.select(
        "figcaption a.download, article script, article .plotly-graph-div, article details.hide, article a.headerlink"
    )


def test_the_pdf_has_each_chapter_on_a_page_of_its_own_with_its_text(printed, soup):
    pages = [_letters(page.extract_text()) for page in printed.pages]
    starts = [0]
    for article in soup.select("article.bd-article"):  # each after the one before; a page of the contents is none
        title = _letters(article.find("h1").get_text())
        starts += [i for i, text in enumerate(pages) if text.startswith(title) and i > starts[-1]][:1]
    assert len(starts) == 1 + len(soup.select("article.bd-article"))
    assert pages[0].startswith("Contents")
    for paragraph in soup.select("#methods-lesion p"):
        if not paragraph.select("mjx-container, .math, a, table, td"):
            assert _letters(paragraph.get_text()) in "".join(pages)


def _letters(text):
    """A text without its breaks and ligatures, which paper sets as it likes, and without the number of the page."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", re.sub(r"\s\d+\s*\Z", "", text)))


def test_the_pdf_is_tagged_for_screen_readers_and_has_an_outline(printed):
    assert printed.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert len(printed.outline) > 10


def test_nothing_in_the_pdf_leads_to_a_file_of_this_machine(printed):
    links = [
        note.get_object().get("/A", {}).get("/URI", "") for page in printed.pages for note in page.get("/Annots", [])
    ]
    assert [link for link in links if link and not link.startswith(("https:", "http:", "mailto:"))] == []


def test_without_a_browser_it_says_which_would_do(full_book, tmp_path, monkeypatch):
    monkeypatch.setattr(printing.shutil, "which", lambda name: None)
    with pytest.raises(MedlibError, match="none of chromium"):
        printing.pdf(full_book, full_book.parent / "source" / "_toc.yml", tmp_path / "book.pdf")
