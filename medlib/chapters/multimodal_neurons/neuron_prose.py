"""What the tables of this chapter come to: the numbers of the prose, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.  An effect counts where its 95 % interval lies above zero; where
it reaches zero, nothing is decided.
"""

from medlib.chapters.multimodal_neurons.neuron_maps import BASELINES, MEASURES
from medlib.chapters.multimodal_neurons.neuron_removal import WHERE


def verdict(effects, of_picture, specificity, accuracy):
    """What the chapter comes to, in a sentence: `(value, text)`, the value the number of kinds with units that carry.

    The tables are those of neuron_effects.py.  Units are shown to matter where the model answers the kind above chance
    and the largest set costs the answer more than random units do, and more than units that write as much.  Those at
    the image tokens carry it from the picture where the answer loses more where it is right than where it is wrong.
    Those at the last token only write it there, since by then it may have been read off the picture by others; what
    the answer loses where it is wrong is said with it.
    """
    largest = [_differences(effects, units=units) for units in ("difference", "difference from matched")]
    parts, carried = [], 0
    for row in accuracy.itertuples():
        kind = row.question_kind
        needed = [score for score in WHERE if all(table.loc[(score, kind), "low"] > 0 for table in largest)]
        alone = [score for score in needed if _above_zero(specificity, kind, score)]
        if row.low <= row.chance:
            said = "not decided, since the model is not shown to answer it above chance"
        elif not needed:
            said = "not decided, since no first units are shown to cost it more than random ones and ones as loud"
        else:
            carried += "gradient" in needed and _above_zero(of_picture, kind, "gradient")
            said = "; ".join(_role(of_picture, kind, score) for score in needed)
            if alone:
                said += f"; those by the {_listed(alone)} cost it more than the other question"
            else:
                said += "; none are shown to cost it more than the other question"
        parts.append(f"{kind.capitalize()}: {said}")
    return carried, ". ".join(parts)


def _role(of_picture, kind, score):
    """What first units do for an answer: those at the image tokens may carry it, those at the last token write it."""
    row = of_picture[(of_picture["chosen_for"] == kind) & (of_picture["score"] == score)].iloc[0]
    more, losses = row["low"] > 0, f"{row['right']:.1f} logits lost where it is right, {row['wrong']:.1f} where wrong"
    if WHERE[score] == "image":
        does = "carry it from the picture" if more else "raise it, but are not shown to carry it from the picture"
        return f"first units at the image tokens, by the {score}, {does} ({losses})"
    how = "more where it is right" if more else "and not more where it is right"
    return f"those at the last token, by the {score}, write it there, {how} ({losses})"


def _above_zero(table, kind, score):
    row = table[(table["chosen_for"] == kind) & (table["score"] == score)]
    return bool((row["low"] > 0).all()) and len(row) > 0


def of_effects(effects):
    """What the largest set costs: key -> `(value, text)`, over kinds, and `n_most`, the size of the set.

    `cost_<score>` and `lost_<score>` are beyond random units, `beyond_matched_<score>` beyond units that write as much.
    """
    kinds_of = {
        "cost": (_differences(effects), "{:+.2f}"),
        "lost": (_differences(effects, "lost"), "{:+.0%}"),
        "beyond_matched": (_differences(effects, units="difference from matched"), "{:+.2f}"),
    }
    found = {"n_most": (int(effects["k"].max()), str(int(effects["k"].max())))}
    for score in WHERE:
        for key, (table, form) in kinds_of.items():
            own = table.loc[score]
            said = (f"{_interval(row, form)} on {kind}" for kind, row in own.iterrows())
            found[f"{key}_{score}"] = (float(own["value"].mean()), "; ".join(said))
    return found


def of_loudness(loudness):
    """How much of what first units write their matches write: key `loud_<score>` -> `(value, text)`."""
    found = {}
    for score, own in loudness.groupby("score"):
        said = (f"{_interval(row, '{:.2f}')} on {row['chosen_for']}" for _, row in own.iterrows())
        found[f"loud_{score}"] = (float(own["value"].mean()), "; ".join(said))
    return found


def of_blocks(blocks, score):
    """Between which blocks first units lie: `blocks_<score>` -> `(value, text)`; `blocks`: kind -> (first, last)."""
    first, last = min(one for one, _ in blocks.values()), max(one for _, one in blocks.values())
    return {f"blocks_{score}": (first, f"{first} to {last}")}


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
        said = (
            f"{_interval(row)} on {row['chosen_for']} ({row['right']:.1f} where right, {row['wrong']:.1f} where wrong)"
            for _, row in own.iterrows()
        )
        found[f"picture_{score}"] = (float(own["value"].mean()), "; ".join(said))
    return found


def of_accuracy(accuracy):
    """How often the model is right: `accuracy` -> `(value, text)`, the value the number of kinds above chance."""
    said = [
        f"{row['question_kind']} {_interval(row, '{:.0%}')} of {row['n']} scenes, chance {row['chance']:.0%}"
        for _, row in accuracy.iterrows()
    ]
    return {"accuracy": (int((accuracy["low"] > accuracy["chance"]).sum()), "; ".join(said))}


def of_maps(compared):
    """Whether the units' map beats its baselines: `map_<score>` -> `(value, text)`, the value how often it does.

    A map fails unless it beats every baseline by both measures; the baselines that beat it are named.
    """
    found = {}
    for score, own in compared.groupby("score"):
        less = own[own["less"] != ""].set_index(["measure", "less"])
        level = own[own["less"] == ""].set_index(["measure", "map"])["value"]
        beaten = {measure: [name for name in BASELINES if less.loc[(measure, name), "low"] > 0] for measure in MEASURES}
        number, of = sum(map(len, beaten.values())), len(MEASURES) * len(BASELINES)
        if number == of:
            text = f"the units that are first by the {score} are active at the lesion, more than all baselines"
        else:
            text = f"the map by the {score} fails: it beats its baselines in {number} of {of} comparisons"
            passed = [measure for measure in MEASURES if len(beaten[measure]) == len(BASELINES)]
            text += "".join(f", all of them by {measure}" for measure in passed)
            text += "".join(_worse(less, level, measure) for measure in MEASURES)
        found[f"map_{score}"] = (number, text)
    return found


def _worse(less, level, measure):
    """Which baselines beat the first units by a measure, in words; nothing where none does."""
    said = []
    for name in BASELINES:
        row = less.loc[(measure, name)]
        if row["high"] < 0:
            said.append(f"{name} ({level[measure, name]:.3f})")
    own = level[measure, "first units"]
    return f"; by {measure} it has {own:.3f}, worse than {', '.join(said)}" if said else ""


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


def _differences(effects, metric="drop", units="difference"):
    """The rows of the largest count on own questions, first less random or less matched, by score and kind."""
    own = effects[(effects["question_kind"] == effects["chosen_for"]) & (effects["metric"] == metric)]
    own = own[(own["units"] == units) & (own["k"] == own["k"].max())]
    return own.set_index(["score", "question_kind"]).sort_index()


def _interval(row, form="{:+.2f}"):
    return f"{form.format(row['value'])} ({form.format(row['low'])} to {form.format(row['high'])})"


def _range(values, form="{:.2f}"):
    if values.empty:
        return "not known", "not known, for want of scenes,"
    low, high = (form.format(round(float(end), 6) + 0.0) for end in (values.min(), values.max()))
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
