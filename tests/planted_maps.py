"""Planted tables of knowledge maps: each technique points at chosen layers, and the tests say what they are told to."""

import pandas as pd

from medlib import concepts, results
from medlib.mapping import TECHNIQUES

LAYERS = 12
DOMAINS = ("diseases", "drugs", "progression", "symptoms")


def a_map(control=0.8, halves=0.9, unknown=(), mapped=None, q=0.01, p=None, domains=DOMAINS, layers=LAYERS):
    """A table as the chapter writes it, of medical `domains` and their controls.

    `control`, `halves`: the overlap with the control's map and between halves, or domain -> overlap; `unknown`:
    domains that the model does not know; `mapped`: (space, technique) -> layers, 3 to 5 where it is silent; `q`: of
    each difference; `p`: kind of effect -> p-value at the layers of the consensus.
    """
    rows = []
    for domain in domains:
        both = (domain, concepts.control(domain))
        rows += [dict(domain=name, metric="known", value=float(name not in unknown)) for name in both]
        for technique in TECHNIQUES:
            of = dict(domain=domain, component=technique, space="plain")
            shared = control if isinstance(control, float) else control[domain]
            rows += [
                of | dict(metric="overlap_with_control", value=shared),
                of | dict(metric="overlap_with_control_by_chance", value=0.1),
                of | dict(metric="overlap_with_other_domains", value=0.4),
                of | dict(metric="overlap_when_changed", variant="half of the items", value=halves),
                of | dict(metric="overlap_when_changed", variant="template", value=0.05),
                dict(domain=domain, component=technique, space="minus control", metric="difference_q", value=q),
            ]
        for kind, value in (p or {}).items():
            variant = f"{kind}, all layers"
            rows += [
                dict(
                    domain=domain,
                    component="consensus",
                    space=space,
                    variant=variant,
                    metric="random_layers_p",
                    value=value,
                )
                for space in ("plain", "minus control")
            ]
        for space in ("plain", "minus control"):
            for name in both if space == "plain" else both[:1]:
                rows += _lanes(name, space, mapped or {}, layers)
    return results.tidy(pd.DataFrame(rows), model="made up", technique="knowledge_map", seed=0)


def _lanes(domain, space, mapped, layers):
    rows = []
    for technique in (*TECHNIQUES, "consensus"):
        there = mapped.get((domain, technique), mapped.get((space, technique), [3, 4, 5]))
        same = dict(domain=domain, component=technique, space=space)
        if there is None:
            rows.append(same | dict(metric="not mapped", variant="not measured", value=1.0))
            continue
        for layer in range(1, layers + 1):
            at, here = same | dict(layer=layer, n=20), float(layer in there)
            rows += [at | dict(metric=metric, value=value)
                     for metric, value in (("evidence", here), ("mapped", here), ("share", 0.75 * here))]  # fmt: skip
    return rows
