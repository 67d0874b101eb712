"""What project B published of this geometry, for a place beside our curves.

Its model has 32 blocks of 4096 dimensions and its pictures 576 image tokens, so what can be compared is the order and
the shape of curves, not a height.
"""

import pandas as pd

from medlib.chapters.embedding_geometry.enough_tokens import comparable

BLOCKS, HIDDEN, TEXT_TOKENS = 32, 4096, 2747
PEAK = 25  # the transition of 32 at which the centred linearity of B has its peak
PUBLISHED = (  # our metric, tokens, from, to (in the order of the layers where B names one), what B says
    ("linearity", "image", 1.000, 0.998, "linearity, falling over the layers"),
    ("update_linearity", "image", 0.88, 0.945, "centred linearity, its peak near transition 25"),
    ("anisotropy", "image", 0.77, 0.70, "anisotropy, falling over the layers"),
    ("anisotropy", "text", 0.08, 0.13, "anisotropy"),
    ("dimension_lowest", "image", 7.6, 8.4, "intrinsic dimension"),
    ("dimension_lowest", "text", 14.0, 8.0, "intrinsic dimension, falling to 8 to 10, a peak near 24 to 25"),
)


def band(metric, kind):
    """The lowest and the highest that B publishes of a metric of one kind of token, or None."""
    found = [(a, b) for name, tokens, a, b, _ in PUBLISHED if (name, tokens) == (metric, kind)]
    return tuple(sorted(found[0])) if found else None


def beside_ours(table):
    """B's numbers beside ours: `measure`, `tokens`, `project B`, `this run`, `by chance`, `distinct tokens`.

    >>> beside_ours(pd.concat([steps, shapes]))

    `table`: `kind, layer, metric, value, control, n, reason` of `linear_steps` and `cloud_shapes`.  Ours are the first
    and the last value over the layers with enough distinct tokens and, in brackets, the range; where there is none, the
    reason.
    """
    rows, table = [], comparable(table)
    for metric, kind, first, last, said in PUBLISHED:
        of_metric = table[(table["metric"] == metric) & (table["kind"] == kind)].sort_values("layer")
        part = of_metric.dropna(subset=["value"])
        why = of_metric["reason"].dropna()
        ours = _curve(part["value"], metric) if len(part) else why.iloc[0] if len(why) else "not measured"
        control = part["control"].dropna()
        chance = _curve(control, metric) if len(control) else ""
        theirs = f"{first:g} to {last:g}"
        row = {"measure": said, "tokens": kind, "project B": theirs, "this run": ours, "by chance": chance}
        rows.append(row | {"distinct tokens": f"{part['n'].min():.0f}" if len(part) else ""})
    return pd.DataFrame(rows)


def _curve(values, metric):
    digits = 1 if metric.startswith("dimension") else 3
    first, last, low, high = (f"{v:.{digits}f}" for v in (values.iloc[0], values.iloc[-1], values.min(), values.max()))
    return f"{first} to {last} ({low} to {high})"
