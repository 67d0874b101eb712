"""Kinds: do things of one kind lie together, and more so in medicine than elsewhere?

A comparison is a medical domain with one of its labels, beside its control with a label of about as many values.  All
scores come from `atlas.silhouettes`; here they are summed up: over templates, against state 0, which is spelling and
nothing else, between the domain and its control, and in the space that UMAP makes, which depends on a seed.
"""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from medlib import concepts, figures, geometry, stats
from medlib.chapters import atlas
from medlib.chapters.geometry import places
from medlib.errors import MedlibError


class Comparison(NamedTuple):
    """A medical domain and a label of it, beside its control and a label of that."""

    domain: str
    label: str
    control: str
    control_label: str

    @property
    def name(self):
        return f"{self.domain} by {self.label.replace('_', ' ')}"

    @property
    def control_name(self):
        return f"{self.control} by {self.control_label.replace('_', ' ')}"

    @property
    def title(self):
        return f"{self.name}\n/ {self.control_name}"

    @property
    def sides(self):
        return (self.domain, self.label), (self.control, self.control_label)


def comparisons(text):
    """The comparisons that a text names, each `domain:label/label of its control`.

    >>> comparisons("drugs:specialty/kind")
    [Comparison(domain='drugs', label='specialty', control='foods', control_label='kind')]

    A domain may be the path of a TOML file.  Raises `MedlibError` for what does not read so, for a label that a domain
    does not have, and as `concepts.control` does.
    """
    found = []
    for word in text.split():
        parts = re.fullmatch(r"(.+):(\w+)/(\w+)", word)
        if parts is None:
            raise MedlibError(f"{word!r} is no comparison. Write domain:label/label, such as drugs:specialty/kind.")
        domain, label, other = parts.groups()
        control = concepts.control(domain)
        for name, wanted in ((domain, label), (control, other)):
            if wanted not in (able := concepts.labels(name)):
                raise MedlibError(f"{name} has no label {wanted!r}. Choose one of {', '.join(able) or 'none'}.")
        found.append(Comparison(domain, label, control, other))
    if not found:
        raise MedlibError("No comparison was named. Name some, such as drugs:specialty/kind, with blanks between.")
    return found


def labels(wanted):
    """The labels that are needed of each domain: domain -> list, domains in the order of the comparisons."""
    found = {}
    for domain, label in (side for comparison in wanted for side in comparison.sides):
        found.setdefault(domain, []).append(label)
    return {domain: list(dict.fromkeys(names)) for domain, names in found.items()}


def read(model, domain, n_items=0, seed=0):
    """A domain's prompts and its states at each place: `(frame, place -> [state, prompt, hidden])`.

    >>> frame, states = read(model, "drugs")
    >>> states["entity"].shape, frame.columns

    Templates that tell more than the item, such as its label, are left out.  The frame has the columns of
    `concepts.prompts`, with `pieces` (`atlas.pieces`) and `goes_on`, whether the prompt goes on after the item; where
    it does not, the places "entity" and "last" are one.  `n_items` draws items at random; 0 takes all.
    """
    told = {name: sentence.replace("{entity}", "") for name, sentence in concepts.templates(domain).items()}
    frame = pd.concat(
        [concepts.prompts(domain, name) for name, sentence in told.items() if "{" not in sentence], ignore_index=True
    )
    if n_items:
        items = frame["item"].drop_duplicates()
        frame = frame[frame["item"].isin(items.sample(min(n_items, len(items)), random_state=seed))]
        frame = frame.reset_index(drop=True)
    prompts = list(frame["prompt"])
    frame["pieces"] = atlas.pieces(model, prompts)
    frame["goes_on"] = [prompt.entity[1] < len(prompt) for prompt in prompts]
    return frame, places.states(model, prompts)


VIEWS = {  # how the states are looked at: the place they are read at, and whether names spelled alike are compared
    "item": ("entity", False),
    "mean": ("mean", False),
    "end": ("last", False),
    "apart": ("entity", True),
}


def scores(frame, states, labels, n=200, seed=0):
    """Every silhouette of a domain: `atlas.silhouettes` of each label, state, template and view.

    >>> scores(*read(model, "drugs"), ["mechanism", "specialty"])

    Views: "item" is the last token of the item, in the raw states and in 30 principal components; the others are raw
    only: "mean" the mean over the item's tokens, "end" the last token of the prompt, in templates that go on after the
    item and from state 1 on (before, it is one vector for all items), "apart" as "item", but names that share a piece
    are not compared.  Returns the table of `atlas.over` with a column `view`.
    """
    tables = []
    for view, (place, apart) in VIEWS.items():
        rows = np.flatnonzero(frame["goes_on"] | (view != "end"))
        options = dict(labels=labels, n=n, seed=seed, apart=apart)
        layers = range(1, len(states[place])) if view == "end" else None
        spaces = ["raw", "pca30"] if view == "item" else ["raw"]
        if len(rows):
            found = atlas.over(states[place][:, rows], frame.iloc[rows], atlas.silhouettes, layers, spaces, **options)
            tables.append(found.assign(view=view))
    return pd.concat(tables, ignore_index=True)


def of_side(table, side, view="item", space="raw"):
    """The rows of one side, (domain, label), of a comparison, in one view and space."""
    domain, label = side
    chosen = (table["domain"] == domain) & (table["label"] == label)
    return table[chosen & (table["view"] == view) & (table["space"] == space)]


def over_templates(scores):
    """Scores averaged over templates: a row for each domain, label, view, space, layer and item."""
    keys = ["domain", "label", "view", "space", "layer", "item"]
    return scores.groupby(keys, as_index=False)[["score", "excess"]].mean().assign(variant="all")


def gain(scores, seed=0):
    """How much higher the best state scores than the first, without choosing and scoring it on the same items.

    >>> gain(of_side(over_templates(table), ("drugs", "specialty")))

    Items are dealt into two halves; the state that is best for one half is scored on the other.  Returns `value`,
    `low`, `high` (95 % interval over items, with the two states held still), `n` and `states`, the states chosen.
    """
    curves = scores.pivot(index="item", columns="layer", values="excess")
    half = np.random.default_rng(seed).permutation(len(curves)) % 2
    first, gains, chosen = curves.columns.min(), pd.Series(0.0, curves.index), []
    for mine in (0, 1):
        chosen.append(int(curves[half != mine].mean().idxmax()))
        here = curves[half == mine]
        gains[here.index] = here[chosen[-1]] - here[first]
    found = stats.bootstrap(gains, seed=seed)
    return {"value": found.value, "low": found.low, "high": found.high, "n": len(gains), "states": sorted(set(chosen))}


def between_labels(scores, domain, first, second, column="excess"):
    """One label's score minus another's, raw, in view "item", for each item and layer: `difference`."""
    one, other = (
        of_side(scores, (domain, label)).set_index(["layer", "item", "variant"])[column] for label in (first, second)
    )
    return (one - other).dropna().rename("difference").reset_index()


def in_umap(states, frame, labels, layers, seeds, n=200, seed=0):
    """Silhouettes after UMAP to 30 dimensions with several seeds, beside those of the same raw states.

    >>> in_umap(states["entity"], frame, ["specialty"], layers=[0, 15, 30], seeds=range(5))

    One template is taken, the last.  Returns a row for each layer, label and fit: `space` (raw, umap30), `draw` (the
    seed of UMAP; 0 for raw), `score`, `excess`, `p`, against the same `n` shuffles everywhere.
    """
    rows = np.flatnonzero(frame["variant"] == frame["variant"].iloc[-1])
    of, tables = frame.iloc[rows], []
    with threadpool_limits(1):
        for layer in layers:
            x = states[layer, rows]
            fits = [("raw", 0, x), *(("umap30", draw, geometry.umap(x, 30, draw)) for draw in seeds)]
            for space, draw, fit in fits:
                found = atlas.silhouettes(fit, of, labels, n, seed).groupby("label", as_index=False)
                means = found.agg(score=("score", "mean"), excess=("excess", "mean"), p=("p", "first"))
                tables.append(means.assign(space=space, draw=draw, layer=layer))
    return pd.concat(tables, ignore_index=True)


def held_in_raw(table):
    """For each layer and label, whether the labels lie together after UMAP, with every seed, and in the raw states.

    `table`: that of `in_umap`, which may have further columns `domain`.  Returns its keys with `in_umap`, `in_raw`
    (p at most 0.05, uncorrected) and `after`, `low`, `high`, `raw`: the mean, lowest and highest excess over the seeds,
    and the raw one.
    """
    keys = [name for name in ("domain", "label", "layer") if name in table]
    after = table[table["space"] == "umap30"].groupby(keys)
    raw = table[table["space"] == "raw"].set_index(keys)
    excess = after["excess"]
    found = pd.DataFrame({"after": excess.mean(), "low": excess.min(), "high": excess.max()})
    return found.assign(in_umap=after["p"].max() <= 0.05, in_raw=raw["p"] <= 0.05, raw=raw["excess"]).reset_index()


def clumps_of_noise(n, hidden, seed=0, groups=6):
    """What UMAP draws of points that hold no groups: `(silhouette in the picture, silhouette in the points)`.

    Groups are read off the picture of normal noise, as an eye would, by k-means; then they are scored in the picture
    and in the points themselves.
    """
    from sklearn.cluster import KMeans

    x = np.random.default_rng(seed).normal(size=(n, hidden))
    drawn = geometry.umap2(x, seed)["points"]
    seen = KMeans(groups, n_init=5, random_state=seed).fit_predict(drawn)
    return geometry.silhouette(drawn, seen), geometry.silhouette(x, seen)


def finish(figure, panels, ylabel):
    """Finish a figure of `figures.panels`: a line at zero, labels at its edges, one legend."""
    for place, axes in enumerate(panels.values()):
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        axes.set(ylabel=ylabel if place % 3 == 0 else "", xlabel="layer")
        if place + 3 < len(panels):
            axes.set_xlabel("")
        else:
            axes.tick_params(labelbottom=True)
    figures.legend(figure, panels.values())
