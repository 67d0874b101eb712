"""The harm that lesions do, domain by domain: from sweeps to curves, counts and agreements.

`sweep` asks a domain's questions of a lesioned model; everything after it works on its tables, `{domain: table}` with a
row for each prompt and layer, and gives long tables with the columns of the results table.  What is resampled or
shuffled is the unit of summary.py: an item with all its templates, or a cluster of items.
"""

import numpy as np
import pandas as pd
from scipy import stats as distributions
from scipy.stats import rankdata

from medlib import stats, summary
from medlib.chapters.lesion import grading
from medlib.errors import MedlibError
from medlib.lesion import COMPONENTS, HOWS, lesion_sweep, lesion_texts

LABELS = ["item", "variant", "cluster"]


def sweep(model, questions, function=lesion_sweep, answers=True, **options):
    """Lesion a model on a domain's `concepts.questions`: the rows of `function`, with `item`, `variant`, `cluster`.

    >>> sweep(model, concepts.questions("drugs"), medlib.lesion_windows, stride=2)

    Without `answers` only the divergence is measured.  A sweep with answers also has `repair`, the direct less the
    total effect on the answer's logit.  `attrs["no_op"]` is that of `function`.
    """
    own = list(questions["answer"]) if answers else None
    table = function(model, list(questions["prompt"]), own, **options)
    if "direct_drop" in table:
        table["repair"] = table["direct_drop"] - table["logit_drop"]
    found = table.join(questions[LABELS].reset_index(drop=True), on="prompt")
    found.attrs = table.attrs
    return found


def one_template(questions, n, seed=0):
    """Questions of `n` clusters, an item of each, in the first of their templates: for what is dear by the prompt."""
    items = questions.drop_duplicates("item").sample(frac=1, random_state=seed).drop_duplicates("cluster")
    few = summary.sample_items(questions[questions["item"].isin(items["item"])], n, seed)
    return few[few["variant"] == few["variant"].iloc[0]]


def neutral_text(model, texts):
    """What each block's loss costs texts: `item` (the text's number), `variant`, `layer`, `rise` (nats a token)."""
    losses = lesion_texts(model, texts).pivot(index="text", columns="layer", values="loss")
    rise = losses.drop(columns=0).sub(losses[0], axis=0).melt(ignore_index=False, value_name="rise").reset_index()
    return rise.rename(columns={"text": "item"}).assign(variant="text")


def ways(model, questions, done, seed=0, stride=1):
    """All nine lesions on a few prompts: `item`, `variant`, `cluster`, `layer`, `kl`, `component`, `how`.

    `done` is the `sweep` of the same questions and perhaps others: whole blocks passing nothing on are taken from it.
    """
    layers = range(1, model.n_layers + 1, stride)
    asked = pd.MultiIndex.from_frame(questions[["item", "variant"]])
    known = done[done["layer"].isin(layers) & done.set_index(["item", "variant"]).index.isin(asked)]
    parts = [known.assign(component="block", how="identity")]
    for component in COMPONENTS:
        for how in HOWS:
            if (component, how) != ("block", "identity"):
                options = dict(how=how, component=component, seed=seed, stride=stride)
                found = sweep(model, questions, answers=False, **options)
                parts.append(found.assign(component=component, how=how))
    return pd.concat(parts, ignore_index=True)[[*LABELS, "layer", "kl", "component", "how"]]


def curves(tables, metrics, seed=0):
    """The mean of each metric by domain and layer, with its interval: `domain, metric, layer, value, low, high, n`."""
    return pd.concat(
        summary.by_layer(table.astype({metric: float}), metric, seed=seed).assign(domain=domain, metric=metric)
        for domain, table in tables.items()
        for metric in metrics
    )


def curves_of_ways(tables, seed=0):
    """The mean divergence by domain, layer and way: the columns of `curves`, `component` and `how`."""
    return pd.concat(
        summary.by_layer(part, "kl", seed=seed).assign(domain=domain, component=component, how=how, metric=f"kl_{how}")
        for domain, table in tables.items()
        for (component, how), part in table.groupby(["component", "how"])
    )


def by_domain(curves, metric):
    """The curves of one metric as the figures take them: domain -> table over layers."""
    return dict(iter(curves[curves["metric"] == metric].groupby("domain", sort=False)))


def agreement_of_ways(curves):
    """Rank correlation over layers of each way's curve with that of whole blocks adding nothing: a row a domain."""
    wide = curves.pivot(index="layer", columns=["domain", "component", "how"], values="value")
    rows = {
        domain: {
            (component, how): stats.spearman(wide[domain, component, how], wide[domain, "block", "identity"])
            for component in COMPONENTS
            for how in HOWS
            if (component, how) != ("block", "identity")
        }
        for domain in curves["domain"].unique()
    }
    return pd.DataFrame(rows).T


def differences(tables, controls, metric, seed=0, n=9999):
    """Each medical domain minus its control, by layer: the columns of `curves`, `p` and `q`.

    >>> found = differences(tables, {"drugs": "foods"}, "kl")
    >>> found[found["q"] < 0.05]

    `p` is two-sided, from `n` shuffles of the units between the two domains; `q` corrects it over all layers and
    domains together (Benjamini & Hochberg 1995).
    """
    parts = []
    for domain, control in controls.items():
        part = summary.difference_by_layer(tables[domain], tables[control], metric, seed=seed)
        part["p"] = shuffled_p(tables[domain], tables[control], metric, seed, n)
        parts.append(part.assign(domain=domain, variant=f"minus {control}", metric=f"{metric}_difference"))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(q=stats.benjamini_hochberg(found["p"]))


def shuffled_p(frame, other, column, seed=0, n=9999):
    """P-value by layer of a difference of means between two domains, units shuffled between them: `[layer]`."""
    (sums, sizes), (other_sums, other_sizes) = _units(frame, column), _units(other, column)
    both, weights, here = np.concatenate([sums, other_sums]), np.concatenate([sizes, other_sizes]), len(sums)

    def difference(first):
        return first @ both / (first @ weights)[:, None] - (1 - first) @ both / ((1 - first) @ weights)[:, None]

    as_is = np.arange(len(both)) < here
    shuffled = np.random.default_rng(seed).permuted(np.tile(as_is, (n, 1)), axis=1)
    return stats.permutation_p(
        difference(as_is[None].astype(float))[0], difference(shuffled.astype(float)), "two-sided"
    )


def rank_between(frame, other, column, other_column=None, seed=0, n=2000):
    """Rank correlation over layers of the mean curves of two independent samples, with its interval.

    >>> rank_between(tables["drugs"], tables["foods"], "kl")

    Units of both are resampled.  A resampled curve is noisier than the curve, so the interval lies lower than one for
    a mean would; `rank_of_halves` says how much of that is noise.
    """
    curves = []
    generator, fewest = np.random.default_rng(seed), np.inf
    for one, name in ((frame, column), (other, other_column or column)):
        sums, sizes = _units(one, name)
        times = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n)
        times[0] = 1  # as it is
        curves.append(times @ sums / (times @ sizes)[:, None])
        fewest = min(fewest, len(sums))
    if curves[0].shape != curves[1].shape:
        raise MedlibError(f"The curves have {curves[0].shape[1]} and {curves[1].shape[1]} layers; give the same ones.")
    found = _spearman(*curves)
    return stats.Interval(float(found[0]), *_limits(found[1:], fewest))


def rank_of_halves(frame, column, seed=0, n=500):
    """Rank correlation over layers between the mean curves of two halves of the units: median and 95 % of the splits.

    How well two curves of so few items agree where the questions and the templates are the same.
    """
    sums, sizes = _units(frame, column)
    half = np.tile(np.arange(len(sums)) < len(sums) // 2, (n, 1))
    half = np.random.default_rng(seed).permuted(half, axis=1).astype(float)
    found = _spearman(*(one @ sums / (one @ sizes)[:, None] for one in (half, 1 - half)))
    return stats.Interval(float(np.median(found)), *map(float, np.quantile(found, [0.025, 0.975])))


def rank_of_wordings(frame, column, seed=0):
    """Rank correlation over layers between the mean curves of two templates: the median pair, with its interval.

    The level for an agreement between domains, whose templates differ.  None where there is one template only.
    """
    parts = [part for _, part in frame.groupby("variant")]
    pairs = [(one, other) for i, one in enumerate(parts) for other in parts[i + 1 :]]
    found = sorted(rank_between(one, other, column, seed=seed) for one, other in pairs)
    return found[(len(found) - 1) // 2] if found else None


def orders(tables, controls, texts, seed=0):
    """With what the order of a domain's layers agrees: `domain`, `variant` (with what), `value`, `low`, `high`.

    `texts` is the table of `neutral_text`.
    """
    rows = []
    for domain, control in controls.items():
        found = {
            "two halves of its items": rank_of_halves(tables[domain], "kl", seed),
            "two of its templates": rank_of_wordings(tables[domain], "kl", seed),
            "its control": rank_between(tables[domain], tables[control], "kl", seed=seed),
            "neutral text": rank_between(tables[domain], texts, "kl", "rise", seed),
        }
        rows += [(domain, against, *interval) for against, interval in found.items() if interval]
    return pd.DataFrame(rows, columns=["domain", "variant", "value", "low", "high"]).assign(metric="rank_correlation")


def depths(tables, column="kl", early=0, seed=0):
    """Where the harm lies, by domain: the worst layer after the first `early`, and the share of the first half of them.

    >>> depths(tables, early=3).query("metric == 'peak_layer'")

    Returns `domain`, `metric` (`peak_layer`; `early_half`, the share of all harm that falls on the first half of the
    layers), `value`, `low`, `high`; negative means count as no harm.
    """
    rows = []
    for domain, table in tables.items():
        wide = table[table["layer"] > early].pivot(index=["item", "variant"], columns="layer", values=column)
        units, layers = summary.units(table, wide.index.get_level_values("item")), wide.columns.to_numpy()
        first = layers <= table["layer"].max() / 2
        measures = {
            "peak_layer": lambda values, axis, at=layers: at[values.mean(axis).argmax(-1)],
            "early_half": lambda values, axis, at=first: _share(values.mean(axis), at),
        }
        for metric, measure in measures.items():
            rows.append((domain, metric, *stats.bootstrap(wide.to_numpy(), measure, seed=seed, groups=units)))
    return pd.DataFrame(rows, columns=["domain", "metric", "value", "low", "high"])


def written(model, questions, table, layers, judge, tokens=8):
    """What a model writes before and after the lesion of some layers, with grades: a row a question and layer.

    `table` is the `sweep` of these questions and perhaps others; `judge` a `grading.grader`.  Returns `item`,
    `variant`, `prompt`, `answer`, `before`, `layer`, `after`, `kl`, `grade`.
    """
    prompts = list(questions["prompt"])
    before = grading.continuations(model, prompts, tokens)
    asked = questions[["item", "variant", "prompt", "answer"]].assign(before=before)
    parts = [
        asked.assign(layer=layer, after=grading.continuations(model, prompts, tokens, without=layer))
        for layer in layers
    ]
    found = pd.concat(parts, ignore_index=True).merge(table[["item", "variant", "layer", "kl"]])
    return found.assign(grade=judge(found))


def _share(curve, chosen):
    curve = curve.clip(0)
    return (curve * chosen).sum(-1) / np.maximum(curve.sum(-1), 1e-30)


def _units(frame, column):
    """A curve's sums over each unit `[unit, layer]`, and how many prompts each unit has."""
    wide = frame.pivot(index=["item", "variant"], columns="layer", values=column)
    groups = wide.groupby(summary.units(frame, wide.index.get_level_values("item")))
    sums = groups.sum().to_numpy(dtype=float)
    if len(sums) < 3:
        raise MedlibError(f"There are {len(sums)} units to resample; an interval needs at least 3: give more items.")
    return sums, groups.size().to_numpy(dtype=float)


def _spearman(one, other):
    """Rank correlation of each curve with its partner: two tables `[pair, layer]`."""
    a, b = (rankdata(curves, axis=-1) for curves in (one, other))
    a, b = (ranks - ranks.mean(-1, keepdims=True) for ranks in (a, b))
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def _limits(drawn, units):
    """The 95 % percentile interval, widened for few units as in `stats.bootstrap`."""
    tail = distributions.norm.cdf(np.sqrt(units / (units - 1)) * distributions.t.ppf(0.025, units - 1))
    return map(float, np.quantile(drawn, [tail, 1 - tail]))
