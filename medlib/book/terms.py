"""Sphinx extension: the first use of a glossary's term on a page leads to the glossary.

The terms are those of the page `notation`, so a term explained there is linked everywhere and nowhere by hand.  Where a
methods page uses one in another sense, as of a lesion of the brain, it says so in its front matter,
`other_senses: [lesion]`, which holds for its results chapters too.  This file is copied to the assembled sources and
imports nothing of medlib, which would load torch for each build.
"""

import re
from functools import cache
from pathlib import Path

import yaml
from docutils import nodes
from sphinx import addnodes

PAGE = "notation"
# Where a word is not prose: what is a link already, code, formulas, headings, titles of works, tables.
_NOT_PROSE = (nodes.literal, nodes.literal_block, nodes.reference, nodes.title, nodes.raw, nodes.math, nodes.table)
_NOT_PROSE += (nodes.math_block, nodes.caption, nodes.citation, addnodes.pending_xref, addnodes.glossary)
_NOT_PROSE += (addnodes.download_reference, nodes.emphasis)
_FRONT = re.compile(r"\A---\n(.*?)^---\n", re.M | re.S)


def setup(app):
    """Entry point of Sphinx."""
    app.connect("doctree-read", _link)
    return {"parallel_read_safe": True}


def terms(text):
    """The terms of the glossary in a page's Markdown, the longest first.

    >>> terms(Path("book/notation.md").read_text())[:3]
    """
    found = re.findall(r"^:::\{glossary\}\n(.*?)^:::", text, re.M | re.S)
    lines = [line for block in found for line in block.splitlines()]
    return sorted((line for line in lines if line and not line[0].isspace()), key=lambda term: (-len(term), term))


def split(text, left):
    """A text cut where terms are first used: pieces `(shown, term or None)`; what was found is taken out of `left`.

    >>> split("Lesions of a block.", ["lesion", "block"])
    [('Lesions', 'lesion'), (' of a ', None), ('block', 'block'), ('.', None)]
    """
    if not left:
        return [(text, None)]
    by_name = {term.lower(): term for term in left}
    words = "|".join(re.escape(term).replace("\\ ", r"\s+") for term in left)
    pieces, end = [], 0
    for match in re.finditer(rf"(?<![\w-])({words})(?:s|es)?(?![\w-])", text, re.I):
        term = by_name[" ".join(match[1].lower().split())]
        if term in left:
            left.remove(term)
            pieces += [(text[end : match.start()], None), (match[0], term)]
            end = match.end()
    return [piece for piece in [*pieces, (text[end:], None)] if piece[0]]


def other_senses(folder, page):
    """The terms that a page, or the methods page of a results chapter's technique, uses in another sense."""
    for path in (Path(folder) / f"{page}.md", Path(folder) / "methods" / f"{page.rpartition('/')[2]}.md"):
        if path.is_file() and (front := _FRONT.match(path.read_text(encoding="utf-8"))):
            return yaml.safe_load(front[1]).get("other_senses", [])
    return []


@cache
def _known(folder):
    return tuple(terms((Path(folder) / f"{PAGE}.md").read_text(encoding="utf-8")))


def _link(app, doctree):
    page = app.env.docname
    left = [] if page == PAGE else list(_known(str(app.srcdir)))
    left = [term for term in left if term not in other_senses(app.srcdir, page)]
    for text in list(doctree.findall(nodes.Text)):
        if left and _prose(text):
            pieces = split(str(text), left)
            if any(term for _, term in pieces):
                text.parent.replace(text, [_node(shown, term, page) for shown, term in pieces])


def _prose(node):
    inside = []
    while node.parent is not None:
        node = node.parent
        inside.append(node)
    if not any(isinstance(one, nodes.paragraph) for one in inside):
        return False
    printed = any("cell" in one.get("classes", []) for one in inside if isinstance(one, nodes.Element))
    folded = any(one.get("design_component") == "dropdown" for one in inside if isinstance(one, nodes.Element))
    return not (printed or folded or any(isinstance(one, _NOT_PROSE) for one in inside))


def _node(shown, term, page):
    if term is None:
        return nodes.Text(shown)
    words = nodes.inline(shown, shown, classes=["std-term"])
    to = {"refdomain": "std", "reftype": "term", "reftarget": term, "refdoc": page, "refexplicit": True}
    return addnodes.pending_xref("", words, **to, refwarn=True)
