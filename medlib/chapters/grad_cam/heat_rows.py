"""The tables of this chapter as rows of the results table, which every chapter shares."""

import pandas as pd

from medlib.results import COLUMNS, significant


def rows(compared, curves, levels, likeness, patched, filled, found, others, shifted, kind):
    """All that was measured, as rows for `Run.save`: `domain` is the kind of question, `variant` what is compared.

    `compared`, `curves`: of heat_scores.py, the curves with a column `metric`; `levels`: `heat_prose.known`;
    `likeness`, `patched`, `filled`: curves of correlations, of patches, and `areas`, all of one `kind`; `found`: scores
    of single scenes at the chosen layers; `others`: `heat_scores.other_kinds`, whose `value` is own less other layer;
    `shifted`: `logit_sum.shifted_pointing`.
    """
    parts = [
        compared.assign(domain=compared["kind"], component=compared["map"], variant=_less(compared["control"])),
        curves.assign(domain=curves["kind"], component=curves["map"], variant=curves["weights"] + " weights"),
        levels.assign(domain=levels.index, metric="answered_right"),
        likeness.assign(domain=kind, variant=likeness["pair"], metric="rank_correlation"),
        filled.assign(
            domain=kind,
            component=filled["map"],
            space=filled["fill"],
            variant=_less(filled["control"]),
            metric=filled["curve"] + "_area",
        ),
        *[
            found.assign(
                domain=found["kind"],
                item=found["scene"],
                component=found["map"],
                variant=found["weights"] + " weights",
                metric=metric,
                value=found[metric],
                n=1,
            )
            for metric in ("pointing", "overlap")
        ],
    ]
    parts.append(
        others.assign(
            domain=others["kind"],
            component=others["map"],
            variant=f"own layer less that of {kind}",
            metric="pointing_other_kind",
        )
    )
    parts.append(
        shifted.assign(
            domain=kind,
            item=shifted["scene"],
            component="all_logits",
            variant="same probabilities",
            metric="pointing_shifted",
            value=shifted["shifted"],
            n=1,
        )
    )
    if patched is not None:
        parts.append(patched.assign(domain=kind, component=patched["tokens"], metric="moved_to_twin"))
    kept = ["domain", "item", "variant", "layer", "component", "space", "metric", "value", "low", "high", "n"]
    return pd.concat([part[[name for name in kept if name in part]] for part in parts], ignore_index=True)


def drawn(table, overlays, curves, tokens, span, kind):
    """What figures show beyond `rows`, as its rows: maps over pictures, curves of filled ones, the whole picture.

    `table`: the questions of `overlays`, which are of `heat_figures.to_show`; `curves`: of `filled_curves.mean_curves`,
    over `tokens` image tokens; `span`: of `lesion_patch.whole_span`.  `position` is the image token, in reading order,
    and of a curve the number of tokens that are filled.
    """
    parts = []
    for scene, (_, _, maps) in zip(table["scene"], overlays, strict=True):
        for title, heat in maps.items():
            where = dict(metric="map", domain=kind, item=str(scene), component=title)
            parts.append(
                pd.DataFrame({"position": range(heat.size), "value": significant(heat).ravel()}).assign(**where)
            )
    filled = (curves["share"] * tokens).round().astype(int)
    named = dict(metric=curves["curve"], component=curves["map"], space=curves["fill"], position=filled)
    numbers = {name: significant(curves[name]) for name in ("value", "low", "high")}
    parts.append(curves.assign(domain=kind, **named | numbers))
    whole = dict(metric="moved_to_twin", domain="lesion", component="whole picture", **span._asdict())
    table = pd.concat([*parts, pd.DataFrame([whole])], ignore_index=True).dropna(subset=["value"])
    return table[table.columns.intersection(COLUMNS)]


def _less(control):
    return ("less " + control.astype(object)).where(control.notna(), None)
