"""The page of times and disk use: what each recorded run took, and what the book, its runs and weights weigh.

Taken from the records and the files when the book is assembled; what changes from one build to the next, such as the
built book itself, is left to `medlib cache`.
"""

import json

from medlib.book import caches, placing
from medlib.book.pages.markdown import Markdown, seconds, size, table, unbroken
from medlib.models import embedded, zoo


def write(folder, chapters):
    """Write `times.md` and `disk.md` into `folder`."""
    (folder / "times.md").write_text(_times(chapters), encoding="utf-8")
    (folder / "disk.md").write_text(_disk(chapters), encoding="utf-8")


def _times(chapters):
    if not chapters:
        return "No run is in this copy of the book yet.\n"
    names = list(dict.fromkeys(chapter.name for chapter in chapters))
    spent = {(chapter.technique, chapter.name): chapter.record for chapter in chapters}
    rows = []
    for technique in dict.fromkeys(chapter.technique for chapter in chapters):
        of_it = [spent.get((technique, name)) for name in names]
        rows.append([technique, *(_cost(record) if record else "–" for record in of_it)])
    totals = [sum(record["seconds"] for (_, of), record in spent.items() if of == name) for name in names]
    return table(["chapter", *names], [*rows, ["all", *map(seconds, totals)]])


def _cost(record):
    threads = record["threads"]
    parts = [seconds(record["seconds"]), size(record["peak_memory_bytes"]), f"{threads} thread{'s' * (threads != 1)}"]
    return ", ".join(map(unbroken, parts))


def _disk(chapters):
    rows = []
    for name in dict.fromkeys(chapter.name for chapter in chapters):
        ours = [chapter for chapter in chapters if chapter.name == name]
        parts = [sum(caches.size(chapter.file(part)) for chapter in ours) for part in placing.PARTS]
        rows.append([Markdown(f"`{name}`"), len(ours), *map(caches.said, parts), _weights(name)])
    return table(["model", "runs", "tables", "notebooks", "records", "weights, converted"], rows) if rows else ""


def _weights(name):
    """The size of a model's converted weights where they are here."""
    entry = zoo.entry(name) if name in zoo.names() else {}
    made = embedded._kept(entry) / embedded.RECORD if "wheel" in entry else None
    caches.mend_lists()
    if made is None or not made.is_file():
        return "not here"
    return caches.said(sum(file["size"] for file in json.loads(made.read_text(encoding="utf-8"))["files"].values()))
