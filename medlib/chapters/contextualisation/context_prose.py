"""What the tables of this chapter come to: the numbers of the prose, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.
"""

from medlib.chapters.contextualisation.context_figures import shown
from medlib.chapters.contextualisation.context_tables import SPACES, chosen
from medlib.chapters.contextualisation.later_layers import MEASURES, direction, thirds

WORDS = {"falls": "falls", "rises": "rises", "undecided": "is not decided"}


def verdict(later, against, question):
    """Whether later layers are more picture-specific at the tokens of a question: a sentence.

    >>> verdict(later, against, "Is there a lesion?")
    'Not decided: from the first to the last third of the layers SelfSim falls in 0 of 4 ways to measure it ...'

    The ways are: as the cosine stands and less random tokens, with all dimensions and without the largest.  "Yes" needs
    all four, and a fall that is larger than that on shuffled pictures.
    """
    ways = _ways(later, question)
    count = {way: list(ways.values()).count(way) for way in WORDS}
    tally = (
        f"from the first to the last third of the layers SelfSim falls in {count['falls']} of {len(ways)} ways to "
        f"measure it, rises in {count['rises']} and is not decided in {count['undecided']}"
    )
    if count["undecided"] == len(ways):
        return f"Not decided: {tally}"
    if count["rises"] == len(ways):
        return f"No, the other way round: {tally}"
    if count["falls"] < len(ways):
        if ways["raw", MEASURES[0]] == "falls" and ways["raw", MEASURES[1]] != "falls":
            return f"Only as the cosine stands, not beside random tokens: {tally}"
        if all(ways["raw", one] == "falls" for one in MEASURES):
            return f"Only with the largest dimensions in: {tally}"
        return f"That depends on how it is measured: {tally}"
    beyond = direction(_row(against, question, "raw", f"{MEASURES[1]}_fall_less_shuffled"))
    if beyond == "falls":
        return f"Yes, and more than with shuffled pictures: {tally}"
    if beyond == "rises":
        return f"Yes, but shuffled pictures do more of it, so it says nothing about what is shown: {tally}"
    return f"Yes, but not shown to be more than with shuffled pictures, so not owed to what is shown: {tally}"


def of_later(later, against, questions):
    """The fall of SelfSim: key -> `(value, text)`; tables of later_layers.py; the first of `questions` leads."""
    first, *others = questions
    found = {"verdict": (_row(later, first, "raw", f"{MEASURES[0]}_fall")["value"], verdict(later, against, first))}
    for key, table, name in (
        ("fall", later, f"{MEASURES[0]}_fall"),
        ("fall_adjusted", later, f"{MEASURES[1]}_fall"),
        ("fall_beyond", against, f"{MEASURES[1]}_fall_less_shuffled"),
    ):
        row = _row(table, first, "raw", name)
        found[key] = (row["value"], f"{interval(row, '+.4f')}, p = {row['p']:.2g}")
    same = [question for question in others if _ways(later, question) == _ways(later, first)]
    text = f"{len(same)} of {len(others)} other questions agree in all four ways" if others else "no other was asked"
    return found | {"other_questions": (len(same), text)}


def of_image(later):
    """Whether image tokens of one place grow more specific: key -> `(value, text)`."""
    rows = later[(later["component"] == "image") & (later["space"] == "raw")].set_index("metric")
    words = [WORDS[direction(rows.loc[f"{one}_fall"])] for one in MEASURES]
    text = f"it {words[0]} as the cosine stands and {words[1]} beside random image tokens"
    row = rows.loc[f"{MEASURES[1]}_fall"]
    return {"image_direction": (row["value"], text), "image_fall": (row["value"], interval(row, "+.4f"))}


def of_curves(curves, question, n_layers):
    """Where the curves stand: key -> `(value, text)`; means over the last third of the layers are means of `value`."""
    _, last = thirds(n_layers)
    found = {}
    for kind in ("text", "image"):
        rows = curves[(curves["component"] == kind) & (curves["space"] == "raw")]
        rows = rows[rows["variant"] == question] if kind == "text" else rows
        for metric in ("self_similarity", "intra_similarity", "mev"):
            own, less = (chosen(rows, name) for name in (metric, f"{metric}_adjusted"))
            value, rest = (one[one["layer"].isin(last)]["value"].mean() for one in (own, less))
            found[f"{metric}_{kind}"] = (value, f"{value:.3f} ({rest:+.3f} beside random tokens)")
    return found


def of_tokens(changes, lead):
    """Which token changes most: key -> `(value, text)`; of `token_changes.changes` and `lead`."""
    first, second, (value, low, high) = lead
    one, two = (changes.iloc[at] for at in (first, second))
    clear = "clearly ahead of" if low > 0 else "not told apart from"
    text = (
        f"`{shown(one['token'])}` changes most, by {interval(one, '.4f')}, {clear} `{shown(two['token'])}` "
        f"(difference {value:.4f}, 95 % interval {low:.4f} to {high:.4f})"
    )
    return {"most_changed": (float(one["value"]), text)}


def of_lowest(lowest, n_layers):
    """Where SelfSim is lowest: key -> `(value, text)`; `lowest` of later_layers.py."""
    value, low, high = lowest
    return {"lowest": (value, f"layer {value:.0f} of {n_layers} (95 % interval {low:.0f} to {high:.0f})")}


def interval(row, form):
    """A value with its interval, as the prose writes it.

    >>> interval(dict(value=0.1, low=0.05, high=0.2), ".2f")
    '0.10 (95 % interval 0.05 to 0.20)'
    """
    value, low, high = (format(row[name], form) for name in ("value", "low", "high"))
    return f"{value} (95 % interval {low} to {high})"


def _ways(later, question):
    return {
        (space, measure): direction(_row(later, question, space, f"{measure}_fall"))
        for space in SPACES
        for measure in MEASURES
    }


def _row(table, question, space, metric):
    found = table[(table["variant"] == question) & (table["space"] == space) & (table["metric"] == metric)]
    return found.iloc[0]
