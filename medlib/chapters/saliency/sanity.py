"""Sanity checks of a saliency map: it must change when what it claims to explain is destroyed.

Weights are destroyed by putting those of each matrix in random order, which keeps their sizes and nothing else; from
the last block down, one more at a time, in the cascade of Adebayo et al. 2018, who draw new weights.  The order comes
from a seed, so it can be undone without a copy of the weights.  One order is one draw: several say how far it matters.
"""

from contextlib import ExitStack, contextmanager
from functools import partial

import pandas as pd
import torch

from medlib import summary
from medlib.chapters.saliency.saliency_contrast import select, spread
from medlib.errors import MedlibError
from medlib.saliency import weight_matrices, weight_saliency

FEWEST_BLOCKS = 5  # a rank correlation of fewer says nothing


@contextmanager
def scrambled(model, layers, seed=0):
    """Blocks (1..L) with the weights of each matrix in random order; on leaving, they are as they were.

    >>> with scrambled(model, range(20, 31)):
    ...     table = weight_saliency(model, prompts, answers)
    """
    if model.streams:
        with model.weights.changed({layer: partial(_reorder, model, layer, seed) for layer in layers}):
            yield
        return
    done = []
    try:
        for layer in layers:
            _reorder(model, layer, seed)
            done.append(layer)
        yield
    finally:
        for layer in done:
            _reorder(model, layer, seed, back=True)


@torch.no_grad()
def _reorder(model, layer, seed, back=False):
    for number, weight in enumerate(weight_matrices(model.blocks[layer - 1]).values()):
        generator = torch.Generator().manual_seed((seed * 1000 + layer) * 1000 + number)
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        flat = weight.flatten()
        if back:
            flat = torch.empty_like(flat).index_copy_(0, order, flat)
            weight.copy_(flat.view_as(weight))
        else:
            weight.copy_(flat[order].view_as(weight))


def cascade(model, prompts, answers, scrambled_blocks, kind="grad", seed=0):
    """Weight saliency of a model whose last blocks are scrambled, more of them at each step.

    >>> cascade(model, prompts, answers, [0, 5, 10, 15, 20, 25, 30]).query("layer == 3 and module == 'block'")

    `scrambled_blocks`: how many blocks, counted from the last, in rising order.  Returns `scrambled` and the columns
    of `weight_saliency`'s table of single prompts: `prompt`, `layer`, `module`, `saliency`.
    """
    steps = list(scrambled_blocks)
    if not steps or steps != sorted(set(steps)) or not 0 <= steps[0] <= steps[-1] <= model.n_layers:
        raise MedlibError(f"scrambled_blocks is {steps}; give rising numbers from 0 to {model.n_layers}.")
    tables, done = [], 0
    with ExitStack() as stack:  # what one step has scrambled, the next leaves so
        for step in steps:
            stack.enter_context(scrambled(model, range(model.n_layers - step + 1, model.n_layers - done + 1), seed))
            found = weight_saliency(model, prompts, answers, kind=kind).attrs["per_prompt"]
            tables.append(found.assign(scrambled=step))
            done = step
    table = pd.concat(tables, ignore_index=True)
    return table[["scrambled", "prompt", "layer", "module", "saliency"]]


def evenly(model, steps):
    """How many blocks a cascade scrambles: one, and then in even steps up to all of them.

    >>> evenly(model, 4)                # of a model of 30 blocks
    [1, 8, 15, 22, 30]
    """
    return sorted({1, *(round(model.n_layers * step / steps) for step in range(1, steps + 1))})


def agreement(original, cascaded, seed=0):
    """Rank correlation over layers of each step of a cascade with the model as it was, each with its interval.

    >>> agreement(select(measure(model, questions)), cascaded)

    `original` and `cascaded` have `item`, `variant`, `layer`, `saliency` and perhaps `cluster`, for the same prompts
    and one module; `cascaded` also `scrambled`.  Returns one row a step and set of blocks: `scrambled`, `blocks`
    ("all" of them, or "intact": those below the scrambled ones, where these are at least `FEWEST_BLOCKS`), `value,
    low, high`.
    """
    last = original["layer"].max()
    table = []
    for step, part in cascaded.groupby("scrambled"):
        for blocks, kept in (("all", last), ("intact", last - step)):
            if blocks == "all" or kept >= FEWEST_BLOCKS:
                both = (one[one["layer"] <= kept] for one in (original, part))
                table.append((step, blocks, *summary.rank_agreement(*both, "saliency", seed)))
    return pd.DataFrame(table, columns=["scrambled", "blocks", "value", "low", "high"])


def over_orders(model, questions, tables, n_items, n_steps, n_orders, seed=0):
    """`agreement` of each domain, for several random orders of the weights: with the columns `domain` and `order`.

    >>> over_orders(model, {"drugs": asked}, {"drugs": measured}, n_items=8, n_steps=3, n_orders=5)

    `questions` and `tables` are results of `ask` and `measure` by domain.  Of each domain `n_items` items are taken, in
    one template, spread over its clusters.
    """
    few = pd.concat(
        [
            spread(asked.drop_duplicates("item"), n_items, seed).sort_index().assign(domain=name)
            for name, asked in questions.items()
        ],
        ignore_index=True,
    )
    originals = {name: select(tables[name]).merge(part[["item", "variant"]]) for name, part in few.groupby("domain")}
    parts = []
    for order in range(n_orders):
        found = cascade(model, list(few["prompt"]), list(few["answer"]), evenly(model, n_steps), seed=seed + order)
        found = found[found["module"] == "block"].join(few[["domain", "item", "variant", "cluster"]], on="prompt")
        parts += [
            agreement(originals[name], part, seed).assign(domain=name, order=order)
            for name, part in found.groupby("domain")
        ]
    return pd.concat(parts, ignore_index=True)


def spread_of_orders(steps):
    """The median of `over_orders` and its lowest and highest order: `domain, scrambled, blocks, value, low, high`."""
    values = steps.groupby(["domain", "blocks", "scrambled"])["value"]
    return values.agg(value="median", low="min", high="max").reset_index()
