"""Kinds: do things of one kind lie together, and more so in medicine than elsewhere?

A comparison is a medical domain with one of its labels, beside its control with a label of about as many values.  All
scores come from `atlas.silhouettes`; here they are summed up: over templates, against state 0, which is spelling and
nothing else, between the domain and its control, and between two labels of the same items.

Wordings that begin with their item are looked at apart, in a view of their own, where the model reads no token before:
the first token's state is far larger than any other, so names of one piece lie away from names of several.
"""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from medlib import concepts, stats, summary
from medlib.chapters import atlas
from medlib.errors import MedlibError
from medlib.states import opens, states_at


class Comparison(NamedTuple):
    """A medical domain and a label of it, beside its control and a label of that."""

    domain: str
    label: str
    control: str
    control_label: str

    @property
    def name(self):
        return f"{self.domain} by {spoken(self.label)}"

    @property
    def control_name(self):
        return f"{self.control} by {spoken(self.control_label)}"

    @property
    def title(self):
        return f"{self.name}\n/ {self.control_name}"

    @property
    def sides(self):
        return (self.domain, self.label), (self.control, self.control_label)

    @property
    def names(self):
        return self.name, self.control_name


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


def spoken(word):
    """A label as prose writes it: without its underscore."""
    return word.replace("_", " ")


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
    `concepts.prompts`, with `pieces` (`atlas.pieces`), `opens` (`states.opens`) and `goes_on`, whether the prompt goes
    on after the item; where it does not, the places "entity" and "last" are one.  `n_items` draws items at random; 0
    takes all.  Raises `MedlibError` where every template opens with its item.
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
    frame["opens"] = [opens(model, prompt) for prompt in prompts]
    if frame["opens"].all():
        raise MedlibError(
            f"Every template of {domain} begins with its item, and {model.name} reads no token before it. Give a "
            "template with words before {entity}."
        )
    return frame, states_at(model, prompts)


VIEWS = {  # how the states are looked at: the place they are read at, and whether names spelled alike are compared
    "item": ("entity", False),
    "mean": ("mean", False),
    "end": ("last", False),
    "apart": ("entity", True),
    "opening": ("entity", False),
}


def rows_of(frame, view):
    """The places of the rows that a view takes: "end" those that go on, "opening" and the others as items open."""
    chosen = {"end": frame["goes_on"], "opening": frame["opens"]}.get(view, ~frame["opens"])
    return np.flatnonzero(chosen)


def last_template(frame):
    """The places of the rows of one template, the last of those that do not open with their item."""
    rows = rows_of(frame, "item")
    return rows[(frame["variant"].iloc[rows] == frame["variant"].iloc[rows[-1]]).to_numpy()]


def scores(frame, states, labels, n=200, seed=0):
    """Every silhouette of a domain: `atlas.silhouettes` of each label, state, template and view.

    >>> scores(*read(model, "drugs"), ["mechanism", "specialty"])

    Views: "item" is the last token of the item, in the raw states and in 30 principal components; the others are raw
    only: "mean" the mean over the item's tokens, "end" the last token of the prompt, in templates that go on after the
    item and from state 1 on (before, it is one vector for all items), "apart" as "item", but names that share a piece
    are not compared.  Templates that open with their item are in "end" and in a view of their own, "opening", at the
    last token of the item.  Returns the table of `atlas.over` with a column `view`.
    """
    tables = []
    for view, (place, apart) in VIEWS.items():
        rows = rows_of(frame, view)
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


def weakest(scores):
    """The corrected p-value of each state's weakest template (`atlas.in_every_template`), for each view and space.

    >>> of_side(weakest(scores), ("drugs", "specialty"), "any")

    To the views of `scores` it adds "any": as "item", with the templates that open with their item among the others.
    """
    keys = ["domain", "label", "view", "space"]
    tests = scores.drop_duplicates([*keys, "layer", "variant"])
    together = tests[tests["view"].isin(("item", "opening")) & tests["space"].eq("raw")].assign(view="any")
    return atlas.in_every_template(pd.concat([tests, together]), keys)


def against_control(by_item, wanted, seed=0):
    """Each comparison's medical score above shuffled labels minus its control's: comparison -> `summary.by_layer`."""
    return {
        c: summary.difference_by_layer(*(of_side(by_item, side) for side in c.sides), "excess", seed=seed)
        for c in wanted
    }


def twice(wanted):
    """The neighbours among the comparisons that give one domain two labels: a list of pairs."""
    return [pair for pair in zip(wanted, wanted[1:], strict=False) if pair[0].domain == pair[1].domain]


def between_labels(by_item, domain, first, second, column="excess", view="item"):
    """One label's raw score minus another's for each item and layer: `difference`."""
    one, other = (
        of_side(by_item, (domain, label), view).set_index(["layer", "item", "variant"])[column]
        for label in (first, second)
    )
    return (one - other).dropna().rename("difference").reset_index()


def two_labels(by_item, wanted, seed=0):
    """The second label minus the first of each domain that is compared twice, and of its control, over layers.

    >>> two_labels(by_item, comparisons("drugs:mechanism/origin drugs:specialty/kind")).query("domain == 'drugs'")

    Returns `domain`, `first`, `second`, `view` ("item", or "apart": names that share a piece are not compared),
    `column` ("excess" is above shuffled labels, "score" plain), and the columns of `summary.by_layer`; a row without
    `layer` is the mean over states, with its interval over items.
    """
    tables = []
    for pair in twice(wanted):
        for (domain, first), (_, second) in zip(*(c.sides for c in pair), strict=True):
            for view, column in (("item", "excess"), ("item", "score"), ("apart", "excess")):
                found = between_labels(by_item, domain, second, first, column, view)
                curve = summary.by_layer(found, "difference", seed=seed)
                mean = stats.bootstrap(found.groupby("item")["difference"].mean(), seed=seed)
                table = pd.concat([curve, pd.DataFrame([mean._asdict() | {"n": curve["n"].iloc[0]}])])
                names = dict(domain=domain, first=first, second=second, view=view, column=column)
                tables.append(table.assign(**names))
    columns = ["domain", "first", "second", "view", "column", "layer", "value", "low", "high", "n"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
