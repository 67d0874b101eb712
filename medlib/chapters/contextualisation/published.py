"""The values of the project that this chapter follows, at the layers of ours of the same relative depth.

LLaVA-Med-v1.5 on Mistral-7B, 32 layers, 50 pictures, one question.  The published table does not say more of the
question; its values read as raw ones, since a share of 1.000 leaves nothing for a baseline.
"""

import pandas as pd

LAYERS = (0, 10, 20, 25, 32)
OF = 32
VALUES = {
    "self_similarity": (0.9995, 0.9554, 0.8833, 0.7605, 0.8073),
    "intra_similarity": (0.3319, 0.5978, 0.5842, 0.6056, 0.5236),
    "mev": (1.000, 0.9571, 0.8863, 0.7658, 0.8133),
}
NAMES = {"self_similarity": "SelfSim", "intra_similarity": "IntraSim", "mev": "MEV"}


def at_depth(layer, n_layers):
    """The layer of a model of `n_layers` at the relative depth of one of the 32.

    >>> at_depth(25, 30)
    23
    """
    return round(layer / OF * n_layers)


def mapped(metric, n_layers):
    """The published curve over our layers: `layer, published_layer, value`."""
    layers = [at_depth(layer, n_layers) for layer in LAYERS]
    return pd.DataFrame(dict(layer=layers, published_layer=LAYERS, value=VALUES[metric]))


def beside(table, n_layers):
    """Published values beside ours: a row for each measure and layer, our interval in brackets.

    >>> beside(curves[(curves["component"] == "text") & (curves["space"] == "raw")], 30)

    `table`: rows of one question, one kind of token and one space, as `context_tables.curves` gives them.
    """
    rows = []
    for metric in VALUES:
        for layer, there, value in mapped(metric, n_layers).itertuples(index=False):
            row = {"measure": NAMES[metric], "their layer": there, "published": value, "layer": layer}
            for column, name in (("ours", metric), ("ours, less random", f"{metric}_adjusted")):
                own = table[(table["metric"] == name) & (table["layer"] == layer)].iloc[0]
                row[column] = f"{own['value']:.4f} ({own['low']:.4f} to {own['high']:.4f})"
            rows.append(row)
    return pd.DataFrame(rows)
