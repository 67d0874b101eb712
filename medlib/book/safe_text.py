"""What the text cells of an executed notebook may ask of the book: words, formulas, citations and what cells printed.

The text of a run is Markdown that may come from a stranger, and MyST's directives and roles put HTML and files of this
machine into a page.  Those that only arrange text are taken; another one stands on the page as it is written.  Raw HTML
is off for every page (`_config.yml`).
"""

import re

DIRECTIVES = {
    *("admonition", "attention", "caution", "container", "danger", "dropdown", "error", "hint", "important", "margin"),
    *("note", "seealso", "tip", "warning", "code", "code-block", "epigraph", "list-table", "math", "table"),
    *("glue", "glue:text", "glue:math", "glue:figure", "glue:any"),
}
ROLES = {
    *("abbr", "cite", "cite:p", "cite:t", "code", "doc", "eq", "kbd", "math", "numref", "ref", "sub", "sup", "term"),
    *("glue", "glue:text", "glue:any"),
}
CELL = {"tags": None, "mystnb": ("figure", "image")}  # what is kept of a cell's metadata, and of that
NOTEBOOK = ("kernelspec", "language_info", "medlib", "papermill")  # and of a notebook's: others set MyST's settings
_DIRECTIVE = re.compile(r"(`{3,}|~{3,}|:{3,})[^\S\n]*\{([^\s}]*)")
_ROLE = re.compile(r"\{([^\s{}`]+)\}(?=`)")


def make_inert(notebook):
    """Leave of an executed notebook's text and metadata, in place, what can neither run nor read files.

    >>> make_inert(notebook)

    Metadata could set how MyST reads the page, or have the notebook executed; a raw cell is HTML or a script.
    """
    notebook.metadata = {key: notebook.metadata[key] for key in NOTEBOOK if key in notebook.metadata}
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "raw"]
    for cell in notebook.cells:
        cell.metadata = {
            key: cell.metadata[key] if parts is None else _only(cell.metadata[key], parts)
            for key, parts in CELL.items()
            if key in cell.metadata
        }
        if cell.cell_type == "markdown":
            cell.source = inert(cell.source)
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "caption" in figure:
            figure["caption"] = inert(str(figure["caption"]))


def inert(text):
    """A piece of Markdown whose directives and roles only arrange text; others are written out.

    >>> inert("{term}`layer` {raw-html}`<script>`")
    '{term}`layer` &#123;raw-html}`<script>`'
    """
    text = _DIRECTIVE.sub(lambda at: at[0] if at[2] in DIRECTIVES else f"{at[1]}text {{{at[2]}", text)
    return _ROLE.sub(lambda at: at[0] if at[1] in ROLES else f"&#123;{at[1]}}}", text)


def _only(options, parts):
    return {key: options[key] for key in parts if isinstance(options, dict) and key in options}
