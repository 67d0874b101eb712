"""What the tables of this chapter come to: the numbers of the prose, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.
"""

import re

import pandas as pd

from medlib.chapters.contextualisation import later_layers
from medlib.chapters.contextualisation.context_figures import shown
from medlib.chapters.contextualisation.context_tables import SPACES, chosen
from medlib.chapters.contextualisation.later_layers import MEASURES, SPANS, direction, thirds
from medlib.errors import MedlibError

WORDS = {"falls": "falls", "rises": "rises", "undecided": "is not decided"}
BESIDE = {MEASURES[0]: "as the cosine stands", MEASURES[1]: "beside random tokens"}
AGAINST = {"falls": "larger than theirs", "rises": "smaller than theirs", "undecided": "not told apart from theirs"}
WITHOUT = {"": "", "_without_first": ", without the first layer", "_without_ends": ", without the first and last layer"}


def verdict(later, against, question):
    """Whether later layers are more picture-specific at the tokens of a question: a sentence.

    >>> verdict(pd.concat([later, by_count]), against, "Is there a lesion?")
    'Not decided: from the first to the last third of the layers SelfSim falls in 0 of 30 ways to measure it ...'

    The ways are: as the cosine stands and less random tokens, with all dimensions and without each number of the
    largest, with all layers, without the first, and without the first and the last.  "Yes" needs all of them, and a
    fall that is larger than that on shuffled pictures, both as the cosine stands and less random tokens.
    """
    ways = list(_ways(later, question).values())
    count = {way: ways.count(way) for way in WORDS}
    tally = (
        f"from the first to the last third of the layers SelfSim falls in {count['falls']} of {len(ways)} ways to "
        f"measure it, rises in {count['rises']} and is not decided in {count['undecided']}"
    )
    beyond = {direction(_row(against, question, "raw", f"{one}_fall_less_shuffled")) for one in MEASURES}
    if count["rises"] == len(ways):
        return f"No, the other way round: {tally}"
    if count["falls"] == len(ways) and beyond == {"falls"}:
        return f"Yes, and more than with shuffled pictures: {tally}"
    if not count["falls"]:
        return f"Not decided: {tally}"
    return f"Not decided: {tally}; {_beside_shuffled(later, against, question)}"


def _beside_shuffled(later, against, question):
    """How the fall stands to that with the same tiles in another order."""
    rows = {one: _row(against, question, "raw", f"{one}_fall_less_shuffled") for one in MEASURES}
    fall = {one: _row(later, question, "raw", f"{one}_fall")["value"] for one in MEASURES}
    same = all(abs(row["value"]) < fall[one] / 2 for one, row in rows.items())
    said = [f"{AGAINST[direction(row)]} {BESIDE[one]} (by {row['value']:+.4f})" for one, row in rows.items()]
    opening = "tiles in another order do much the same: " if same else "beside tiles in another order "
    return f"{opening}the fall is {said[0]} and {said[1]}"


def of_later(later, against, questions):
    """The fall of SelfSim: key -> `(value, text)`; tables of later_layers.py; the first of `questions` leads."""
    first, *others = questions
    found = {"verdict": (_row(later, first, "raw", f"{MEASURES[0]}_fall")["value"], verdict(later, against, first))}
    for key, table, name in (
        ("fall", later, f"{MEASURES[0]}_fall"),
        ("fall_adjusted", later, f"{MEASURES[1]}_fall"),
        ("fall_without_first", later, f"{MEASURES[1]}_fall_without_first"),
        ("fall_without_ends", later, f"{MEASURES[1]}_fall_without_ends"),
        ("fall_beyond", against, f"{MEASURES[1]}_fall_less_shuffled"),
        ("fall_beyond_raw", against, f"{MEASURES[0]}_fall_less_shuffled"),
    ):
        row = _row(table, first, "raw", name)
        found[key] = (row["value"], f"{interval(row, '+.4f')}, p = {row['p']:.2g}")
    same = [question for question in others if _ways(later, question) == _ways(later, first)]
    text = f"{len(same)} of {len(others)} other questions agree in all ways" if others else "no other was asked"
    rows = {one: _row(against, one, "raw", f"{MEASURES[1]}_fall_less_shuffled") for one in others}
    beyond = [one for one, row in rows.items() if direction(row) == "falls"]
    found["others_beyond"] = (len(beyond), f"{len(beyond)} of {len(others)} other questions" if others else "no other")
    return found | {"other_questions": (len(same), text), "not_falling": _not_falling(later, first)}


def _not_falling(later, question):
    """The ways in which SelfSim does not fall, by name."""
    open_ways = [way for way, which in _ways(later, question).items() if which != "falls"]
    if not open_ways:
        return 0, "It falls in every way"
    if len(open_ways) == len(_ways(later, question)):
        return len(open_ways), "It falls in no way"
    names = [_way(*way) for way in open_ways]
    return len(open_ways), f"It does not fall, or is not shown to: {'; '.join(names)}"


def _way(space, measure, ending):
    out = "" if space == SPACES[0] else f", without the {space.split()[1]} largest"
    return f"{BESIDE[measure]}{out}{WITHOUT[ending]}"


def of_slices(looks, slices, question, seed=0):
    """The fall over pictures of one kind: key -> `(value, text)`, and the rows of `later_layers.later` of these.

    `slices`: bool `[picture]`.  Where too few are left, the text says so and there are no rows.
    """
    out = int((~slices).sum())
    try:
        rows = later_layers.later([later_layers.of_some(look, slices) for look in looks], seed)
    except MedlibError as error:
        return {"slices_only": ("none", str(error)), "n_other": (out, str(out))}, None
    row = _row(rows, question, "raw", f"{MEASURES[1]}_fall")
    plain = _row(rows, question, "raw", f"{MEASURES[0]}_fall")
    text = f"{interval(plain, '+.4f')} as the cosine stands and {interval(row, '+.4f')} beside random tokens"
    return {"slices_only": (row["value"], text), "n_other": (out, str(out))}, rows


def of_image(later, against):
    """Whether image tokens of one place grow more specific: key -> `(value, text)`."""
    rows = later[(later["component"] == "image") & (later["space"] == "raw")].set_index("metric")
    words = [WORDS[direction(rows.loc[f"{one}_fall"])] for one in MEASURES]
    text = f"it {words[0]} as the cosine stands and {words[1]} beside random image tokens"
    row = rows.loc[f"{MEASURES[1]}_fall"]
    beyond = against[against["component"] == "image"].set_index("metric").loc[f"{MEASURES[1]}_fall_less_shuffled"]
    return {
        "image_direction": (row["value"], text),
        "image_fall": (row["value"], interval(row, "+.4f")),
        "image_beyond": (beyond["value"], f"{interval(beyond, '+.4f')}, p = {beyond['p']:.2g}"),
    }


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
        f"{_placed(one)} changes most, by {interval(one, '.4f')}, {clear} {_placed(two)} "
        f"(difference {value:.4f}, 95 % interval {low:.4f} to {high:.4f})"
    )
    return {"most_changed": (float(one["value"]), text)}


def _placed(row):
    """A token with its place, since a template may hold the same one several times."""
    token = row["token"].strip()
    blank = "the line break" if "\n" in row["token"] else "white space"
    return f"{f'“{token}”' if token else blank} (token {row['position'] + 1} behind the picture)"


def table_of_ways(rows):
    """`later_layers.by_count` of one question in words: a row for each number of dimensions and each set of layers."""
    found = []
    for count in rows["count"].unique():
        for ending in SPANS:
            row = {"dimensions left out": int(count), "layers": WITHOUT[ending].removeprefix(", ") or "all"}
            for measure in MEASURES:
                one = rows[(rows["count"] == count) & (rows["metric"] == f"{measure}_fall{ending}")].iloc[0]
                row[BESIDE[measure]] = (
                    f"{one['value']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f}), p = {one['p']:.2g}"
                )
            found.append(row)
    return pd.DataFrame(found)


def table_of_tokens(changes):
    """`token_changes.changes` in words, the token that changes most first."""
    most = changes.sort_values("value", ascending=False)
    return pd.DataFrame(
        {
            "token": [shown(token) for token in most["token"]],
            "place behind the picture": most["position"] + 1,
            "1 - SelfSim": [
                f"{row.value:.4f} ({row.low:.4f} to {row.high:.4f})" for row in most.itertuples(index=False)
            ],
        }
    )


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
    """Direction by (space, measure, what is left out of the layers): `SPACES[0]` and each number of dimensions."""
    rows = later[later["variant"] == question]
    spaces = [space for space in rows["space"].unique() if counted(space)]
    return {
        (space, measure, ending): direction(_row(later, question, space, f"{measure}_fall{ending}"))
        for space in spaces
        for measure in MEASURES
        for ending in SPANS
    }


def counted(space):
    """Whether a space is one of the ways: all dimensions, or without a number of them.

    >>> counted("without 10 largest")
    True
    """
    return space == SPACES[0] or re.fullmatch(r"without \d+ largest", space) is not None


def _row(table, question, space, metric):
    found = table[(table["variant"] == question) & (table["space"] == space) & (table["metric"] == metric)]
    return found.iloc[0]
