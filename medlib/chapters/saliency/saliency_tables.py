"""The chapter about saliency in words and rows: what its prose quotes, and its results table."""

import pandas as pd

from medlib import summary
from medlib.chapters.saliency.saliency_contrast import ratio, select


def text(interval, form="{:.2f}"):
    """An interval in a cell: `0.97 (0.95 to 0.98)`."""
    return "{} ({} to {})".format(*(form.format(end) for end in (interval.value, interval.low, interval.high)))


def extremes(intervals):
    """The lowest value of some domains, and a text with the lowest and the highest, each with its interval.

    >>> extremes({"drugs": Interval(0.9, 0.8, 1.0), "age": Interval(0.5, 0.4, 0.6)})[1]
    '0.50 (age, 95 % interval 0.40 to 0.60) to 0.90 (drugs, 0.80 to 1.00)'
    """
    names = sorted(intervals, key=lambda name: intervals[name].value)
    lowest, highest = names[0], names[-1]

    def said(name, words):
        value, low, high = (f"{getattr(intervals[name], end):.2f}" for end in ("value", "low", "high"))
        return f"{value} ({name}, {words}{low} to {high})"

    words = said(lowest, "95 % interval ")
    return float(intervals[lowest].value), words if len(names) == 1 else f"{words} to {said(highest, '')}"


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


def agreement_rows(steps, labels, kinds, alike, levels, controls):
    """Rank correlations and levels, a row each: a metric says how many blocks are scrambled, `space` which compared."""
    found = [(name, "rank_correlation_other_answers", None, interval) for name, interval in labels.items()]
    found += [(name, "rank_correlation_weight_grad", None, interval) for name, interval in kinds.items()]
    found += [
        (name, "rank_correlation_control", f"over {controls[name]}", interval) for name, interval in alike.items()
    ]
    found += [
        (name, "grad_ratio_level" + ("" if answer == "own" else "_other_answers"), f"over {controls[name]}", interval)
        for (name, answer), interval in levels.items()
    ]
    columns = ["domain", "metric", "variant", "value", "low", "high"]
    table = pd.DataFrame([(*names, *interval) for *names, interval in found], columns=columns)
    scrambled = [
        part.assign(
            domain=name,
            metric="rank_correlation_scrambled_" + part["scrambled"].astype(str),
            space=part["blocks"] + " blocks",
        ).drop(columns=["scrambled", "blocks"])
        for name, part in steps.items()
    ]
    return pd.concat([table, *scrambled]).assign(component="block")
