"""The chapter about saliency in tables: those that it shows, and the rows of its results table."""

import pandas as pd

from medlib import summary
from medlib.chapters.saliency.saliency_contrast import ratio, select


def text(interval, form="{:.2f}"):
    """An interval in a cell: `0.97 (0.95 to 0.98)`."""
    return "{} ({} to {})".format(*(form.format(end) for end in (interval.value, interval.low, interval.high)))


def asked(questions, tables):
    """What was asked of each domain: counts, and the mean log-probabilities of `own` and `other` answers, in nats."""
    likely = {name: table.groupby("answer")["log_p"].mean() for name, table in tables.items()}
    rows = {
        name: dict(
            items=found["item"].nunique(),
            clusters=found["cluster"].nunique(),
            prompts=len(found),
            own=likely[name]["own"],
            other=likely[name]["other"],
        )
        for name, found in questions.items()
    }
    return pd.DataFrame(rows).T.astype(dict.fromkeys(["items", "clusters", "prompts"], int))


def summed(orders, spread, levels, blocks, sizes, controls):
    """One row a medical domain: its peak, how alike its order is to that of other curves, its level, layers counted.

    `orders`: of `saliency_contrast.orders`; `spread`: of `sanity.spread_of_orders`; `levels`: (domain, answer) ->
    `level`; `blocks`: what -> corrected tests; `sizes`: of `saliency_reference.compare`, or None.
    """
    counts = {what: table.groupby("domain")["clear"].sum() for what, table in blocks.items()}
    size = {} if sizes is None else sizes.sizes.query("medical").set_index("domain")["value"]
    last = spread[(spread["blocks"] == "all") & (spread["scrambled"] == spread["scrambled"].max())]
    scrambled = {row.domain: text(row) for row in last.itertuples()}
    rows = {
        domain: {
            "peak": "{} ({} to {})".format(*orders["peak"][domain]),
            **{name: text(orders[name][domain]) for name in ("control", "other answers", "times weight")},
            "scrambled": scrambled[domain],
            "ratio": text(levels[domain, "own"]),
            "ratio, others": text(levels[domain, "other"]),
            "size of shape": f"{size[domain]:.2f}" if domain in size else "",
            "differs": counts["own"][domain],
            "differs, others": counts["other"][domain],
            "changes": counts["moved"][domain],
        }
        for domain in controls
    }
    return pd.DataFrame(rows).T


def two_controls(sizes):
    """The sizes of the shapes of two controls, the largest first, as a table to show; empty for None."""
    if sizes is None:
        return pd.DataFrame(columns=["over", "size of shape"])
    table = sizes.sizes[~sizes.sizes["medical"]].sort_values("value", ascending=False)
    return table.rename(columns={"value": "size of shape"}).set_index("domain")[["over", "size of shape"]]


def rows(curve, **columns):
    """A curve, or a table of prompts, as rows of the results table."""
    kept = curve.rename(columns={"saliency": "value"})
    kept = kept[[name for name in ("item", "variant", "layer", "value", "low", "high", "n") if name in kept]]
    return kept.assign(**columns)


def prompt_rows(tables):
    """Each prompt's saliency by block: of both kinds with its own answer, and of slopes with the other."""
    return pd.concat(
        rows(select(table, answer, kind), domain=name, component="block", metric=metric)
        for name, table in tables.items()
        for answer, kind, metric in (
            ("own", "grad", "grad"),
            ("own", "weight_grad", "weight_grad"),
            ("other", "grad", "grad_other_answers"),
        )
    )


def module_rows(tables, controls, seed=0):
    """Curves of each weight matrix, and of its ratio to the control."""
    modules = [name for name in next(iter(tables.values()))["module"].unique() if name != "block"]
    curves = [
        rows(
            summary.by_layer(select(table, module=module), "saliency", seed=seed),
            domain=name,
            component=module,
            metric="grad",
        )
        for name, table in tables.items()
        for module in modules
    ]
    ratios = [
        rows(
            ratio(tables[domain], tables[control], seed, module=module),
            domain=domain,
            component=module,
            variant=f"over {control}",
            metric="grad_ratio",
        )
        for domain, control in controls.items()
        for module in modules
    ]
    return pd.concat([*curves, *ratios])


def tested_rows(tests, controls):
    """The tests of the ratio against its own mean: metrics `grad_shape...` (natural log) and `..._p` (uncorrected).

    `tests`: what ("own", "other", "moved") -> result of `compare_all`.
    """
    names = {"own": "grad_shape", "other": "grad_shape_other_answers", "moved": "grad_shape_moved"}
    parts = []
    for what, table in tests.items():
        table = table.rename(columns={"module": "component"})
        table = table.assign(variant="over " + table["domain"].map(controls))
        kept = table[["domain", "component", "variant", "layer"]]
        parts += [
            kept.assign(value=table[column], metric=names[what] + end) for column, end in (("value", ""), ("p", "_p"))
        ]
    return pd.concat(parts)


def curve_rows(curves, ratios, controls):
    """Curves of blocks and their ratios, with both answers: metrics `grad`, `weight_grad` and `grad_ratio`."""
    suffix = {"own": "", "other": "_other_answers"}
    parts = [
        rows(curve, domain=name, component="block", metric=kind + suffix[answer])
        for (name, answer, kind), curve in curves.items()
    ]
    parts += [
        rows(
            curve,
            domain=name,
            component="block",
            variant=f"over {controls[name]}",
            metric="grad_ratio" + suffix[answer],
        )
        for (name, answer), curve in ratios.items()
    ]
    return pd.concat(parts)


def agreement_rows(steps, orders, levels, sizes, controls):
    """Rank correlations, levels and sizes of shapes, a row each.

    Of scrambled weights the metric says how many blocks, `space` which blocks are compared and `variant` which order.
    """
    found = [
        (name, metric, f"over {controls[name]}" if of == "control" else None, interval)
        for of, metric in (
            ("other answers", "rank_correlation_other_answers"),
            ("times weight", "rank_correlation_weight_grad"),
            ("control", "rank_correlation_control"),
        )
        for name, interval in orders[of].items()
    ]
    found += [
        (name, "grad_ratio_level" + ("" if answer == "own" else "_other_answers"), f"over {controls[name]}", interval)
        for (name, answer), interval in levels.items()
    ]
    least_alike = {name: (value, None, None) for name, value in orders["templates"].items() if pd.notna(value)}
    found += [(name, "rank_correlation_templates", None, interval) for name, interval in least_alike.items()]
    columns = ["domain", "metric", "variant", "value", "low", "high"]
    table = pd.DataFrame([(*names, *interval) for *names, interval in found], columns=columns)
    scrambled = steps.assign(
        metric="rank_correlation_scrambled_" + steps["scrambled"].astype(str),
        space=steps["blocks"] + " blocks",
        variant="order " + steps["order"].astype(str),
    ).drop(columns=["scrambled", "blocks", "order"])
    parts = [table, scrambled]
    if sizes is not None:
        parts.append(
            sizes.sizes.assign(metric="grad_shape_rms", variant="over " + sizes.sizes["over"])[
                ["domain", "metric", "variant", "value"]
            ]
        )
    return pd.concat(parts).assign(component="block")
