"""What the prose of the chapter on collapse says in numbers: every wording that depends on them is chosen here."""

import numpy as np

from medlib.chapters.collapse import depths as of_depths
from medlib.chapters.collapse.clouds import templates
from medlib.chapters.collapse.collapse_tables import sided


def verdict(n, of, n_control, of_control):
    """Whether series collapse, in medicine and in the controls: how many of how many.

    >>> verdict(5, 57, 9, 57)
    'Yes, but in the controls at least as often: 5 of 57 medical series and 9 of 57 of their controls collapse.'
    """
    if not n:
        opening = "Not in medicine, but in its controls" if n_control else "No"
    elif not n_control:
        opening = "Yes, and in medicine only"
    elif n_control / of_control >= n / of:
        opening = "Yes, but in the controls at least as often"
    else:
        opening = "Yes, and in medicine more often than in the controls"
    return f"{opening}: {n} of {of} medical series and {n_control} of {of_control} of their controls collapse."


def opening(depths, frames, opens):
    """How many of the raw collapses of medical clouds are means that hold the first token the model reads.

    >>> opening(depths, frames, lambda prompt: opens(model, prompt))

    `depths`: of the medical domains, raw.  `opens` says it of one prompt.
    """
    fallen = depths[depths["collapsed"]]
    if fallen.empty:
        return 0, "No medical cloud collapses as it stands."
    first = {
        (name, variant): all(map(opens, frame["prompt"].iloc[rows]))
        for name, frame in frames.items()
        for variant, rows in templates(frame).items()
    }
    held = [first[key] for key in zip(fallen["domain"], fallen["variant"], strict=True)]
    n = int((np.array(held) & (fallen["place"] == "mean").to_numpy()).sum())
    which = "None" if not n else "All" if n == len(fallen) else str(n)
    return n, (
        f"{which} of the {len(fallen)} single layers in medicine are of means over items that hold the first token the "
        "model reads."
    )


def deepest(depths):
    """The deepest fall of a medical cloud, and the depth of the same cloud without the largest dimensions.

    >>> deepest(depths[depths["domain"].isin(["drugs", "diseases"])])
    """
    keyed = depths.set_index(["place", "domain", "variant", "layer", "space"])[["value", "low", "high"]]
    place, domain, variant, layer = keyed.xs("raw", level="space")["value"].idxmin()
    raw, without = (keyed.loc[(place, domain, variant, layer, way)] for way in ("raw", "without largest"))
    text = (
        f"{_interval(raw)} of the rank on both sides ({domain}, layer {layer}, template {variant}, place {place}), and "
        f"{_interval(without)} without the largest dimensions"
    )
    return raw["value"], text


def gained(gains):
    """The rows of `labels.gains` in words: row -> (value, text).

    >>> gained(labels.gains(scores, depths, ["drugs", "diseases"]))["collapsed"]
    """
    found = {}
    for name in ("collapsed", "other", "difference"):
        if name not in gains.index:
            found[name] = ("none", "no number, as there are no such layers,")
            continue
        row = gains.loc[name]
        levels = "" if name == "difference" else f", from {row['raw']:.2f} to {row['without']:.2f}"
        found[name] = (row["value"], f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}{levels})")
    return found


def largest(mean_share, top):
    """The dimension that reaches the largest share of the squared length: (number, text).

    >>> largest({"medical": share, "control": other}, [507, 36])
    """
    first, other = (mean_share[side][:, top[0]] for side in ("medical", "control"))
    return int(top[0]), (
        f"number {top[0]}, with up to {100 * first.max():.0f} % of the squared length (state {first.argmax()}; in the "
        f"controls up to {100 * other.max():.0f} %, state {other.argmax()})"
    )


def counted(depths, controls):
    """Every count of collapses that the prose quotes: key -> (value, text), text null for plain numbers.

    >>> counted(depths, {"drugs": "foods"})["n_raw"]

    Keys end in `_control` for the controls: `n_clouds` (layers of series), `n_series_all`, `n_series`, `n_raw`,
    `n_rms`, `n_without`, and of the last `n_still` (collapse raw too) and `n_new`; `verdict` is of the series.
    """
    numbers, both = {}, sided(depths, controls)
    for kind, end in (("medical", ""), ("control", "_control")):
        raw, rms, without = (
            both[(both["kind"] == kind) & (both["space"] == way)] for way in ("raw", "rms", "without largest")
        )
        now = of_depths.kept_and_new(raw, raw)
        after = of_depths.kept_and_new(raw, without)
        counts = {
            "n_clouds": len(raw),
            "n_series_all": of_depths.n_series(raw),
            "n_series": now["series"],
            "n_raw": now["layers"],
            "n_rms": of_depths.kept_and_new(raw, rms)["layers"],
            "n_without": after["layers"],
            "n_still": after["kept_layers"],
            "n_new": after["new_layers"],
        }
        numbers |= {key + end: (count, None) for key, count in counts.items()}
    of = [numbers[key][0] for key in ("n_series", "n_series_all", "n_series_control", "n_series_all_control")]
    return numbers | {"verdict": ("verdict", verdict(*of))}


def constants(deep, n_items, n_largest, place, hidden, in_common):
    """What the parameters and the model set: key -> (value, text).

    >>> constants(0.5, 48, 3, "mean", 576, {"drugs": 0.9})["even"]

    `in_common`: medical domain -> the share of its largest dimensions that are its control's too.
    """
    common = 100 * np.array(list(in_common.values()))
    return {
        "deep": (deep, None),
        "n_items": (n_items, None),
        "rank_limit": (n_items - 1, None),
        "n_largest": (n_largest, None),
        "place": (place, None),
        "even": (100 / hidden, f"{100 / hidden:.2f}"),
        "in_common": (common.mean() / 100, f"{common.mean():.0f} % ({common.min():.0f} to {common.max():.0f} %)"),
    }


def _interval(row):
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
