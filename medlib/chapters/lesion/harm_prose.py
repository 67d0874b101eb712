"""What the tables of this chapter come to: the numbers of the prose, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.  Over several domains it is a count or the range of their values.
"""

import numpy as np
import pandas as pd

from medlib.chapters.lesion import orders
from medlib.lesion import HOWS

SHORT = {"identity": "absent", "mean": "mean", "resample": "another prompt"}


def places_table(places, curves, controls):
    """The worst layer past the first ones and the share of the first half, under each way: a row a domain.

    `places` is that of ways.py, `curves` its `curves_of_ways`.  Each medical domain is followed by its control; under
    each way stand the worst layer, its divergence and the share, each interval in brackets.
    """
    at = curves[curves["component"] == "block"].set_index(["how", "domain", "layer"])["value"]
    rows = {}
    for domain in [name for both in controls.items() for name in both]:
        cells = {}
        for how in HOWS:
            peak, half = (_of(places, metric, how).loc[domain] for metric in ("peak_layer", "early_half"))
            cells[SHORT[how], "worst layer"] = f"{peak.value:.0f} ({peak.low:.0f} to {peak.high:.0f})"
            cells[SHORT[how], "KL there"] = f"{at[how, domain, int(peak.value)]:.2f}"
            cells[SHORT[how], "first half"] = f"{half.value:.0%} ({half.low:.0%} to {half.high:.0%})"
        rows[domain] = cells
    return pd.DataFrame.from_dict(rows, orient="index")


def of_ways(places, curves, agreement, controls):
    """What each way of taking a block out names: key -> `(value, text)`; tables as in `places_table`."""
    medical, others = [*controls], [*dict.fromkeys(controls.values())]
    both = [*dict.fromkeys(medical + others)]
    worst = {how: _of(places, "peak_layer", how).value[both].astype(int) for how in HOWS}
    same = int((worst["identity"] == worst["resample"]).sum())
    depends = (
        "That depends on what takes its place" if 2 * same <= len(both) else "Much the same whatever takes its place"
    )
    at = curves[curves["component"] == "block"].set_index(["how", "layer", "domain"])["value"].sort_index()
    layer, count = _commonest(worst["identity"])
    found = {
        "verdict": (
            same,
            f"{depends}: the layer that costs most is the same with the block absent and with what the block adds to "
            f"another prompt in {same} of {len(both)} domains and controls",
        ),
        "peak_absent": (layer, f"layer {layer} ({count} of {len(both)})"),
        "survives": _survives(worst["resample"], medical, others),
        "even": _even(places),
    }
    for how in HOWS:
        found[f"cost_{how}"] = _range(at[how, layer][both], "{:.2g}")
        found[f"half_{how}"] = _range(_of(places, "early_half", how).value[both], "{:.0%}")
    for how in ("mean", "resample"):
        found[f"rank_{how}"] = _range(agreement.loc[medical, ("block", how)])
    return found


def of_controls(differences):
    """How often the loss moves a domain more or less than its control: key -> `(value, text)`.

    `differences` is `ways.differences_of_ways`; each way has `higher`, `lower` and `excess`, named after it.
    """
    n = int((differences["how"] == "identity").sum())
    found = {"n_tests": (n, str(n))}
    for how, part in differences.groupby("how"):
        clear, up = part["q"] < 0.05, part["value"] > 0
        row = part.loc[part["value"].idxmax()]
        where = f"at layer {row['layer']} on {row['domain']} {row['variant']}"
        found[f"higher_{how}"] = _count(clear & up)
        found[f"lower_{how}"] = _count(clear & ~up)
        excess = f"{row['value']:+.2f} nats ({row['low']:+.2f} to {row['high']:+.2f}) {where}"
        found[f"excess_{how}"] = (row["value"], excess)
    return found


def of_orders(table, unmatched, beyond):
    """What the order of the layers is shared with: key -> `(value, text)`; the three tables are those of orders.py."""
    found = {}
    for key, against in zip(("halves", "templates", "control", "neutral"), orders.AGAINST, strict=True):
        found[f"rank_{key}"] = _range(table.loc[table["variant"] == against, "value"])
    among = unmatched["domain"] == "a control"
    for key, values in (("controls", unmatched[among]["value"]), ("unmatched", unmatched[~among]["value"])):
        median = float(values.median()) if len(values) else "not known"
        found[f"rank_{key}"] = (median, f"{median:.2f}" if len(values) else "not known")
    less, as_well = beyond[beyond["low"] > 0], beyond[beyond["low"] <= 0]
    parts = [f"{how} in {_listed(part)}" for part, how in ((as_well, "as well"), (less, "less well")) if len(part)]
    text = "No domain has two wordings to compare the control with"
    if parts:
        start = "Held against another wording of the same questions, the control's order of the layers agrees"
        text = f"{start} {', and '.join(parts)} (rank correlation with the control against that with the wording)"
    return found | {"wording": (len(less), text)}


def of_repair(curves, controls):
    """Whether later layers make up for a loss, or carry it: key -> `(value, text)`; `curves` is `harm.curves`.

    Only a place (layer and medical domain) with a direct loss and a total effect not below zero can be repaired.
    """
    medical = curves[curves["domain"].isin([*controls])]
    wide = medical.pivot(index=["domain", "layer"], columns="metric", values=["value", "low", "high"])
    total, direct = wide["value", "logit_drop"], wide["value", "direct_drop"]
    repaired = int(((direct > 0) & (total >= 0) & (wide["low", "repair"] > 0)).sum())
    through = int(((total > 0) & (direct < total / 2) & (wide["high", "repair"] < 0)).sum())
    n, rare = len(wide), "Self-repair is rare" if repaired <= len(wide) / 10 else "There is self-repair"
    chance = 0.025 * n
    text = (
        f"{rare}: in {repaired} of {n} places (a layer and a medical domain) later layers make up for part of a direct "
        f"loss (at most about {chance:.2g} expected by chance); in {through} more than half of the loss comes about "
        "through later layers"
    )
    return {"repair": (repaired, text), "n_through": (through, str(through))}


def of_parts(tables, controls):
    """Whose loss costs more, attention's or the MLP's, absent and resampled: key -> `(value, text)`; of `ways`."""
    found = {}
    for how in ("identity", "resample"):
        rows = [
            part[part["how"] == how].groupby(["component", "layer"])["kl"].mean().unstack("component")
            for part in (tables[domain] for domain in controls)
        ]
        parts = pd.concat(rows)
        share = float((parts["mlp"] > parts["attention"]).mean())
        found[f"mlp_worse_{how}"] = (share, f"{share:.0%}")
    return found


def _of(places, metric, how):
    return places[(places["metric"] == metric) & (places["how"] == how)].set_index("domain")


def _commonest(layers):
    layer = int(layers.mode().iloc[0])
    return layer, int((layers == layer).sum())


def _survives(layers, medical, others):
    (one, count), (two, other_count) = _commonest(layers[medical]), _commonest(layers[others])
    in_medicine, in_controls = f"{count} of {len(medical)} domains", f"{other_count} of {len(others)}"
    if one == two:
        return one, f"layer {one}, in medicine ({in_medicine}) and in the controls ({in_controls}) alike"
    return one, f"layer {one} in medicine ({in_medicine}) and at layer {two} in the controls ({in_controls})"


def _even(places):
    even = places["even"].iloc[0]
    return float(even), f"{even:.0%}"


def _range(values, form="{:.2f}"):
    if values.empty:
        return "not known", "not known, for want of a second template,"
    low, high = form.format(values.min()), form.format(values.max())
    return float(np.median(values)), low if low == high else f"{low} to {high}"


def _count(chosen):
    return int(chosen.sum()), str(int(chosen.sum()))


def _listed(table):
    said = [f"{row.domain} ({row.control:.2f} against {row.own:.2f})" for row in table.itertuples()]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
