"""What the tables of this chapter come to: the numbers of the prose, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.
"""

import numpy as np

from medlib.chapters.image_tokens.answer_words import WORDS

COMPARISONS = ("place", *WORDS)
_SAID = {
    "place": "lesion words over the lesion",
    "modality": "modality",
    "plane": "plane",
    "polarity": "polarity of the lesion",
    "side": "side of the lesion",
    "lobe": "lobe of the lesion",
}
_CONTROLS = {"twin": "the twin without the lesion", "shuffled": "the shuffled picture", "black": "the black picture"}
_PARTS = {"lesion": "the tokens over the lesion", "all image": "all image tokens"}
_MISSED = 0.5  # of what a patch recovers: an estimate of less than that is said to miss it
_CARRIED = 0.1  # of P: below, there is nothing to be missed


def follows(tests, measure="log_p", sign=1):
    """In how many states each comparison follows the picture beyond its control: name -> states, in order.

    Beyond the control: q below 5 %, the difference above zero, and its interval too.  `sign=-1`: the other way round.
    """
    own = tests[(tests["measure"] == measure) & (tests["q"] < 0.05)]
    own = own[own["low"] > 0] if sign > 0 else own[own["high"] < 0]
    counts = own["comparison"].value_counts()
    return {name: int(counts[name]) for name in COMPARISONS if name in counts}


def of_words(tests, missing):
    """What the words at image tokens follow: key -> `(value, text)`, with the `verdict_words`.

    A word is read where it is among the ten first; what log-probabilities do further down the list is told apart.
    """
    own = tests[tests["measure"] == "log_p"]
    done = own["comparison"].nunique()
    told, against = (follows(tests, sign=sign) for sign in (1, -1))
    read = follows(tests, "share")
    left = _listed([_SAID[name] for name in missing]) if missing else "none"
    numbers = {
        "verdict_words": (len(read), _verdict(read, told, against, done, own["layer"].nunique())),
        "left_out": (len(missing), left),
        "n_comparisons": (done, str(done)),
        "n_word_tests": (len(own), str(len(own))),
        "n_follow": (sum(told.values()), str(sum(told.values()))),
        "n_against": (sum(against.values()), str(sum(against.values()))),
        "n_read": (sum(read.values()), str(sum(read.values()))),
        "last_state": _last_state(tests),
        "strongest_word": ("none", "none: there was no comparison"),
    }
    if len(own):
        row = own.loc[own["value"].idxmax()]
        text = (
            f"{row['value']:+.2f} nats ({row['low']:+.2f} to {row['high']:+.2f}; n = {row['n']}) for "
            f"{_SAID[row['comparison']]}, state {row['layer']}, q = {row['q']:.2g}"
        )
        numbers["strongest_word"] = (float(row["value"]), text)
    return numbers


def _verdict(read, told, against, done, states):
    if not done:
        return "Not decided: there are too few pictures for any comparison"
    if read:
        text = (
            f"Answer words that follow the picture are among the ten that the lens reads first, in {len(read)} of "
            f"{done} comparisons: {_counted(read, states)}"
        )
    else:
        text = (
            "No answer word is read at image tokens: among the ten words that the lens puts first none follows the "
            f"picture better than in its control, in any of {done} comparisons"
        )
    if told:
        text += f"; over the whole list log-probabilities do in {len(told)}: {_counted(told, states)}"
    else:
        text += "; nor do log-probabilities over the whole list" if not read else ""
    if against:
        text += f"; the other way round from what is known: {_counted(against, states)}"
    return text


def _counted(names, states):
    return _listed([f"{_SAID[name]} (at {count} of {states} states)" for name, count in names.items()])


def _last_state(tests):
    """What log-probabilities follow at the last state, where the lens is the model's own read-out."""
    if tests.empty:
        return "none", "there was no comparison"
    own = tests[tests["layer"] == tests["layer"].max()]
    told, against = (_listed([_SAID[name] for name in follows(own, sign=sign)]) for sign in (1, -1))
    return len(follows(own)), f"at state {own['layer'].iloc[0]} they follow: {told}; the other way round: {against}"


def of_lens(likenesses, gaps, shares):
    """How much of the lens's words is the picture's: key -> `(value, text)`; tables of token_tables.py."""
    found = {}
    for key, label in (("black", "a black picture"), ("shuffled", "its pixels shuffled"), ("other", "another scene")):
        values = likenesses[label]["value"]
        found[f"like_{key}"] = (float(values.median()), _range(values, "{:.0%}"))
    for key, version in (("picture", "as it is"), ("twin", "twin"), ("shuffled", "shuffled"), ("black", "black")):
        values = shares.loc[shares["variant"] == version, "value"]
        found[f"share_{key}"] = (float(values.median()), _range(values, "{:.2%}"))
    return found | {"first_words": _first_words(gaps), "share_verdict": _share_verdict(shares)}


def _first_words(gaps):
    """At which states the first words are not shown to be those of what the picture shows."""
    tables = {"its own pixels in random order": gaps["shuffled"], "a black picture": gaps["black"]}
    states = {name: table.loc[table["low"] <= 0, "layer"].tolist() for name, table in tables.items()}
    count = len(gaps["shuffled"])
    said = [f"{_states(own)} than with {name}" for name, own in states.items() if own]
    if not said:
        return (
            0,
            f"At all {count} states a picture has more of its first words in common with another scene than with its "
            "own pixels in random order or a black picture",
        )
    every = sorted({state for own in states.values() for state in own})
    return len(every), (
        f"A picture is not shown to have more of its first words in common with another scene {' and '.join(said)}: "
        "there they are not what the picture shows"
    )


def _share_verdict(shares):
    """Whether pictures have more answer words among the ten first than their controls, state by state."""
    ends = shares.pivot(index="layer", columns="variant", values=["low", "high"])
    value = shares.pivot(index="layer", columns="variant", values="value")
    for end in ("low", "high"):
        ends[end] = ends[end].fillna(value)  # one black picture has no interval
    controls = [name for name in _CONTROLS if name in value]
    fewer = {name: value.index[ends["low"][name] > ends["high"]["as it is"]].tolist() for name in controls}
    fewer = {name: states for name, states in fewer.items() if states}
    if fewer:
        said = [
            f"{_CONTROLS[name]} has more of them than the picture ({_states(states)})" for name, states in fewer.items()
        ]
        return -len(fewer), f"so they are no sign of what is shown: {_listed(said)}"
    more = value.index[np.all([ends["low"]["as it is"] > ends["high"][name] for name in controls], axis=0)].tolist()
    if more:
        return len(more), f"more than in each control {_states(more)}"
    return 0, "which is not shown to be more than in each control at any state"


def _states(states):
    return f"at state {states[0]}" if len(states) == 1 else f"at states {_listed([str(state) for state in states])}"


def of_neurons(against, shared, top=10):
    """Whether the strongest neurons write answers, and more than random ones do: key -> `(value, text)`."""
    own = against[against["measure"] == "answer words"]
    up = own[(own["q"] < 0.05) & (own["low"] > 0)]
    down = own[(own["q"] < 0.05) & (own["high"] < 0)]
    layers = f"{len(up)} of {len(own)} layers"
    verdict = (
        f"The strongest neurons at image tokens write answer words more often than random ones in {layers}"
        if len(up)
        else "The strongest neurons at image tokens write no more answer words than random ones in any of "
        f"{len(own)} layers"
    )
    if len(down):
        verdict += f", and less often in {len(down)}"
    return {
        "verdict_neurons": (len(up), verdict),
        "neuron_share": (float(own["own"].median()), _range(own["own"], "{:.2%}")),
        "random_share": (float(own["control"].median()), _range(own["control"], "{:.2%}")),
        "shared_words": (float(shared["shared"].median()), f"{_range(shared['shared'], '{:.0f}')} of {top}"),
    }


def of_patches(chosen, handovers, lead, agreed, layers):
    """Where the answer leaves the picture and reaches the last token: key -> `(value, text)`.

    `chosen`: `image_sites.Traced`; `lead`: `image_sites.lead_of_lesion`; `agreed`: that of `agreement`, or None.
    """
    leaves, reaches = (handovers.set_index("what").loc[what] for what in ("leaves", "reaches"))
    counted = f"the lesion moves the answer in {chosen.moved} of {chosen.tried} pictures"
    ahead = lead[lead["low"] > 0]
    if not chosen.known:
        verdict = f"Not decided where the answer leaves the picture: {counted}, too few to trace"
    elif reaches["value"] > layers or leaves["value"] > layers:
        verdict = "The answer does not pass from image tokens to the last token: one of the two never crosses one half"
    else:
        verdict = (
            f"The answer leaves the image tokens at layer {_layer(leaves)} and reaches the last token at layer "
            f"{_layer(reaches)}; {counted}"
        )
    text = "not defined" if agreed is None else f"{agreed.value:.2f} ({agreed.low:.2f} to {agreed.high:.2f})"
    return {
        "verdict_patches": (_value(leaves) if chosen.known else "not decided", verdict),
        "leaves": (_value(leaves), _layer(leaves) if chosen.known else "not decided"),
        "reaches": (_value(reaches), _layer(reaches) if chosen.known else "not decided"),
        "n_traced": (len(chosen.pairs), str(len(chosen.pairs))),
        "n_moved": (chosen.moved, f"{chosen.moved} of {chosen.tried}"),
        "ahead": (len(ahead), f"{len(ahead)} of {len(lead)}"),
        "agreement": ("not defined" if agreed is None else agreed.value, text),
        "counts": (
            int(chosen.known),
            "counts" if chosen.known else "does not count: too few pictures move the answer",
        ),
    }


def of_parts(exact, estimated):
    """What parts of the picture carry where blocks begin, and whether one gradient tells: key -> `(value, text)`.

    `exact`, `estimated`: part -> table, as `image_sites.curves` gives them.
    """
    first = {part: (exact[part].iloc[0], estimated[part].iloc[0]) for part in exact}
    at = {part: row["value"] for part, (row, _) in first.items()}
    spread = (
        f"at layer {first['lesion'][0]['layer']:.0f} the tokens over the lesion recover {at['lesion']:.2f}, all other "
        f"image tokens together {at['other image']:.2f}, and as many of them as lie over the lesion {at['random']:.2f}"
    )
    found = {"spread": (float(at["lesion"]), spread)}
    carried = [part for part in ("lesion", "all image") if at[part] > _CARRIED]
    missed = [part for part in carried if first[part][1]["value"] < _MISSED * at[part]]
    said = _listed([f"{first[part][1]['value']:.2f} for the {at[part]:.2f} of {_PARTS[part]}" for part in carried])
    if not carried:
        return found | {"estimate": (0, "There is nothing at layer 1 that it could estimate")}
    layer = f"at layer {first['lesion'][0]['layer']:.0f} it gives {said}"
    if missed:
        return found | {"estimate": (len(missed), f"It fails for image tokens: {layer}")}
    return found | {"estimate": (0, f"It does not miss what image tokens carry: {layer}")}


def _value(row):
    return float(row["value"])


def _layer(row):
    return f"{row['value']:.0f} ({row['low']:.0f} to {row['high']:.0f})"


def _range(values, form):
    low, high = form.format(values.min()), form.format(values.max())
    return low if low == high else f"{low} to {high}"


def _listed(words):
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"
