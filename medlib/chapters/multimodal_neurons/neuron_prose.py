"""What the tables of this chapter come to: the numbers of the prose, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.  An effect counts where its 95 % interval lies above zero; where
it reaches zero, nothing is decided.
"""

from medlib.chapters.multimodal_neurons.neuron_maps import BASELINES, MEASURES
from medlib.chapters.multimodal_neurons.neuron_removal import WHERE


def verdict(effects, of_picture, specificity, accuracy):
    """What the chapter comes to, in a sentence: `(value, text)`, the value the number of kinds with units that carry.

    The tables are those of neuron_effects.py.  First units carry an answer from the picture where the model answers the
    kind above chance, the largest set costs the answer more than random units do, and costs it more where it is right
    than where it is wrong; they serve this question alone where it also costs more than on the scene's other one.
    """
    largest = _differences(effects)
    parts, carried = [], 0
    for row in accuracy.itertuples():
        kind = row.question_kind
        needed = [score for score in WHERE if largest.loc[(score, kind), "low"] > 0]
        carry = [score for score in needed if _above_zero(of_picture, kind, score)]
        alone = [score for score in carry if _above_zero(specificity, kind, score)]
        if row.low <= row.chance:
            said = "not decided, since the model is not shown to answer it above chance"
        elif not needed:
            said = "not decided, since no first units are shown to cost it more than random ones"
        elif not carry:
            said = f"units that are first by the {_listed(needed)} raise the answer, "
            said += "but are not shown to carry it from the picture"
        else:
            carried += 1
            said = f"units that are first by the {_listed(carry)} carry it from the picture"
            if alone:
                said += f", and those by the {_listed(alone)} cost it more than the other question"
            else:
                said += ", but none are shown to cost it more than the other question"
        parts.append(f"{kind}: {said}")
    return carried, "; ".join(parts)


def _above_zero(table, kind, score):
    row = table[(table["chosen_for"] == kind) & (table["score"] == score)]
    return bool((row["low"] > 0).all()) and len(row) > 0


def of_effects(effects):
    """What the largest set costs: key -> `(value, text)`, `cost_<score>` and `lost_<score>` over kinds, `n_most`."""
    largest, lost = _differences(effects), _differences(effects, "lost")
    found = {"n_most": (int(effects["k"].max()), str(int(effects["k"].max())))}
    for score in WHERE:
        for key, table, form in (("cost", largest, "{:+.2f}"), ("lost", lost, "{:+.0%}")):
            own = table.loc[score]
            said = (f"{_interval(row, form)} on {kind}" for kind, row in own.iterrows())
            found[f"{key}_{score}"] = (float(own["value"].mean()), "; ".join(said))
    return found


def of_specificity(specificity):
    """Own less other question, for each score: key `specific_<score>` -> `(value, text)`."""
    found = {}
    for score, own in specificity.groupby("score"):
        said = (f"{_interval(row)} for {row['chosen_for']} less {row['question_kind']}" for _, row in own.iterrows())
        found[f"specific_{score}"] = (float(own["value"].mean()), "; ".join(said))
    return found


def of_pictures(of_picture):
    """What answers lose where right less where wrong, for each score: key `picture_<score>` -> `(value, text)`."""
    found = {}
    for score, own in of_picture.groupby("score"):
        said = (f"{_interval(row)} on {row['chosen_for']}" for _, row in own.iterrows())
        found[f"picture_{score}"] = (float(own["value"].mean()), "; ".join(said))
    return found


def of_accuracy(accuracy):
    """How often the model is right: `accuracy` -> `(value, text)`, the value the number of kinds above chance."""
    said = [
        f"{row['question_kind']} {_interval(row, '{:.0%}')}, chance {row['chance']:.0%}"
        for _, row in accuracy.iterrows()
    ]
    return {"accuracy": (int((accuracy["low"] > accuracy["chance"]).sum()), "; ".join(said))}


def of_maps(compared):
    """Whether the units' map beats its baselines: `map_<score>` -> `(value, text)`, the value how often it does."""
    found = {}
    for score, own in compared.groupby("score"):
        cells = own[own["less"] != ""].set_index(["measure", "less"])
        beaten = {
            measure: [name for name in BASELINES if cells.loc[(measure, name), "low"] > 0] for measure in MEASURES
        }
        passed = [measure for measure in MEASURES if len(beaten[measure]) == len(BASELINES)]
        number = sum(map(len, beaten.values()))
        of = len(MEASURES) * len(BASELINES)
        if len(passed) == len(MEASURES):
            text = f"the units that are first by the {score} are active at the lesion, more than all baselines"
        elif passed:
            text = (
                f"the map by the {score} beats all baselines in its {passed[0]} score and not in the other: undecided"
            )
        else:
            text = f"the map by the {score} fails: it beats its baselines in {number} of {of} comparisons"
        found[f"map_{score}"] = (number, text)
    return found


def of_agreement(agreement, key):
    """How far two scores agree, over answers: `<key>_ranks`, `<key>_within`, `<key>_shared` -> `(value, text)`."""
    found = {}
    for name, metric in (("ranks", "ranks"), ("within", "ranks in layer")):
        found[f"{key}_{name}"] = _range(agreement.loc[agreement["metric"] == metric, "value"])
    return found | {f"{key}_shared": _shared(agreement)}


def of_halves(halves, key):
    """How far the two halves of the scenes choose the same units: `<key>` -> `(value, text)`."""
    return {key: _shared(halves)}


def of_words(words, random, score):
    """How often the answer is among the words that first units write, and random ones: `says_<score>` -> both."""
    value, chance = float(words["says"].mean()), float(random["says"].mean())
    return {f"says_{score}": (value, f"{value:.0%} against {chance:.0%} of random units of the same layers")}


def _differences(effects, metric="drop"):
    """The rows of the largest count on own questions, first less random, by score and kind."""
    own = effects[(effects["question_kind"] == effects["chosen_for"]) & (effects["metric"] == metric)]
    own = own[(own["units"] == "difference") & (own["k"] == own["k"].max())]
    return own.set_index(["score", "question_kind"]).sort_index()


def _interval(row, form="{:+.2f}"):
    return f"{form.format(row['value'])} ({form.format(row['low'])} to {form.format(row['high'])})"


def _range(values, form="{:.2f}"):
    if values.empty:
        return "not known", "not known, for want of scenes,"
    low, high = form.format(values.min()), form.format(values.max())
    return float(values.median()), low if low == high else f"{low} to {high}"


def _shared(table):
    largest = table[(table["metric"] == "shared") & (table["k"] == table["k"].max())]
    if largest.empty:
        return "not known", "not known, for want of scenes"
    more = int((largest["value"] > largest["high"]).sum())
    share, chance = _range(largest["value"], "{:.0%}"), _range(largest["chance"], "{:.1%}")
    text = f"{share[1]} (chance {chance[1]}; beyond chance for {more} of {len(largest)} answers)"
    return share[0], text


def _listed(names):
    return " and the ".join(names)
