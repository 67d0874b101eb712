"""What the tables of harm.py come to: the numbers of the answer, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.  Over several domains it is a count or the range of their values.
"""

import numpy as np
import pandas as pd

from medlib import figures

ORDERS = {
    "two halves of its items": "difference",
    "two of its templates": "medical",
    "its control": "control",
    "neutral text": "other",
}


def peaks(curves, depths, controls, n_layers):
    """The worst layer of each domain, a row a domain, each medical domain followed by its control.

    `curves` is `harm.curves` with kl and top1_same; `depths`: number of layers left out -> `harm.depths`, first 0.
    Columns: the worst layer and its divergence, how often the likeliest word stays, and, past the first layers, the
    worst layer, the 95 % interval of which it is, its relative depth and its divergence.
    """
    at = curves.set_index(["metric", "domain", "layer"])["value"]
    early = max(depths)
    worst, later = (_of(depths[first], "peak_layer") for first in (0, early))
    rows = {}
    for domain in [name for both in controls.items() for name in both]:
        first, then = int(worst.value[domain]), int(later.value[domain])
        rows[domain] = {
            "worst layer": first,
            "KL": at["kl", domain, first],
            "kept": at["top1_same", domain, first],
            f"worst after {early}": then,
            "interval": f"{later.low[domain]:.0f} to {later.high[domain]:.0f}",
            "depth": then / n_layers,
            "KL there": at["kl", domain, then],
        }
    return pd.DataFrame(rows).T.infer_objects()


def answer(curves, differences, orders, agreement, depths, controls, early):
    """The numbers of the answer: key -> `(value, text)`.

    `curves`, `differences`, `orders`, `agreement` and `depths` are those of harm.py, `early` how many first layers are
    set aside.
    """
    medical, others = [*controls], [*dict.fromkeys(controls.values())]
    late = curves[(curves["metric"] == "kl") & (curves["layer"] > early)].groupby("domain")["value"].median()
    half = _of(depths[early], "early_half")
    repair = curves[(curves["metric"] == "repair") & curves["domain"].isin(medical)]
    found = {
        "peaks": _commonest(depths[0], medical),
        "peaks_control": _commonest(depths[0], others),
        "median_kl": _range(late[medical]),
        "early_half": _range(half.value[medical], "{:.0%}"),
        "early_half_control": _range(half.value[others], "{:.0%}"),
        "n_tests": _count(differences["p"] >= 0),
        "n_higher": _count((differences["q"] < 0.05) & (differences["value"] > 0)),
        "n_lower": _count((differences["q"] < 0.05) & (differences["value"] < 0)),
        "n_uncorrected": _count(differences["p"] < 0.05),
        "n_chance": (0.05 * len(differences), f"{0.05 * len(differences):.0f}"),
        "excess": _largest(differences),
        "n_repaired": _count(repair["low"] > 0),
        "n_deepened": _count(repair["high"] < 0),
    }
    for key, against in zip(("halves", "templates", "control", "neutral"), ORDERS, strict=True):
        found[f"rank_{key}"] = _range(orders.loc[orders["variant"] == against, "value"])
    for how in ("mean", "resample"):
        found[f"rank_{how}"] = _range(agreement.loc[medical, ("block", how)])
    return found


def worse_part(by_way, domains):
    """Whose loss costs more, attention's or the MLP's, and how often: the name, the share and the share in words."""
    plain = by_way[(by_way["how"] == "identity") & by_way["domain"].isin(domains)]
    parts = plain.pivot(index=["domain", "layer"], columns="component", values="value")
    share = (parts["attention"] > parts["mlp"]).mean()
    name, share = ("attention", share) if share > 0.5 else ("the MLP", 1 - share)
    return name, share, f"{share:.0%}"


def draw_orders(axes, orders, known):
    """A row for each domain, a point with its interval for each thing that its order of layers is compared with.

    `orders` is `harm.orders`; a domain that is not known is grey.
    """
    domains = list(orders["domain"].unique())
    for step, (against, look) in enumerate(ORDERS.items()):
        look = figures.LOOKS[look]
        part = orders[orders["variant"] == against]
        for row in part.itertuples():
            at = domains.index(row.domain) + 0.2 * (step - 1.5)
            colour = look["color"] if known[row.domain] else figures.NOT_KNOWN
            first = row.domain == part["domain"].iloc[0]
            axes.plot([row.low, row.high], [at, at], color=colour, lw=1.5)
            axes.plot(row.value, at, look["marker"], color=colour, markersize=6, label=against if first else None)
    axes.axvline(0, color="0.6", lw=1, zorder=0)
    axes.set_yticks(range(len(domains)), [name if known[name] else f"{name}, not known" for name in domains])
    axes.set_ylim(len(domains) - 0.5, -0.5)
    axes.set(xlabel="rank correlation over layers", xlim=(min(-0.05, orders["low"].min() - 0.05), 1.02))
    figures.legend(axes.figure, [axes])


def one_scale(axes, linear=None):
    """Give panels (a dict) the same scale upwards; with `linear` symmetric around zero and linear as far as that."""
    if linear is not None:
        for one in axes.values():
            one.set_yscale("symlog", linthresh=linear)
    limits = [one.get_ylim() for one in axes.values()]
    for one in axes.values():
        one.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _of(depths, metric):
    return depths[depths["metric"] == metric].set_index("domain")


def _commonest(depths, domains):
    layers = _of(depths, "peak_layer").value[domains].astype(int)
    layer = int(layers.mode().iloc[0])
    return layer, f"layer {layer} in {(layers == layer).sum()} of {len(layers)}"


def _range(values, form="{:.2f}"):
    if values.empty:
        return "not known", "not known, for want of a second template,"
    low, high = form.format(values.min()), form.format(values.max())
    return float(np.median(values)), low if low == high else f"{low} to {high}"


def _count(chosen):
    return int(chosen.sum()), str(int(chosen.sum()))


def _largest(differences):
    row = differences.loc[differences["value"].idxmax()]
    where = f"at layer {row['layer']} on {row['domain']} {row['variant']}"
    return row["value"], f"{row['value']:+.2f} nats ({row['low']:+.2f} to {row['high']:+.2f}) {where}"
