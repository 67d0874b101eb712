"""How long a chapter takes to read, and what to read before it: one line under its title.

The time is counted from the words and figures of the page.  What to read first is what a methods page names in its
front matter (`needs: [data]`); a results chapter needs the methods page of its technique.
"""

import re

import nbformat
import yaml

from medlib.errors import MedlibError

WORDS_A_MINUTE = 200
SECONDS_A_FIGURE = 30
_FRONT = re.compile(r"\A---\n(.*?)^---\n", re.M | re.S)
_TITLE = re.compile(r"^# .+\n", re.M)
# Not read word by word: code, what unfolds, formulas, and the lines of tables and directives.
_SKIPPED = [
    re.compile(r"^```(?!\{).*?^```$", re.M | re.S),
    re.compile(r"^::::\{dropdown\}.*?^::::$", re.M | re.S),
    re.compile(r"\$\$.*?\$\$", re.S),
    re.compile(r"^(?:[`:]{3,}|\|).*$", re.M),
]


def write(source, chapters):
    """Put the line into the assembled methods pages and results chapters in `source`.

    Raises MedlibError where a methods page needs one that is not there or that stands after it in the contents.
    """
    order = _order(source)
    for page in order:
        path = source / f"{page}.md"
        text = path.read_text(encoding="utf-8")
        needed = needs(text, page, order)
        path.write_text(_under_title(text, _line(minutes(_whole(text, source)), needed)), encoding="utf-8")
    for chapter in chapters:
        path = source / f"{chapter.page}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
        figures = sum("figure" in cell.metadata.get("mystnb", {}) for cell in notebook.cells)
        needed = [page for page in order if page == f"methods/{chapter.technique}"]
        line = _line(minutes("\n".join(cell.source for cell in prose), figures), needed)
        titled = next((cell for cell in prose if _TITLE.search(f"{cell.source}\n")), None)
        if titled:
            titled.source = _under_title(f"{titled.source}\n", line)
            nbformat.write(notebook, path)


def minutes(text, figures=0):
    """Minutes it takes to read Markdown with some figures, at least one; code, tables and formulas are not counted.

    >>> minutes("word " * 500, figures=3)
    4
    """
    prose = _FRONT.sub("", text)
    for pattern in _SKIPPED:
        prose = pattern.sub(" ", prose)
    words = re.findall(r"\w+(?:['’-]\w+)*", prose)
    figures += len(re.findall(r"^[`:]{3,}\{figure\}", text, re.M))
    return max(1, round(len(words) / WORDS_A_MINUTE + figures * SECONDS_A_FIGURE / 60))


def needs(text, page, order):
    """The pages that a methods page names in its front matter, as places in the book."""
    front = _FRONT.match(text)
    named = [f"methods/{name}" for name in (yaml.safe_load(front[1]) or {}).get("needs", [])] if front else []
    before = order[: order.index(page)]
    for name in named:
        if name not in before:
            able = ", ".join(one.removeprefix("methods/") for one in before) or "none"
            raise MedlibError(
                f"book/{page}.md needs {name.removeprefix('methods/')}, which does not stand before it "
                f"in the contents. It can need: {able}."
            )
    return named


def _order(source):
    toc = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry.get("file", "") for part in toc["parts"] for entry in part["chapters"]]
    return [name for name in files if name.startswith("methods/")]


def _whole(text, source):
    """A page with what it includes."""
    return re.sub(
        r"^```\{include\} (?:\.\./)*(\S+)\n```$",
        lambda piece: (source / piece[1]).read_text(encoding="utf-8"),
        text,
        flags=re.M,
    )


def _line(time, needed):
    first = f" Read first: {', '.join(f'[](/{page}.md)' for page in needed)}." if needed else ""
    return f":::{{container}} reading\nReading time: {time} min.{first}\n:::\n"


def _under_title(text, line):
    return _TITLE.sub(lambda title: f"{title[0]}\n{line}", text, count=1)
