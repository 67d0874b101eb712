"""The page of the reproduction: the record beside what came out when it was executed again.

Written from the report that `medlib reproduce` leaves, when the book is assembled; nothing is executed here.
"""

from collections import Counter
from operator import itemgetter
from string import ascii_uppercase

from medlib.book.pages.markdown import Markdown, escaped, table
from medlib.book.pages.matrix_pages import said
from medlib.book.reproduction import compare, rerun

_DIGITS = "{:.3g}"
_COLUMNS = ("chapter", "machine", "threads", "same", "within", "else", "largest", "prose", "page")
_ASKED = {"chapter": "technique", "metric": "metric", "space": "space"}  # of a tolerance, as the page names it


def write(folder, house, chapters):
    """Write `reproduction.md`, `reproduction_moved.md` and `tolerances.md` into `folder`."""
    entries = rerun.latest(house)
    (folder / "reproduction.md").write_text(_entries(entries, chapters), encoding="utf-8")
    (folder / "reproduction_moved.md").write_text(_moved(entries), encoding="utf-8")
    (folder / "tolerances.md").write_text(_tolerances(), encoding="utf-8")


def summary(entries):
    """How the runs came out, in one sentence.

    >>> summary([{"verdict": "same"}, {"verdict": "moved"}])
    '2 runs were executed again: 1 same, 1 moved.'
    """
    found = {verdict: sum(entry["verdict"] == verdict for entry in entries) for verdict in rerun.VERDICTS}
    one = len(entries) == 1
    told = ", ".join(f"{number} {verdict}" for verdict, number in found.items() if number)
    return f"{len(entries)} run{'s' * (not one)} {'was' if one else 'were'} executed again: {told}."


def rows(entries):
    """A row for each entry: chapter, model, threads, numbers, same, within, moved, missing, extra, page, verdict."""
    found = []
    for entry in entries:
        counts, threads = entry.get("counts"), entry["threads"]
        cells = [counts[name] for name in compare.VERDICTS] if counts else [""] * len(compare.VERDICTS)
        total = sum(counts.values()) if counts else ""
        now = "" if threads["now"] is None else f" → {threads['now']}"
        largest = _DIGITS.format(entry["largest"]["absolute"]) if counts else ""
        row = [entry["technique"], entry["model"], f"{threads['recorded']}{now}", total, *cells, largest]
        found.append([*row, entry.get("page", ""), entry["verdict"] + (", exact" if entry["exact"] else "")])
    return found


HEADER = ("chapter", "model", "threads", "numbers", *compare.VERDICTS, "largest", "page", "verdict")


def lines(entry):
    """What moved in one run, a line a number, or why it failed."""
    if entry["error"]:
        return entry["error"].splitlines()
    return [" | ".join(row) for row in _rows_moved(entry)]


def _entries(entries, chapters):
    if not entries:
        return "Nothing was executed again yet; `make reproduce` does, and `make record` keeps its report.\n"
    tables = {(c.name, c.technique): c.record["run"]["files"][f"{c.technique}.parquet"] for c in chapters}
    letters = _letters(entries)
    machines = "\n".join(f"- *{letter}*: {escaped(machine)}" for machine, letter in letters.items())
    parts = [
        summary(entries),
        _changes(entries),
        machines,
        _runs(entries, tables, letters),
        _not_again(entries, tables),
        _else(entries),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _not_again(entries, tables):
    again = {_run(entry) for entry in entries if entry["table"] == tables.get(_run(entry))}
    left = [f"{technique} on {model}" for model, technique in tables if (model, technique) not in again]
    return escaped(f"Not executed again: {', '.join(left) or 'none'}.")


def _run(entry):
    return entry["model"], entry["technique"]


def _letters(entries):
    """A letter for each machine that recorded a run or executed it again."""
    machines = dict.fromkeys(machine for entry in entries for machine in entry.get("platform", ()))
    return dict(zip(machines, ascii_uppercase, strict=False))


def _changes(entries):
    """How the numbers came out by what was another than in the record: the machine, the number of threads."""
    rows = []
    for change, those in _by_change(entries).items():
        counts = sum((Counter(entry["counts"]) for entry in those), Counter())
        verdicts = Counter(entry["verdict"] for entry in those)
        told = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in rerun.VERDICTS if verdicts[verdict])
        rows.append([*change, len(those), *_counted(counts), told])
    return table(["machine", "threads", "runs", "numbers", "same", "within", "else", "verdicts"], rows) if rows else ""


def _by_change(entries):
    found = {}
    for entry in entries:
        if "platform" in entry:
            pairs = entry["platform"], entry["threads"].values()
            change = tuple("the same" if len(set(pair)) == 1 else "another" for pair in pairs)
            found.setdefault(change, []).append(entry)
    return dict(sorted(found.items(), reverse=True))


def _counted(counts):
    """All numbers, those that are the same, those within tolerance, and what became of the others."""
    others = ", ".join(f"{counts[name]:,} {name}" for name in ("moved", "missing", "extra") if counts[name])
    return [f"{number:,}" for number in (sum(counts.values()), counts["same"], counts["within"])] + [others or "–"]


def _runs(entries, tables, letters):
    """The runs of each model: those compared with the record as it is and, folded, those with what it replaced."""
    found = {}
    for entry in entries:
        now = entry["table"] == tables.get(_run(entry))
        found.setdefault(entry["model"], ([], []))[not now].append(_row(entry, letters))
    order = itemgetter(0, 2)  # chapter, threads
    return "\n".join(_of_model(model, *(sorted(rows, key=order) for rows in two)) for model, two in found.items())


def _of_model(model, now, before):
    parts = [f"### {escaped(model)}\n", table(_COLUMNS, now) if now else "No run of the record as it is.\n"]
    if before:
        title = f"{escaped(model)}, earlier records: {len(before)}"
        parts.append(f"::::{{dropdown}} {title}\n\n{table(_COLUMNS, before)}\n::::\n")
    return "\n".join(parts)


def _row(entry, letters):
    numbers = _counted(Counter(entry["counts"]))[1:] if "counts" in entry else ["", "", entry["verdict"]]
    threads = _arrow(str(number) for number in entry["threads"].values() if number is not None)
    return [
        entry["technique"],
        _arrow(letters[machine] for machine in entry.get("platform", ())),
        threads + (", exact" if entry["exact"] else ""),
        *numbers,
        _DIGITS.format(entry["largest"]["absolute"]) if "largest" in entry else "",
        len(entry["numbers"]) if "numbers" in entry else "",
        entry.get("page", ""),
    ]


def _arrow(pair):
    return " → ".join(pair)


def _else(entries):
    """What else is another: a device, versions, a record that is stale."""
    told = []
    for entry in entries:
        if "device" in entry:
            device = [entry["device"]] if entry["device"] != "cpu" else []
            versions = [f"{what} {then} → {now}" for what, (then, now) in entry["versions"].items()]
            stale = [f"the record is stale: {said(entry['stale'])}"] if entry["stale"] else []
            if found := "; ".join([*device, *versions, *stale]):
                threads = _arrow(map(str, entry["threads"].values()))
                told.append([entry["technique"], entry["model"], threads, found])
    return table(["chapter", "model", "threads", "what else differs"], told) if told else ""


def _moved(entries):
    if not entries:
        return "Nothing was executed again, so nothing could move.\n"
    parts = []
    for entry in entries:
        name = Markdown(f"**{entry['technique']} on {entry['model']}**".replace("_", "\\_"))
        if entry["error"]:
            parts.append(f"{name} failed:\n\n```text\n{entry['error']}\n```\n")
        elif entry["moved"]:
            found = entry["counts"]
            total = found["moved"] + found["missing"] + found["extra"]
            first = f", the first {len(entry['moved'])}" if total > len(entry["moved"]) else ""
            shown = table(["row", "number", "recorded", "again", "verdict"], _rows_moved(entry))
            parts.append(f"{name}: {total} numbers{first}.\n\n{shown}")
    return "\n".join(parts) or "Nothing moved.\n"


def _rows_moved(entry):
    return [
        [
            ", ".join(f"{key} {_plain(value)}" for key, value in row["where"].items()),
            row["number"],
            *("–" if row[side] is None else f"{row[side]:.6g}" for side in ("recorded", "again")),
            row["verdict"],
        ]
        for row in entry.get("moved", [])
    ]


def _tolerances():
    rows = [
        [_held(rule), *(f"{rule.get(name, 0):g}" for name in ("absolute", "relative", "share")), rule["reason"]]
        for rule in compare.rules()
    ]
    return table(["numbers", "absolute", "relative", "share", "because"], rows)


def _held(rule):
    """The numbers that a rule is for, by what it asks of them."""
    asked = [f"{name} `{rule[key]}`" for name, key in _ASKED.items() if key in rule]
    return Markdown(", ".join(asked) or "all others")


def _plain(value):
    return f"{value:.0f}" if isinstance(value, float) else value
