"""What the chapter says of its map: sentences that turn with the numbers."""

import numpy as np
import pandas as pd

from medlib.mapping import TECHNIQUES, rules


def numbers(among, stable, whole, tested, between_controls, judged, agreed, controls, known):
    """The numbers of the prose: key -> (value, text).

    `whole`: `mapping.whole_domain` of every domain and map; `agreed`: map -> domain -> `Cell` of the consensus; the
    others as `map_tables.number_rows` takes them.  Domains that the model does not know do not count.
    """
    domains = [domain for domain in controls if known.get(domain) is not False]
    both = [domain for domain in domains if known.get(controls[domain]) is not False]
    return (
        own_map(among, stable, domains)
        | techniques_agree(whole, domains, controls, known)
        | stands_out(tested, between_controls, both)
        | where(agreed, {"plain": domains, "minus control": both})
        | matters(judged, domains)
        | changed(stable, domains)
    )


def knowledge(known, domains):
    """The sentence on what is grey: of what the model knows, as the knowledge chapter found."""
    if not known:
        return "The knowledge chapter did not run on this model, so that it is unknown what it knows: nothing is grey."
    unknown = [domain for domain in domains if known.get(domain) is False]
    if not unknown:
        return "Nothing is grey: in every medical domain the model reliably prefers the right answer of two."
    return f"Grey, since the model does not reliably prefer the right answer to a wrong one: {', '.join(unknown)}."


def own_map(among, stable, domains):
    """Is the map the domain's own?  Its overlap with the control's map beside that of two halves of its items."""
    own = among[among["domain"].isin(domains)]
    halves = stable[stable["domain"].isin(domains) & (stable["change"] == "half of the items")]
    both = own.merge(halves[["domain", "technique", "overlap"]], on=["domain", "technique"]).dropna(subset=["control"])
    if both.empty:
        return {
            "verdict": ("none", "No map of a medical domain that the model knows can be held against its control's")
        }
    control, half, chance = (float(both[name].median()) for name in ("control", "overlap", "chance"))
    beside = (
        f"a technique's layers overlap by {control:.2f} with those of the control, by {half:.2f} between two halves of "
        f"the domain's own items and by {chance:.2f} by chance (medians over {len(both)} maps)"
    )
    shared = control > (half + chance) / 2
    verdict = "The plain map is mostly one of the model, not of medicine" if shared else "The map is the domains' own"
    return {
        "verdict": ("shared" if shared else "own", f"{verdict}: {beside}"),
        "shared": (control, f"{control:.2f}"),
        "others": _median(own["others"]),
        "halves": (half, f"{half:.2f}"),
        "by_chance": (chance, f"{chance:.2f}"),
        "n_maps": (len(both), str(len(both))),
    }


def techniques_agree(whole, domains, controls, known):
    """In how many domains the techniques overlap beyond chance, medical ones and controls."""
    plain = whole[(whole["map"] == "plain") & whole["p"].notna()]
    medical = plain[plain["domain"].isin(domains)]
    held = plain[plain["domain"].isin([controls[name] for name in controls if known.get(controls[name]) is not False])]
    found = {}
    for key, part, what in (("agree", medical, "known medical domains"), ("agree_controls", held, "known controls")):
        those = list(part.loc[part["p"] <= 0.05, "domain"])
        found[key] = (len(those), _of(those, len(part), what))
    both = [domain for domain in domains if known.get(controls[domain]) is not False]
    less = whole[(whole["map"] == "minus control") & whole["p"].notna() & whole["domain"].isin(both)]
    those = list(less.loc[less["p"] <= 0.05, "domain"])
    return found | {"agree_beyond": (len(those), _of(those, len(less), "domains"))}


def stands_out(tested, between_controls, domains):
    """How many maps of a difference stand out, and how many of the differences between two controls do."""
    own = tested[tested["domain"].isin(domains)]
    n = int((own["q"] < 0.05).sum())
    raw, other = int((own["p"] < 0.05).sum()), int((between_controls["p"] < 0.05).sum())
    as_often = other * len(own) >= raw * len(between_controls)
    verdict = ", so that another topic and wording are enough" if as_often else ", less often than medicine does"
    return {
        "stand_out": (n, f"{n} of {len(own)}"),
        "stand_out_uncorrected": (raw, f"{raw} of {len(own)}"),
        "controls_stand_out": (other, f"{other} of {len(between_controls)}{verdict}"),
    }


def where(agreed, domains):
    """The layers of the consensus, in words, of the known `domains` of each map."""
    found = {}
    for key, name in (("layers_plain", "plain"), ("layers_beyond", "minus control")):
        told = [f"{domain} {layers}" for domain in domains[name] if (layers := spoken(agreed[name][domain]))]
        found[key] = (len(told), "; ".join(told) or "none")
    return found


def matters(judged, domains):
    """For each kind of effect, in how many domains the mapped layers beat nineteen of twenty random runs.

    Out of those that have such layers.
    """
    found = {}
    own = judged[judged["domain"].isin(domains) & (judged["technique"] == "consensus")].dropna(subset=["beaten"])
    for key, kind in (("lesion", "lesion"), ("resampled", "lesion, resampled"), ("steering", "steering")):
        for ending, name in (("", "plain"), ("_beyond", "minus control")):
            first = own["scope"] == "all layers"
            for late, part in (("", own[first]), ("_late", own[~first])):
                rows = part[(part["kind"] == kind) & (part["map"] == name)]
                those = list(rows.loc[rows["p"] <= 0.05, "domain"])
                found[key + ending + late] = (len(those), _of(those, len(rows), "domains"))
    return found


def changed(stable, domains):
    """How far maps stay the same: the median over known domains and techniques, by what was changed."""
    own = stable[stable["domain"].isin(domains)]
    templates = own[own["change"] == "template"]["overlap"]
    rule = own[~own["change"].isin(["template", "half of the items"])].groupby("change")["overlap"].median()
    found = {"templates": _median(templates)}
    if len(rule):
        worst = rule.idxmin()
        found["rules"] = (float(rule.min()), f"{rule.min():.2f} ({worst})")
    return found


def spoken(cell):
    """The layers of a cell in words; "" where there are none.

    >>> spoken(consensus(found, "drugs"))
    '23 to 30'
    """
    if cell.status != "run":
        return ""
    return ", ".join(f"{a} to {b}" if b > a else f"{a}" for a, b in rules.runs(cell.mask))


def intervals(table, known):
    """A table of `map_tables.layers` to be read: domains by techniques, with layers and the mean of their shares."""
    rows = []
    for domain, part in table.groupby("domain", sort=False):
        row = {"domain": domain if known.get(domain) is not False else f"{domain} (not known)"}
        for technique in (*TECHNIQUES, "consensus"):
            own = part[part["technique"] == technique]
            row[technique] = _cell_in_words(own)
        rows.append(row)
    return pd.DataFrame(rows).set_index("domain")


def judged_table(judged):
    """The validation to be read, of the consensus: a row for each domain, kind of effect and map."""
    own = judged[(judged["technique"] == "consensus") & (judged["scope"] == "all layers")].dropna(subset=["beaten"])
    return pd.DataFrame(
        {
            "domain": own["domain"],
            "effect": own["kind"],
            "map": own["map"],
            "layers": own["layers"],
            "at mapped": own["inside"].map("{:.2f}".format),
            "at random": own["elsewhere"].map("{:.2f}".format),
            "random runs beaten": [_with(row.beaten, row.low, row.high) for row in own.itertuples()],
            "p": own["p"].map("{:.3f}".format),
            "beyond control": [_with(row.beyond, row.beyond_low, row.beyond_high) for row in own.itertuples()],
            "n": own["n"],
        }
    )


def pairs_table(pairs):
    """The agreement of each two techniques, to be read."""
    return pd.DataFrame(
        {
            "domain": pairs["domain"],
            "techniques": pairs["first"] + ", " + pairs["second"],
            "rank correlation": [_with(row.rank, row.rank_low, row.rank_high) for row in pairs.itertuples()],
            "overlap": pairs["overlap"].map("{:.2f}".format),
            "by chance": pairs["chance"].map("{:.2f}".format),
            "p": pairs["p"].map("{:.3f}".format),
            "layers": pairs["n"],
        }
    )


def _cell_in_words(own):
    if own.empty:
        return "not run"
    if (own["status"] != "run").any():
        return own["status"].iloc[0]
    own = own.sort_values("layer")
    share, mask = own["share"].to_numpy(dtype=float), own["mapped"].to_numpy(dtype=bool)
    told = [
        f"{a}–{b} ({share[a - 1 : b].mean():.2f})" if b > a else f"{a} ({share[a - 1]:.2f})"
        for a, b in rules.runs(mask)
    ]
    return ", ".join(told) or "no interval"


def _with(value, low, high):
    return "" if not np.isfinite(value) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _of(those, n, what):
    return f"{len(those)} of {n} {what}" + (f" ({', '.join(those)})" if those else "")


def _median(values):
    values = values.dropna()
    return (float(values.median()), f"{values.median():.2f}") if len(values) else ("none", "not measured")
