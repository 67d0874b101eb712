"""What the book says about the concept tables, written from the tables when the book is assembled.

Sizes, label balance, sources, items and what was checked are read off, never typed; each table lies beside the page for
download, with the TOML file that describes it and their licence.
"""

import re
import shutil

from medlib import concepts
from medlib.book.pages.markdown import Markdown, escaped, table


def write(folder):
    """Write the pieces that the data page includes into `folder`, and the tables into its `tables`."""
    (folder / "tables").mkdir(parents=True)
    for domain in concepts.domains():
        for suffix in (".csv", ".toml"):
            shutil.copy(concepts.HERE / f"{domain}{suffix}", folder / "tables")
    shutil.copyfile(concepts.HERE / "LICENSE.md", folder / "tables" / "LICENSE.txt")
    (folder / "domains.md").write_text(_domains(), encoding="utf-8")
    (folder / "balance.md").write_text("\n".join(map(_balance, _in_pairs())), encoding="utf-8")
    (folder / "checked.md").write_text(_checked(), encoding="utf-8")


def _in_pairs():
    return [name for domain in concepts.medical() for name in (domain, concepts.control(domain))]


def _domains():
    rows = []
    for domain in _in_pairs():
        asked = concepts.questions(domain)
        files = (f"{{download}}`{kind.upper()} </generated/tables/{domain}.{kind}>`" for kind in ("csv", "toml"))
        rows.append(
            [
                Markdown(f"**{domain}**" if domain in concepts.medical() else domain),
                len(concepts.load(domain)),
                len(concepts.templates(domain)),
                asked["item"].nunique(),
                asked["variant"].nunique(),
                asked["answer"].nunique(),
                Markdown(" ".join(files)),
            ]
        )
    header = ["domain", "rows", "templates", "items asked", "questions an item", "answers", "files"]
    return table(header, rows)


def _balance(domain):
    items = concepts.load(domain)
    lines = [f"::::{{dropdown}} {items.attrs['title']}: {len(items)} rows", "", items.attrs["about"].strip(), ""]
    for label, others in concepts.labels(domain).items():
        counts = items[label][items[label] != ""].value_counts()
        spread = ", ".join(f"{value} {count}" for value, count in counts.items())
        more = f" {(items[others] != '').sum()} items have further ones, in `{others}`." if others else ""
        lines += [f"**`{label}`**: {len(counts)} values, {counts.min()} to {counts.max()} rows each.{more}", ""]
        lines += [escaped(spread), ""]
    sources = items["source"].value_counts()
    lines += [
        "**Sources**",
        "",
        table(["source", "rows"], [[name, count] for name, count in sources.items()]),
        "**Items**",
        "",
        escaped(", ".join(dict.fromkeys(items["item"].astype(str)))),
        "::::",
        "",
    ]
    return "\n".join(lines)


def _checked():
    rows = []
    for domain in _in_pairs():
        items = concepts.load(domain)
        against = {}
        for cell in items["checked"]:
            for part in re.split(r"; ", cell):
                against[part] = against.get(part, 0) + 1
        told = "; ".join(f"{part} ({count})" for part, count in sorted(against.items(), key=lambda entry: -entry[1]))
        share = 1 - (items["checked"] == "not checked").mean()
        rows.append([domain, f"{share:.0%}", told])
    return table(["domain", "rows with a check", "what was compared, against what (rows)"], rows)
