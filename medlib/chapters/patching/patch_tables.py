"""What the patching chapter says and saves: sweeps of many domains, put into words, tables and rows of the record."""

import pandas as pd

from medlib.chapters.patching import sites


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


def first_couples(drawn, n):
    """The pairs and labels of the first `n` couples of a `sites.Drawn`, in the order of their (random) drawing."""
    names = drawn.labels["couple"].drop_duplicates()[:n]
    chosen = drawn.labels[drawn.labels["couple"].isin(names)]
    return [drawn.pairs[i] for i in chosen.index], chosen.reset_index(drop=True)


def agreements(exact, estimated, seed=0):
    """`sites.agreement` of each sweep, `(component, domain) -> table`: `domain, component, value, low, high`.

    Domains come in the order in which they first appear; a sweep with fewer used couples than
    `sites.FEWEST` is left out.
    """
    rows = [
        (name, part, *sites.agreement(table, estimated[part, name], seed))
        for (part, name), table in exact.items()
        if table[table["used"]]["couple"].nunique() >= sites.FEWEST
    ]
    return pd.DataFrame(rows, columns=["domain", "component", "value", "low", "high"])


def spans(model, swept, weak):
    """`sites.extremes` of the swept domains and of couples too weak to be used, name -> `sites.Drawn`."""
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
    rows = [(name, *sites.accuracy(one, seed)) for name, one in drawn.items()]
    return pd.DataFrame(rows, columns=["domain", "right when clean", "low", "high"]).set_index("domain")


def numbers(drawn, curves, handover, agreement, controls, few, threshold):
    """The numbers of the chapter's prose: key -> `(value, text)`, true whatever they are for another model."""
    patched = [name for name in controls if name in curves]
    n = sum(drawn[name].labels["couple"].nunique() for name in patched)
    left = [f"{name} ({text})" for name, text in few.items()]
    own = handover[handover["what"] == "domain"]
    differences = handover[handover["what"] == "difference"]
    found = {
        "n_couples_used": (n, str(n)),
        "n_domains": (len(patched), str(len(patched))),
        "n_asked": (len(controls), str(len(controls))),
        "left_out": (len(left), f"left out: {_listed(left)}" if left else "no domain and no control is left out"),
        "handover_domains": (
            float(own["value"].median()) if len(own) else "none",
            _listed([f"layer {_span(row, '.0f')} for {row.domain}" for row in own.itertuples()]),
        ),
        "handover_verdict": (len(differences), _verdict(differences, controls)),
        "n_differences": (len(differences), str(len(differences))),
        "by_chance": (0.05 * len(differences), f"{0.05 * len(differences):.2g}"),
        "threshold": (threshold, f"{threshold:g} logit{'s' * (threshold != 1)}"),
        "fewest": (sites.FEWEST, str(sites.FEWEST)),
    }
    for component in ("residual", "attention", "mlp"):
        ranks = agreement[agreement["component"] == component]["value"]
        text = f"{ranks.min():.2f} to {ranks.max():.2f}" if len(ranks) else "not measured"
        found[f"estimate_{component}"] = (float(ranks.median()) if len(ranks) else "none", text)
    return found | {"between_most": _between(curves, patched)}


def _verdict(differences, controls):
    """Which differences of handover exclude zero, in a sentence or two."""
    if differences.empty:
        return "No domain has enough couples beside its control to compare the two."
    words = {"earlier than in the control": [], "later than in the control": [], "not shown to differ": []}
    earlier, later, neither = words.values()
    for row in differences.itertuples():
        where = later if row.low > 0 else earlier if row.high < 0 else neither
        where.append(f"{row.domain} / {controls[row.domain]} ({_span(row, '+.0f')})")
    said = "; ".join(f"{how} for {_listed(names)}" for how, names in words.items() if names)
    end = " What its control does as well is no mark of medicine." if neither else ""
    return f"In layers, medical minus control, it is {said}.{end}"


def _between(curves, patched):
    """The largest median share that the words between bring back in any domain and layer, with its interval."""
    tables = [curves[name]["between"].assign(domain=name) for name in patched if "between" in curves[name]]
    if not tables:
        return "none", "nothing, for no template has any"
    table = pd.concat(tables, ignore_index=True)
    top = table.loc[table["value"].idxmax()]
    return top[
        "value"
    ], f"{top['value']:.0%} ({top['low']:.0%} to {top['high']:.0%}, {top['domain']}, layer {top['layer']})"


def _span(row, form):
    return f"{row.value:{form}} ({row.low:{form}} to {row.high:{form}})"


def _listed(words):
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing"


def results_of(sweeps, medians, handover, agreement, controls):
    """Everything measured as rows of the results table.

    Per pair and site the raw logit difference (`logit_diff`; `component` is what was patched, `space` the part of the
    prompt), per pair `clean_diff` and `corrupt_diff`; the curves of `medians` (metric -> domain -> part -> table), the
    handover and the rank correlation of the estimate with their intervals.  An item is a couple, a variant one pair of
    it; a pair that is wrong when clean has a `clean_diff` below zero.
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
    for row in handover.itertuples():
        what = {"domain": "handover", "control": "handover", "difference": "handover_difference"}[row.what]
        name = controls[row.domain] if row.what == "control" else row.domain
        one = dict(domain=name, metric=what, value=row.value, low=row.low, high=row.high, component="residual")
        rows.append(pd.DataFrame([one | dict(space="last")]))
    rows.append(agreement.assign(metric="estimate_rank_correlation"))
    table = pd.concat(rows, ignore_index=True)
    columns = ["domain", "item", "variant", "layer", "component", "space", "metric", "value", "low", "high", "n"]
    table = table.reindex(columns=columns).drop_duplicates()
    return table.astype({"layer": "Int64", "n": "Int64"})
