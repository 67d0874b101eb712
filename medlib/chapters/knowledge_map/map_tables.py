"""The map's rows in the results table, the same read back, and what an editing or fine-tuning tool takes from them.

In the rows `component` is the technique (or "consensus") and `space` the map: "plain", or "minus control".
"""

import numpy as np
import pandas as pd

from medlib import concepts, mapping, stats, summary
from medlib.errors import MedlibError
from medlib.mapping import rules

MAPS = ("plain", "minus control")
LANES = (*mapping.TECHNIQUES, "consensus")
COLUMNS = ("domain", "component", "space", "variant", "layer", "metric", "value", "low", "high", "n")


def some_ran(cells):
    """The cells of a map as they are; `MedlibError` where not one technique has run in any domain."""
    if not any(cell.status == "run" for cell in cells.values()):
        raise MedlibError(
            "No technique of the map has run on this model in these domains. Run one of its chapters first: geometry, "
            "ages, saliency, lesion or patching."
        )
    return cells


def standing_out(differences, tested):
    """The cells of a map of differences of which the test says that they stand out (q below 0.05); others are out.

    `tested`: of `corrected`.  A cell without a test (a table with curves alone) does not count either.
    """
    out = {(row.domain, row.technique) for row in tested.itertuples() if row.q < 0.05}
    lost = mapping.Cell("does not stand out")
    return {key: cell if key in out or cell.status != "run" else lost for key, cell in differences.items()}


def layers(cells, names, counted=None):
    """Cells with their consensus, as one table: `mapping.by_layer` and rows of the technique "consensus".

    `counted`: the cells of which the consensus is made, where it is not all of them.
    """
    agreed = {(domain, "consensus"): mapping.consensus(counted or cells, domain) for domain in names}
    parts = [mapping.by_layer(cells, names)]
    for (domain, name), one in agreed.items():
        same = dict(domain=domain, technique=name, status=one.status)
        if one.status != "run":
            parts.append(pd.DataFrame([same]))
            continue
        layer = np.arange(1, len(one.mask) + 1)
        columns = dict(layer=layer, evidence=one.evidence, mapped=one.mask, share=one.share, n=one.n)
        parts.append(pd.DataFrame(same | columns))
    return pd.concat(parts, ignore_index=True)


def corrected(differences):
    """The p-values of the maps of differences, corrected over all of them: `domain, technique, p, q`."""
    rows = [(*key, one.p) for key, one in differences.items() if one.status == "run" and np.isfinite(one.p)]
    table = pd.DataFrame(rows, columns=["domain", "technique", "p"])
    return table.assign(q=stats.benjamini_hochberg(table["p"]) if len(table) else [])


def layer_rows(table, space):
    """A table of `layers` as rows of the results table."""
    ran = table[table["status"] == "run"].rename(columns={"technique": "component"})
    parts = [
        ran.assign(metric=metric, value=ran[metric].astype(float))[
            ["domain", "component", "layer", "metric", "value", "n"]
        ]
        for metric in ("evidence", "mapped", "share")
    ]
    lost = table[table["status"] != "run"].drop_duplicates(["domain", "technique"])
    lost = lost.rename(columns={"technique": "component", "status": "variant"})
    parts.append(lost.assign(metric="not mapped", value=1.0)[["domain", "component", "variant", "metric", "value"]])
    return pd.concat(parts, ignore_index=True).assign(space=space)


def read_back(table, space):
    """What `layer_rows` wrote of one map, as `layers` gives it, with `known` and `sure` (bool, or null).

    `known`: of a map of differences, whether both the domain and its control are.  `sure`: of such a map, whether it
    stands out at a false discovery rate of 5 %.
    """
    table = table.astype({"domain": object, "component": object})
    read = ["evidence", "mapped", "share"]
    own = table[(table["space"] == space) & table["metric"].isin(read)]
    wide = own.pivot(index=["domain", "component", "layer"], columns="metric", values="value")
    wide = wide.reindex(columns=read).reset_index()  # of a map without layers none is there
    counts = own.drop_duplicates(["domain", "component"])[["domain", "component", "n"]]
    wide = wide.merge(counts, on=["domain", "component"]).assign(status="run")
    wide["mapped"] = wide["mapped"] == 1
    lost = table[(table["space"] == space) & (table["metric"] == "not mapped")]
    lost = lost[["domain", "component", "variant"]].rename(columns={"variant": "status"})
    found = pd.concat([wide, lost], ignore_index=True).rename(columns={"component": "technique"})
    found["known"] = found["domain"].map(known(table) if space == "plain" else known_both(known(table)))
    q = table[(table["metric"] == "difference_q") & (table["space"] == space)].set_index(["domain", "component"])[
        "value"
    ]
    keys = list(zip(found["domain"], found["technique"], strict=True))
    found["sure"] = [bool(q[key] < 0.05) if space != "plain" and key in q.index else None for key in keys]
    return found


def known(table):
    """Which domains the model knows, from the rows of a map: domain -> bool; empty where nobody asked."""
    rows = table[table["metric"] == "known"]
    return {str(domain): bool(value) for domain, value in zip(rows["domain"], rows["value"], strict=True)}


def known_rows(is_known):
    """Which domains the model knows, as rows: domain -> bool."""
    rows = [dict(domain=domain, metric="known", value=float(value)) for domain, value in is_known.items()]
    return pd.DataFrame(rows, columns=["domain", "metric", "value"])


def test_rows(tested, space="minus control"):
    """The tests of `corrected` as rows; `space` is the map, and a column `control` names another one."""
    table = tested.rename(columns={"technique": "component"}).assign(space=space)
    if "control" in table:
        table["variant"] = "minus " + table["control"]
    parts = [table.assign(metric=f"difference_{name}", value=table[name]) for name in ("p", "q")]
    return pd.concat(parts, ignore_index=True).reindex(columns=[*COLUMNS])


def agreements(maps, names, controls, seed=0, n=4999):
    """`mapping.whole_domain` of every domain of every map: its columns, `map` and `domain`."""
    return pd.DataFrame(
        dict(map=name, domain=domain) | mapping.whole_domain(cells, domain, seed, n)
        for name, cells in maps.items()
        for domain in (names if name == "plain" else controls)
    )


def known_both(is_known):
    """Whether the model knows a medical domain and its control too: domain -> bool."""
    pairs = {domain: concepts.control(domain) for domain in is_known if domain in concepts.medical()}
    return {domain: is_known[domain] and is_known.get(control, True) for domain, control in pairs.items()}


def number_rows(pairs, whole, among, stable, between_controls, judged):
    """What else was found, as rows: agreement, stability, differences between controls, the validation."""
    pairs = pairs.assign(component="pair", space="plain", variant=pairs["first"] + " with " + pairs["second"])
    whole = whole.rename(columns={"map": "space"}).assign(component="all")
    among = among.rename(columns={"technique": "component"}).assign(space="plain")
    stable = stable.rename(columns={"technique": "component", "change": "variant"}).assign(space="plain")
    interval = {"low": "rank_low", "high": "rank_high"}
    found = [
        _as_rows(pairs.drop(columns=["n"]), {"rank_correlation": "rank"}, interval),
        _as_rows(pairs.drop(columns=["n"]), {"overlap": "overlap", "overlap_by_chance": "chance", "overlap_p": "p"}),
        _as_rows(whole, {"overlap": "overlap"}, dict(low="low", high="high")),
        _as_rows(whole, {"overlap_by_chance": "chance", "overlap_p": "p", "techniques": "techniques"}),
        _as_rows(
            among.drop(columns=["n"]),
            {
                "overlap_with_control": "control",
                "overlap_with_control_by_chance": "chance",
                "overlap_with_control_p": "p",
                "overlap_with_other_domains": "others",
            },
        ),
        _as_rows(stable, {"overlap_when_changed": "overlap"}, dict(low="low", high="high")),
        _as_rows(stable, {"rank_when_changed": "rank"}),
        test_rows(between_controls, "minus another control"),
        judged_rows(judged),
    ]
    return pd.concat(found, ignore_index=True).dropna(subset=["value"])


def judged_rows(judged):
    """The validation as rows: `variant` is the kind of effect and which layers count."""
    same = judged.rename(columns={"technique": "component", "map": "space"})
    same["variant"] = same["kind"] + ", " + same["scope"]
    names = {"effect_at_mapped": "inside", "effect_at_random": "elsewhere", "random_layers_p": "p"}
    return pd.concat(
        [
            _as_rows(same, {"random_layers_beaten": "beaten"}, dict(low="low", high="high")),
            _as_rows(same, names | {"layers_mapped": "layers"}),
            _as_rows(same, {"effect_beyond_control": "beyond"}, dict(low="beyond_low", high="beyond_high")),
        ],
        ignore_index=True,
    )


def effect_rows(found, seed=0):
    """The curve of each effect over layers with its interval, and that of steering in random directions."""
    parts = []
    for (domain, kind), table in found.items():
        if table is None:
            continue
        names = {"value": kind} | ({"random": "steering, random direction"} if "random" in table else {})
        for column, variant in names.items():
            curve = summary.by_layer(table, column, seed=seed)
            parts.append(curve.assign(domain=domain, variant=variant, metric="effect"))
    return pd.concat(parts, ignore_index=True)


def item_rows(found):
    """Each held-out item's own effects as rows."""
    return pd.concat(
        [
            table[["item", "layer", "value"]].assign(domain=domain, variant=kind, metric="effect_of_item")
            for (domain, kind), table in found.items()
            if table is not None
        ],
        ignore_index=True,
    )


def advice(table, record=None):
    """Which layers to touch for what a model knows of each domain, and how sure that is: JSON values.

    >>> map_tables.advice(results.read("knowledge_map.parquet"))["domains"]["drugs"]["touch"]

    `table`: the results table of this chapter, of one model; `record`: its record, for what the map was made of.
    Each domain has `known`, its `maps`, `plain` and `minus_control` (each technique and `consensus`: a list of `first,
    last, confidence`, null where it was not run), and `touch`: the layers that two or more techniques point at beyond
    the control and stand out, or, where there are none, those that two or more point at in the plain map, with `basis`
    saying which, and `checks`, what holds of them (true, false, or null where it was not tested).  `confidence` is the
    share of resamples of the items in which a layer is mapped, mean over the layers.  An empty `touch` means that this
    map tells nothing.  Raises `MedlibError` for the table of another chapter.
    """
    if "mapped" not in set(table["metric"]):
        raise MedlibError("This is no table of a knowledge map: give that of the chapter knowledge_map.")
    maps = {space: read_back(table, space) for space in MAPS}
    domains = {}
    for domain in maps["minus control"]["domain"].unique():
        intervals = {space: _intervals(maps[space], domain) for space in MAPS}
        is_known = known(table).get(domain)
        both = known_both(known(table)).get(domain) is not False
        able = [space for space in reversed(MAPS) if intervals[space].get("consensus") and (both or space == "plain")]
        basis = next(iter(able), None)
        touch = intervals[basis]["consensus"] if basis and is_known is not False else []
        domains[domain] = {
            "known": is_known,
            "touch": touch,
            "basis": basis if touch else None,
            "checks": checks(table, domain, basis) if touch else {},
            "maps": {space.replace(" ", "_"): intervals[space] for space in MAPS},
        }
    layers_there = int(table.loc[table["metric"] == "mapped", "layer"].max())
    found = {
        "model": str(table["model"].iloc[0]),
        "layers": layers_there,
        "numbered": "blocks 1..L",
        "domains": domains,
    }
    if record is not None:
        found |= {
            "weights_sha256": record["model"]["weights_sha256"],
            "made_of": record["run"].get("made_of"),
            "seed": record["seed"],
        }
    return found


def checks(table, domain, space):
    """What holds of a domain's consensus: each check true, false, or None where it was not made.

    `techniques_agree`: their maps overlap beyond chance; `differs_from_control`: two techniques or more stand out from
    the control (false discovery rate 5 %); `lesions_matter`, `steering_matters`: at its layers the effect beats 19 of
    20 runs of random layers as long.
    """
    own = table[table["domain"] == domain]

    def p_of(metric, **where):
        rows = own[own["metric"] == metric]
        for column, value in where.items():
            rows = rows[rows[column] == value]
        return rows["value"]

    def below(values):
        return bool(values.iloc[0] <= 0.05) if len(values) else None

    q = p_of("difference_q", space="minus control")
    judged = {
        name: below(p_of("random_layers_p", component="consensus", space=space, variant=f"{kind}, all layers"))
        for name, kind in (("lesions_matter", "lesion"), ("steering_matters", "steering"))
    }
    return {
        "techniques_agree": below(p_of("overlap_p", component="all", space=space)),
        "differs_from_control": bool((q < 0.05).sum() >= 2) if len(q) else None,
        **judged,
    }


def _intervals(table, domain):
    """The runs of each technique of one domain: technique -> list of dicts; None where it has no map."""
    found = {}
    for technique in LANES:
        own = table[(table["domain"] == domain) & (table["technique"] == technique)].sort_values("layer")
        if own.empty or (own["status"] != "run").any():
            found[technique] = None
            continue
        share = own["share"].to_numpy(dtype=float)
        found[technique] = [
            {"first": a, "last": b, "confidence": round(float(share[a - 1 : b].mean()), 3)}
            for a, b in rules.runs(own["mapped"].to_numpy(dtype=bool))
        ]
    return found


def _as_rows(table, metrics, interval=None):
    """Columns of a table as rows: `metrics` is metric -> column, `interval` the columns of `low` and `high`."""
    ends = {name: table[column] for name, column in (interval or {}).items()}
    plain = table.drop(columns=["low", "high"], errors="ignore")
    parts = [plain.assign(metric=metric, value=table[column], **ends) for metric, column in metrics.items()]
    return pd.concat(parts, ignore_index=True).reindex(columns=[*COLUMNS])
