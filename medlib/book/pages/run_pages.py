"""What the book says about its runs, written from their records when the book is assembled.

Nothing here is typed by hand and nothing is computed: a table shows what a record holds, and where there is no run the
page says so.
"""

import base64
import re

from medlib.book import figure_data
from medlib.book.pages.markdown import Markdown, escaped, seconds, size, table, unbroken

_NO_RUNS = "No run is in this copy of the book yet; `make book` makes them.\n"


def write(folder, chapters, failed, stale=()):
    """Write the pieces that the pages include into `folder`.

    `chapters` are the runs of the book in its order, `stale` those of them that are; `failed` are triples of model,
    technique and reason.
    """
    folder.mkdir(parents=True)
    (folder / "matrix.md").write_text(_matrix(chapters, failed, stale), encoding="utf-8")
    (folder / "runs.md").write_text(_runs(chapters, failed), encoding="utf-8")
    (folder / "models.md").write_text(_models(chapters), encoding="utf-8")
    (folder / "details.md").write_text(_details(chapters), encoding="utf-8")
    (folder / "versions.md").write_text(_versions(chapters), encoding="utf-8")


def data_line(chapter):
    """The line on a chapter's page that leads to its data."""
    return f"Data of this page: {_downloads(chapter)} (all runs are in [the record](/record.md))."


def headline(notebook):
    """The picture (PNG) of an executed notebook's cell tagged `headline`, and how the cell presents it."""
    for cell in notebook.cells:
        if "headline" in cell.metadata.get("tags", []):
            pictures = [output.get("data", {}).get("image/png") for output in cell.get("outputs", [])]
            if any(pictures):
                return base64.b64decode(next(filter(None, pictures))), cell.metadata.get("mystnb", {})
    return None, {}


def _matrix(chapters, failed, stale):
    if not chapters and not failed:
        return _NO_RUNS
    models = list(dict.fromkeys([*(c.model for c in chapters), *(model for model, _, _ in failed)]))
    techniques = list(dict.fromkeys([*(c.technique for c in chapters), *(technique for _, technique, _ in failed)]))
    cells = {(model, technique): "failed" for model, technique, _ in failed}
    cells |= {(c.model, c.technique): Markdown(f"[read](/{c.page}.ipynb)") for c in chapters}
    cells |= {(c.model, c.technique): Markdown(f"[read](/{c.page}.ipynb), [stale](/matrix.md)") for c in stale}
    rows = [[technique, *(cells.get((model, technique), "–") for model in models)] for technique in techniques]
    return table(["chapter", *map(_code, models)], rows)


def _runs(chapters, failed):
    if not chapters and not failed:
        return _NO_RUNS
    rows = []
    for chapter in chapters:
        record = chapter.record
        page = Markdown(f"[{chapter.technique}](/{chapter.page}.ipynb)")
        cost = [unbroken(seconds(record["seconds"])), unbroken(size(record["peak_memory_bytes"]))]
        day = record["finished"][:10].replace("-", "\N{NON-BREAKING HYPHEN}")
        rows.append([page, _code(chapter.model), len(record["checks"]), *cost, day, _downloads(chapter)])
    text = table(["technique", "model", "checks passed", "time", "peak memory", "finished", "data"], rows)
    if failed:
        text += "\nFailed on this machine and so not shown; where an earlier run passed, that one stands above.\n\n"
        rows = [[technique, _code(model), why.splitlines()[0]] for model, technique, why in failed]
        text += table(["technique", "model", "why"], rows)
    return text


def _models(chapters):
    models = {}
    for chapter in chapters:
        models.setdefault(chapter.model, chapter.record["model"])
    if not models:
        return _NO_RUNS
    parts = []
    for name, model in models.items():
        source = model["source"] or {}
        facts = {
            "from": " ".join(str(source[key]) for key in ("kind", "id") if source.get(key)),
            "revision": model["revision"],
            "licence": source.get("licence"),
            "stored as": source.get("quantised") or "not quantised",
            "computed in": model["dtype"],
            "layers and width": f"{model['layers']} layers, {model['hidden_size']} wide",
            "SHA-256 of the weights": model["weights_sha256"],
        }
        parts.append(f"**`{name}`**\n\n{_facts(facts)}")
    return "\n".join(parts)


def _details(chapters):
    if not chapters:
        return _NO_RUNS
    parts = []
    for chapter in chapters:
        record = chapter.record
        lines = [f"::::{{dropdown}} {chapter.technique} on {escaped(chapter.name)}", ""]
        machine = {name: record[name] for name in ("device", "threads", "platform")}
        if record["peak_gpu_memory_bytes"]:
            machine["peak GPU memory"] = size(record["peak_gpu_memory_bytes"])
        lines += ["**Machine**", "", _facts(machine)]
        lines += ["**Parameters**", "", _facts({**record["parameters"], "seed": record["seed"]})]
        rows = [[c["name"], "passed" if c["passed"] else "failed", c["detail"]] for c in record["checks"]]
        lines += ["**Checks**", "", table(["check", "result", "detail"], rows) if rows else "None.\n"]
        rows = [[_code(key), entry["text"]] for key, entry in sorted(record["numbers"].items())]
        lines += ["**Numbers in the prose**", "", table(["key", "as written"], rows) if rows else "None.\n"]
        size_of = record["table"]
        lines += [f"**Table**: rows {size_of['rows']}, items {size_of['items']}.", ""]
        code = {f"notebooks/{chapter.technique}.py": record["run"]["notebook"], **record["sources"]}
        code |= {"requirements.lock": record["run"]["lock"]}
        lines += ["**Data tables**, by SHA-256", "", _facts(record["data"])]
        lines += ["**Code**, by SHA-256", "", _facts(code), "::::", ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _versions(chapters):
    if not chapters:
        return _NO_RUNS
    seen = {}
    for chapter in chapters:
        for name, version in chapter.record["versions"].items():
            seen.setdefault(name, {}).setdefault(str(version or "not installed"), []).append(chapter)
    rows = []
    for name, versions in seen.items():
        if len(versions) == 1:
            rows.append([name, next(iter(versions))])
        else:
            told = (
                f"{version} ({', '.join(f'{c.technique} on {c.name}' for c in cs)})" for version, cs in versions.items()
            )
            rows.append([name, "; ".join(told)])
    return table(["what", "version"], rows)


def is_long(chapter):
    """Whether a run's table is too long to be offered whole as CSV."""
    return chapter.record["table"]["rows"] > figure_data.LONG


def _downloads(chapter):
    table_of = f"table </{chapter.page}.parquet>" if is_long(chapter) else f"CSV </{chapter.page}.csv>"
    return Markdown(f"{{download}}`{table_of}` {{download}}`record </{chapter.page}.json>`")


def _facts(facts):
    """A dict as a table of two columns; what is long goes in small print that may break anywhere."""
    rows = [[_code(key) if re.search("[/_]", key) else key, _value(value)] for key, value in facts.items()]
    return table(["what", "value"], rows) if rows else "None.\n"


def _value(value):
    if value is None:
        return "–"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Markdown(f"`{text}`{{.hash}}") if re.fullmatch(r"[0-9a-f]{40,64}", text) else text


def _code(text):
    return Markdown(f"`{text}`")
