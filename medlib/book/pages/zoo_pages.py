"""The page of models: what the zoo holds, and what each technique would cost on each of its models.

Written from the zoo and from `medlib.plan` when the book is assembled, for machines that are the same wherever the book
is built; nothing is measured here.
"""

from medlib import plan
from medlib.book.pages.markdown import Markdown, table
from medlib.models import zoo

MACHINES = {"8 cores": plan.cores(8), "one H100": plan.ACCELERATORS["h100"]}
MEMORY = "16GiB"


def write(folder):
    """Write `zoo.md` and `plan.md` into `folder`."""
    (folder / "zoo.md").write_text(_zoo(), encoding="utf-8")
    (folder / "plan.md").write_text(_plan(), encoding="utf-8")


def _zoo():
    header = ["model", "on the Hub", "revision", "parameters, billions", "layers", "bf16, GB"]
    rows, notes = [], []
    for name in zoo.names():
        entry = zoo.entry(name)
        rows.append(
            [
                name,
                _hub(entry),
                entry.get("revision", "main" if "hub" in entry else "–"),
                f"{entry['parameters'] / 1e9:.3g}",
                entry["layers"],
                f"{entry['parameters'] * 2 / 1e9:.3g}",
            ]
        )
        licence = entry["licence"] + (", gated" if entry["gated"] else "")
        notes.append(f"- **{name}**: {entry['what']} ({licence}). {entry.get('note', '')}")
    return table(header, rows) + "\n" + "\n".join(notes) + "\n"


def _hub(entry):
    """A link to the model on the Hub, or that it was trained here."""
    if "hub" not in entry:
        return "trained here"
    return Markdown(f"[{entry['hub']}](https://huggingface.co/{entry['hub']})")


def _plan():
    same = {name: [other for other in zoo.names() if zoo.entry(other).get("like") == name] for name in zoo.names()}
    header = ["model", "technique", "in memory, GiB", "time", "streamed, GiB", "time"]
    parts = []
    for machine, hardware in MACHINES.items():
        rows = []
        for name in zoo.names():
            if zoo.entry(name).get("like"):
                continue
            found = plan.plan(name, hardware, MEMORY).set_index(["technique", "weights"])
            for technique in plan.TECHNIQUES:
                row = [", ".join([name, *same[name]]) if technique == plan.TECHNIQUES[0] else "", technique]
                for weights in ("in memory", "streamed"):
                    cost = found.loc[(technique, weights)]
                    row += [f"{cost.memory / 2**30:.3g}", plan.said(cost.seconds).replace(" ", "\u00a0")]
                rows.append(row)
        parts.append(f"### On {machine}\n\n{table(header, rows)}")
    return "\n".join(parts)
