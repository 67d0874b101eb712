"""How the knowledge chapter draws what it finds: accuracies side by side, and how long the questions are."""

import matplotlib.pyplot as plt

from medlib import figures, knowledge


def scores(scores, known):
    """The three accuracies of every domain, a panel each, with what counts as known as a dashed line: figure and axes.

    >>> scores(found, known)

    `scores`: `knowledge.scores` of each domain with the column `domain`, each medical domain followed by its control.
    """
    overall = scores[scores["variant"] == ""].set_index(["metric", "domain"])
    figure, axes = plt.subplots(1, len(knowledge.METRICS), figsize=(8.6, 5.0), sharey=True, layout="constrained")
    for one, metric in zip(axes, knowledge.METRICS, strict=True):
        figures.accuracies(one, overall.loc[metric], known)
        one.set(xlabel=f"{metric} accuracy", xlim=(0, 1.03), xticks=(0, 0.25, 0.5, 0.75, 1))
        one.set_xticklabels(["0", "", "0.5", "", "1"])
    axes[0].axvline(knowledge.KNOWN, color="0.3", ls="--", lw=1)
    return figure, axes


def lengths(tokens, controls):
    """The number of tokens of the questions, of each medical domain and its control in a panel: figure and axes.

    `tokens`: of `knowledge_tables.lengths`.
    """
    figure, axes = figures.panels(controls, sharex=False)
    for domain, control in controls.items():
        axes[domain].set_title("")
        figures.lengths(axes[domain], {name: tokens[name] for name in (domain, control)})
    return figure, axes
