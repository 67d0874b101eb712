"""What faults were found to do: rows that the page shows, printed and kept in a file."""

import json
from collections import Counter

import bench
from rich import box
from rich.table import Table


def row(fault, command, outcomes, wrong, messages=()):
    """What a fault did, for the page: `outcomes` are phrases, one a trial, `wrong` what the next command met."""
    return {
        "fault": fault,
        "command": command,
        "n": len(outcomes),
        "outcomes": dict(Counter(outcomes).most_common()),
        "next": dict(Counter(wrong).most_common()),
        "messages": sorted(set(messages)),
        "holds": not wrong and not any(outcome.startswith("LOST") for outcome in outcomes),
    }


def report(console, lines):
    """The rows of a section as a list, each shown when it is there."""
    found = []
    for line in lines:
        found.append(line)
        what = "; ".join(f"{n} x {said}" for said, n in (line["outcomes"] | line["next"]).items())
        table = Table(box=box.SIMPLE, show_header=False)
        table.add_row(line["fault"], line["command"], str(line["n"]), what, "" if line["holds"] else "DID NOT HOLD")
        console.print(table)
    return found


def write(name, content):
    """Keep a section in the file of what was found, beside those of earlier calls."""
    bench.FOLDER.mkdir(parents=True, exist_ok=True)
    path = bench.FOLDER / "faults.json"
    whole = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(whole | {name: content}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return content
