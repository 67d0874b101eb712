"""Markdown of generated pages: tables in which what stands in a cell cannot break them, and amounts for people."""

import re


class Markdown(str):
    """Text that is Markdown already; any other text in a table's cell is escaped."""


def seconds(value):
    """A duration for people.

    >>> seconds(42.3), seconds(312.0)
    ('42 s', '5.2 min')
    """
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.1f} min"


def size(value):
    """An amount of memory for people; a dash where it is not known.

    >>> size(1610612736), size(None)
    ('1.5 GiB', '–')
    """
    return "–" if value is None else f"{value / 2**30:.1f} GiB"


def unbroken(text):
    """A number and its unit, kept on one line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def table(header, rows):
    """A Markdown table; what stands in a cell cannot break it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(escaped, line)) + " |" for line in lines) + "\n"


def escaped(value):
    """Text that Markdown shows as it stands, on one line; `Markdown` is left as it is."""
    text = re.sub(r"[ \t\r\n]+", " ", str(value)).strip()  # a no-break space stays
    if not isinstance(value, Markdown):
        text = re.sub(r"([\\`*_$~#{}\[\]<>&])", r"\\\1", text)
    return text.replace("|", "\\|")
