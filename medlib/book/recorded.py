"""The runs of a model that are there, for a chapter that is made of the others' tables.

Of a local and a committed run of one chapter that of the code as it is now is taken, and of two that are alike in this
the later: by dates alone a run made while a clock was ahead would hide those made after it.  What such a chapter read
is noted beside its own table and goes into its record, so that it is stale as soon as one of these tables is another.
"""

import json
from pathlib import Path

from medlib import paths, results
from medlib.errors import MedlibError
from medlib.run import PACKAGE, sha256


def complete(folder, technique):
    """The record of a whole run: its three files are there and are those that the record names; else None."""
    try:
        record = json.loads((Path(folder) / f"{technique}.json").read_text())
        files = record["run"]["files"]
        whole = all(sha256(Path(folder) / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if whole and {f"{technique}.parquet", f"{technique}.ipynb"} <= set(files) else None


def latest(model, technique, house=None):
    """The whole run of a chapter on a model that counts, local or committed: `(folder, record)`, or None without one.

    >>> folder, record = latest("smollm2-135m", "lesion")
    """
    house = house or paths.root()
    folders = [place / paths.slug(model) for place in (paths.committed(house), paths.runs(house))]
    found = [(folder, record) for folder in folders if (record := complete(folder, technique))]
    return foremost(found, technique, house)


def foremost(found, technique, house):
    """Of some runs of one chapter, `(folder, record)` each, the latest of the code as it is now, else the latest."""
    dated = [run for run in found if isinstance(run[1].get("finished"), str)]
    return max(dated, key=lambda run: (not _changed(run[1], technique, house), run[1]["finished"]), default=None)


def tables(model, techniques, house=None):
    """The results tables of some chapters, and where they come from: `(tables, sources)`.

    >>> tables, sources = recorded.tables("smollm2-135m", ["lesion", "patching"])

    `tables`: technique -> table, of those that ran.  `sources`: a dict a technique, in the order asked: `technique`,
    `status` ("run" or "not run"), `items`, `seed`, `finished` (day), `code` ("as it is now", or which files changed
    since) and `sha256` of its table.  Raises `MedlibError` where they are of different weights under one name.
    """
    house = house or paths.root()
    found, sources, weights = {}, [], {}
    for technique in techniques:
        run = latest(model, technique, house)
        if run is None:
            sources.append(dict(technique=technique, status="not run", sha256=None))
            continue
        folder, record = run
        weights.setdefault(record["model"]["weights_sha256"], []).append(technique)
        found[technique] = results.read(folder / f"{technique}.parquet")
        changed = _changed(record, technique, house)
        sources.append(
            dict(
                technique=technique,
                status="run",
                items=record["table"]["items"],
                seed=record["seed"],
                finished=record["finished"][:10],
                code=f"since then {', '.join(changed)} changed" if changed else "as it is now",
                sha256=record["run"]["files"][f"{technique}.parquet"],
            )
        )
    if len(weights) > 1:
        sets = "; ".join(f"{', '.join(names)}: {str(digest)[:12]}" for digest, names in weights.items())
        raise MedlibError(
            f"The runs of {model} are of different weights ({sets}). A folder of models that share a name shares their "
            "runs too: give each a name of its own, and run the chapters of the others again."
        )
    return found, sources


def note(run, sources):
    """Note beside a run's own table what it was made of (`sources` of `tables`)."""
    made_of = {source["technique"]: source["sha256"] for source in sources}
    paths.write_atomically(run.folder / "made_of.json", json.dumps(made_of, indent=1, sort_keys=True).encode())


def noted(folder):
    """What was noted beside the table in a folder: technique -> sha256 of its table; None where nothing was."""
    path = Path(folder) / "made_of.json"
    return json.loads(path.read_text()) if path.is_file() else None


def other_tables(made_of, model, house):
    """The chapters whose table is now another one than that which a run was made of, or is there now, or is gone."""
    now = {technique: latest(model, technique, house) for technique in made_of}
    return [
        technique
        for technique, digest in made_of.items()
        if digest != (now[technique] and now[technique][1]["run"]["files"][f"{technique}.parquet"])
    ]


def _changed(record, technique, house):
    """The files of code that are others now than when a run was made."""
    files = {f"notebooks/{technique}.py": (house / "notebooks" / f"{technique}.py", record["run"].get("notebook"))}
    files |= {name: (PACKAGE.parent / name, digest) for name, digest in record.get("sources", {}).items()}
    return [name for name, (path, digest) in files.items() if sha256(path) != digest]
