"""Results tables of made-up chapters, in which it is known at which layers each technique points."""

import numpy as np
import pandas as pd

from medlib import results

LAYERS, ITEMS, TEMPLATES = 24, 12, ("first", "second")


def bump(layers, height=2.0, n=LAYERS):
    """A curve over blocks 1..n that is high at some layers."""
    return height * np.isin(np.arange(1, n + 1), layers)


def lesion(curves, noise=0.1, seed=0, metric="kl"):
    """A table of the lesion chapter (or, by its metric, of saliency): domain -> log curve `[block]`."""
    generator, rows = np.random.default_rng(seed), []
    for domain, curve in curves.items():
        for item in range(ITEMS):
            for variant in TEMPLATES:
                values = np.exp(curve + noise * generator.normal(size=len(curve)))
                rows += [dict(domain=domain, item=f"{domain} {item}", variant=variant, layer=i, value=v, metric=metric)
                         for i, v in enumerate(values, start=1)]  # fmt: skip
    name = {"kl": "lesion", "grad": "saliency"}[metric]
    return results.tidy(pd.DataFrame(rows), component="block", model="made up", technique=name, seed=seed)


def saliency(curves, noise=0.1, seed=1):
    return lesion(curves, noise, seed, "grad")


def geometry(curves, noise=0.05, seed=2):
    """A table of the geometry chapter: domain -> `(label, curve [state 0..L])`."""
    generator, rows = np.random.default_rng(seed), []
    for domain, (label, curve) in curves.items():
        for item in range(30):
            values = curve + noise * generator.normal(size=len(curve))
            same = dict(domain=domain, item=f"{domain} {item}", metric=f"silhouette_{label}_above_shuffled")
            rows += [same | dict(layer=i, value=v) for i, v in enumerate(values)]
        for variant in TEMPLATES:
            rows += [dict(domain=domain, variant=variant, layer=i, value=v, metric=f"silhouette_{label}")
                     for i, v in enumerate(curve + noise / 9 * generator.normal(size=len(curve)))]  # fmt: skip
    constants = dict(component="residual stream", space="raw", model="made up", technique="geometry", seed=seed)
    return results.tidy(pd.DataFrame(rows), **constants)


def patching(curves, noise=0.05, seed=3, wrong=()):
    """A table of the patching chapter: domain -> share recovered by the last token `[block]`; `wrong`: pairs by number.

    Two pairs a couple; a pair that is wrong when clean has shares that no map may be made of.
    """
    generator, rows = np.random.default_rng(seed), []
    for domain, curve in curves.items():
        for number in range(2 * ITEMS):
            same = dict(
                domain=domain, item=f"{domain} couple {number // 2}", variant=f"{TEMPLATES[number // 2 % 2]}: {number}"
            )
            clean, corrupt = (-0.5, -3.0) if number in wrong else (2.0, -1.0)
            rows += [same | dict(metric="clean_diff", value=clean), same | dict(metric="corrupt_diff", value=corrupt)]
            shares = curve[::-1] if number in wrong else curve + noise * generator.normal(size=len(curve))
            rows += [same | dict(metric="logit_diff", component="residual", space="last", layer=i,
                                 value=corrupt + share * (clean - corrupt))
                     for i, share in enumerate(shares, start=1)]  # fmt: skip
    return results.tidy(pd.DataFrame(rows), model="made up", technique="patching", seed=seed)


def ages(curves, width=0.02):
    """A table of the chapter on ages: domain -> local anisotropy `[state 1..L]`."""
    rows = [dict(domain=domain, layer=i, value=v, low=v - width, high=v + width, n=101)
            for domain, curve in curves.items() for i, v in enumerate(curve, start=1)]  # fmt: skip
    constants = dict(component="residual stream", space="raw", metric="local_anisotropy", model="made up")
    return results.tidy(pd.DataFrame(rows), technique="ages", seed=0, **constants)


def knowledge(known):
    rows = [dict(domain=domain, value=float(is_so)) for domain, is_so in known.items()]
    return results.tidy(pd.DataFrame(rows), metric="known", model="made up", technique="knowledge", seed=0)


def step(first, last, n=LAYERS):
    """A curve over states 0..n that rises from 0 to 1 over the blocks from `first` to `last`."""
    return np.clip((np.arange(n + 1) - (first - 1)) / (last - first + 1), 0, 1)


def everything(domain=("drugs", "specialty"), control=("foods", "kind"), at=(8, 10)):
    """Tables of all chapters: in the domain every technique points at the layers `at`, in the control at 18 to 20.

    Levels are high a layer before them and two after, as an upper quarter of 24 layers is six.
    """
    layers, elsewhere = range(at[0] - 1, at[1] + 3), range(17, 23)
    both = {domain[0]: (layers, step(*at)), control[0]: (elsewhere, step(18, 20))}
    return {
        "geometry": geometry(
            {domain[0]: (domain[1], 0.3 * both[domain[0]][1]), control[0]: (control[1], 0.3 * both[control[0]][1])}
        ),
        "saliency": saliency({name: bump(where) for name, (where, _) in both.items()}),
        "lesion": lesion({name: bump(where) for name, (where, _) in both.items()}),
        "patching": patching({name: rise[1:] for name, (_, rise) in both.items()}),
        "knowledge": knowledge({domain[0]: True, control[0]: True}),
    }
