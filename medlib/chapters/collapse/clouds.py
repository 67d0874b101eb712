"""Clouds: the states of one domain, layer and template, and the signs that they fall onto few directions.

A cloud is measured as it stands (`raw`), with every state scaled to one length (`rms`), and without the dimensions that
are largest on the *other* domains (`without largest`), so that no domain chooses what is taken from it.

A bootstrap draws items twice, and a doubled point adds no direction and lies at distance zero from itself: it would
push rank and intrinsic dimension down.  So groups of items are left out instead, for a jackknife (`depths.interval`).
"""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from medlib import concepts, geometry, summary
from medlib.errors import MedlibError
from medlib.geometry.points import SAME, points, unit_rows, varying

WAYS = ("raw", "rms", "without largest")
FEWEST = 8  # items: the planted clouds are found with so many, not with three
SIGNS = ("effective_rank", "first_component", "mean_cosine", "intrinsic_dimension")


def items(domain, n, seed=0):
    """The prompts of `n` items of a domain in all templates, with `label` and `cluster`; all where there are not more.

    >>> items("drugs", 60)[["item", "variant", "label", "cluster"]]

    `label` is the first label that the domain's table names ("" where it names none); `cluster` says which items
    belong together (`concepts.questions`), and is the item itself where nothing is asked about it.
    """
    frame = summary.sample_items(concepts.prompts(domain), n, seed).reset_index(drop=True)
    asked = concepts.questions(domain).drop_duplicates("item").set_index("item")["cluster"]
    label = next(iter(concepts.labels(domain)), None)
    return frame.assign(
        label=frame[label] if label else "", cluster=frame["item"].map(asked).fillna(frame["item"]).astype(str)
    )


def as_many_of_each(domains, n):
    """How many items can be drawn of each domain, at most `n`, if all are to have as many.

    >>> as_many_of_each(["drugs", "foods", "my/animals.toml"], 48)

    Raises `MedlibError` with fewer than `FEWEST` items.
    """
    sizes = {domain: concepts.prompts(domain)["item"].nunique() for domain in domains}
    smallest = min(sizes, key=sizes.get)
    if min(n, sizes[smallest]) < FEWEST:
        raise MedlibError(
            f"{FEWEST} items are needed for a cloud; n_items is {n}, and {smallest} has {sizes[smallest]}. Give more."
        )
    return min(n, sizes[smallest])


def templates(frame):
    """The places of each template's rows: template -> `[row]`."""
    return frame.reset_index(drop=True).groupby("variant", sort=False).groups


def groups(clusters, count=10, seed=0):
    """Deal clusters to at most `count` groups of like size, to be left out in turn: `[row]`, the group of each row."""
    code, names = pd.factorize(np.asarray(clusters))
    if len(names) < 3:
        raise MedlibError(f"There are {len(names)} clusters of items; an interval needs at least 3: give more items.")
    dealt = np.random.default_rng(seed).permutation(len(names)) % min(count, len(names))
    return dealt[code]


def prepared(x, way, largest):
    """A cloud in one of the `WAYS`; `largest` are the dimensions that `without largest` leaves out."""
    if way == "rms":
        return geometry.rms_normalised(x)
    return np.delete(x, largest, axis=1) if way == "without largest" else np.asarray(x, dtype=np.float64)


def signs(x, group=None, which=SIGNS):
    """The signs of a collapse of one cloud, and the same without each group of its rows: sign -> `[1 + groups]`.

    >>> signs(states[12], groups(frame["cluster"]))["effective_rank"][0] == geometry.effective_rank(states[12])

    The measures are those of `medlib.geometry`; all are read off one matrix of products, so that leaving rows out
    costs little.  The intrinsic dimension is null with fewer than 20 different rows.
    """
    x = points(x, least=3)
    keeps = [np.ones(len(x), dtype=bool)]
    if group is not None:
        keeps += [group != left_out for left_out in range(group.max() + 1)]
    centred = varying(x)
    gram = centred @ centred.T
    found = {}
    if {"effective_rank", "first_component"} & set(which):
        spectra = np.array([_spectrum(gram[np.ix_(keep, keep)]) for keep in keeps])
        found["effective_rank"], found["first_component"] = spectra.T
    if "mean_cosine" in which:
        unit = unit_rows(x)
        n, sums = np.array([(keep.sum(), (unit[keep].sum(axis=0) ** 2).sum()) for keep in keeps]).T
        found["mean_cosine"] = (sums - n) / (n * (n - 1))
    if "intrinsic_dimension" in which:
        square = np.diag(gram)
        apart = np.sqrt(np.clip(square[:, None] + square - 2 * gram, 0, None))
        repeats = np.triu(apart <= SAME * np.median(np.linalg.norm(x, axis=1)), 1).any(axis=0)
        np.fill_diagonal(apart, np.inf)
        found["intrinsic_dimension"] = np.array([_two_nn(apart, keep & ~repeats) for keep in keeps])
    return {name: found[name] for name in which}


def _spectrum(gram):
    """Effective rank and share of the first component of rows with these products, centred here."""
    gram = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    energy = np.clip(np.linalg.eigvalsh(gram)[::-1], 0, None)
    share = energy[energy > 0] / energy.sum()
    return np.exp(-(share * np.log(share)).sum()), share[0]


def _two_nn(apart, keep):
    """The maximum-likelihood estimate of `geometry.intrinsic_dimension`, from the distances."""
    n = keep.sum()
    if n < 20:
        return np.nan
    nearest = np.partition(apart[np.ix_(keep, keep)], 1, axis=1)[:, :2]
    return (n - 1) / np.log(nearest[:, 1] / nearest[:, 0]).sum()


def clouds(states, frame, largest, which=SIGNS, ways=WAYS, seed=0):
    """The signs of every cloud of a domain in every way: sign -> `[way, layer 1..L, template, 1 + groups]`.

    >>> clouds(states, frame, largest["drugs"])["effective_rank"][0, :, :, 0].mean(axis=1)         # a curve over layers

    `states`: [state, prompt, hidden]; `frame`: the prompts' rows; `largest`: `[state, count]`.  State 0 is left out:
    there the last token is often one and the same for all items.  Ten groups of items are left out in turn.
    """
    group = groups(frame["cluster"], seed=seed)
    parts = []
    with threadpool_limits(1):  # clouds are small: on a busy machine, two threads took ten times as long as one
        for way in ways:
            for layer in range(1, len(states)):
                for rows in templates(frame).values():
                    parts.append(signs(prepared(states[layer, rows], way, largest[layer]), group[rows], which))
    shape = (len(ways), len(states) - 1, len(templates(frame)), -1)
    return {name: np.reshape([part[name] for part in parts], shape) for name in which}
