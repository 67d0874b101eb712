"""What the tables on stages come to: the numbers that the page quotes, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.  Tables are by domain, `progression` and its control `processes`.
"""

import numpy as np
import pandas as pd

from medlib import geometry, stats
from medlib.chapters.progression import planted_stages, stages

ENDS = {"progression": "", "processes": "_control"}
SINGLED_OUT = {"parkinson": "Parkinson's disease", "copd": "COPD"}


def answer(seen, seed=0):
    """The numbers of the line and the ring, in the main view and elsewhere: `seen`: domain -> `stages.views`."""
    found = perfect()
    for name, end in ENDS.items():
        main, left = stages.view(seen[name]), stages.view(seen[name], space="raw, corrected")
        entity = stages.view(seen[name], place="entity")
        for measure in ("line", "ring", "circularity"):
            found[measure + end] = interval(stages.over_states(main, measure, seed))
            found[f"{measure}_entity{end}"] = interval(stages.over_states(entity, measure, seed))
        found |= {
            f"line_start{end}": interval(_at_start(main, "line", seed)),
            f"line_gain{end}": interval(_gained(main, "line", seed)),
            f"line_corrected{end}": interval(stages.over_states(left, "line", seed)),
            f"line_corrected_start{end}": interval(_at_start(left, "line", seed)),
            f"line_corrected_gain{end}": interval(_gained(left, "line", seed)),
            f"n_line_start{end}": count((main["layer"] == 0) & (main["p_line"] <= 0.05)),
            f"n_ring{end}": count(main.groupby("item")["significant_circularity"].any()),
            f"n_line{end}": count(main.groupby("item")["significant_line"].any()),
            f"n_line_corrected{end}": count(left.groupby("item")["significant_line"].any()),
        }
        late = main.query("layer > 0")["csfs"].ge(5).mean() * main["item"].nunique()
        found[f"late_csfs{end}"] = (late, f"{late:.1f}")
    both = stages.view(seen["progression"]), stages.view(seen["processes"])
    difference = stages.difference_over_states(*both, "circularity", seed)
    found["circularity_difference"] = interval(difference)
    named = rings_named(pd.concat(both))
    found["rings_named"] = (named, named)
    circularity = stages.over_states(both[0], "circularity", seed)
    said = verdict(circularity, difference, _gained(both[0], "line", seed))
    return found | {"verdict": (said, said)}


def verdict(circularity, difference, gain):
    """A line or a ring, beside the processes and beside the words: three intervals to a sentence.

    >>> verdict(Interval(-0.1, -0.17, -0.03), Interval(0, -0.1, 0.1), Interval(0.01, -0.05, 0.05))
    'The stages of a disease are more like a line than a ring; they ...'
    """
    if circularity.high < 0:
        what = "The stages of a disease are more like a line than a ring"
    elif circularity.low > 0:
        what = "The stages of a disease are more like a ring than a line"
    else:
        what = "Whether the stages of a disease are more like a line or a ring is not decided"
    if difference.low > 0:
        beside = "they are more like a ring than the steps of everyday processes"
    elif difference.high < 0:
        beside = "they are more like a line than the steps of everyday processes"
    else:
        beside = "they do not differ from the steps of everyday processes by more than chance"
    if gain.low > 0:
        words = "the blocks make more of a line than the words alone do"
    elif gain.high < 0:
        words = "the blocks make less of a line than the words alone do"
    else:
        words = "the blocks change the line that the words alone give by no more than chance"
    return f"{what}; {beside}, and {words}."


def perfect():
    """Ring minus line of ten points evenly on a line and on a circle: the scale of `circularity`."""
    apart = np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    shapes = {"line_perfect": apart, "ring_perfect": np.minimum(apart, 10 - apart)}
    values = {key: geometry.order_test(shape, n=1)["circularity"] for key, shape in shapes.items()}
    return {key: (value, signed(value)) for key, value in values.items()}


def rings_named(main):
    """The series that are significantly more like a ring, and on how many states each."""
    sure = main[main["significant_circularity"]].groupby("item", sort=False).size()
    said = [f"{item} on {n} states" if n > 1 else f"{item} on one state" for item, n in sure.items()]
    return ", ".join(said) or "none to name"


def looped(loops, seed=0):
    """The numbers of the loops: `loops`: domain -> `stages.loops` with a column `significant`."""
    found = {}
    for name, end in ENDS.items():
        found[f"n_loop{end}"] = count(loops[name].groupby("item")["significant"].any())
        found[f"bar{end}"] = interval(stages.over_states(loops[name], "bar", seed))
        dealt = loops[name].query("layer > 0")["null_mean"].mean()
        found[f"bar_dealt{end}"] = (dealt, f"{dealt:.2f}")
    return found


def unseen(weaker):
    """From which size on a ring is found, in words: `weaker` of `planted_stages.weaker_rings`."""
    found = {}
    for column in ("loop", "ring"):
        share = planted_stages.found_from(weaker, column)
        held = f"found where it holds {percent(share or 0)} of the variance between stages"
        text = "not found at any size that was tried" if share is None else held
        found[f"{column}_found_from"] = (text if share is None else share, text)
    return found


def most_rings(rings):
    """The state where most diseases are more like a ring: `rings`: domain -> `stages.counts`."""
    most = rings["progression"]["value"].idxmax()
    row, other = (rings[name].loc[most] for name in ENDS)
    by_chance = f"{row['expected']:.1f} on average and {row['low_chance']:.0f} to {row['high_chance']:.0f}"
    return {
        "most_rings": (int(row["layer"]), f"state {row['layer']:.0f}"),
        "most_rings_n": count(row["value"]),
        "most_rings_control": count(other["value"]),
        "rings_by_chance": (row["expected"], by_chance),
    }


def returns(seen):
    """The numbers of late stages near the start: `seen`: domain -> `stages.views`."""
    main = {name: stages.view(table) for name, table in seen.items()}
    n = main["progression"]["layer"].nunique()
    late = {
        name: table.groupby("item").agg(
            states=("late_return", lambda x: (x > 0).sum()),
            sure=("significant_late_return", "sum"),
            start=("late_return", "first"),
        )
        for name, table in main.items()
    }
    found = {}
    for key, item in SINGLED_OUT.items():
        states, sure, start = late["progression"].loc[item]
        found |= {
            f"late_{key}": (int(states), f"{states:.0f} of {n} states"),
            f"late_{key}_significant": count(sure),
            f"{key}_start": (start, signed(start)),
            f"as_many_{key}": count(late["processes"]["states"] >= states),
        }
    half = int((late["processes"]["states"] > n / 2).sum())
    chance = main["progression"]["chance_late_return"].mean()
    found |= {
        "late_processes": (half, f"{half} of {len(late['processes'])}"),
        "late_processes_significant": count(late["processes"]["sure"] > 0),
        "chance_late": (chance, percent(chance)),
    }
    return found | _widest(seen["processes"])


def _widest(processes):
    """Where the processes' late returns lie widest apart, and how far once the three largest dimensions are dropped."""
    spaces = [stages.view(processes, space=space) for space in ("raw", "raw, without 3 dimensions")]
    raw, without = (t.pivot(index="item", columns="layer", values="late_return") for t in spaces)
    at = raw.std().idxmax()
    texts = [f"{signed(x.min())} to {signed(x.max())}" for x in (raw[at], without[at])]
    return {
        "widest": (int(at), f"state {at}"),
        "widest_raw": (raw[at].std(), texts[0]),
        "widest_without": (without[at].std(), texts[1]),
    }


def words(shares, seed=0):
    """How much the distances go with words and lengths: `shares`: domain -> `stage_words.cause_shares`."""
    found = {}
    for name, end in ENDS.items():
        for cause, key in (("words", "words"), ("tokens", "lengths")):
            rows = shares[name][shares[name]["cause"] == cause]
            found[key + end] = interval(stages.over_states(rows, "value", seed))
    return found


def in_umap(bent, trust):
    """What UMAP makes of lines and rings: `bent`: `beside_raw` of both domains; `trust`: of `stages.in_umap`."""
    of_seed = bent.groupby(["space", "domain", "layer", "item"])
    sides = of_seed["circularity"].agg(["mean", "min", "max"])
    raw = of_seed["circularity_raw"].first().xs("umap2")
    found = {"n_umap": count(len(raw)), "raw_rings": count(raw > 0)}
    for space in ("umap30", "umap2"):
        mean = sides.xs(space)["mean"]
        found[f"{space}_made"] = count((mean > 0) & (raw <= 0))
        found[f"{space}_lost"] = count((mean <= 0) & (raw > 0))
    flat, trusted = sides.xs("umap2"), trust["trustworthiness"].mean()
    flips = count((flat["min"] <= 0) & (flat["max"] > 0))
    return found | {"umap_flips": flips, "trust": (trusted, f"{trusted:.2f}")}


def beside_raw(umap, main):
    """`stages.in_umap` of both domains with the raw scores of the same series and state beside them."""
    bent = pd.concat(umap, names=["domain"]).reset_index("domain")
    raw = pd.concat(main)[["layer", "item", "circularity", "csfs", "csls"]]
    return bent.merge(raw, on=["layer", "item"], suffixes=("", "_raw"))


def paper_scores(bent):
    """CSFS and CSLS in the raw states and after UMAP, at the same states: a row for each domain and space.

    The mean stage, and the share of series and states whose CSFS is a late stage (5 to 9; 5 of 9 by chance) and whose
    CSLS is an early one (0 to 4; 5 of 9 by chance).  `bent`: `beside_raw`.
    """
    first = bent[bent["space"] == "umap2"].drop_duplicates(["domain", "layer", "item"])
    raw = first.assign(space="raw", csfs=first["csfs_raw"], csls=first["csls_raw"])
    both = pd.concat([raw, bent])
    both = both.assign(late=both["csfs"] >= 5, early=both["csls"] <= 4)
    table = both.groupby(["domain", "space"], sort=False)[["csfs", "late", "csls", "early"]].mean()
    return table.set_axis(["CSFS", "CSFS is 5 to 9", "CSLS", "CSLS is 0 to 4"], axis=1)


def count(values):
    """How many are true, or a number that is a count already: `(value, text)`."""
    n = int(values.sum()) if hasattr(values, "sum") else int(values)
    return n, str(n)


def interval(found):
    """An interval as the prose quotes it: `(value, text)`."""
    value, low, high = map(signed, found)
    return found.value, f"{value} ({low} to {high})"


def signed(x):
    """Two decimals, with a true minus, and none before zero.

    >>> signed(-0.104), signed(-0.001)
    ('−0.10', '0.00')
    """
    text = f"{x:.2f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def percent(x):
    """A share in percent.

    >>> percent(0.524)
    '52 %'
    """
    return f"{x:.0%}".replace("%", " %")


def _at_start(table, measure, seed):
    return stats.bootstrap(table.loc[table["layer"] == 0, measure].to_numpy(), seed=seed)


def _gained(table, measure, seed):
    """The mean over the states after the blocks less the value before them."""
    values = table.pivot(index="item", columns="layer", values=measure)
    return stats.bootstrap(values.drop(columns=0).mean(axis=1) - values[0], seed=seed)
