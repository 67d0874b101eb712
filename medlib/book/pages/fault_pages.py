"""The page of what was tried to break it: faults that were made and input that was made up, as the script counted them.

`make bench-faults` makes them and `make bench-record` keeps what it found; nothing is counted or judged here.
"""

from medlib.book.pages import measured as measured_files
from medlib.book.pages.markdown import table

KILLS = ("kills_run", "kills_record", "kills_build")
FAULTS = (*KILLS, "pairs", "full", "read_only", "kernels", "clock", "damage")
NOT_TRIED = "Not tried in this copy; `make bench-faults` does.\n"


def write(folder, measured):
    """Write the pieces of the page into `folder`; `measured` is the folder of the JSON files of the benchmarks."""
    file = measured / "faults.json"
    found = measured_files.read(file) or {}
    with measured_files.damage_named(file):
        faults = [row for name in FAULTS for row in found.get(name, [])]
        cases = found.get("made_up", [])
        said = {"faults": _faults(faults, found) if faults else "", "fault_cases": _cases(cases) if cases else ""}
    for name, text in said.items():
        (folder / f"{name}.md").write_text(text or NOT_TRIED, encoding="utf-8")


def _faults(rows, found):
    killed = sum(row["n"] for name in KILLS for row in found.get(name, []))
    lines = [
        [row["fault"], row["command"], row["n"], _held(row), _counted(row["outcomes"] | row["next"])] for row in rows
    ]
    messages = [[row["fault"], row["command"], message] for row in rows for message in row["messages"]]
    tried, held = sum(row["n"] for row in rows), sum(row["holds"] for row in rows)
    said = f"{tried:,} faults in all, {killed} of them kills; {held} of {len(rows)} kinds held each time.\n\n"
    header = ["what was done", "to what", "times", "held", "what was there then"]
    tables = [table(header, lines), table(["what was done", "to what", "the last line that was printed"], messages)]
    return said + "\n".join(tables[: 1 + bool(messages)]) + _machine(found)


def _cases(rows):
    lines = [[row["fault"], f"{row['n']:,}", _held(row), _counted(row["next"]) or "–"] for row in rows]
    held = sum(row["holds"] for row in rows)
    said = f"{sum(row['n'] for row in rows):,} cases in all; {held} of {len(rows)} properties held on each.\n\n"
    return said + table(["property", "cases", "held", "what broke it"], lines)


def _held(row):
    return "yes" if row["holds"] else "NO"


def _counted(phrases):
    """Phrases with how often each was met."""
    return "; ".join(f"{phrase} ({n})" for phrase, n in phrases.items())


def _machine(found):
    said = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    return f"\n*Tried on*: {said}.\n"
