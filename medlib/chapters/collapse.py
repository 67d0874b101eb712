r"""Collapse: does the cloud of a layer's states fall onto few directions, and do a few huge dimensions make it?

A cloud is the states of one domain, layer and template.  It is measured as it stands (`raw`), with every state scaled
to one length (`rms`), and without the dimensions that are largest on the *other* domains (`without largest`), so that
no domain chooses what is taken from it.  A collapse is defined before anything is looked at: the effective rank is less
than half of what it was at its best before, and of what it comes to at its best after.

A bootstrap draws items twice, and a doubled point adds no direction and lies at distance zero from itself: it would
push rank and intrinsic dimension down.  So intervals leave groups of items out instead (`interval`, a jackknife).
"""

import numpy as np
import pandas as pd
import torch
from scipy.stats import t
from sklearn.metrics import silhouette_samples
from threadpoolctl import threadpool_limits

from medlib import concepts, geometry, results, summary
from medlib.errors import MedlibError
from medlib.geometry.points import SAME, points, unit_rows, varying
from medlib.prompts import batches, check, encode
from medlib.replay import Replay, check_no_op, tokens_per_call
from medlib.states import entity_tokens

PLACES = ("entity", "mean", "last")
WAYS = ("raw", "rms", "without largest")
SIGNS = ("effective_rank", "first_component", "mean_cosine", "intrinsic_dimension")
DEEP = 0.5  # a collapse: an effective rank below so much of the best before and after


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


@torch.no_grad()
def read(model, prompts):
    """The residual stream at the last token of the entity, its mean over the entity, and at the last of the prompt.

    >>> read(model, list(frame["prompt"]))["entity"].shape         # [state 0..L, prompt, hidden], float32

    `medlib.activations` of each of the `PLACES`, read in one walk up the layers.
    """
    prompts = check(prompts)
    ids = encode(model, prompts)
    spans = [entity_tokens(model, prompt) for prompt in prompts]
    states = {p: np.empty((model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32) for p in PLACES}
    tokens = tokens_per_call(model)
    for members, batch, last in batches(ids, lambda length: tokens // length):
        replay = Replay(model, {"input_ids": batch.to(model.device)})
        rows = torch.arange(len(members))
        start, end = torch.tensor([spans[i] for i in members]).T
        inside = torch.arange(replay.positions)[None]
        weights = ((inside >= start[:, None]) & (inside < end[:, None])).to(replay.embedding)
        weights = (weights / weights.sum(-1, keepdim=True))[:, None]
        state = replay.embedding
        for layer in range(model.n_layers + 1):
            if layer:
                state = replay.block(layer, state)
            found = dict(entity=state[rows, end - 1], mean=(weights @ state)[:, 0], last=state[rows, last])
            for place, values in found.items():
                states[place][layer, members] = values.float().cpu().numpy()
        check_no_op(replay, state[rows, last], last, "collapse")
    return states


def shares(states):
    """Each dimension's share of the squared length of a state: `[state, prompt, hidden]`, each row's sum is one."""
    square = np.asarray(states, dtype=np.float64) ** 2
    return square / square.sum(axis=-1, keepdims=True)


def largest_of_others(means, count):
    """The `count` dimensions that are largest on all other domains, for each domain and state: `[state, count]`.

    >>> largest_of_others({name: shares(x).mean(axis=1) for name, x in states.items()}, 3)["drugs"][12]

    `means`: domain -> mean shares `[state, hidden]`; the other domains count alike.  Raises `MedlibError` for one
    domain alone, which has no others.
    """
    if len(means) < 2:
        raise MedlibError("The dimensions to leave out are chosen on other domains; give two domains or more.")
    hidden = next(iter(means.values())).shape[-1]
    if not 0 < count < hidden:
        raise MedlibError(f"cannot drop {count} of {hidden} dimensions; give 1 to {hidden - 1}")
    total = sum(means.values())
    return {name: np.argsort(total - own, axis=-1, kind="stable")[:, : -count - 1 : -1] for name, own in means.items()}


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


def templates(frame):
    """The places of each template's rows: template -> `[row]`."""
    return frame.reset_index(drop=True).groupby("variant", sort=False).groups


def silhouettes(states, frame, largest, ways=WAYS):
    """Each prompt's silhouette by its `label`, in its own template: `item, variant, cluster, layer, space, value`.

    A domain without labels, or with one label, has no silhouette: its table is empty.
    """
    tables = []
    with threadpool_limits(1):
        for rows in templates(frame).values():
            part = frame.iloc[rows][["item", "variant", "cluster"]]
            label = frame["label"].iloc[rows].to_numpy()
            if not 2 <= len(set(label)) < len(label):
                continue
            for way in ways:
                for layer in range(1, len(states)):
                    x = prepared(states[layer, rows], way, largest[layer])
                    tables.append(part.assign(layer=layer, space=way, value=silhouette_samples(x, label)))
    columns = ["item", "variant", "cluster", "layer", "space", "value"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def max_over_median(states, frame, largest):
    """The largest over the median absolute activation of each cloud: `[way, layer 1..L, template]`."""
    found = [
        [
            [
                _largest_over_median(prepared(states[layer, rows], way, largest[layer]))
                for rows in templates(frame).values()
            ]
            for layer in range(1, len(states))
        ]
        for way in WAYS
    ]
    return np.array(found)


def _largest_over_median(x):
    size = np.abs(x)
    return size.max() / np.median(size)


def share_of(states, frame, largest):
    """The share of the squared length that the left-out dimensions take: `item, layer, value`, mean over templates."""
    parts = [
        pd.DataFrame(dict(item=frame["item"], layer=layer, value=shares(states[layer])[:, largest[layer]].sum(axis=1)))
        for layer in range(1, len(states))
    ]
    return pd.concat(parts).groupby(["item", "layer"], as_index=False).mean()


def depth(rank, axis=0):
    """The effective rank of each layer over the smaller of the best before it and the best after it.

    >>> depth(np.array([40, 10, 12, 50]))
    array([ nan, 0.25, 0.3 ,  nan])

    Below one is a dip; the first and the last layer have no two sides and are null.
    """
    rank = np.moveaxis(np.asarray(rank, dtype=float), axis, 0)
    found = np.full(rank.shape, np.nan)
    before = np.maximum.accumulate(rank)[:-2]
    after = np.maximum.accumulate(rank[::-1])[::-1][2:]
    found[1:-1] = rank[1:-1] / np.minimum(before, after)
    return np.moveaxis(found, 0, axis)


def interval(values, log=False, level=0.95):
    r"""The first of the last axis with its delete-a-group jackknife interval, from the others: `(value, low, high)`.

    With G groups and $\hat\theta_{(g)}$ the value without group g, the squared standard error is
    $\frac{G-1}{G}\sum_g(\hat\theta_{(g)}-\bar\theta)^2$ and the interval that of Student's t with G - 1 degrees of
    freedom; the value itself is that of all rows.  `log`: taken on the logarithm, for what cannot be negative.
    Source: Efron & Stein 1981; Kott 2001 for the groups.
    """
    values = np.log(values) if log else np.asarray(values)
    value, without = values[..., 0], values[..., 1:]
    n = without.shape[-1]
    error = np.sqrt((n - 1) * without.var(axis=-1)) * t.ppf((1 + level) / 2, n - 1)
    found = np.stack([value, value - error, value + error])
    return tuple(np.exp(found) if log else found)


def dips(rank, variants):
    """Each cloud's depth with its interval, and whether it is a collapse.

    >>> dips(clouds(states, frame, largest)["effective_rank"][0], templates(frame)).query("collapsed")

    `rank`: [layer, template, 1 + groups].  Returns `variant, layer, value, low, high, collapsed` for the layers with
    others on both sides; a collapse has its whole interval below `DEEP`.
    """
    value, low, high = interval(depth(rank), log=True)
    parts = [
        pd.DataFrame(
            dict(variant=name, layer=range(1, len(rank) + 1), value=value[:, i], low=low[:, i], high=high[:, i])
        )
        for i, name in enumerate(variants)
    ]
    return pd.concat(parts, ignore_index=True).dropna().assign(collapsed=lambda part: part["high"] < DEEP)


def curve(values, log=False):
    """The mean over templates for each layer, with its interval: `layer, value, low, high`.

    `values`: [layer, template, 1 + groups].
    """
    value, low, high = interval(values.mean(axis=1), log)
    return pd.DataFrame(dict(layer=range(1, len(value) + 1), value=value, low=low, high=high))


def results_table(depths, signs, scores, frames, size, share, place):
    """Everything the chapter measured in the columns of `medlib.results`; the place to read is in `component`.

    `depths`, `scores`: tables with `place`, `domain` and `space`; `signs`: (place, domain) -> what `clouds` returns;
    `size`, `share`: domain -> what `max_over_median` returns, and a table of `share_of`, both at `place`.
    """
    parts = [depths.assign(metric="depth"), share.assign(metric="share_of_largest", place=place)]
    parts.append(
        depths.assign(metric="collapse", value=depths["collapsed"].astype(float)).drop(columns=["low", "high"])
    )
    for (where, domain), found in signs.items():
        for sign, values in found.items():
            parts.append(_long(*interval(values, log=sign == "effective_rank"), frames[domain], domain, sign, where))
    for domain, values in size.items():
        empty = np.full(values.shape, np.nan)
        parts.append(_long(values, empty, empty, frames[domain], domain, "max_over_median", place))
    by_item = scores.groupby(["place", "domain", "space", "layer", "item"], as_index=False)["value"].mean()
    table = pd.concat([*parts, by_item.assign(metric="silhouette")], ignore_index=True)
    table = table.rename(columns={"place": "component"})
    return table[table.columns.intersection(results.COLUMNS)]


def _long(value, low, high, frame, domain, metric, place):
    """`[way, layer 1..L, template]` as rows of the results table; what is null is left out."""
    index = pd.MultiIndex.from_product(
        [WAYS, range(1, value.shape[1] + 1), list(templates(frame))], names=["space", "layer", "variant"]
    )
    table = pd.DataFrame(dict(value=value.ravel(), low=low.ravel(), high=high.ravel()), index=index).reset_index()
    constants = dict(domain=domain, metric=metric, place=place, n=frame["item"].nunique())
    return table.dropna(subset=["value"]).assign(**constants)


def overlap(one, other, count):
    """The share of the `count` largest dimensions that two domains have in common: `[state]`.

    `one`, `other`: mean shares, `[state, hidden]`.
    """
    tops = [np.argsort(-means, axis=-1, kind="stable")[:, :count] for means in (one, other)]
    return np.array([len(set(a) & set(b)) / count for a, b in zip(*tops, strict=True)])


def made_up(n, hidden, layers, kind, seed=0):
    """Clouds with a known answer for the planted-signal check: `[state, n, hidden]`, the middle third as `kind` says.

    `noise` is the same everywhere; `huge dimension` puts most of the variance on dimension 7; `few directions` leaves
    two directions that lie across all dimensions, and a little noise.
    """
    generator = np.random.default_rng(seed)
    states = generator.normal(size=(layers + 1, n, hidden))
    for layer in middle(layers):
        if kind == "huge dimension":
            states[layer, :, 7] *= 10 * np.sqrt(hidden)
        if kind == "few directions":
            flat = generator.normal(size=(n, 2)) @ generator.normal(size=(2, hidden))
            states[layer] = 10 * flat + 0.1 * states[layer]
    return states


def middle(layers):
    """The layers of the middle third, where `made_up` plants."""
    return range(1 + layers // 3, 1 + 2 * layers // 3)


def opens(model, prompts):
    """Whether the first token that the model reads, special tokens included, belongs to the item of every prompt."""
    return all(entity_tokens(model, prompt)[0] == 0 for prompt in prompts)


def stretches(flags):
    """The stretches of true values, as a reader would write them.

    >>> stretches([False, True, True, True, False, True])
    '1 to 3, 5'
    """
    at = np.flatnonzero(flags)
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if len(at) else []
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"
