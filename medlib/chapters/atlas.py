"""An atlas: one measure over every cloud of a model, layer by layer and space by space.

A cloud is the states of one layer for one template.  Templates are measured apart, never in one cloud: they lie far
from each other, and a template's own place would stand in for what its items share.  A score is the mean over
templates, and their spread says how much a wording matters.  A measure, such as `silhouettes`, gets a
cloud and the rows of its prompts, and returns a table.
"""

import numpy as np
import pandas as pd
from scipy import sparse
from threadpoolctl import threadpool_limits

from medlib import geometry, stats, summary
from medlib.errors import MedlibError
from medlib.prompts import tokenised
from medlib.states import entity_tokens

SPACES = ("raw", "pca30")


def over(states, frame, measure, layers=None, spaces=SPACES, **arguments):
    """Measure each cloud, and put the answers in one table.

    >>> over(states, drugs, silhouettes, layers=[12], labels=["specialty"])

    `states`: [state, prompt, hidden]; `frame`: the prompts' rows, with a column `variant` (the template).
    `measure(x, rows, **arguments)` gets a cloud [n, hidden] in a space and the rows of its prompts, and returns a
    table.  `layers` are the states to look at (all of them by default), `spaces` some of `raw` and `pca30`.  Returns
    the tables under each other, with `layer`, `space` and `variant` before their columns.
    """
    if states.ndim != 3 or states.shape[1] != len(frame):
        raise MedlibError(f"states has shape {states.shape}; give [state, prompt, hidden] for the {len(frame)} prompts")
    tables = []
    templates = frame.reset_index(drop=True).groupby("variant", sort=False).groups
    with threadpool_limits(1):  # clouds are small: on a busy machine, two threads took ten times as long as one
        for layer in range(len(states)) if layers is None else layers:
            for variant, positions in templates.items():
                for space, x in _in(spaces, states[layer, positions]).items():
                    answer = measure(x, frame.iloc[positions], **arguments).reset_index(drop=True)
                    for name, constant in (("variant", variant), ("space", space), ("layer", layer)):
                        answer.insert(0, name, constant)
                    tables.append(answer)
    return pd.concat(tables, ignore_index=True)


def _in(spaces, x):
    unknown = [space for space in spaces if space not in SPACES]
    if unknown:
        raise MedlibError(f"spaces has {unknown[0]!r}; it can hold {', '.join(map(repr, SPACES))}")
    found = geometry.spaces(x) if "pca30" in spaces else {"raw": x}
    return {space: found[space] for space in spaces}


def curves(table, by, column, seed=0):
    """The mean of `column` over items and templates for each layer, with its interval, for each group of `by`.

    >>> curves(scores, ["space", "label"], "score").query("space == 'raw'")

    Returns the `by` columns and those of `summary.by_layer`.
    """
    parts = [
        summary.by_layer(part, column, seed=seed).assign(**dict(zip(by, names, strict=True)))
        for names, part in table.groupby(list(by))
    ]
    return pd.concat(parts, ignore_index=True)


def in_every_template(tests, family):
    """One corrected p-value for each layer: that of the template where the effect is weakest.

    >>> in_every_template(tests, ["space", "label"]).query("p < 0.05")

    `tests`: columns `layer`, `p` and those of `family`.  The largest p-value of a layer's rows tests that the effect is
    in all of them (Berger 1982, the intersection-union test); layers are corrected within each family by
    Benjamini-Hochberg.  Returns the `family` columns, `layer` and `p`.
    """
    largest = tests.groupby([*family, "layer"], as_index=False)["p"].max()
    return largest.assign(p=largest.groupby(family)["p"].transform(stats.benjamini_hochberg))


def pieces(model, prompts):
    """The tokens of each prompt's item, as a frozenset of ids: two names that share one are spelled alike in part."""
    found = []
    for prompt in prompts:
        start, end = entity_tokens(model, prompt)
        found.append(frozenset(tokenised(model, prompt)[start:end]))
    return found


def silhouettes(x, rows, labels, n=200, seed=0, apart=False):
    """Each row's silhouette for each of the `labels`, beside what shuffled labels score.

    Rows whose label is "" are left out.  With `apart`, names that share a piece (`rows` has a column `pieces`) are not
    compared with each other, so that what is left is no likeness of spelling; a row that then has no other of its label
    is left out.  Returns `item`, `label`, `score`, `excess` (the score less the mean of `n` shuffles: the more labels
    there are, the lower they score by themselves), and what `geometry.silhouette_test` returns, the same in all rows of
    a label.
    """
    tables, distances = [], geometry.distances(x)
    for label in labels:
        has = (rows[label] != "").to_numpy()
        of = rows[has]
        compared = _unlike(of["pieces"]) if apart else None
        known = distances[np.ix_(has, has)]
        score, test = geometry.silhouettes_tested(x[has], of[label], None, n, seed, compared, apart=known)
        table = pd.DataFrame({"item": of["item"], "label": label, "score": score, "excess": score - test["null_mean"]})
        tables.append(table.assign(**test).dropna())
    return pd.concat(tables)


def _unlike(pieces):
    """Which pairs of sets have nothing in common, [n, n]."""
    row = np.repeat(np.arange(len(pieces)), [len(held) for held in pieces])
    column = pd.factorize(np.array([piece for held in pieces for piece in held]))[0]
    holds = sparse.csr_matrix((np.ones(len(row)), (row, column)))
    return (holds @ holds.T).toarray() == 0


def label_sensitivity(states, frame, label, draws, seed=0):
    """How a label clusters, and how it would if items that have several labels were given another of theirs.

    `states`: [state, prompt, hidden]; `frame`: the prompts' rows; `draws`: Series item -> label (see
    `concepts.other_labels`).  Some items lose their label in any such draw, so each is held against one in which the
    same items get a label of the table at random.  Returns one row per `labelling` ("primary", "others", "random"):
    `value`, the silhouette less that of shuffled labels, mean over items, templates, states and draws, with its
    interval over items (`low`, `high`, `n`), and `changed`, the number of items with another label than their primary.
    """
    items = frame.drop_duplicates("item").set_index("item")[label]
    generator = np.random.default_rng(seed)
    dealt = []
    for draw in draws:
        random, changed = items.copy(), items.index[items != draw.reindex(items.index)]
        random[changed] = [generator.choice(items[items != items[item]]) for item in changed]
        dealt.append(random)
    rows = []
    for name, labellings in {"primary": [items], "others": draws, "random": dealt}.items():
        parts = []
        for labelling in labellings:
            relabelled = frame.assign(**{label: frame["item"].map(labelling)})
            parts.append(over(states, relabelled, silhouettes, spaces=["raw"], labels=[label], n=10, seed=seed))
        found = stats.bootstrap(pd.concat(parts).groupby("item")["excess"].mean(), seed=seed)
        moved = 0 if name == "primary" else int((items != draws[0].reindex(items.index)).sum())
        rows.append((name, *found, len(items), moved))
    return pd.DataFrame(rows, columns=["labelling", "value", "low", "high", "n", "changed"])
