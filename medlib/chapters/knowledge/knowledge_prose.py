"""What the knowledge chapter says of its numbers, in words that hold whatever these are.

Each function returns `(value, text)`, as `Run.number` takes it.  What is measured is said as it is: the model prefers
the right answer of two, or its first choice is right.
"""

from medlib import knowledge

ENOUGH = 60  # pairs: fewer are too few to patch


def verdict(scores, known, answers, medical):
    """The first sentence of the answer: in how many domains the right answer of two is preferred, and chosen first.

    >>> verdict(scores, known, {"drugs": 68}, ["drugs"])

    `scores`: `knowledge.scores` of each domain with the column `domain`; `answers`: domain -> number of different
    answers.  First choices among two answers are no more than the preference, and are left out.
    """
    found = [name for name in medical if known[name]]
    words = f"In {len(found)} of {len(medical)} medical domains the model reliably prefers the right answer of two"
    first = {name: row["value"] for name, row in _overall(scores, "n-way").iterrows()}
    several = sorted((name for name in found if answers[name] > 2), key=first.get)
    if several:
        ends = [f"{_percent(first[name])} ({name})" for name in dict.fromkeys([several[0], several[-1]])]
        words += (
            ", which is less than knowing it: its first choice among all answers is right in "
            f"{' to '.join(ends)} of the questions"
        )
    return len(found), words


def details(scores, known, medical):
    """Each medical domain with its accuracies: `drugs 0.70 pairwise, first choice 15 % (4 %)`; the grey ones last."""
    pairwise, first = (_overall(scores, metric) for metric in ("pairwise", "n-way"))
    said = {
        name: f"{name} {pairwise['value'][name]:.2f} pairwise, first choice {_percent(first['value'][name])} "
        f"({_percent(first['chance'][name])})"
        for name in medical
    }
    shown, hidden = ([said[name] for name in medical if known[name] is side] for side in (True, False))
    return len(shown), "; ".join(shown) + ("; not reliably: " if shown and hidden else "") + "; ".join(hidden)


def controls(known, controls):
    """In how many controls the right answer is preferred too, and what that says of medicine.

    `controls`: medical domain -> control.
    """
    names = list(dict.fromkeys(controls.values()))
    found, rest = ([name for name in names if known[name] is side] for side in (True, False))
    words = f"in {len(found)} of {len(names)} controls, without medicine"
    if rest:
        words += f" (not in {', '.join(rest)})"
    medical = sum(known[name] for name in controls)
    if medical and len(found) / len(names) >= medical / len(controls):
        words += ", so the preference is nothing special to medicine"
    return len(found), words


def beneath(scores, known):
    """Domains that are not known, but have a contrast above one half: something is there beneath an answer bias."""
    low = _overall(scores, "contrast")["low"]
    return listed(name for name, is_so in known.items() if not is_so and low[name] > 0.5)


def pairs(counts, known, medical):
    """The fewest pairs of a medical domain that is known, with its name, and the domains with too few, known or not."""
    usable = counts["kept"]
    of_known = usable[[name for name in medical if known[name]]]
    fewest = f"{of_known.min()} ({of_known.idxmin()})" if len(of_known) else "none, since none is known"
    too_few = listed(usable.index[usable < ENOUGH])
    return {
        "fewest": (int(of_known.min()) if len(of_known) else 0, fewest),
        "too_few": too_few,
        "enough": (ENOUGH, str(ENOUGH)),
    }


def labels(sensitivity):
    """For which domains the primary labels score above others, and for which these score above random labels only.

    Higher is what no interval reaches: the low end of one lies above the high end of the other.
    """
    table = sensitivity.pivot(index="domain", columns="labelling", values=["value", "low", "high"])
    higher = table["low", "primary"] > table["high", "others"]
    alike = ~higher & (table["low", "others"] > table["high", "random"])
    return {"primary_labels": listed(table.index[higher]), "same_labels": listed(table.index[alike])}


def rule():
    """The numbers of the rule by which a domain is known."""
    return {
        "least": (knowledge.KNOWN, _percent(knowledge.KNOWN)),
        "fewest_items": (knowledge.FEWEST, str(knowledge.FEWEST)),
        "fewest_clusters": (knowledge.FEWEST_CLUSTERS, str(knowledge.FEWEST_CLUSTERS)),
    }


def listed(names):
    """Names with commas between, as a number of the prose; `none` for none."""
    words = ", ".join(names) or "none"
    return words, words


def _overall(scores, metric):
    return scores[(scores["variant"] == "") & (scores["metric"] == metric)].set_index("domain")


def _percent(value):
    return f"{value:.0%}".replace("%", " %")
