"""The whole book on paper: every page of the site in order, put into one and printed to PDF by a browser.

Links between pages become links within the PDF.  What folds out stays folded, code that a page hides is left out, and
of a figure with a slider there is the printed grid that the chapter draws beside it.
"""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag

import yaml
from bs4 import BeautifulSoup

from medlib.errors import MedlibError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
]
_NOT_PRINTED = "script, style, a.headerlink, button, details.hide, .plotly-graph-div, div.figure-data, .tocwrapper"
_REFERRING = ("for", "headers", "aria-labelledby", "aria-describedby", "aria-controls")
_READY = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await Promise.all([...document.images].map(image => image.decode()));
}"""
_NUMBER = (
    '<div style="width: 100%; text-align: center; font-size: 8px; color: #555"><span class="pageNumber"></span></div>'
)


def pdf(site, toc, target):
    """Print the site to a PDF and return its path.

    >>> pdf(Path("_build/html"), Path("_build/source/_toc.yml"), Path("_build/book.pdf"))

    `toc` is the table of contents that the site was built from.  Raises MedlibError where no browser is installed.
    """
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise MedlibError(f"A PDF is printed by a browser, and none of {', '.join(BROWSERS)} is installed.")
    site, target = Path(site), Path(target)
    page = site / "print.html"
    page.write_text(whole(site, yaml.safe_load(Path(toc).read_text(encoding="utf-8"))), encoding="utf-8")
    try:
        with sync_playwright() as play:
            tab = play.chromium.launch(executable_path=browser, args=FLAGS).new_page()
            tab.set_default_timeout(0)
            tab.goto(page.resolve().as_uri())
            tab.evaluate(_READY)
            fresh = target.with_name(f".{target.name}")
            tab.pdf(
                path=fresh,
                format="A4",
                prefer_css_page_size=True,
                print_background=True,
                outline=True,
                tagged=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=_NUMBER,
            )
            fresh.replace(target)
            tab.context.browser.close()
    finally:
        page.unlink()
    return target


def whole(site, toc):
    """The site as one page of HTML: a title, the contents, then each article in the order of the contents."""
    first = _soup(site / f"{toc['root']}.html")
    names = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    articles = {name: _article(site, name, names) for name in names}
    titles = {name: article.find("h1").get_text(" ", strip=True) for name, article in articles.items()}
    contents = [_entry(toc["root"], titles)]
    for part in toc["parts"]:
        entries = "".join(_entry(entry["file"], titles) for entry in part["chapters"])
        contents.append(f"<li>{part['caption']}<ul>{entries}</ul></li>")
    styles = "".join(map(str, first.select('head link[rel="stylesheet"]')))
    maths = [tag for tag in first.select("script") if "athjax" in str(tag).lower()]
    return (
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{titles[toc["root"]]}'
        f"</title>{styles}{''.join(map(str, maths))}</head>"
        f'<body class="whole-book"><nav><h1>Contents</h1><ul>{"".join(contents)}</ul></nav>'
        f"{''.join(map(str, articles.values()))}</body></html>"
    )


def _entry(name, titles):
    return f'<li><a href="#{_anchor(name)}">{titles[name]}</a></li>'


def _soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def _anchor(name, of_page=""):
    return re.sub(r"[^\w-]", "-", name) + (f"--{of_page}" if of_page else "")


def _article(site, name, names):
    """A page's article with its ids made its own, its links led within the book and its pictures found from the top."""
    path = site / f"{name}.html"
    article = _soup(path).select_one("article.bd-article")
    for tag in article.select(_NOT_PRINTED):
        tag.decompose()
    for tag in article.find_all(id=True):
        tag["id"] = _anchor(name, tag["id"])
    for attribute in _REFERRING:
        for tag in article.find_all(attrs={attribute: True}):
            del tag[attribute]
    for picture in article.find_all("img", src=True):
        if not picture["src"].startswith("data:"):
            picture["src"] = (path.parent / unquote(picture["src"])).resolve().relative_to(site.resolve()).as_posix()
            picture.attrs.pop("loading", None)
    for file in article.select("figcaption a.download:first-of-type"):  # a line of files, the last of a caption
        for part in [file, *file.next_siblings]:
            part.extract()
    for caption in article.select("figcaption .caption-text"):
        last = caption.find_all(string=True)[-1:]
        for text in last:
            text.replace_with(re.sub(r"\s*Data:\s*$", "", text))
    for link in article.find_all("a", href=True):
        _lead(link, path, site, name, names)
    article["id"] = _anchor(name)
    return article


def _lead(link, path, site, name, names):
    """A link to another site stays, one to a page of the book leads within it, one to a file is text on paper."""
    place, part = urldefrag(link["href"])
    if re.match(r"[a-z]+:", place):
        return
    target = (path.parent / unquote(place)).resolve() if place else path.resolve()
    page = (
        target.relative_to(site.resolve()).with_suffix("").as_posix() if target.is_relative_to(site.resolve()) else ""
    )
    page = name if not place else page
    if target.suffix == ".html" and page in names:
        link["href"] = f"#{_anchor(page, part)}"
    else:
        del link["href"]
