"""Made-up chapters in which it is known at which layers they point, and noise that points nowhere."""

import numpy as np
import pandas as pd

from medlib import mapping
from medlib.mapping import agreement, rules

CONTROLS = {"drugs": "foods"}


def check(n_layers, seed=0):
    """Whether the map finds what is planted, and noise agrees no better than chance: `passed` and `detail`.

    >>> run.check("planted layers are found", **planted_map.check(model.n_layers))

    Two techniques are high at the same third of the layers of one domain, and at another one of its control, on top of
    what both domains share, which is higher still.
    """
    width = max(3, n_layers // 5)
    shared, own, other = (_high(n_layers, n_layers * place // 10, width) for place in (0, 4, 7))
    tables = {
        "lesion": _table({"drugs": 3 * shared + 2 * own, "foods": 3 * shared + 2 * other}, "kl", seed),
        "saliency": _table({"drugs": 3 * shared + 2 * own, "foods": 3 * shared + 2 * other}, "grad", seed + 1),
    }
    less = mapping.differences(tables, CONTROLS, seed, 100, 199)
    agreed = mapping.consensus(less, "drugs")
    missed = int((own.astype(bool) & ~agreed.mask).sum())
    p = max(less["drugs", technique].p for technique in tables)
    gap, chance = noise(n_layers, seed)
    right = rules.overlap(agreed.mask, own.astype(bool))
    passed = right >= 0.6 and p <= 0.05 and abs(gap) < 0.05
    detail = (
        f"of {width} planted layers {width - missed} are in the consensus beyond the control (overlap {right:.2f}, "
        f"largest p {p:.3f}); two maps of noise overlap by {chance + gap:.2f}, by chance {chance:.2f}"
    )
    return {"passed": bool(passed), "detail": detail}


def noise(n_layers, seed=0, n=400):
    """How far maps of noise overlap beyond chance, and chance, means over `n` pairs of maps."""
    generator = np.random.default_rng(seed)
    drawn = rules.layers(generator.normal(size=(n, 2, n_layers)), rules.LEVEL)
    found = np.array([agreement.against_chance(list(pair), generator, 49)[:2] for pair in drawn if pair.any(-1).all()])
    return float((found[:, 0] - found[:, 1]).mean()), float(found[:, 1].mean())


def _high(n_layers, start, width):
    return ((np.arange(n_layers) >= start) & (np.arange(n_layers) < start + width)).astype(float)


def _table(curves, metric, seed, n_items=12, spread=0.3):
    generator = np.random.default_rng(seed)
    rows = [
        (domain, f"{domain} {item}", variant, layer, value)
        for domain, curve in curves.items()
        for item in range(n_items)
        for variant in ("first", "second")
        for layer, value in enumerate(np.exp(curve + spread * generator.normal(size=len(curve))), start=1)
    ]
    table = pd.DataFrame(rows, columns=["domain", "item", "variant", "layer", "value"])
    return table.assign(metric=metric, component="block")
