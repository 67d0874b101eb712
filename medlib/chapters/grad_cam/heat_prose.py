"""What the tables of this chapter come to: verdicts and numbers in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.
"""

import numpy as np
import pandas as pd

from medlib import stats
from medlib.chapters.grad_cam.filled_curves import void
from medlib.chapters.grad_cam.heat_maps import JUDGED, MAPS
from medlib.chapters.grad_cam.heat_scores import CONTROLS, METRICS, at_layers
from medlib.chapters.grad_cam.logit_sum import PAIRS
from medlib.chapters.grad_cam.shares import share
from medlib.scans.items import QUESTIONS

LIKE = 0.9  # a rank correlation from which two maps are called much the same


def known(answered, twins=None, seed=0):
    """How often each kind of question is answered right: a row each, `value, low, high, chance, n, known`.

    >>> known(answered, answers_given(model, twins)).loc["lesion"]

    `twins`: the same "lesion" questions about the twins, right with "no"; a scene and its twin are then one unit, half
    for each, so that a model which always says "yes" has one half.  `chance`: of the answers there are, or of always
    giving the commonest, whichever is more.  `known` where the interval lies above it.
    """
    rows = {}
    for kind, part in answered.groupby("question_kind", sort=False):
        right = part.set_index("scene")["right"].astype(float)
        chance = max(1 / len(QUESTIONS[kind][1]), part["answer"].value_counts(normalize=True).iloc[0])
        if kind == "lesion" and twins is not None:
            right = (right + twins.set_index("scene")["right"].astype(float)) / 2
            chance = 0.5
        interval = share(right, seed)
        rows[kind] = interval._asdict() | dict(chance=chance, n=len(right), known=interval.low > chance)
    return pd.DataFrame.from_dict(rows, orient="index")


def beats(compared, kind, metric="pointing"):
    """Which controls each map does not beat, `{map: [control]}`: the interval of the difference reaches zero."""
    part = compared[(compared["kind"] == kind) & (compared["metric"] == metric) & compared["control"].isin(CONTROLS)]
    part = part[part["map"].isin(MAPS)]
    return {name: [*part.loc[(part["map"] == name) & (part["low"] <= 0), "control"]] for name in MAPS}


def verdict(compared, knows, kind):
    """Whether a map points at the lesion: `(word, sentence)`, the word "yes", "some", "no" or "not decided".

    A map points where it beats every control on the scenes that had no part in choosing its layer; what the others do
    not beat is named.  Not decided where the model does not answer the question above chance: a map of an answer that
    is not there cannot be right or wrong.  Of a map at layer 1 it is said that it cannot be about the question.
    """
    one = knows.loc[kind]
    right = f"{spoken(one, '{:.0%}')} of answers are right, by chance {one['chance']:.0%}"
    if not one["known"]:
        return "not decided", f"Not decided: the model does not know the answer; {right}"
    failed = beats(compared, kind)
    good = [name for name, missed in failed.items() if not missed]
    early = _early(compared, kind, good)
    if len(good) == len(failed):
        return "yes", f"Yes: every map points at the lesion more than each of its controls does{early}; {right}"
    if not good:
        return "no", f"No: no map points at the lesion more than each of its controls does; {right}"
    bad = [f"{MAPS[name]} (not beyond {_named(missed)})" for name, missed in failed.items() if missed]
    point = f"{listed([MAPS[name] for name in good])} {'point' if len(good) > 1 else 'points'} at the lesion"
    return "some", f"It depends on the map: {point} more than every control does; not {listed(bad)}{early}; {right}"


def _named(controls):
    return "any control" if len(controls) == len(CONTROLS) else listed([CONTROLS[control] for control in controls])


def _early(compared, kind, names):
    """What has to be added about those of some maps whose layer is the first."""
    layer = compared[compared["kind"] == kind].groupby("map")["layer"].first()
    first = [MAPS[name] for name in names if layer[name] == 1]
    if not first:
        return ""
    return f"; {listed(first)} at layer 1, where the last token has not read the question, so not for the answer's sake"


def table_of_maps(compared, kind):
    """Each map at its chosen layer, its scores and how far it is beyond each control: a table of words, a row a map."""
    part = compared[compared["kind"] == kind]
    rows = {}
    for name in [*MAPS, "head", "lesion", "centre", "random", "brightness"]:
        own = part[part["map"] == name]
        if own.empty:
            continue
        layer = own["layer"].iloc[0]
        cells = {"layer": "" if pd.isna(layer) else str(layer)}
        for metric in METRICS:
            cells[metric] = spoken(own[(own["metric"] == metric) & own["control"].isna()].iloc[0])
        for control, label in CONTROLS.items():
            less = own[(own["metric"] == "pointing") & (own["control"] == control)]
            cells[f"less {label}"] = spoken(less.iloc[0], "{:+.2f}") if len(less) else ""
        names = {"head": "tower's own head", "lesion": "the lesion itself", **CONTROLS}
        rows[MAPS.get(name, names.get(name))] = cells
    return pd.DataFrame.from_dict(rows, orient="index")


def of_scores(compared, kind):
    """How often each map's hottest token touches the lesion, its layer, and the levels: key -> `(value, text)`."""
    part = compared[(compared["kind"] == kind) & compared["control"].isna()].set_index(["map", "metric"])
    found = {}
    for name in MAPS:
        row = part.loc[(name, "hit")]
        found[f"hit_{name}"] = (row["value"], spoken(row, "{:.0%}"))
        found[f"layer_{name}"] = (int(row["layer"]), str(row["layer"]))
    for name in ("centre", "random", "brightness"):
        found[f"hit_{name}"] = (part.loc[(name, "hit"), "value"], spoken(part.loc[(name, "hit")], "{:.0%}"))
    good = [MAPS[name] for name, missed in beats(compared, kind, "overlap").items() if not missed]
    found["overlap_beyond"] = (len(good), listed(good) if good else "no map")
    ceiling, n = part.loc[("lesion", "pointing")], int(part["n"].max())
    return found | {"ceiling": (ceiling["value"], spoken(ceiling)), "n_reported": (n, str(n))}


def of_other_kinds(others, compared, knows, first):
    """What the other kinds of question come to, in sentences: key `other_kinds` -> `(number of kinds, text)`.

    `others`: `heat_scores.other_kinds`.  Each has its own verdict, at layers chosen for it; and the maps are named that
    point less at the layer that was chosen for the `first` kind.
    """
    kinds, said = list(dict.fromkeys(others["kind"])), []
    for kind in kinds:
        part = others[others["kind"] == kind].set_index("map")
        lost = [
            f"{MAPS[name]} from {row.own:.2f} to {row.at_first:.2f} (by {spoken(row._asdict())})"
            for name, row in zip(part.index, part.itertuples(index=False), strict=True)
            if row.low > 0
        ]
        falls = f"falls: {listed(lost)}" if lost else "is not shown to fall"
        text = f"On {kind}, {part['n'].iloc[0]} scenes, at layers chosen for it. {verdict(compared, knows, kind)[1]}"
        said.append(f"{text}. At the layers chosen for {first}, the pointing score {falls}")
    return {"other_kinds": (len(kinds), ". ".join(said) if said else "No other kind of question was asked")}


def table_of_other_kinds(others):
    """`heat_scores.other_kinds` in words, a row for each kind and map."""
    return pd.DataFrame(
        [
            {
                "question": row.kind,
                "map": MAPS[row.map],
                "own layer": row.own_layer,
                "pointing there": f"{row.own:.2f}",
                "other layer": row.layer,
                "pointing at that": f"{row.at_first:.2f}",
                "lost": spoken(row._asdict(), "{:+.2f}"),
            }
            for row in others.itertuples()
        ],
        columns=["question", "map", "own layer", "pointing there", "other layer", "pointing at that", "lost"],
    )


def of_middle(found, scenes, kind, model, seed=0):
    """How often the map of all logits hits at the layer nearest to the middle, which nobody chose: key -> number."""
    layer = min(found["layer"].unique(), key=lambda one: (abs(one - model.n_layers // 2), one))
    part = found[(found["kind"] == kind) & (found["weights"] == "own") & found["scene"].isin(scenes)]
    part = part[(part["map"] == "all_logits") & (part["layer"] == layer)]
    interval = share(part["hit"], seed)
    return {
        "hit_middle": (interval.value, spoken(interval._asdict(), "{:.0%}")),
        "layer_middle": (int(layer), str(layer)),
    }


def on_right(found, answered, chosen, scenes, kind, seed=0):
    """The same for Grad-CAM of the answer on the scenes that the model answers right: key -> `(value, text)`."""
    right = answered[(answered["question_kind"] == kind) & answered["right"] & answered["scene"].isin(scenes)]["scene"]
    part = at_layers(found[(found["kind"] == kind) & found["scene"].isin(right)], chosen)
    part = part[(part["map"] == "grad_cam") & (part["weights"] == "own")]
    if len(part) < 3:
        return {"hit_right": (len(part), f"not known, for there are {len(part)} such scenes")}
    interval = share(part["hit"], seed)
    return {"hit_right": (interval.value, f"{spoken(interval._asdict(), '{:.0%}')} of {len(part)} scenes")}


def of_sum(means):
    """What the maps of logits have in common: key -> `(value, text)`; `means` is `logit_sum.likeness_means`.

    `sum_verdict` says whether the map of all logits is the same for models that say the same.
    """
    rows = means.set_index("pair")
    found = {}
    for pair in PAIRS:
        missing = pair not in rows.index
        found[f"like_{pair}"] = ("none", "not defined") if missing else (rows.value[pair], spoken(rows.loc[pair]))
    if "shifted_sum" not in rows.index:
        return found | {"sum_verdict": ("not decided", "Not decided: too few maps of all logits are not empty")}
    row = rows.loc["shifted_sum"]
    if row["high"] < LIKE:
        text = "It is no map of what the model says: a model with the same probabilities for every input has another"
    elif row["low"] >= LIKE:
        text = "Here it is much the same for a model with the same probabilities for every input, which need not be so"
    else:
        text = "Whether a model with the same probabilities for every input has the same one is not decided here"
    return found | {"sum_verdict": (row["value"], f"{text} (rank correlation {spoken(row)})")}


def of_shifted(pointing, seed=0):
    """Where the map of the sum points in a model with the same probabilities: key `shifted_points` -> `(value, text)`.

    `pointing`: `logit_sum.shifted_pointing`; the value is the mean score in that model.
    """
    own, other = (stats.bootstrap(pointing[name], seed=seed)._asdict() for name in ("own", "shifted"))
    less = stats.bootstrap((pointing["shifted"] - pointing["own"]).to_numpy(), seed=seed)._asdict()
    text = f"{spoken(other)} where that of the model itself has {spoken(own)}, a difference of "
    return {"shifted_points": (other["value"], text + spoken(less, "{:+.2f}"))}


def of_curves(areas, fill, controls, names=JUDGED):
    """By which maps the answer goes first and comes back first, beyond every control: key -> `(value, text)`.

    `names`: map -> what it is called, those that are judged.  The maps that fail are named too.  The value is the
    number of those that pass, or "void" where the lesion's own order does no better than a random one, since such a
    test could not tell a good map.
    """
    part = areas[(areas["fill"] == fill) & areas["control"].isin(controls) & areas["map"].isin(names)]
    found = {}
    for curve, side in (("deletion", "high"), ("insertion", "low")):
        if (row := void(areas, fill, curve)) is not None:
            text = f"void, for the lesion's own order does no better than a random one ({spoken(row, '{:+.3f}')})"
            found[f"{curve}_{fill}"] = ("void", text)
            continue
        of_one = part[part["curve"] == curve]
        clear = of_one[side] < 0 if curve == "deletion" else of_one[side] > 0
        passed = clear.groupby(of_one["map"]).all()
        good, bad = ([said for name, said in names.items() if passed.get(name) == one] for one in (True, False))
        text = f"sooner in the order of {listed(good) if good else 'no map'} than in that of every control"
        found[f"{curve}_{fill}"] = (len(good), f"{text}; not so in that of {listed(bad)}" if bad else text)
    return found


def listed(names):
    """Names in a row: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def spoken(row, form="{:.2f}"):
    """A value with its interval in words: "0.31 (0.20 to 0.42)"."""
    value, low, high = (form.format(float(np.round(row[key], 6)) + 0.0) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
