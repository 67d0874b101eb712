"""The chapter's numbers as rows of the results table."""

import pandas as pd

from medlib import results


def rows(
    effects, of_picture, loudness, specificity, accuracy, agreements, halves, compared, areas, words, taken, maps_of
):
    """Tables of this chapter, one under the other, as the results table takes them.

    `domain` is the kind of question that is asked, `component` the score with the number of units, `item` the scene or
    unit.  `agreements`: label -> rows of `neuron_scores.agreement`; `halves`: score -> those of `halves`; `words`:
    score -> those of `words`; `areas`: of `filled_curves.areas`; `taken`: of `take_out`, each scene's own numbers;
    `maps_of`: the kind the maps and areas are of.
    """
    named = {"difference": "first less random", "difference from matched": "first less matched"}
    units = effects["units"].replace(named)
    parts = [
        effects.assign(
            domain=effects["question_kind"],
            variant="units for " + effects["chosen_for"],
            component=_sized(effects),
            metric=effects["metric"] + ", " + units,
        ),
        specificity.assign(
            domain=specificity["chosen_for"],
            variant="less " + specificity["question_kind"],
            component=_sized(specificity),
            metric="drop, own less other question",
        ),
        of_picture.assign(
            domain=of_picture["chosen_for"],
            component=_sized(of_picture),
            metric="drop, where right less where wrong",
        ),
        *[
            of_picture.assign(
                domain=of_picture["chosen_for"],
                component=_sized(of_picture),
                metric=f"drop, where {name}",
                value=of_picture[name],
                low=None,
                high=None,
            )
            for name in ("right", "wrong")
        ],
        loudness.assign(
            domain=loudness["chosen_for"],
            component=_sized(loudness),
            metric="written by matched over first",
        ),
        accuracy.assign(domain=accuracy["question_kind"], metric="balanced accuracy"),
        compared.assign(
            domain=maps_of,
            component=compared["score"],
            variant=compared["map"] + compared["less"].map(lambda name: f" less {name}" if name else ""),
            metric=compared["measure"],
        ),
        areas.assign(
            domain=maps_of,
            component=areas["map"],
            space=areas["fill"],
            variant=("less " + areas["control"].astype(object)).where(areas["control"].notna(), None),
            metric=areas["curve"] + "_area",
        ),
    ]
    tables = {name: table.assign(metric=table["metric"] + " of " + name) for name, table in agreements.items()}
    tables |= {f"halves, {name}": table.assign(metric=f"shared of halves, {name}") for name, table in halves.items()}
    for table in tables.values():
        size = table["k"].map(lambda k: f"{k:.0f} units" if pd.notna(k) else None)
        kept = table.assign(domain=table["question_kind"], variant=table["answer"], component=size)
        chance = kept[kept["metric"].str.startswith("shared")]
        parts.append(
            kept.assign(low=kept["low"].where(~kept["metric"].str.startswith("shared"))).assign(
                high=kept["high"].where(~kept["metric"].str.startswith("shared"))
            )
        )
        parts.append(chance.assign(value=chance["chance"], metric=chance["metric"] + ", chance"))
    for score, table in words.items():
        item = [
            f"{layer}:{unit} {said}"
            for layer, unit, said in zip(table["layer"], table["unit"], table["words"], strict=True)
        ]
        named = dict(domain=table["question_kind"], variant=table["answer"], item=item, component=score)
        parts.append(table.assign(**named, metric="mean score", value=table["score"]))
    parts.append(by_scene(taken))
    return pd.concat([part.reindex(columns=results.COLUMNS) for part in parts], ignore_index=True)


def drawn(specificity, maps, curves, tokens, kind):
    """What figures show beyond `rows`, as its rows: what units cost on each question, maps over pictures, curves.

    `specificity`: of neuron_effects.py; `maps`: (scene, score) -> `[row, column]`, of questions of a `kind`; `curves`:
    of `filled_curves.mean_curves`, over `tokens` image tokens.  `position` is the image token, in reading order, and of
    a curve the number of tokens that are filled.
    """
    parts = [
        specificity.assign(
            domain=specificity["chosen_for"],
            component=_sized(specificity),
            metric=f"drop, {name} question",
            value=specificity[name],
            low=None,
            high=None,
        )
        for name in ("own", "other")
    ]
    for (scene, score), heat in maps.items():
        where = dict(metric="activity", domain=kind, item=str(scene), component=score)
        points = {"position": range(heat.size), "value": results.significant(heat).ravel()}
        parts.append(pd.DataFrame(points).dropna(subset=["value"]).assign(**where))
    filled = (curves["share"] * tokens).round().astype(int)
    named = dict(metric=curves["curve"], component=curves["map"], space=curves["fill"], position=filled)
    numbers = {name: results.significant(curves[name]) for name in ("value", "low", "high")}
    parts.append(curves.assign(domain=kind, **named | numbers))
    return pd.concat([part.reindex(columns=results.COLUMNS) for part in parts], ignore_index=True)


HEADINGS = {
    "question_kind": "question",
    "in_first_half": "in the first half",
    "such_as": "such as",
    "less": "less that of",
}


def shown(table, columns=None, precision=2):
    """A table, or some of its columns, as the page shows it: under headings in words, without an index."""
    return (
        (table if columns is None else table[columns])
        .rename(columns=HEADINGS)
        .style.format(precision=precision, escape="html")
        .hide()
    )


def by_scene(taken):
    """Each scene's own numbers, mean over random draws, as rows of the results table."""
    own = taken.groupby(["scene", "question_kind", "chosen_for", "score", "k", "units"])[["drop", "lost"]].mean()
    long = own.melt(ignore_index=False, var_name="metric").dropna(subset="value").reset_index()
    return long.assign(
        item=long["scene"],
        domain=long["question_kind"],
        variant="units for " + long["chosen_for"],
        component=_sized(long),
        metric=long["metric"] + ", " + long["units"],
    ).reindex(columns=results.COLUMNS)


def _sized(table):
    return [f"{k} units by the {score}" for k, score in zip(table["k"], table["score"], strict=True)]
