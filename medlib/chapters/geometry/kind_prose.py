"""What the prose of the chapter on kinds says in numbers: every wording that depends on them is chosen here."""

from medlib.chapters.geometry import kinds


def verdict(overview, n_states):
    """Whether things of one kind lie together, in medicine and in the controls, as two sentences.

    >>> verdict(kind_tables.overview(wanted, p, gained, by_item), 31)

    A label counts that lies together on more than half of the states.
    """
    together = overview["raw"] > n_states / 2
    here, there = (names(overview, together, medical) for medical in (True, False))
    medical, control = (overview["medical"] == side for side in (True, False))
    opening = {
        (True, True): "Yes, and things without medicine do so too",
        (True, False): "Yes, and in medicine only",
        (False, True): "Not in medicine, but in its controls",
        (False, False): "No",
    }[bool(here), bool(there)]
    return (
        f"{opening}: {len(here)} of {medical.sum()} labels of medical domains and {len(there)} of {control.sum()} of "
        f"their controls lie closer together than the same labels dealt at random. "
        f"These are {listed(here)}; among the controls, {listed(there)}."
    )


def names(overview, chosen, medical):
    """The names of the chosen rows on one side."""
    return overview.loc[chosen & (overview["medical"] == medical), "name"].tolist()


def listed(words):
    """Names with commas, or "none".

    >>> listed(["drugs by mechanism", "symptoms by system"])
    'drugs by mechanism, symptoms by system'
    """
    return ", ".join(words) or "none"


def more_than_control(differences, n_states):
    """The comparisons further above shuffled labels than their controls on more than half of the states, and the less.

    >>> more_than_control(kinds.against_control(by_item, wanted), 31)

    Clear of zero by the 95 % interval.  Returns `{"further": [name], "less_far": [name]}`.
    """
    half = n_states / 2
    return {
        "further": [c.name for c, d in differences.items() if (d["low"] > 0).sum() > half],
        "less_far": [c.name for c, d in differences.items() if (d["high"] < 0).sum() > half],
    }


def against_paper(wanted, between):
    """The two labels of the domain that is compared first: their difference with all names and without spelling.

    >>> against_paper(wanted, kinds.two_labels(by_item, wanted))
    """
    pairs = kinds.twice(wanted)
    if not pairs:
        return "no domain is compared by two labels"
    one, other = pairs[0]
    part = between[(between["domain"] == one.domain) & (between["first"] == one.label)]
    part = part[part["second"] == other.label]
    mean = part[part["layer"].isna()].set_index(["view", "column"])
    plain = part[part["column"].eq("score")].dropna(subset="layer")
    first, second = kinds.spoken(one.label), kinds.spoken(other.label)

    def value(view):
        row = mean.loc[(view, "excess")]
        return f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"

    return (
        f"{second} minus {first} is {value('item')} above shuffled labels, mean over states, "
        f"and {value('apart')} without names that share a piece; on plain silhouettes {second} is ahead on "
        f"{(plain['low'] > 0).sum()} of {len(plain)} states and {first} on {(plain['high'] < 0).sum()}"
    )


def left_out(frames):
    """Which wordings do not count, because their item is the first thing that the model reads.

    >>> left_out({"drugs": frame})
    """
    opening = sorted({v for frame in frames.values() for v in frame.loc[frame["opens"], "variant"]})
    if not opening:
        return "No wording is left out: this model reads a special token, or other words, before every item."
    return (
        f"Left out are the wordings in which the item is the first thing that the model reads ({listed(opening)}): "
        "a first token's state is far larger than any other, so names of one piece lie apart from names of several."
    )


def with_opening(overview, n_states):
    """What would lie together if the wordings that their item opens counted too.

    >>> with_opening(kind_tables.overview(wanted, p, gained, by_item), 31)
    """
    if overview["opening"].isna().all():
        return "All wordings count here."
    here, there = (len(names(overview, overview["any"] > n_states / 2, medical)) for medical in (True, False))
    return (
        f"If the wordings that their item opens counted too, {here} medical labels and {there} of the controls would "
        "lie together on more than half of the states."
    )


def numbers(overview, differences, between, wanted, held, drawn, n_shuffles):
    """Every number the prose quotes: key -> (value, text).

    >>> for key, (value, text) in numbers(...).items(): run.number(key, value, text)

    Arguments as the functions of `kind_tables` and `fits` return them; `n_shuffles` sets the smallest p-value.
    """
    n_states = len(next(iter(differences.values())))
    found = {"n_states": (n_states, None), "verdict": ("verdict", verdict(overview, n_states))}
    chosen = {
        "together": overview["raw"] > n_states / 2,
        "apart": overview["apart"] > n_states / 2,
        "gains": overview["gain_low"] > 0,
    }
    for key, rows in chosen.items():
        for ending, medical in (("", True), ("_control", False)):
            there = names(overview, rows, medical)
            found[key + ending] = (len(there), listed(there))
    for key, there in more_than_control(differences, n_states).items():
        found[key] = (len(there), listed(there))
    agree, spread = held["in_umap"] & held["in_raw"], (held["high"] - held["low"]).max()
    trust = [picture["trustworthiness"] for of in drawn.values() for picture in of.values()]
    return found | {
        "two_labels": (len(kinds.twice(wanted)), against_paper(wanted, between)),
        "with_opening": ("with_opening", with_opening(overview, n_states)),
        "p_floor": (1 / (n_shuffles + 1), f"{1 / (n_shuffles + 1):.4f}"),
        "n_cases": (len(held), None),
        "n_fit_states": (held["layer"].nunique(), None),
        "n_umap": (int(held["in_umap"].sum()), None),
        "n_held": (int(agree.sum()), None),
        "n_raw_alone": (int((held["in_raw"] & ~held["in_umap"]).sum()), None),
        "seed_spread": (spread, f"{spread:.2f}"),
        "trust": (min(trust), f"{min(trust):.2f} to {max(trust):.2f}"),
    }
