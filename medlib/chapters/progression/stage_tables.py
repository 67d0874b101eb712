"""The results table of the chapter on progression: every number that its figures and prose come from, a row each."""

import numpy as np
import pandas as pd

from medlib import results
from medlib.chapters.progression import stages

MEASURES = ("csfs", "csls", "spearman", "line", "ring", "circularity", "late_return")
MAIN = "mean, unnumbered"  # the place and the wording of most figures


def table(seen, curves, loops, shares, rings, umap, trust, weaker):
    """All rows, in the columns of `results.COLUMNS`.

    By domain: `seen` (`stages.views`), `loops`, `shares` (`stage_words.cause_shares`), `rings` (`stages.counts`),
    `umap` and `trust` (`stages.in_umap`); `curves`: measure -> domain -> curve; `weaker`: of `planted_stages`.
    """
    parts = [one.assign(domain=name) for name, views in seen.items() for one in _views(views)]
    for name in seen:
        main = dict(domain=name, space="raw", variant=MAIN)
        for measure, of_domain in curves.items():
            parts.append(of_domain[name].assign(metric="h1_bar" if measure == "bar" else measure, **main))
        loop = loops[name].rename(columns={"bar": "h1_bar", "p": "p_h1_bar"})
        parts.append(loop.melt(["layer", "item"], ["h1_bar", "p_h1_bar"], "metric").assign(**main))
        parts.append(shares[name].assign(metric="distance_with_" + shares[name]["cause"], **main))
        count = rings[name].drop(columns=["low_chance", "high_chance"])
        parts.append(count.assign(metric="series_like_a_ring", **main))
        parts += [one.assign(domain=name) for one in _umap(umap[name], trust[name])]
    sizes = weaker.melt(["share"], ["ring", "loop"], "metric")
    parts.append(
        sizes.assign(
            metric="planted_" + sizes["metric"] + "_found", item=sizes["share"].map("ring of share {:.2f}".format), n=20
        )
    )
    whole = pd.concat(parts)
    return whole[whole.columns.intersection(results.COLUMNS)].assign(component="residual stream")


def drawn(apart, flat, layer, shown, by_view, left, dealt):
    """What figures show beyond `table`, as its rows.

    `apart`: series -> ranks of the distances [stage, stage], `flat`: series -> points [stage, 2], both at `layer`;
    `shown`: series -> domain; `by_view`: of `by_view`; `left`: measure -> domain -> curve with the causes taken out;
    `dealt`: `layer, value`, the mean bar of dealt stages.
    """
    parts = [dealt.assign(metric="h1_bar_of_dealt_stages", domain="progression", space="raw", variant=MAIN)]
    for item, domain in shown.items():
        here = dict(item=item, domain=domain, layer=layer, space="raw")
        for i, j in zip(*np.triu_indices(len(apart[item]), 1), strict=True):
            one = dict(metric="distance_rank", variant=f"stages {i} and {j}", value=apart[item][i, j])
            parts.append(pd.DataFrame([here | one]))
        for axis, values in zip(("first", "second"), results.significant(flat[item]).T, strict=True):
            stages_of = [f"stage {stage}" for stage in range(len(values))]
            rows = dict(metric=f"{axis}_component", variant=stages_of, value=values)
            parts.append(pd.DataFrame(rows).assign(**here))
    for measure, of_domain in left.items():
        for domain, curve in of_domain.items():
            parts.append(curve.assign(metric=measure, domain=domain, space="raw, corrected", variant=MAIN))
    views = by_view.reset_index()
    place = views["view"].str.split(", ", n=2)
    named = dict(variant=place.str[:2].str.join(", "), space=place.str[2], metric=views["measure"] + "_over_states")
    parts.append(views.assign(**named))
    whole = pd.concat(parts, ignore_index=True).dropna(subset=["value"])
    return whole[whole.columns.intersection(results.COLUMNS)].assign(component="residual stream")


def _views(views):
    """Every measure of every view, and the p-values of those that do not look at one template alone."""
    where = views.assign(variant=views["place"] + ", " + views["wording"])
    keys = ["variant", "space", "layer", "item"]
    yield where.melt(keys, list(MEASURES), "metric")
    tested = where[where["wording"] == "unnumbered"]
    yield tested.melt(keys, [f"p_{measure}" for measure in MEASURES], "metric")


def _umap(umap, trust):
    rows = umap.melt(["layer", "item", "space", "seed"], ["circularity", "csfs", "csls"], "metric")
    yield rows.assign(variant="seed " + rows["seed"].astype(str)).drop(columns="seed")
    rows = trust.rename(columns={"trustworthiness": "value"}).assign(metric="trustworthiness", space="umap2")
    yield rows.assign(variant="seed " + rows["seed"].astype(str)).drop(columns="seed")


def means(main, loops):
    """The mean over the states after the blocks of each series of each domain, for a page."""
    found = {}
    for name, one in main.items():
        measures = one.query("layer > 0").groupby("item")[list(MEASURES)].mean()
        found[name] = measures.join(loops[name].query("layer > 0").groupby("item")["bar"].mean())
    return pd.concat(found)


def by_view(seen, seed=0):
    """Line and circularity over the states after the blocks in each view: rows by domain, view and measure."""
    found = {}
    for name, views in seen.items():
        for key, rows in views.groupby(["place", "wording", "space"], sort=False):
            for measure in ("line", "circularity"):
                found[name, ", ".join(key), measure] = stages.over_states(rows, measure, seed)._asdict()
    return pd.DataFrame(found).T.rename_axis(["domain", "view", "measure"])
