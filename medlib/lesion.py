"""Lesions: what is lost when one block, one of its two parts, or a window of blocks is taken out.

A lesioned block passes the residual stream through unchanged, so block l+1 receives the state that block l received;
or it adds what stands for no particular prompt: the mean of what it adds to all of them, or what it adds to another.
Every lesion is a branch of one walk up the layers (see replay.py): a sweep over L blocks costs about L/2 forward
passes instead of L, and loads each weight once.
"""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import one_hot
from torch.nn.utils.rnn import pad_sequence

from medlib import hooks
from medlib.errors import MedlibError
from medlib.prompts import (
    TOKEN_KINDS,
    answer_tokens,
    check,
    encode,
    pictured,
    stacked,
    together,
    token_kinds,
    tokens_in_front,
)
from medlib.readout import compare, normalised
from medlib.replay import Replay, check_no_op, in_step, run_blocks

HOWS = ("identity", "mean", "resample")
COMPONENTS = ("block", "attention", "mlp")
WASTE = 0.1  # of a batch may be filling: every branch pays for it, while a batch costs but one recording more


@torch.no_grad()
def lesion_sweep(model, prompts, answers=None, how="identity", component="block", seed=0, stride=1):
    """Lesion each block in turn and measure how far the next-token distribution moves.

    >>> lesion_sweep(model, ["Insulin is used to treat"], [" diabetes"]).nlargest(3, "kl")

    `component` is what is taken out: the whole "block", its "attention" or its "mlp".  `how` says what the residual
    stream gets in place of what that adds: "identity" nothing (the paper's lesion), "mean" the mean over the tokens of
    their kind in all `prompts` (see `token_kinds`: first tokens, those of a chat template, of a picture, and all
    others), "resample" what it adds to another prompt of the list, drawn by `seed`, tokens counted from the end, the
    first token from the first.
    Blocks 1, 1 + `stride`, 1 + 2 `stride`, ... are lesioned.

    Returns one row per prompt and lesioned block: `prompt` (index), `layer` (1..L), `kl` (nats, intact || lesioned,
    last token), `logprob_drop` (nats, first token of the answer, intact minus lesioned), `logit_drop` (the same of its
    logit, less the mean logit of the vocabulary), `direct_drop` (of that logit if no later block saw the lesion; what
    it exceeds `logit_drop` by is self-repair, McGrath et al. 2023), `top1_same`.  The drops are null without answers.
    `attrs["no_op"]` is the largest difference from the model's own logits without a lesion, relative to the largest
    logit; too large a one raises `MedlibError`, as do empty prompts, answers without a first token of their own, and a
    single prompt where others are needed.
    """
    _allowed(how=(how, HOWS), component=(component, COMPONENTS))
    prompts = check(prompts)
    ids = encode(model, prompts)
    targets = None if answers is None else answer_tokens(model, prompts, answers).to(model.device)
    means = _means(model, ids, component) if how == "mean" else None
    donors = _donors(len(ids), seed) if how == "resample" else None
    layers = range(1, model.n_layers + 1, _whole(stride))
    found = {name: np.empty((len(ids), len(layers))) for name in ("kl", "logprob_drop", "logit_drop", "direct_drop")}
    found["top1_same"] = np.empty((len(ids), len(layers)), dtype=bool)
    differences = []

    for group in together(ids, _rows_within_budget(model, len(layers)), WASTE):
        walks = []
        for members, _, last in group:
            others = [ids[donors[i]] for i in members] if donors is not None else []
            walks.append(_Lesions(model, [ids[i] for i in members], last, others, how, component, means))
        in_step(lesions.walk(layers) for lesions in walks)
        differences.append(check_no_op([(w.replay, w.trunk, w.last) for w in walks], "lesion_sweep"))
        wanted = []
        for (members, *_), lesions in zip(group, walks, strict=True):
            ends, own = (lesions.ends, None) if targets is None else (lesions.with_direct(), targets[members])
            wanted.append((lesions.replay, lesions.trunk, ends, own))
        scores = compare(wanted)
        for (members, *_), of_batch in zip(group, scores, strict=True):
            of_batch["direct_drop"] = of_batch["logit_drop"][-len(layers) :]
            for name, score in of_batch.items():
                found[name][members] = score[: len(layers)].T.cpu().numpy()

    table = pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(len(ids)), len(layers)),
            "layer": np.tile(layers, len(ids)),
            **{name: score.ravel() for name, score in found.items()},
        }
    )
    table.attrs["no_op"] = max(differences)
    return table


@torch.no_grad()
def lesion_windows(model, prompts, answers=None, stride=1):
    """Take out every window of consecutive blocks, and measure as `lesion_sweep` does with `how="identity"`.

    >>> lesion_windows(model, prompts).groupby(["first", "last"]).kl.mean().unstack()

    With a `stride` above 1 the blocks are taken in groups of as many (the last may be smaller), and the windows are
    those of consecutive groups.  Returns one row per prompt and window: `prompt`, `first`, `last` (blocks 1..L, both
    out), `kl`, `logprob_drop`, `top1_same`.  G groups make G(G+1)/2 windows, at the cost of about LG/6 forward passes.
    """
    prompts = check(prompts)
    ids = encode(model, prompts)
    targets = None if answers is None else answer_tokens(model, prompts, answers).to(model.device)
    starts = range(1, model.n_layers + 1, _whole(stride))
    ends = [min(start + stride - 1, model.n_layers) for start in starts]
    windows = [(first, last) for group, last in enumerate(ends, 1) for first in starts[:group]]
    tables, differences = [], []

    def walk(batch, ended, outcome):
        members, inputs, last = batch
        replay = Replay(model, inputs)
        rows, at = torch.arange(replay.rows, device=model.device), (torch.arange(len(members)), last)
        trunk, entered = replay.embedding, []
        table = replay.embedding.new_empty(len(windows), *replay.embedding.shape)
        for layer in range(1, model.n_layers + 1):
            if layer in starts:
                open_ = len(entered) * (len(entered) + 1) // 2  # the windows that end below this group
                entered.append(trunk)
            yield
            run_blocks(replay, layer, table[:open_].flatten(0, 1), rows.repeat(open_))
            trunk = replay.block(layer, trunk)
            if layer in ends:
                table[open_ : open_ + len(entered)] = torch.stack(entered)
        ended.append((replay, trunk[at], last))
        outcome.append((replay, trunk[at], table[:, *at], None if targets is None else targets[members]))

    for group in together(ids, _rows_within_budget(model, len(windows)), WASTE):
        ended, outcomes = [], [[] for _ in group]
        in_step(walk(batch, ended, outcome) for batch, outcome in zip(group, outcomes, strict=True))
        differences.append(check_no_op(ended, "lesion_windows"))
        for (members, *_), scores in zip(group, compare(outcome[0] for outcome in outcomes), strict=True):
            part = pd.DataFrame({name: score.flatten().cpu().numpy() for name, score in scores.items()})
            part.insert(0, "prompt", np.tile(members, len(windows)))
            for place, name in enumerate(("first", "last"), 1):
                part.insert(place, name, np.repeat([window[place - 1] for window in windows], len(members)))
            tables.append(part.drop(columns="logit_drop"))
    table = pd.concat(tables).sort_values(["prompt", "last", "first"], ignore_index=True)
    table.attrs["no_op"] = max(differences)
    return table


@torch.no_grad()
def lesion_texts(model, texts):
    """Lesion each block in turn and measure what running text costs: its perplexity is `exp` of the mean of `loss`.

    >>> lesion_texts(model, neutral).groupby("layer").loss.mean().map(np.exp)

    Returns one row per text and block: `text` (index), `layer` (0 is the intact model), `loss` (nats per token, mean
    over all tokens but the first, and but those of a chat template), `tokens` (how many these are).  Texts need two
    tokens at least.
    """
    texts = check(texts)
    if pictured(texts[0]):
        raise MedlibError("lesion_texts measures running text; give texts without a picture.")
    ids = encode(model, texts)
    if short := [i for i, tokens in enumerate(ids) if len(tokens) < 2]:
        raise MedlibError(f"Text {short[0]} is one token long, so nothing in it is foretold; give longer texts.")
    layers, rows = range(1, model.n_layers + 1), []
    for group in together(ids, _rows_within_budget(model, len(layers)), WASTE):
        walks = [
            _Lesions(model, [ids[i] for i in members], last, [], "identity", "block", None)
            for members, _, last in group
        ]
        in_step(lesions.walk(layers, whole=True) for lesions in walks)
        ended = [(w.replay, w.trunk[torch.arange(len(w.trunk)), w.last], w.last) for w in walks]
        check_no_op(ended, "lesion_texts")
        for (members, inputs, last), lesions in zip(group, walks, strict=True):
            batch = inputs["input_ids"]
            front = torch.tensor([max(1, tokens_in_front(model, ids[member])) for member in members])
            place = torch.arange(1, batch.shape[1])
            inside = (front[:, None] <= place) & (place <= last[:, None])
            follows = batch[:, 1:][inside].to(model.device)
            states = torch.cat([lesions.trunk[None], lesions.ends])[:, :, :-1][:, inside]
            ((own, norm),) = normalised([(lesions.replay, states.flatten(0, 1), follows.repeat(len(states))[:, None])])
            losses = (norm - own).view(len(states), -1)
            for row, member in enumerate(members):
                own = losses[:, (torch.nonzero(inside)[:, 0] == row).to(losses.device)]
                rows += [(member, layer, float(loss), own.shape[1]) for layer, loss in enumerate(own.mean(1))]
    return pd.DataFrame(rows, columns=["text", "layer", "loss", "tokens"]).sort_values(
        ["text", "layer"], ignore_index=True
    )


class _Lesions:
    """One batch's walk: the trunk (its own rows, and those of the prompts they borrow from) and a branch a block."""

    def __init__(self, model, ids, last, others, how, component, means):
        self.model, self.how, self.component = model, how, component
        self.n, self.last = len(ids), last
        self.replay = Replay(model, stacked(ids + others))
        self.borrowed = _borrowed(self.replay.positions, last, others) if others else None
        self.means, kinds = means, [token_kinds(model, tokens) for tokens in ids]
        self.kinds = pad_sequence(kinds, batch_first=True).to(model.device)

    def walk(self, layers, whole=False):
        """Walk up, with a branch for each block in `layers`; pauses before each block (see `in_step`).

        Sets `trunk [row, hidden]` and `ends [layer, row, hidden]`, the states after the last block at each row's last
        token, and `direct`, the branches' states if no later block had seen them.  With `whole`, `trunk` and `ends` are
        at all tokens.
        """
        replay, n, at = self.replay, self.n, (torch.arange(self.n), self.last)
        states, rows = replay.embedding, torch.arange(self.n, device=self.model.device)
        table = states.new_empty(len(layers), n, *states.shape[1:])
        moved = states.new_empty(len(layers), n, states.shape[-1])
        branches = 0
        for layer in range(1, self.model.n_layers + 1):
            yield
            run_blocks(replay, layer, table[:branches].flatten(0, 1), rows.repeat(branches))
            leaving, given = _block_and_part(replay, layer, states, self.component)
            if layer in layers:
                table[branches] = self._lesioned(layer, states, given, rows)
                moved[branches] = (table[branches] - leaving[:n])[at]
                branches += 1
            states = leaving
        if whole:
            self.trunk, self.ends = states[:n], table
        else:
            self.trunk, self.ends = states[at], table[:, *at]
            self.direct = self.trunk + moved

    def with_direct(self):
        """The branches' states at the last tokens and, after them, those that no later block saw."""
        return torch.cat([self.ends, self.direct])

    def _lesioned(self, layer, states, given, rows):
        """The state that leaves a lesioned block."""
        entering, place = states[: self.n], torch.zeros_like(given[: self.n])
        if self.how == "mean":
            place[:, : self.kinds.shape[1]] = self.means[layer - 1, self.kinds]
        if self.how == "resample":
            place = given[self.n :][torch.arange(self.n)[:, None], self.borrowed]
        if self.component == "block":
            return entering + place
        with hooks.replace(self.model, layer, lambda own: place.reshape(own.shape), self.component):
            return self.replay.block(layer, entering, rows=rows)


def _block_and_part(replay, layer, states, component):
    """What leaves a block, and what one of its parts, or all of it, adds to the residual stream."""
    whole = component == "block"
    with nullcontext() if whole else hooks.capture(replay.model, [layer], component) as seen:
        leaving = replay.block(layer, states)
    return leaving, leaving - states if whole else seen[layer].view_as(states).to(states.device)


def _borrowed(width, last, others):
    """Which token of the other prompt each token borrows: counted from the end, and the first one borrows the first."""
    lengths = torch.tensor([len(other) for other in others])
    borrowed = torch.arange(width) + (lengths - 1 - last)[:, None]
    borrowed = borrowed.clamp_min(1).minimum(lengths[:, None] - 1)
    borrowed[:, 0] = 0
    return borrowed


def _donors(n, seed):
    """For each of n prompts another one, each lent once."""
    if n < 2:
        raise MedlibError('how="resample" borrows from another prompt, and there is only one. Give more prompts.')
    order = np.random.default_rng(seed).permutation(n)
    donors = np.empty(n, dtype=int)
    donors[order] = np.roll(order, 1)
    return donors


def _means(model, ids, component):
    """What a component adds on the mean over prompts, for each kind of token: `[layer, kind, hidden]`."""
    sums = torch.zeros(model.n_layers, len(TOKEN_KINDS), model.hidden_size, dtype=torch.float64, device=model.device)
    counts = torch.zeros(len(TOKEN_KINDS), dtype=torch.float64, device=model.device)

    def walk(members, inputs):
        replay = Replay(model, inputs)
        kinds = [one_hot(token_kinds(model, ids[i]), len(TOKEN_KINDS)).double() for i in members]
        kinds = pad_sequence(kinds, batch_first=True).to(model.device)  # what is filled up is of no kind
        counts.add_(kinds.sum((0, 1)))
        states = replay.embedding
        for layer in range(1, model.n_layers + 1):
            yield
            states, given = _block_and_part(replay, layer, states, component)
            sums[layer - 1] += torch.einsum("rpk,rph->kh", kinds, given.double())

    for group in together(ids, _rows_within_budget(model, 1)):
        in_step(walk(members, inputs) for members, inputs, _ in group)
    return (sums / counts.clamp_min(1)[:, None]).to(model.dtype)


def _rows_within_budget(model, branches):
    """How many prompts of a length have their tables of branches in memory at once."""
    return lambda length: model.memory // 2 // ((branches + 2) * length * model.hidden_size * model.dtype.itemsize)


def _whole(stride):
    if not isinstance(stride, int) or stride < 1:
        raise MedlibError(f"stride={stride!r} is not a number of blocks. Give 1 for every block, 2 for every second.")
    return stride


def _allowed(**given):
    for name, (value, allowed) in given.items():
        if value not in allowed:
            raise MedlibError(f"{name}={value!r} is not a lesion. Choose one of {', '.join(map(repr, allowed))}.")
