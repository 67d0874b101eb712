"""The figures of this chapter: what units taken out cost, whom they serve, what scores share, where units are active.

First units are solid and blue, random units of the same layers dashed and orange, as a domain and its control are
elsewhere, and units that write as much dotted and green; what is expected by chance is a grey band.
"""

import matplotlib.pyplot as plt

from medlib import figures
from medlib.chapters.grad_cam.heat_figures import FILLED as OF_MAPS
from medlib.chapters.multimodal_neurons.neuron_curves import MAPS
from medlib.chapters.multimodal_neurons.neuron_maps import BASELINES, MEASURES
from medlib.vision import overlay

LOOKS = {
    "first": ("medical", "first units"),
    "random": ("control", "random units, same layers"),
    "matched": ("other", "units that write as much, same layers"),
}
BEFORE = {
    "first units": figures.LOOKS["medical"],
    "random units": figures.LOOKS["control"],
    "random weights": figures.LOOKS["difference"],
    "brain centre": figures.LOOKS["other"],
    "brightness alone": figures.LOOKS["other"] | dict(color="0.2", marker="v"),
    "random brain tokens": figures.LOOKS["chance"],
}
FILLED = {  # the curves of filled pictures, as those of maps of attention and gradient are drawn
    "lesion": OF_MAPS["lesion"],
    "gradient": (MAPS["gradient"], dict(color="C0", ls="-")),
    "contribution": (MAPS["contribution"], dict(color="C1", ls="--")),
    "gradient randomised": ("the same by the gradient, random weights", dict(color="0.45", ls="-.")),
    "contribution randomised": ("the same by the contribution, random weights", dict(color="0.45", ls=(0, (1, 3)))),
    **{name: OF_MAPS[name] for name in ("brightness", "centre", "random")},
}


def costs(effects, metric, ylabel):
    """A panel for each kind of question and score: the effect on the units' own questions over how many are out.

    >>> costs(effects(taken), "drop", "drop of the answer, logits")

    `effects`: of neuron_effects.py.  The figure and its axes.
    """
    own = effects[(effects["metric"] == metric) & (effects["question_kind"] == effects["chosen_for"])]
    groups = dict(iter(own.groupby(["question_kind", "score"])))
    options = dict(sharey="row" if metric == "drop" else True, figsize=(7.2, 5))
    figure, grid = plt.subplots(len(groups) // 2, 2, squeeze=False, sharex=True, layout="constrained", **options)
    for axes, ((kind, score), table) in zip(grid.flat, groups.items(), strict=True):
        for units, (look, label) in LOOKS.items():
            part = table[table["units"] == units].sort_values("k")
            _whiskers(axes, part["k"], part, look, label)
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        axes.set_title(f"{kind}, by the {score}", fontsize="medium")
        axes.set(xscale="log", xlabel="units set to zero")
        axes.set_xticks(sorted(set(table["k"])), sorted(set(table["k"])))
        axes.minorticks_off()
        axes.label_outer()
    figure.supylabel(ylabel, fontsize="medium")
    figures.legend(figure, grid.flat)
    return figure, grid


def _whiskers(axes, at, table, look, label):
    drawn = figures.LOOKS[look]
    axes.vlines(at, table["low"], table["high"], color=drawn["color"], lw=1.5)
    axes.plot(at, table["value"], label=label, markersize=5, **drawn)


def served(specificity):
    """A row for each score and kind: what its units cost their own question and the scene's other one, and by how much
    the first is more, with its interval.  `specificity` is that of neuron_effects.py; the figure and its axes.
    """
    both = {"on their own question": ("medical", "own"), "on the other question": ("control", "other")}
    label = "drop of the right answer beyond that of random units, logits"
    return _rows(specificity, both, "own less other", label)


def pictured(of_picture):
    """A row for each score and kind: what answers lose without their units where they are right, and where wrong.

    `of_picture` is that of neuron_effects.py; the figure and its axes.
    """
    both = {"where it is right": ("medical", "right"), "where it is wrong": ("control", "wrong")}
    return _rows(of_picture, both, "right less wrong", "drop of an answer without its own units, logits")


def _rows(table, both, difference, xlabel):
    """A row for each row of a table: two values, and below them their difference with its interval."""
    figure, axes = plt.subplots(figsize=(7.2, 0.7 * len(table) + 1.3), layout="constrained")
    for at, row in enumerate(table.itertuples()):
        for label, (name, column) in both.items():
            look = dict(color=figures.LOOKS[name]["color"], markersize=6, label=None if at else label)
            axes.plot(getattr(row, column), at - 0.15, figures.LOOKS[name]["marker"], **look)
        axes.plot([row.low, row.high], [at + 0.15] * 2, color="black", lw=1.5)
        axes.plot(row.value, at + 0.15, "D", color="black", markersize=6, label=None if at else difference)
    axes.axvline(0, color="0.6", lw=1, zorder=0)
    names = [f"{kind},\nby the {score}" for kind, score in zip(table["chosen_for"], table["score"], strict=True)]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    figures.legend(figure, [axes])
    return figure, axes


def sharing(tables, counts):
    """A panel for each answer: the share of first units in common over how many, with the range expected by chance.

    >>> sharing({"gradient and contribution": agreement, "two halves, gradient": halves}, [5, 20])

    `tables`: label -> rows of `neuron_scores.agreement` or `halves`; chance is that of the first.
    """
    first = next(iter(tables.values()))
    answers = [*dict.fromkeys(zip(first["question_kind"], first["answer"], strict=True))]
    figure, axes = figures.panels([f"{kind}: {answer}" for kind, answer in answers], sharey=True)
    looks = ("difference", "medical", "other")
    for (kind, answer), one in zip(answers, axes.values(), strict=True):
        for (label, table), look in zip(tables.items(), looks, strict=False):
            part = table[(table["metric"] == "shared") & (table["question_kind"] == kind) & (table["answer"] == answer)]
            part = part.astype({"k": float}).sort_values("k")
            if look == looks[0]:
                ends = part["low"], part["high"]
                one.fill_between(part["k"], *ends, color="0.8", lw=0, label="chance, same layers")
            drawn = figures.LOOKS[look]
            one.plot(part["k"], part["value"], label=label, **drawn)
        one.set(xscale="log", xlabel="first units", ylabel="share in common", ylim=(-0.03, 1.03))
        one.set_xticks(counts, counts)
        one.minorticks_off()
    figures.outer(axes.values())
    figures.legend(figure, axes.values(), ncol=2)
    return figure, axes


def first_scenes(maps, count=3):
    """The maps of the first `count` scenes of both halves; `maps`: (scene, score) -> map, of `neuron_maps.scored`."""
    scenes = [*dict.fromkeys(scene for scene, _ in maps)][:count]
    return {(scene, score): heat for (scene, score), heat in maps.items() if scene in scenes}


def examples(asked, prompts, maps, kind):
    """Maps of the first units over their pictures, a row for each score, with the lesion's outline in white.

    `maps`: of `first_scenes`.  The figure and its axes.
    """
    scores = [*dict.fromkeys(score for _, score in maps)]
    scenes = [*dict.fromkeys(scene for scene, _ in maps)]
    size = (2.3 * len(scenes), 2.4 * len(scores))
    figure, grid = plt.subplots(len(scores), len(scenes), squeeze=False, figsize=size, layout="constrained")
    for across, scene in enumerate(scenes):
        place = int(((asked["scene"] == scene) & (asked["question_kind"] == kind)).to_numpy().argmax())
        row = asked.iloc[place]
        for down, score in enumerate(scores):
            axes = grid[down, across]
            drawn = overlay(axes, prompts[place], maps[scene, score], limits=(0, 1))
            axes.contour(row["mask"], [0.5], colors="white", linewidths=1.5)
            axes.set_title(f"{row['answer']}, {score}", fontsize="small")
    figure.colorbar(drawn, ax=grid, label="activity, share of each unit's largest", shrink=0.8)
    return figure, grid


def hits(compared):
    """A panel for each measure: the first units' map and its baselines, for each score, with intervals.

    `compared`: of neuron_maps.py.  The figure and its axes.
    """
    figure, grid = plt.subplots(1, len(MEASURES), figsize=(7.2, 2.8), sharey=True, layout="constrained")
    scores = [*dict.fromkeys(compared["score"])]
    for axes, measure in zip(grid, MEASURES, strict=True):
        table = compared[(compared["measure"] == measure) & (compared["less"] == "")]
        for place, name in enumerate(("first units", *BASELINES)):
            part, look = table[table["map"] == name].set_index("score").loc[scores], BEFORE[name]
            at = [number + 0.13 * (place - 2.5) for number in range(len(scores))]
            axes.hlines(at, part["low"], part["high"], color=look["color"], lw=1.5)
            marker = look["marker"] or "x"
            axes.plot(part["value"], at, marker, color=look["color"], markersize=6, label=name)
        axes.set_yticks(range(len(scores)), [f"by the {score}" for score in scores])
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_xlabel({"pointing": "pointing score", "overlap": "intersection over union"}[measure])
    figures.legend(figure, grid)
    return figure, grid
