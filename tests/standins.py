"""Stand-ins for executed runs: a small notebook, table and record as `medlib run` leaves them, made without a model."""

import base64
import io
import json

import matplotlib
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from medlib import paths, results
from medlib.book.stamp import stamp
from medlib.run import sha256, write_record

TITLES = {
    "geometry": "Do the states of related drugs lie together?",
    "saliency": "Which weights would move a medical answer most?",
    "lesion": "What is lost when one layer is taken out?",
    "patching": "Which state carries the answer?",
}


def a_house(folder, root):
    """A house in `folder` with the pages of this one and no runs."""
    import shutil

    shutil.copytree(root / "book", folder / "book", ignore=shutil.ignore_patterns("runs"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copyfile(root / name, folder / name)
    (folder / "notebooks").mkdir()
    return folder


def a_record(technique, model, layers=2, hidden=8, **changes):
    record = {
        "record": 1,
        "schema": results.SCHEMA_VERSION,
        "technique": technique,
        "model": {
            "name": model,
            "revision": None,
            "weights_sha256": "0" * 64,
            "source": {"kind": "wheel", "id": "made-up==1", "licence": "MIT", "quantised": None},
            "layers": layers,
            "hidden_size": hidden,
            "dtype": "float32",
        },
        "parameters": {"domain": "drugs", "templates": ["a", "b"]},
        "seed": 0,
        "table": {"rows": 2, "items": 1},
        "checks": [{"name": "planted block found", "passed": True, "detail": "block 1 | of [2] at $5 and $6"}],
        "numbers": {"peak_layer": {"value": 1, "text": "layer 1 (95 % interval 1 to 2)"}},
        "seconds": 12.3,
        "peak_memory_bytes": 2**30,
        "peak_gpu_memory_bytes": None,
        "finished": "2026-01-01T00:00:00Z",
        "sources": {"medlib/run.py": "1" * 64},
        "data": {"medlib/concepts/drugs.csv": "2" * 64},
        "versions": {"python": "3.11.2", "medlib": "0.1.0", "torch": None},
        "device": "cpu",
        "platform": "Linux x86_64",
        "threads": 1,
    }
    return {**record, **changes}


def a_picture():
    """A PNG of a line, in base64."""
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3))
    figure.subplots().plot([1, 2], [0.4, 0.1])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def a_notebook(technique, model, text="layer 1 (95 % interval 1 to 2)", numbers=None):
    """An executed notebook of a technique, stamped with its model; it glues `numbers` (key -> text) too."""
    executed = {"execution_count": 1}
    title = TITLES.get(technique, f"What does {technique} show?")
    cells = [
        new_markdown_cell(f"# {title}\n\nThe answer: {{glue:text}}`peak_layer`. See [](#fig-{technique})."),
        new_markdown_cell("| model | items |\n| --- | --- |\n| stand-in | 1 |", metadata={"tags": ["card"]}),
        new_code_cell("domain = 'drugs'", metadata={"tags": ["injected-parameters"]}, **executed),
        new_code_cell(
            "run.number(...)",
            outputs=[
                new_output(
                    "display_data",
                    data={"application/papermill.record/text/plain": repr(told)},
                    metadata={"scrapbook": {"mime_prefix": "application/papermill.record/", "name": key}},
                )
                for key, told in {"peak_layer": text, **(numbers or {})}.items()
            ],
            **executed,
        ),
        new_markdown_cell(
            f"(section-{technique})=\n## Result\n\nIn $l$:\n\n$$\nD_l = \\sum_v \\frac{{\\pi(v)}}{{\\pi_l(v)}}\n$$"
        ),
        new_code_cell(
            "figure",
            metadata={
                "tags": ["headline"],
                "mystnb": {
                    "figure": {"name": f"fig-{technique}", "caption": "The first layer matters most."},
                    "image": {"alt": "A falling line."},
                },
            },
            outputs=[new_output("display_data", data={"image/png": a_picture(), "text/plain": "<Figure>"})],
            **executed,
        ),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "papermill": {"exception": None, "parameters": {}},
    }
    stamp(notebook, technique, model)
    return notebook


def a_run(folder, technique, model, notebook=None, rows=None, **changes):
    """Write a whole run into `<folder>/<model>/`, as `medlib run` does, and return that folder; `rows`: its table."""
    target = folder / paths.slug(model)
    target.mkdir(parents=True, exist_ok=True)
    if rows is None:
        rows = {"layer": [1, 2], "metric": "kl", "value": [0.4, 0.1], "domain": "drugs", "item": "aspirin"}
    results.write(results.tidy(rows, model=model, technique=technique, seed=0), target / f"{technique}.parquet")
    nbformat.write(notebook or a_notebook(technique, model), target / f"{technique}.ipynb")
    files = {name: sha256(target / name) for name in (f"{technique}.parquet", f"{technique}.ipynb")}
    run = {"files": files, "notebook": "3" * 64, "lock": "4" * 64, "model": {"name": model}}
    write_record({**a_record(technique, model, **changes), "run": run}, target / f"{technique}.json")
    return target


def a_current_run(house, place, technique="lesion", model="smollm2-135m", rows=2, lock=None, **changes):
    """A run that is current in the house, of a chapter with the parameter `rows`; with another `lock` it is stale.

    >>> a_current_run(house, "book", finished="2099-01-01T00:00:00Z")

    `place`: "_build" for one of this machine, "book" for one that is committed.
    """
    from medlib.book import current

    folder = a_run(house / place / "runs", technique, model, **changes)
    path = folder / f"{technique}.json"
    record = json.loads(path.read_text())
    _, _, values = current.prepare(technique, "smollm2-135m", {"rows": rows}, house)
    record["model"]["weights_sha256"] = None
    inputs = current.inputs(record, technique, values, house)
    record |= {"parameters": values | {"model_name": model}, "sources": inputs["sources"], "data": inputs["data"]}
    record["run"] |= {name: inputs[name] for name in ("notebook", "model", "lock")} | ({"lock": lock} if lock else {})
    path.write_text(json.dumps(record))
