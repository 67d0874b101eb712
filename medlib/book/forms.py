"""What a run's record has to hold so that it can be read: its form first, then its keys.

A record that is damaged counts as not there, even where the files beside it are whole; one of another form is told by
its form alone, and nothing else is read of it.  `complete` and `latest` are those of recorded.py with this looked at.
"""

import json
from pathlib import Path

from medlib import paths, results
from medlib.book import recorded
from medlib.run import RECORD_VERSION

_FORMS = {"schema": ("table", results.SCHEMA_VERSION), "record": ("record", RECORD_VERSION)}
_NUMBER, _MAYBE_NUMBER, _MAYBE_TEXT = (int, float), (int, float, type(None)), (str, type(None))
_KEYS = {  # key -> type, or what stands below it; ... is any key, a list has items of one kind
    "technique": str,
    "model": {
        "name": str,
        "revision": _MAYBE_TEXT,
        "weights_sha256": _MAYBE_TEXT,
        "source": (dict, type(None)),
        "layers": _MAYBE_NUMBER,
        "hidden_size": _MAYBE_NUMBER,
        "dtype": _MAYBE_TEXT,
    },
    "parameters": dict,
    "seed": object,
    "table": {"rows": int, "items": int},
    "checks": [{"name": str, "passed": bool, "detail": str}],
    "numbers": {...: {"value": object, "text": str}},
    "seconds": _NUMBER,
    "peak_memory_bytes": _MAYBE_NUMBER,
    "peak_gpu_memory_bytes": _MAYBE_NUMBER,
    "finished": str,
    "sources": {...: _MAYBE_TEXT},
    "data": {...: _MAYBE_TEXT},
    "versions": {...: _MAYBE_TEXT},
    "device": str,
    "platform": str,
    "threads": int,
    "run": {"files": {...: str}, "notebook": _MAYBE_TEXT, "lock": _MAYBE_TEXT, "model": dict},
}
_RUN = {"profile": str, "made_of": {...: _MAYBE_TEXT}}  # not of every run


def other(record):
    """What is of another form than this medlib reads: `(what, its form, ours)` each; nothing where a record is ours.

    >>> other({"record": 2, "schema": 1})
    [('record', '2', 1)]
    """
    told = [(what, record.get(key), ours) for key, (what, ours) in _FORMS.items()]
    return [(what, _said(form), ours) for what, form, ours in told if type(form) is not int or form != ours]


def refusals(record):
    """Why a record may not be read, as sentences that say what to do; empty where it may."""
    found = []
    for what, form, ours in other(record):
        later = form.isdecimal() and int(form) > ours
        advice = "it was made by a later medlib" if later else "the page on upgrading says what to do"
        found.append(f"its {what} has the form {form}, and this medlib reads {ours}; {advice}")
    return found


def read(path):
    """The record in a file as it stands there, of whatever form; None where it is no record, or a damaged one."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    return record if other(record) or _fits(record, _KEYS | {"run": _KEYS["run"] | _there(record)}) else None


def complete(folder, technique):
    """The record of a whole run, as `recorded.complete` tells it; None also for one of our form that lacks a key.

    One of another form comes as it is: ask `other` before anything of it is read.
    """
    record = read(Path(folder) / f"{technique}.json")
    ours = record is not None and (other(record) or record["technique"] == technique)
    return recorded.complete(folder, technique) if ours else None


def latest(model, technique, house):
    """The whole run of our form that counts, as `recorded.latest` tells it: `(folder, record)`, or None.

    >>> folder, record = latest("smollm2-135m", "lesion", paths.root())
    """
    folders = [place / paths.slug(model) for place in (paths.committed(house), paths.runs(house))]
    found = [(folder, record) for folder in folders if (record := complete(folder, technique)) and not other(record)]
    return recorded.foremost(found, technique, house)


def other_tables(made_of, model, house):
    """The chapters whose table is another one than that which a run was made of, as `recorded.other_tables` does."""
    now = {technique: latest(model, technique, house) for technique in made_of}
    tables = {name: run and run[1]["run"]["files"][f"{name}.parquet"] for name, run in now.items()}
    return [technique for technique, digest in made_of.items() if digest != tables[technique]]


def _said(form):
    return "none" if form is None else str(form) if type(form) is int else repr(form)


def _there(record):
    """What is wanted below `run` of the keys that not every run has."""
    run = record.get("run")
    return {key: below for key, below in _RUN.items() if isinstance(run, dict) and key in run}


def _fits(value, wanted):
    """Whether a JSON value has the keys and types of a part of `_KEYS`."""
    if isinstance(wanted, list):
        return isinstance(value, list) and all(_fits(item, wanted[0]) for item in value)
    if not isinstance(wanted, dict):
        return isinstance(value, wanted)
    if not isinstance(value, dict):
        return False
    if ... in wanted:
        return all(_fits(item, wanted[...]) for item in value.values())
    return all(key in value and _fits(value[key], below) for key, below in wanted.items())
