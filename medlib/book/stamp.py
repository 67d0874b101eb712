"""An executed notebook made a page of its own.

One notebook executed for two models is two pages of one book: every label, glued number and title would be there
twice. So the model's name is stamped into them. And an executed notebook is committed: what differs between two runs
that found the same (times, paths, random ids of cells and tables, addresses in memory, how printed text was cut) is
taken out, so that a difference of two files is a difference of two findings.
"""

import hashlib
import html
import re
import shlex

from medlib.book import safe_html
from medlib.book.pages.markdown import escaped
from medlib.paths import public, slug

# Each pattern's group `label` is a label where it is defined: (x)=, :name: x, $$ ... $$ (x), {#x}, \label{x}.
_DEFINED = [
    re.compile(pattern, re.M)
    for pattern in (
        r"^\((?P<label>[^()\s]+)\)=[ \t]*$",
        r"^[ \t]*:(?:name|label):[ \t]*(?P<label>\S+)[ \t]*$",
        r"\$\$[ \t]*\((?P<label>[\w.:-]+)\)[ \t]*$",
        r"\{#(?P<label>[\w.:-]+)",
        r"\\label\{(?P<label>[\w.:-]+)\}",
    )
]
# ... and where it is referred to: {ref}`x`, {ref}`text <x>`, [text](x), [text](#x), <project:#x>, \ref{x}.
_REFERRED = [
    re.compile(pattern)
    for pattern in (
        r"\{(?:ref|numref|eq|any)\}`(?:[^`<]*<)?(?P<label>[\w.:-]+)>?`",
        r"\]\(#?(?P<label>[\w.:-]+)\)",
        r"<(?:project:)?#(?P<label>[\w.:-]+)>",
        r"\\(?:eq)?ref\{(?P<label>[\w.:-]+)\}",
    )
]
_TITLE = re.compile(r"\A(\s*(?:\([^()\s]+\)=\s*)?# [^\n]*?)[ \t]*$", re.M)
_GLUED = [
    re.compile(r"\{glue(?::\w*)?\}`(?P<label>\w+)[`:]"),
    re.compile(r"\{glue(?::\w*)?\}[ \t]+(?P<label>\w+)[ \t]*$", re.M),
]


def stamp(notebook, technique, model):
    """Stamp a notebook, in place: title, labels, references to its own labels, names of figures, keys of glued numbers.

    A label `x` becomes `x-<model>`, a glued key `k` becomes `k-<technique>-<model>`; what is defined elsewhere stays.
    """
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    figures = [
        options
        for cell in notebook.cells
        for options in cell.metadata.get("mystnb", {}).values()
        if isinstance(options, dict) and "name" in options
    ]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    glued = [output.metadata["scrapbook"] for output in outputs if "scrapbook" in output.get("metadata", {})]

    labels = {match["label"] for cell in texts for pattern in _DEFINED for match in pattern.finditer(cell.source)}
    labels = {label: f"{label}-{slug(model)}" for label in labels | {options["name"] for options in figures}}
    keys = {item["name"]: glue_key(item["name"], technique, model) for item in glued}

    for cell in texts:
        for patterns, names in ((_DEFINED + _REFERRED, labels), (_GLUED, keys)):
            for pattern in patterns:
                cell.source = pattern.sub(lambda match, names=names: _renamed(match, names), cell.source)
    for options in figures:
        options["name"] = labels[options["name"]]
    for item in glued:
        item["name"] = keys[item["name"]]
    for cell in texts:
        cell.source, found = _TITLE.subn(
            lambda match: f"{match[1]} · {html.escape(model, quote=False)}", cell.source, count=1
        )
        if found:
            break


def glue_key(key, technique, model):
    """A glued number's key in the stamped notebook."""
    return f"{key}-{technique}-{slug(model)}"


def card(record, defaults, profile):
    """The card under a page's title: what was run, on what, at what cost, and the command that runs it again."""
    model, memory = record["model"]["name"], record["peak_gpu_memory_bytes"] or record["peak_memory_bytes"]
    cells = {
        "model": model,
        "profile": {"quick": "quick: fewer items", "own": "own parameters"}.get(profile, profile),
        "items": f"{record['table']['items']:,}",
        "time": f"{record['seconds'] / 60:.1f} min",
        "GPU memory" if record["peak_gpu_memory_bytes"] else "peak memory": f"{memory / 2**30:.1f} GiB"
        if memory
        else "unknown",
        "device": f"{record['device']}, {record['threads']} thread{'s' * (record['threads'] != 1)}",
    }
    return "\n".join(
        [
            f"| {' | '.join(cells)} |",
            f"| {' | '.join('---' for _ in cells)} |",
            f"| {' | '.join(map(escaped, cells.values()))} |",
            "",
            "Run this page again:",
            "",
            "```console",
            command(record["technique"], to_load(record["model"]), record["parameters"], defaults),
            "```",
        ]
    )


def to_load(model):
    """What `--model` takes for a record's model: its name; for a local folder a path, whose beginning no record has."""
    return f"path/to/{model['name']}" if model["source"].get("kind") == "folder" else model["name"]


def command(technique, model, parameters, defaults):
    """The exact command of a run; parameters at their defaults are left out."""
    given = {name: value for name, value in parameters.items() if name != "model_name" and value != defaults.get(name)}
    return shlex.join(
        ["medlib", "run", technique, "--model", model, *(part for n, v in given.items() for part in ("-p", f"{n}={v}"))]
    )


def clean(notebook, house=None):
    """Take out of a notebook, in place, what differs between runs and machines: times, paths, random ids.

    Of the HTML in its outputs a page takes what `safe_html` allows.
    """
    seen, tables = {}, {}
    for cell in notebook.cells:
        seen[cell.source] = seen.get(cell.source, -1) + 1
        cell.id = hashlib.sha256(f"{cell.cell_type}{seen[cell.source]}{cell.source}".encode()).hexdigest()[:12]
        cell.source = public(cell.source, house)
        cell.metadata = {key: cell.metadata[key] for key in ("tags", "mystnb") if cell.metadata.get(key)}
        if cell.get("outputs"):
            cell.outputs = _with_whole_streams(cell.outputs)
        for output in cell.get("outputs", []):
            for key in ("text", "ename", "evalue", "traceback"):
                if key in output:
                    output[key] = _settled(public(output[key], house), tables)
            for mime, content in output.get("data", {}).items():
                if mime.startswith("text/") or mime.endswith(("svg+xml", "json", "text/plain")):
                    output["data"][mime] = _settled(public(content, house), tables)
            if "text/html" in output.get("data", {}):
                output["data"]["text/html"] = safe_html.shown(_joined(output["data"]["text/html"]))
    papermill = notebook.metadata.get("papermill", {})
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        "papermill": {
            "exception": papermill.get("exception"),
            "parameters": public(papermill.get("parameters", {}), house),
        },
    }


def _with_whole_streams(outputs):
    """Outputs in which what was printed one after the other is one text: a kernel cuts it as time has it."""
    found = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" and last.get("output_type") == "stream" and last.name == output.name:
            last.text = last.text + output.text
        else:
            found.append(output)
    return found


def _settled(text, tables):
    """A text without addresses in memory, the random ids of styled tables numbered: `tables`, id -> name, grows."""
    if not isinstance(text, str):
        return text
    for name in re.findall(r'<table id="(T_[0-9a-f]{5})"', text):
        tables.setdefault(name, f"T_{len(tables):05x}")
    text = re.sub(r" at 0x[0-9a-f]+(?=>)", "", text)
    return re.sub(r"T_[0-9a-f]{5}", lambda name: tables.get(name[0], name[0]), text)


def _joined(text):
    return text if isinstance(text, str) else "".join(text)


def _renamed(match, names):
    label = match["label"]
    start, end = (place - match.start() for place in match.span("label"))
    return match[0][:start] + names.get(label, label) + match[0][end:]
