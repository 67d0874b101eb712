"""What the tables of this chapter come to: the numbers of the prose, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.
"""

from medlib.chapters.image_tokens.answer_words import WORDS

COMPARISONS = ("place", *WORDS)
_SAID = {
    "place": "lesion words stand at the lesion",
    "modality": "modality",
    "plane": "plane",
    "polarity": "polarity of the lesion",
    "side": "side of the lesion",
    "lobe": "lobe of the lesion",
}


def follows(tests, measure="log_p"):
    """The comparisons in which words follow the picture beyond the control at one layer or more: names, in order.

    Beyond the control: q below 5 %, the difference above zero, and its interval too.
    """
    own = tests[(tests["measure"] == measure) & (tests["q"] < 0.05) & (tests["low"] > 0)]
    return [name for name in COMPARISONS if name in set(own["comparison"])]


def of_words(tests, missing, measure="log_p"):
    """What the words at image tokens follow: key -> `(value, text)`, with the `verdict_words`."""
    own = tests[tests["measure"] == measure]
    done = [name for name in COMPARISONS if name in set(own["comparison"])]
    found = follows(tests, measure)
    if not done:
        verdict = "Not decided: there are too few pictures for any comparison"
    elif not found:
        verdict = (
            "No answer was found in the words at image tokens: what the lens reads follows nothing that is known of "
            f"the picture better than in its control, in any of {len(done)} comparisons"
        )
    else:
        verdict = (
            f"The words that the lens reads at image tokens follow {_listed([_SAID[name] for name in found])} better "
            f"than in the control pictures, {len(found)} of {len(done)} comparisons"
        )
    left = _listed([_SAID[name] for name in missing]) if missing else "none"
    numbers = {
        "verdict_words": (len(found), verdict),
        "left_out": (len(missing), left),
        "n_comparisons": (len(done), str(len(done))),
        "n_word_tests": (len(own), str(len(own))),
        "n_clear": (int((own["q"] < 0.05).sum()), str(int((own["q"] < 0.05).sum()))),
    }
    numbers["strongest_word"] = ("none", "none: there was no comparison")
    if len(own):
        row = own.loc[own["value"].idxmax()]
        text = (
            f"{row['value']:+.2f} nats ({row['low']:+.2f} to {row['high']:+.2f}; n = {row['n']}) for "
            f"{_SAID[row['comparison']]}, state {row['layer']}, q = {row['q']:.2g}"
        )
        numbers["strongest_word"] = (float(row["value"]), text)
    shares = tests[(tests["measure"] == "share") & (tests["q"] < 0.05)]
    numbers["n_clear_share"] = (len(shares), str(len(shares)))
    return numbers


def of_lens(likenesses, shares):
    """How much of the lens's words is the picture's: key -> `(value, text)`; tables of token_tables.py."""
    found = {}
    for key, label in (("black", "a black picture"), ("shuffled", "its pixels shuffled"), ("other", "another scene")):
        values = likenesses[label]["value"]
        found[f"like_{key}"] = (float(values.median()), _range(values, "{:.0%}"))
    for key, version in (("picture", "as it is"), ("black", "black"), ("shuffled", "shuffled")):
        values = shares.loc[shares["variant"] == version, "value"]
        found[f"share_{key}"] = (float(values.median()), _range(values, "{:.2%}"))
    return found


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
        beaten = (
            f"the tokens over the lesion carry more of it than as many others in {len(ahead)} of {len(lead)} layers"
            if len(ahead)
            else "the tokens over the lesion carry no more of it than as many others"
        )
        verdict += f"; {beaten}"
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


def _value(row):
    return float(row["value"])


def _layer(row):
    return f"{row['value']:.0f} ({row['low']:.0f} to {row['high']:.0f})"


def _range(values, form):
    low, high = form.format(values.min()), form.format(values.max())
    return low if low == high else f"{low} to {high}"


def _listed(words):
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"
