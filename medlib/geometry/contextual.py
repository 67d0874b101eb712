"""Context: how far what stands around a token decides its state, beside random tokens of other prompts.

The measures of Ethayarajh 2019 (spread.py) are high wherever all states of a layer point one way, so each is read
beside its value for random tokens of different prompts.  What is drawn at random are prompts: two tokens of one prompt
belong together, so cosines are taken between prompts and kept as a table `[prompt, prompt]`, which holds all that an
interval needs.
"""

import numpy as np

from medlib import stats
from medlib.errors import MedlibError
from medlib.geometry.points import label_codes, points, unit_rows

FEWEST = 8  # prompts for an interval over their pairs


def token_cosines(x):
    """The cosines of one token's states over its contexts: `[sample, sample]`, the diagonal one.

    >>> pair_mean(token_cosines(x)) == self_similarity(x)         # x: [sample, hidden]
    """
    unit = unit_rows(points(x))
    return unit @ unit.T


def prompt_cosines(x, prompts):
    """The mean cosine of any token of one prompt with any of another: `[prompt, prompt]`, in order of appearance.

    >>> pair_mean(prompt_cosines(x, prompts))                     # what random tokens of different prompts give

    `x`: [sample, hidden]; `prompts`: [sample], the prompt of each.  No token is drawn: all pairs count.  The diagonal
    holds a prompt's tokens with each other and with themselves, and is no pair of different prompts.
    """
    x = points(x)
    codes, names = label_codes(prompts, len(x), "prompts")
    means = np.zeros((len(names), x.shape[1]))
    np.add.at(means, codes, unit_rows(x))
    means /= np.bincount(codes)[:, None]
    return means @ means.T


def pair_mean(tables, times=None):
    """The mean over pairs of different prompts: `[..., prompt, prompt]` -> `[...]`.

    >>> pair_mean(token_cosines(x))

    `times`: [draw, prompt], how often a draw holds each prompt; then `[draw, ...]`.  A prompt drawn twice is no pair
    with itself.  Raises `MedlibError` where a draw holds one prompt only, or the table is not square.
    """
    tables = np.asarray(tables, dtype=np.float64)
    if tables.ndim < 2 or tables.shape[-1] != tables.shape[-2]:
        raise MedlibError(f"the table has shape {tables.shape}; give the cosines [..., prompt, prompt]")
    n = tables.shape[-1]
    weights = np.ones((1, n)) if times is None else np.asarray(times, dtype=np.float64)
    apart = np.where(np.eye(n, dtype=bool), 0, tables).reshape(-1, n, n)
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    if not pairs.all():
        raise MedlibError("there is no pair of different prompts: give two prompts or more")
    sums = np.stack([((weights @ one) * weights).sum(axis=1) for one in apart], axis=1)
    found = (sums / pairs[:, None]).reshape(len(weights), *tables.shape[:-2])
    if times is not None:
        return found
    return float(found[0]) if tables.ndim == 2 else found[0]


def pair_interval(tables, statistic=None, n=2000, seed=0):
    """`pair_mean` with its bootstrap interval: prompts are drawn, and all their pairs come with them.

    >>> value, low, high = pair_interval(tables)                   # tables: [layer, prompt, prompt]; low: [layer]

    `statistic`: taken of the means `[draw, ...]` of each draw, such as a difference of layers; the means by default.
    Raises `MedlibError` with fewer than 8 prompts: a draw could hold one of them only, which has no pair.
    """
    tables = np.asarray(tables, dtype=np.float64)
    count = tables.shape[-1]
    if count < FEWEST:
        raise MedlibError(f"there are {count} prompts; an interval over their pairs needs {FEWEST} or more")

    def of_draws(drawn, axis):
        drawn = np.atleast_2d(drawn).astype(int)
        offset = drawn + count * np.arange(len(drawn))[:, None]
        times = np.bincount(offset.ravel(), minlength=count * len(drawn)).reshape(len(drawn), count)
        means = pair_mean(tables, times)
        means = means if statistic is None else statistic(means)
        return means if axis else means[0]

    return stats.bootstrap(np.arange(count), of_draws, n=n, seed=seed)


def pair_test(table, n=9999, seed=0):
    """P-value, two-sided, of a mean over pairs of different prompts being zero: disjoint pairs, signs flipped.

    >>> pair_test(early - late)                                    # [prompt, prompt], a difference of cosines

    Pairs that share a prompt are not independent; prompts are dealt to disjoint pairs with `seed`, which are.  Their
    signs are as likely one as the other where the difference has no direction.  With m pairs p is about $2^{1-m}$ or
    more.
    """
    table = np.asarray(table, dtype=np.float64)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(table))
    half = len(table) // 2
    pairs = (table[order[:half], order[half : 2 * half]] + table[order[half : 2 * half], order[:half]]) / 2
    pairs /= np.abs(pairs).sum() or 1
    flipped = generator.choice([-1.0, 1.0], size=(n, half)) @ pairs
    # rounded, so that flips that come to the same sum in another order of adding are ties
    return stats.permutation_p(np.round(pairs.sum(), 9), np.round(flipped, 9), "two-sided")


def random_sets(prompts, size, samples=1000, seed=0):
    """Sets of random tokens, each of another prompt: row numbers `[set, size]`, at least `samples` in all.

    >>> [intra_similarity(x[rows]) for rows in random_sets(prompts, 20)]

    `prompts`: [row], the prompt of each token.  Where a set is larger than the number of prompts, these come in turn,
    each as often as the others or once more.  Raises `MedlibError` for fewer than two prompts or tokens a set.
    """
    codes, names = label_codes(prompts, len(np.asarray(prompts)), "prompts")
    if size < 2 or len(names) < 2:
        raise MedlibError(f"a set of {size} tokens of {len(names)} prompts has no pair: give two or more of both")
    generator = np.random.default_rng(seed)
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    sets = []
    for _ in range(-(-samples // size)):
        turns = [generator.permutation(len(names)) for _ in range(-(-size // len(names)))]
        sets.append([generator.choice(rows[prompt]) for prompt in np.concatenate(turns)[:size]])
    return np.array(sets)


def mev_without(x, group):
    """MEV of one token's states, and the same without each group of its rows, for a jackknife: `[1 + groups]`.

    >>> mev_without(x, np.arange(len(x)) % 10)[0] == mev(x)

    A bootstrap would draw a state twice, and two equal states lie on one line: it would push the share up.
    `group`: [sample], 0 and up.
    """
    x, group = points(x), np.asarray(group)
    gram = x @ x.T
    keeps = [np.ones(len(x), dtype=bool), *(group != left_out for left_out in range(group.max() + 1))]
    shares = []
    for keep in keeps:
        part = gram[np.ix_(keep, keep)]
        if not np.trace(part):
            raise MedlibError("all states are zero, so there is nothing to explain: check where they were read")
        shares.append(np.linalg.eigvalsh(part)[-1] / np.trace(part))
    return np.array(shares)
