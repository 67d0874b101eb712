"""What HTML a page takes from the output of a cell: tables, their style and plain text; anything else as text.

Pandas writes a frame with its cells escaped, but a styled one as they are, and what stands in a cell may be an item of
somebody's table or a sentence that a model made up.  What is no markup of a table is therefore shown as it is written.
A figure of Plotly comes with a script, and is known by it: Plotly escapes what it puts there.
"""

import re

ALLOWED = {
    *("table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td", "div", "span", "p", "br"),
    *("b", "strong", "i", "em", "sub", "sup", "code", "pre", "small", "ul", "ol", "li", "style", "hr"),
}
ATTRIBUTES = {
    *("id", "class", "style", "scoped", "type", "title", "dir", "lang"),
    *("scope", "colspan", "rowspan", "border", "align", "halign", "valign"),
}
RUN = ("javascript", "markdown", "vnd.jupyter.widget")  # forms of an output that a page would run, or take tags from
_LOADS = re.compile(r"url\s*\(|@import|expression\s*\(|javascript:|\\", re.I)
_PLOTLY = re.compile(r'\s*<div(?: style="[^"<>]*")?>\s*<div id="[^"<>]*" class="plotly-graph-div"')
_SCRIPT = re.compile(r"\s*window\.PLOTLYENV=")


def make_safe(notebook):
    """Make the outputs of an executed notebook safe, in place: its HTML as `shown`, its scripts and Markdown left out.

    >>> make_safe(notebook)

    A run has been through this as it was made; one from elsewhere may say so and not have been.
    """
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
    from bs4 import BeautifulSoup, Comment

    page = BeautifulSoup(html, "html.parser")
    if _is_plotly(html, page):
        return html
    changed = False
    for tag in page.find_all():
        if not _allowed(tag):
            tag.replace_with(str(tag))
            changed = True
            continue
        for name, value in list(tag.attrs.items()):
            if name not in ATTRIBUTES or _LOADS.search(str(value)):
                del tag[name]
                changed = True
    for comment in page.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
        changed = True
    return str(page) if changed else html


def _allowed(tag):
    return tag.name in ALLOWED and not (tag.name == "style" and _LOADS.search(tag.get_text()))


def _is_plotly(html, page):
    scripts = page.find_all("script")
    return bool(
        scripts and _PLOTLY.match(html) and all(_SCRIPT.match(tag.get_text()) and not tag.get("src") for tag in scripts)
    )
