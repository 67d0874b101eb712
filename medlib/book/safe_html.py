"""What HTML a page takes from the output of a cell: tables, their style and plain text; anything else as text.

Pandas writes a frame with its cells escaped, but a styled one as they are, and what stands in a cell may be an item of
somebody's table or a sentence that a model made up.  What is no markup of a table is therefore shown as it is written.
A figure of Plotly's comes with a script: its data are read, and the script is written anew (safe_figure.py).
"""

import re

from medlib.book import safe_figure, safe_text

ALLOWED = {
    *("table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td", "div", "span", "p", "br"),
    *("b", "strong", "i", "em", "sub", "sup", "code", "pre", "small", "ul", "ol", "li", "style", "hr"),
}
ATTRIBUTES = {
    *("id", "class", "style", "scoped", "type", "title", "dir", "lang"),
    *("scope", "colspan", "rowspan", "border", "align", "halign", "valign"),
}
FORMULA = {"math", "tex2jax_process", "mathjax_process", "output_area"}  # classes whose text MathJax reads
RUN = ("javascript", "markdown", "vnd.jupyter.widget", "svg")  # outputs that a page would run, or take tags from
_LOADS = re.compile(r"url\s*\(|image-set|src\s*\(|@import|expression\s*\(|javascript:|\\", re.I)
_NAME = r"[A-Za-z][A-Za-z0-9]*+"
_TAG = rf'</?{_NAME}(?:\s++[A-Za-z][A-Za-z-]*+(?:="[^"<>]*+")?+)*+\s*+/?>'
_PLAIN = re.compile(rf"(?:[^<]++|{_TAG})*+")  # HTML that every parser takes apart in the same way


def make_safe(notebook):
    """Make an executed notebook safe, in place: HTML as `shown`, no scripts or Markdown in outputs, text as `inert`.

    >>> make_safe(notebook)

    A run has been through this as it was made; one from elsewhere may say so and not have been.
    """
    safe_text.make_inert(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for mime in list(data):
                if any(form in mime for form in RUN):
                    del data[mime]
                elif mime.endswith("text/html"):
                    data[mime] = shown(data[mime])
            if "data" in output and not data:
                data["text/plain"] = ""


def shown(html):
    """A piece of HTML as a page takes it: itself where all of it is allowed.

    >>> shown("<td>aspirin</td>"), shown("<td><script>alert(1)</script></td>")
    ('<td>aspirin</td>', '<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>')
    """
    from bs4 import BeautifulSoup
    from bs4.element import PreformattedString

    if (figure := safe_figure.rewritten(html)) is not None:
        return figure
    page = BeautifulSoup(html, "html.parser")
    changed = not _PLAIN.fullmatch(html)
    for tag in page.find_all():
        if not _allowed(tag):
            tag.replace_with(str(tag))
            changed = True
            continue
        for name, value in list(tag.attrs.items()):
            if name not in ATTRIBUTES or _LOADS.search(str(value)):
                del tag[name]
                changed = True
        if FORMULA & set(tag.get("class", [])):
            tag["class"] = [name for name in tag["class"] if name not in FORMULA]
            changed = True
    for other in page.find_all(string=lambda text: isinstance(text, PreformattedString)):
        other.extract()  # a comment, a declaration: where it ends is another place to another parser
        changed = True
    return str(page) if changed else html


def _allowed(tag):
    loads = tag.name == "style" and (_LOADS.search(tag.get_text()) or "<" in tag.get_text())
    return tag.name in ALLOWED and not loads
