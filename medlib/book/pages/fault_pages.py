"""The page of what was tried to break it: faults that were made and input that was made up, as the script counted them.

`make bench-faults` makes them and `make bench-record` keeps what it found; nothing is counted or judged here.
"""

import json

from medlib.book.pages.markdown import table

KILLS = ("kills_run", "kills_record", "kills_build")
FAULTS = (*KILLS, "pairs", "full", "read_only", "kernels", "clock", "damage")
NOT_TRIED = "Not tried in this copy; `make bench-faults` does.\n"


def write(folder, measured):
    """Write the pieces of the page into `folder`; `measured` is the folder of the JSON files of the benchmarks."""
    file = measured / "faults.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    faults = [row for name in FAULTS for row in found.get(name, [])]
    cases = found.get("made_up", [])
    (folder / "faults.md").write_text(_faults(faults, found) if faults else NOT_TRIED, encoding="utf-8")
    (folder / "fault_cases.md").write_text(_cases(cases) if cases else NOT_TRIED, encoding="utf-8")


def _faults(rows, found):
    killed = sum(row["n"] for name in KILLS for row in found.get(name, []))
    lines = [
        [
            row["fault"],
            row["command"],
            row["n"] or "–",
            "not tried" if row.get("skipped") else "yes" if row["holds"] else "NO",
            row.get("skipped") or _counted(row["outcomes"]),
            "–" if row.get("skipped") else _counted(row["next"]) or "as it should",
            "; ".join(row["messages"]) or "–",
        ]
        for row in rows
    ]
    header = ["what was done", "to what", "times", "held", "what was there then", "the next call", "what was said"]
    tried = sum(row["n"] for row in rows)
    kinds = [row for row in rows if not row.get("skipped")]
    held = sum(row["holds"] for row in kinds)
    said = f"{tried:,} faults in all, {killed} of them kills; {held} of {len(kinds)} kinds held each time.\n\n"
    return said + table(header, lines) + _machine(found)


def _cases(rows):
    lines = [[row["fault"], f"{row['n']:,}", "yes" if row["holds"] else _counted(row["next"])] for row in rows]
    held = sum(row["holds"] for row in rows)
    said = f"{sum(row['n'] for row in rows):,} cases in all; {held} of {len(rows)} properties held on each.\n\n"
    return said + table(["property", "cases", "held"], lines)


def _counted(phrases):
    """Phrases with how often each was met."""
    return "; ".join(f"{phrase} ({n})" for phrase, n in phrases.items())


def _machine(found):
    said = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    return f"\n*Tried on*: {said}.\n"
