"""The page of the model that was trained here: its pictures, its record of training, and what it answers.

Accuracies are those that `python -m training.evaluate` wrote beside the weights; nothing is measured here.  Only the
pictures are drawn anew, each from its row.
"""

import json

import matplotlib.pyplot as plt
import pandas as pd

from medlib import figures
from medlib.book.pages.markdown import table
from medlib.scans import items, other_pictures, sources
from medlib.scans.model import GOALS, RECORD, TRAINED

SHOWN = (  # plane, lesion's polarity, structure at the mark, source: a picture of each is shown
    ("axial", "bright", "", ""),
    ("coronal", "dark", "", ""),
    ("sagittal", "bright", "", ""),
    ("axial", "", "", ""),
    ("coronal", "", "hippocampus", ""),
    ("", "", "", "fundus"),
    ("", "", "", "microscopy"),
    ("", "", "", "ct"),
)
VIEWS = {"seen": ("medical", "with its picture"), "blind": ("control", "the picture black")}
HEADS = {"slice_lesion_auc": "lesion, AUC of the likeliest patch", "lesion": "lesion", "side": "side", "plane": "plane"}


def write(folder, trained=TRAINED):
    """Write the pieces of the page and its figures into `folder`, from the folder of the trained part."""
    record = json.loads((trained / RECORD).read_text())
    found = json.loads((trained / "evaluation.json").read_text())
    steps = [json.loads(line) for line in (trained / "record.jsonl").read_text().splitlines()]
    answers = pd.DataFrame(found["answers"])
    figures.style()
    for name, figure in (
        ("scans_pictures", _pictures()),
        ("scans_training", _training(steps)),
        ("scans_answers", _answers(answers)),
    ):
        figure.savefig(folder / f"{name}.png", dpi=200)
        plt.close(figure)
    (folder / "scans_made.md").write_text(_made(record), encoding="utf-8")
    (folder / "scans_sources.md").write_text(_sources(), encoding="utf-8")
    (folder / "scans_verdict.md").write_text(_verdict(answers, found["scenes"]), encoding="utf-8")
    for split in items.SPLITS[1:]:
        part = answers[answers.split == split]
        (folder / f"scans_{split.replace('-', '_')}.md").write_text(_accuracies(part), encoding="utf-8")


def _verdict(answers, scenes):
    seen = answers[(answers.split == "held-out") & (answers["view"] == "seen")].set_index("kind")
    header = ["question", "asked for", "reached", "95 % interval", ""]
    rows = [
        [
            kind,
            f"{goal:.2f}",
            f"{seen.accuracy[kind]:.3f}",
            f"{seen.low[kind]:.3f} to {seen.high[kind]:.3f}",
            "met" if seen.accuracy[kind] >= goal else "missed",
        ]
        for kind, goal in GOALS.items()
    ]
    return table(header, rows) + f"\n*On*: {scenes} scenes of slices, lesions and crops that training never saw.\n"


def _accuracies(answers):
    header = ["question", "with its picture", "the picture black", "commonest answer", "chance", "items"]
    views = {name: part.set_index("kind") for name, part in answers.groupby("view")}
    rows = []
    for kind, (_, known) in items.QUESTIONS.items():
        seen, blind = views["seen"].loc[kind], views["blind"].loc[kind]
        said = [f"{one.accuracy:.2f} ({one.low:.2f}\u00a0to\u00a0{one.high:.2f})" for one in (seen, blind)]
        rows.append([kind, *said, f"{seen.majority_accuracy:.2f}", f"{1 / len(known):.2f}", int(seen["items"])])
    return table(header, rows)


def _made(record):
    training = record["training"]
    rows = [["parameters trained", f"{record['parameters']:,}"]]
    rows.append(["language model, not trained", record["language_model"]])
    for stage in ("tower", "language"):
        of = training[stage]
        said = f"{of['steps']:,} steps of {of['scenes']} scenes, {of['cpu_s'] / 60:.0f} minutes of CPU"
        rows.append([f"stage {stage}", said])
    rows.append(["seed, threads, torch", f"{training['seed']}, {training['threads']}, {training['torch']}"])
    rows.append(["sha256 of the weights", f"{record['sha256'][:16]}…"])
    return table(["training", "what was used"], rows)


def _sources():
    rows = [[one["what"], one["package"], one["licence"]] for one in sources.SOURCES.values()]
    return table(["what", "package", "licence of the content"], rows)


def _pictures():
    drawn = pd.DataFrame([items.scene("held-out", number) for number in range(200)])
    figure, grid = plt.subplots(2, len(SHOWN) // 2, figsize=(7.2, 4.1), layout="constrained")
    for axes, (plane, polarity, structure, source) in zip(grid.flat, SHOWN, strict=True):
        fits = (drawn.plane == plane) & (drawn.polarity == polarity) & (drawn.source == source)
        row = drawn[fits & (drawn.structure == structure)].iloc[0]
        picture, mask = items.draw(row)
        axes.imshow(picture, interpolation="nearest")
        if mask.any():
            axes.contour(mask, [0.5], colors=[figures.LOOKS["control"]["color"]], linewidths=1)
        holds = f"{polarity} lesion" if polarity else f"ring: {structure}" if structure else "no lesion"
        axes.set_title(f"{plane}, {holds}" if plane else other_pictures.MODALITIES[source], fontsize="x-small")
        axes.axis("off")
    return figure


def _training(steps):
    figure, both = plt.subplots(1, 2, figsize=(7.2, 3.0), sharey=True, layout="constrained")
    for axes, stage, prefix in zip(both, ("tower", "language"), ("", "answer_"), strict=True):
        table = pd.DataFrame([dict(step=x["step"], **x["held_out"]) for x in steps if x["stage"] == stage])
        for look, (name, label) in zip(figures.LOOKS.values(), HEADS.items(), strict=False):
            if (column := name if name.endswith("_auc") else prefix + name) in table:
                axes.plot(table["step"], table[column], label=label, **look)
        axes.set(xlabel="step", title="the tower's own heads" if stage == "tower" else "through the language model")
    both[0].set(ylabel="held-out balanced accuracy", ylim=(0.4, 1.01))
    figures.legend(figure, both)
    return figure


def _answers(answers):
    kinds = list(items.QUESTIONS)
    figure, both = plt.subplots(1, 2, figsize=(7.2, 3.4), sharex=True, sharey=True, layout="constrained")
    for axes, split in zip(both, items.SPLITS[1:], strict=True):
        for step, (view, (look, label)) in enumerate(VIEWS.items()):
            part = answers[(answers.split == split) & (answers["view"] == view)].set_index("kind").loc[kinds]
            at = [place + 0.22 * (step - 0.5) for place in range(len(kinds))]
            colour, marker = (figures.LOOKS[look][name] for name in ("color", "marker"))
            axes.hlines(at, part.low, part.high, color=colour, lw=2)
            axes.plot(part.accuracy, at, marker, color=colour, label=label)
        chance = [1 / len(items.QUESTIONS[kind][1]) for kind in kinds]
        axes.vlines(chance, [x - 0.35 for x in range(len(kinds))], [x + 0.35 for x in range(len(kinds))], color="0.4")
        axes.plot([], [], color="0.4", label="chance")
        axes.set(title=f"{split} scenes", xlabel="balanced accuracy", xlim=(0, 1.02))
    both[0].set_yticks(range(len(kinds)), kinds)
    both[0].invert_yaxis()
    figures.legend(figure, both)
    return figure
