"""The site's pictures are smaller files of the same pixels, and no page weighs more than a reader's patience."""

from urllib.parse import unquote

import numpy as np
import pytest
from browser import name, pages
from bs4 import BeautifulSoup
from PIL import Image

from medlib.book import pictures

LIMIT = 1_500_000  # bytes of a page and its own pictures, besides the scripts and styles that all pages share


@pytest.fixture
def site(tmp_path):
    (tmp_path / "_images").mkdir()
    plot = np.full((200, 300, 4), 255, dtype=np.uint8)
    plot[50:60, :, :3] = np.arange(300)[:, None] % 256
    plot[:20, :, 3] = np.arange(300) % 256  # transparent in part
    noise = np.random.default_rng(0).integers(0, 256, (3, 1, 3), dtype=np.uint8)
    Image.fromarray(plot).save(tmp_path / "_images" / "plot.png", compress_level=0)
    Image.fromarray(noise).save(tmp_path / "_images" / "dots.png")
    (tmp_path / "page.html").write_text('<img src="_images/plot.png"><a href="x.png">x</a><img src="_images/dots.png">')
    return tmp_path, plot


def test_every_pixel_stays_and_the_page_names_the_smaller_file(site, tmp_path_factory):
    folder, plot = site
    pictures.shrink(folder, tmp_path_factory.mktemp("cache"))
    with Image.open(folder / "_images" / "plot.webp") as smaller:
        assert (np.asarray(smaller.convert("RGBA")) == plot).all()
    text = (folder / "page.html").read_text()
    assert 'src="_images/plot.webp"' in text and 'href="x.png"' in text
    assert not (folder / "_images" / "plot.png").exists()
    for image in BeautifulSoup(text, "html.parser").find_all("img"):
        assert (folder / image["src"]).is_file()


def test_pages_say_how_large_a_picture_is_and_whether_it_is_wide(site, tmp_path_factory):
    folder, _ = site
    Image.new("RGB", (250, 100)).save(folder / "_images" / "panels.png")
    (folder / "page.html").write_text(
        '<img alt="a &gt; b" src="_images/plot.png"><img src="_images/panels.png"><img src="y.png">'
    )
    pictures.shrink(folder, tmp_path_factory.mktemp("cache"))
    plot, panels, other = BeautifulSoup((folder / "page.html").read_text(), "html.parser").find_all("img")
    assert (plot["width"], plot["height"], "data-shape" in plot.attrs) == ("300", "200", False)
    assert (panels["width"], panels["height"], panels["data-shape"]) == ("250", "100", "wide")
    assert set(other.attrs) == {"src"}


def test_a_picture_made_smaller_before_is_not_made_again(site, tmp_path_factory, monkeypatch):
    folder, _ = site
    cache = tmp_path_factory.mktemp("cache")
    originals = {path.name: path.read_bytes() for path in (folder / "_images").iterdir()}
    pictures.shrink(folder, cache)
    first = (folder / "_images" / "plot.webp").read_bytes()
    for file, data in originals.items():
        (folder / "_images" / file).write_bytes(data)
    monkeypatch.setattr(pictures, "_webp", lambda picture: pytest.fail("made again"))
    pictures.shrink(folder, cache)
    assert (folder / "_images" / "plot.webp").read_bytes() == first


def test_no_page_weighs_more_than_its_limit(this_book):
    weights = {name(this_book, path): _weight(path) for path in pages(this_book)}
    assert {page: weight for page, weight in weights.items() if weight > LIMIT} == {}


def _weight(path):
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    links = {tag["src"] for tag in soup.find_all(["img", "source", "iframe", "video", "audio"], src=True)}
    own = {(path.parent / unquote(link)).resolve() for link in links if not link.startswith("data:")}
    return path.stat().st_size + sum(file.stat().st_size for file in own)
