"""The measures of a `Read` over layers, each as it stands, its baseline, and the difference of the two.

A `Look` holds the cosines between pictures once; every interval of SelfSim, of its baseline and of differences between
layers is drawn from them.  Rows say what was measured in the columns of the results table: `component` is the kind of
token, `variant` the question, `space` whether large dimensions were left out.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medlib import results, stats
from medlib.chapters.collapse.depths import interval
from medlib.chapters.collapse.large_dimensions import shares
from medlib.chapters.contextualisation import published
from medlib.geometry import intra_similarity
from medlib.geometry.contextual import mev_without, pair_interval, pair_mean, prompt_cosines, random_sets, token_cosines

SPACES = ("raw", "without largest")
GROUPS = 10  # of pictures, left out in turn for a jackknife
SAMPLES = 1000  # random tokens of a baseline, at least


@dataclass(frozen=True)
class Look:
    """Tokens of one kind in one space.

    `states`: [state, picture, token, hidden]; `own`: `[state, token, picture, picture]`, the cosines of each token over
    pictures; `random`: `[state, picture, picture]`, those of any two tokens of the kind; `pool`: `[state, row, hidden]`
    the tokens that a random one is drawn from, and `of`: [row], their pictures.
    """

    component: str
    variant: str | None
    space: str
    states: np.ndarray
    own: np.ndarray
    random: np.ndarray
    pool: np.ndarray
    of: np.ndarray


def largest_dimensions(read, count):
    """The dimensions with the largest mean share of the squared length at each state: kind -> `[state, count]`.

    >>> largest_dimensions(read_pictures(model, other_pictures, questions), 3)["text"]

    Chosen on pictures that are not measured, so that a cloud does not choose what is taken from it.
    """
    found = {}
    for kind, parts in (("text", read.text.values()), ("image", [read.image])):
        flat = np.concatenate([part.reshape(len(part), -1, part.shape[-1]) for part in parts], axis=1)
        mean = shares(flat).mean(axis=1)
        found[kind] = np.argsort(-mean, axis=-1, kind="stable")[:, :count]
    return found


def looks(read, largest=None, kinds=("text", "image")):
    """All questions, and the image tokens, of a `Read` in one space: a list of `Look`, image tokens last.

    >>> looks(read, largest_dimensions(other, 3))

    `largest`: kind -> `[state, count]`, the dimensions to leave out; none by default.  `kinds`: ("text",) leaves the
    image tokens out.
    """
    space = SPACES[largest is not None]
    texts = {question: _without(states, largest, "text") for question, states in read.text.items()}
    pool = np.concatenate([_rows(states) for states in texts.values()], axis=1)
    of = np.concatenate([_pictures(states) for states in texts.values()])
    random = _random(pool, of)
    found = [
        Look("text", question, space, states, _own(states), random, pool, of) for question, states in texts.items()
    ]
    if "image" not in kinds:
        return found
    image = _without(read.image, largest, "image")
    pool, of = _rows(image), _pictures(image)
    return [*found, Look("image", None, space, image, _own(image), _random(pool, of), pool, of)]


def self_similarities(look, seed=0):
    """SelfSim over layers, its baseline and the difference: rows with intervals from resampled pictures."""
    own = look.own.mean(axis=1)
    values = {"self_similarity": own, "self_similarity_baseline": look.random}
    values["self_similarity_adjusted"] = own - look.random
    n = own.shape[-1]
    return _table({name: pair_interval(tables, seed=seed) for name, tables in values.items()}, look, n)


def intra_similarities(look, seed=0):
    """IntraSim over layers, beside that of as many random tokens of different prompts; pictures are resampled.

    The interval of the difference resamples pictures and random sets apart.
    """
    sets = random_sets(look.of, look.states.shape[2], SAMPLES, seed)
    own = np.array([[intra_similarity(x) for x in state] for state in look.states]).T
    random = np.array([[intra_similarity(state[rows]) for rows in sets] for state in look.pool]).T
    values = {
        "intra_similarity": stats.bootstrap(own, seed=seed),
        "intra_similarity_baseline": stats.bootstrap(random, seed=seed),
        "intra_similarity_adjusted": stats.bootstrap_difference(own, random, seed=seed),
    }
    return _table(values, look, len(own))


def explained(look, n_tokens=20, seed=0):
    """MEV over layers, beside that of random tokens, one of each picture; groups of pictures are left out in turn.

    A mean over tokens, at most `n_tokens` of them, drawn with `seed`.
    """
    n = look.states.shape[1]
    generator = np.random.default_rng(seed)
    group = generator.permutation(n) % min(GROUPS, n)
    chosen = np.sort(generator.permutation(look.states.shape[2])[:n_tokens])
    sets = random_sets(look.of, n, SAMPLES, seed)
    own, random = [], []
    for state, pool in zip(look.states, look.pool, strict=True):
        own.append(np.mean([mev_without(state[:, token], group) for token in chosen], axis=0))
        random.append(np.mean([mev_without(pool[rows], group[look.of[rows]]) for rows in sets], axis=0))
    own, random = np.array(own), np.array(random)
    values = {"mev": interval(own), "mev_baseline": interval(random), "mev_adjusted": interval(own - random)}
    return _table(values, look, n)


def curves(looks, seed=0):
    """All three measures of all looks, one table: `component, variant, space, metric, layer, value, low, high, n`.

    >>> curves(looks(read))
    """
    of_each = [[f(look, seed=seed) for f in (self_similarities, intra_similarities, explained)] for look in looks]
    return pd.concat([table for tables in of_each for table in tables], ignore_index=True)


def self_similarities_of(looks, seed=0):
    """SelfSim of several looks, one table: what a control needs of `curves`."""
    return pd.concat([self_similarities(look, seed) for look in looks], ignore_index=True)


def alike(read):
    """SelfSim of the text tokens of a `Read` of one picture, shown several times: rows without intervals.

    >>> alike(read_pictures(model, [black] * 3, questions))["value"].min()
    1.0
    """
    parts = []
    for look in looks(read, kinds=("text",)):
        value = pair_mean(look.own.mean(axis=1))
        where = dict(component="text", variant=look.variant, space=look.space, metric="self_similarity")
        parts.append(pd.DataFrame(dict(layer=range(len(value)), value=value, n=look.own.shape[-1])).assign(**where))
    return pd.concat(parts, ignore_index=True)


def of_pictures(looks, names):
    """How near each picture's states are to those of all others: rows with `item`, a picture's name, and `layer`.

    >>> of_pictures(looks(read), scenes["scene"])

    The mean over the pairs that a picture is in, over tokens; what the intervals of SelfSim resample.
    """
    parts = []
    for look in looks:
        own = look.own.mean(axis=1)
        near = (own.sum(axis=-1) - np.diagonal(own, axis1=-2, axis2=-1)) / (own.shape[-1] - 1)
        index = pd.MultiIndex.from_product([range(len(near)), names], names=["layer", "item"])
        rows = pd.Series(near.ravel(), index, name="value").reset_index()
        where = dict(component=look.component, variant=look.variant, space=look.space)
        parts.append(rows.assign(metric="self_similarity_of_picture", **where))
    return pd.concat(parts, ignore_index=True)


def of_change_map(changes, tokens, question):
    """`token_changes.change_map`, `[state, token]`, as rows: `token, position, layer, value`, and the question."""
    index = pd.MultiIndex.from_product([range(len(changes)), range(len(tokens))], names=["layer", "position"])
    rows = pd.DataFrame({"value": results.significant(changes).ravel()}, index=index).reset_index()
    where = dict(component="text", variant=question, space="raw", metric="change_by_layer")
    return rows.assign(token=[tokens[at] for at in rows["position"]], **where)


def of_published(n_layers):
    """The published values at our layers, as rows: `metric, layer, value`."""
    tables = [published.mapped(metric, n_layers).assign(metric=f"{metric}_published") for metric in published.VALUES]
    return pd.concat(tables, ignore_index=True)[["metric", "layer", "value"]].assign(component="text")


def of_shown(scenes, count):
    """Which scenes' pictures are shown first: rows with `item`, a scene, its kind as `variant` and its `position`."""
    first = scenes.head(count)
    named = dict(item=first["scene"].astype(str), variant=first["kind"], position=range(len(first)))
    return pd.DataFrame(named | dict(metric="picture_shown", component="image", value=1.0))


def results_table(parts):
    """Tables of this chapter, one under the other, as the results table takes them: `domain` -> a list of tables.

    >>> results_table({"scans": [curves, fall], "scans, shuffled": [shuffled]})

    P-values become rows of their own, `metric` with `_p` behind; a token's text goes into `item`.
    """
    found = []
    for domain, tables in parts.items():
        for table in tables:
            found.append(table.rename(columns={"token": "item"}).assign(domain=domain))
            if "p" in table:
                tested = table.assign(domain=domain, value=table["p"], metric=table["metric"] + "_p")
                found.append(tested.drop(columns=["low", "high"]))
    return pd.concat(found, ignore_index=True).reindex(columns=results.COLUMNS)


def chosen(table, metric, **where):
    """One curve of a table: the rows of a metric where columns have these values, by layer.

    >>> chosen(table, "mev", component="image", space="raw")
    """
    rows = table[table["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.sort_values("layer")


def _table(values, look, n):
    parts = [
        pd.DataFrame(dict(metric=name, layer=range(len(value)), value=value, low=low, high=high, n=n))
        for name, (value, low, high) in values.items()
    ]
    where = dict(component=look.component, variant=look.variant, space=look.space)
    return pd.concat(parts, ignore_index=True).assign(**where)


def _without(states, largest, kind):
    if largest is None:
        return states
    kept = [np.delete(state, gone, axis=-1) for state, gone in zip(states, largest[kind], strict=True)]
    return np.stack(kept)


def _own(states):
    return np.array([[token_cosines(state[:, token]) for token in range(state.shape[1])] for state in states])


def _rows(states):
    return states.reshape(len(states), -1, states.shape[-1])


def _pictures(states):
    return np.repeat(np.arange(states.shape[1]), states.shape[2])


def _random(pool, of):
    return np.array([prompt_cosines(state, of) for state in pool])
