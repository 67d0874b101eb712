"""What the patching chapter shows and saves: sweeps of many domains, put into tables and rows of the record."""

import numpy as np
import pandas as pd

from medlib import results, stats
from medlib.chapters.patching import couples, sites


def examples(drawn):
    """One pair of each domain as it is put to the model: `domain, clean, corrupt, answer, wrong`."""
    rows = [(name, *vars(one.pairs[0]).values()) for name, one in drawn.items() if one.pairs]
    return pd.DataFrame(rows, columns=["domain", "clean", "corrupt", "answer", "wrong"])


def only(curves, parts):
    """The curves of some parts of the prompt: name -> part -> table."""
    return {name: {part: found[part] for part in parts if part in found} for name, found in curves.items()}


def at_part(sweeps, part, seed=0):
    """Curves of attention and MLP patches at one part of the prompt: `sweeps`: `(component, domain) -> table`.

    Returns name -> "attention" or "MLP" -> `layer, value, low, high, n`.
    """
    found = {}
    for (component, name), table in sweeps.items():
        label = {"attention": "attention", "mlp": "MLP"}[component]
        for curve in sites.curves(table, parts=[part], seed=seed).values():
            found.setdefault(name, {})[label] = curve
    return found


def agreements(exact, estimated, seed=0):
    """`sites.agreement` of each sweep, `(component, domain) -> table`: `domain, component, value, low, high`.

    Domains come in the order in which they first appear; a sweep with fewer used couples than
    `couples.FEWEST` is left out.
    """
    rows = [
        (name, part, *sites.agreement(table, estimated[part, name], seed))
        for (part, name), table in exact.items()
        if table[table["used"]]["couple"].nunique() >= couples.FEWEST
    ]
    return pd.DataFrame(rows, columns=["domain", "component", "value", "low", "high"])


def spans(model, swept, weak):
    """`sites.extremes` of the swept domains and of couples too weak to be used, name -> `couples.Drawn`."""
    parts = [sites.extremes(table).assign(domain=name) for name, table in swept.items()]
    for name, one in weak.items():
        if one.pairs:
            parts.append(sites.extremes(sites.sweep_parts(model, *one[:2])).assign(domain=name))
    return pd.concat(parts, ignore_index=True)


def largest(table, threshold):
    """The largest |P| of a pair whose couple is too weak to be used, from the table of `spans`: `(value, text)`."""
    weak = table[table["span"] < threshold]
    if weak.empty:
        return "none", "not measured"
    top = weak.loc[weak["share"].idxmax()]
    return top["share"], f"{top['share']:.1f} ({top['domain']}, a difference of {top['span']:.2g} logits)"


def answers(drawn, seed=0):
    """How often the model prefers the right answer of a pair, over all that could be made, by domain."""
    rows = [(name, *couples.accuracy(one, seed)) for name, one in drawn.items()]
    return pd.DataFrame(rows, columns=["domain", "right when clean", "low", "high"]).set_index("domain")


SIDES = ("right when clean", "wrong when clean")
MEASURES = {
    "clean_diff_median": "clean, logits",
    "corrupt_diff_median": "corrupt, logits",
    "span_median": "divided by, logits",
    "handover": "handover, layer",
    "last_share_before": "P a layer before it",
    "last_share_at": "P at it",
}


def sides(swept, seed=0):
    """What P divides by and where the last token takes over, of the pairs right and wrong when clean, each apart.

    Returns `domain, side, metric, value, low, high, n` (couples): of each of `SIDES` the median clean and corrupt logit
    difference and of what P is divided by, the handover, and P of the last token at that layer and at the one before.
    A side with fewer than `couples.FEWEST` couples has its `n` and no more.
    """
    rows = []
    for name, table in swept.items():
        for side, own in zip(SIDES, (table, sites.wrong_when_clean(table)), strict=True):
            used = own[own["used"]]
            n = used["couple"].nunique()
            few = n < couples.FEWEST
            found = dict.fromkeys(MEASURES, (np.nan,) * 3) if few else _of_side(own, used, seed)
            rows += [(name, side, metric, *interval, n) for metric, interval in found.items()]
    return pd.DataFrame(rows, columns=["domain", "side", "metric", "value", "low", "high", "n"])


def pooled(swept, controls, known):
    """Sweeps of all known medical domains and of all known controls together, where one alone has too few wrong pairs.

    Returns name -> sweep, as `swept`; the couples of two domains stay apart.
    """
    groups = {"all known domains": controls, "all known controls": controls.values()}
    found = {}
    for title, names in groups.items():
        tables = [
            table.assign(**{column: f"{name}: " + table[column].astype(str) for column in ("pair", "couple")})
            for name, table in swept.items()
            if name in names and known[name]
        ]
        if tables:
            found[title] = pd.concat(tables, ignore_index=True)
    return found


def _of_side(table, used, seed):
    pairs = used.drop_duplicates("pair")
    columns = (pairs["clean_diff"], pairs["corrupt_diff"], pairs["clean_diff"] - pairs["corrupt_diff"])
    found = [stats.bootstrap(column, np.median, seed=seed, groups=pairs["couple"]) for column in columns]
    layer = sites.handover(table, seed=seed)
    last = sites.curves(table, parts=["last"], seed=seed)["last"].set_index("layer")[["value", "low", "high"]]
    last.loc[0] = 0.0  # before the first layer, where both prompts end in the same token
    found += [layer, *(tuple(last.loc[at]) for at in (layer.value - 1, layer.value))]
    return dict(zip(MEASURES, found, strict=True))


def side_by_side(table):
    """`sides` to be read: a row for each domain and side, a column for each measure, with its interval in words."""
    forms = dict.fromkeys(MEASURES, ".1f") | {"handover": ".0f", "last_share_before": ".2f", "last_share_at": ".2f"}
    text = [
        "too few" if np.isnan(row.value) else f"{row.value:{f}} ({row.low:{f}} to {row.high:{f}})"
        for row in table.itertuples()
        for f in [forms[row.metric]]
    ]
    index = ["domain", "side", "n"]
    wide = table.assign(text=text).pivot(index=index, columns="metric", values="text")[list(MEASURES)]
    order = {name: place for place, name in enumerate(table["domain"].drop_duplicates())}
    wide = wide.rename(columns=MEASURES).reset_index().rename(columns={"n": "couples"})
    return wide.sort_values(["domain", "side"], key=lambda c: c.map(order) if c.name == "domain" else c)


def drawn(at_parts, first_order, spans):
    """What figures show beyond `results_of`, as rows of the results table.

    `at_parts`: part of the prompt -> what `at_part` returns; `first_order`: domain -> part -> curve of the estimate;
    `spans`: of `spans`, whose pairs are told apart by a number as `variant`.
    """
    rows = [
        curve.assign(domain=name, component=component.lower(), space=part, metric="recovered_by_block")
        for part, of_domain in at_parts.items()
        for name, of_component in of_domain.items()
        for component, curve in of_component.items()
    ]
    rows += [
        curve.assign(domain=name, component="residual", space=part, metric="recovered_estimated")
        for name, parts in first_order.items()
        for part, curve in parts.items()
    ]
    numbered = [f"pair {place}" for place in range(len(spans))]
    for column, metric in (("span", "span"), ("share", "largest_share"), ("moved", "largest_change")):
        one = dict(domain=spans["domain"], variant=numbered, metric=metric, component="residual")
        rows.append(pd.DataFrame(one | dict(value=results.significant(spans[column]))))
    table = pd.concat(rows, ignore_index=True)
    table = table[np.isfinite(table["value"].astype(float))]  # two runs alike: nothing to divide by, and no point drawn
    return table.reindex(columns=results.COLUMNS).astype({"layer": "Int64", "n": "Int64"})


def results_of(sweeps, medians, handovers, agreement, by_side, controls):
    """Everything measured as rows of the results table.

    Per pair and site the raw logit difference (`logit_diff`; `component` is what was patched, `space` the part of the
    prompt), per pair `clean_diff` and `corrupt_diff`; the curves of `medians` (metric -> domain -> part -> table), the
    `handovers` (metric -> `sites.handovers`), the rank correlation of the estimate and what `sides` found, with their
    intervals.  An item is a couple, a variant one pair of it, or one of `SIDES`; a pair that is wrong when clean has a
    `clean_diff` below zero.
    """
    rows = []
    for (component, name), table in sweeps.items():
        labelled = table.assign(domain=name, variant=table["template"] + ": " + table["item"], item=table["couple"])
        sites_found = labelled.rename(columns={"logit_diff": "value", "group": "space"})
        rows.append(sites_found.assign(component=component, metric="logit_diff"))
        if component == "residual":
            per_pair = labelled.drop_duplicates("pair").drop(columns="layer")
            rows += [per_pair.assign(metric=one, value=per_pair[one]) for one in ("clean_diff", "corrupt_diff")]
    for metric, curves in medians.items():
        for name, parts in curves.items():
            rows += [
                table.assign(domain=name, component="residual", space=part, metric=metric)
                for part, table in parts.items()
            ]
    for metric, table in handovers.items():
        for row in table.itertuples():
            what = f"{metric}_difference" if row.what == "difference" else metric
            name = controls[row.domain] if row.what == "control" else row.domain
            one = dict(domain=name, metric=what, value=row.value, low=row.low, high=row.high, component="residual")
            rows.append(pd.DataFrame([one | dict(space="last")]))
    own = by_side.dropna(subset=["value"]).rename(columns={"side": "variant"}).assign(component="residual")
    rows.append(own.replace({"metric": {"handover": "handover_of_side"}}))
    rows.append(agreement.assign(metric="estimate_rank_correlation"))
    table = pd.concat(rows, ignore_index=True)
    columns = ["domain", "item", "variant", "layer", "component", "space", "metric", "value", "low", "high", "n"]
    table = table.reindex(columns=columns).drop_duplicates()
    return table.astype({"layer": "Int64", "n": "Int64"})
