"""Activation patching: which state, at which layer and token, carries the answer.

Two prompts of equal length, clean and corrupt, call for different answers.  One run is the trunk; at (l, p) its state
after block l is replaced, at token p, by the other run's, or what the block's attention or MLP adds there is, and the
walk goes on as a branch (see replay.py).  A branch at token p shares all that lies before p with the trunk, and a site
before the first token in which the prompts differ is exactly zero and costs nothing.  Several tokens can be patched
together, such as all of a name: three parts of a prompt cost about a third of all its tokens one by one.
"""

import numpy as np
import pandas as pd
import torch

from medlib import hooks
from medlib.errors import MedlibError
from medlib.model import COMPONENTS
from medlib.prompts import Pair, answer_token, check, encode, stacked, together
from medlib.replay import Replay, check_no_op, difference, in_step, run_blocks, tolerance

FEW_TOKENS = 256  # logits that show whether two states say the same, where each costs a read from disk
DIRECTIONS = {"denoise": "clean into corrupt", "noise": "corrupt into clean"}


@torch.no_grad()
def patch_sweep(model, pairs, direction="denoise", component="residual", groups=None):
    """Patch one run into the other, at every layer and token, or at every layer and group of tokens.

    >>> pair = Pair("Metformin is used to treat", "Aspirin is used to treat", " diabetes", " pain")
    >>> patch_sweep(model, [pair]).pivot(index="layer", columns="position", values="recovered")

    `direction="denoise"` puts the clean state into the corrupt run, "noise" the corrupt state into the clean run;
    `component="residual"` replaces the whole residual stream, "attention" or "mlp" what this part of the block gives
    out; attention and MLP that follow see the change.  Returns one row per pair, layer and token: `pair`
    (index), `layer` (1..L, the state after that block is replaced), `position` (0-based), `token` (of the run that is
    patched), `clean_diff`, `corrupt_diff`, `logit_diff` (answer minus wrong, logits; patched), `recovered`
    (logit_diff - corrupt_diff) / (clean_diff - corrupt_diff).  With `groups`, a table `pair, position, group`, all
    tokens of a group are patched at once, and the rows have `group` in place of `position` and `token`.
    `attrs["no_op"]` is the largest difference from the model's own logits without a patch, `attrs["positions_shared"]`
    whether branches shared earlier tokens.  Raises `MedlibError` for prompts of unequal length, answers that begin with
    the same token, and a failed no-op check.
    """
    check_options(direction, component)
    clean, corrupt, tokens = encode_pairs(model, pairs)
    trunk, donor = (corrupt, clean) if direction == "denoise" else (clean, corrupt)
    pieces, checks = [], []

    def pairs_within_budget(length):
        return model.memory // 2 // _branch_bytes(model, length)

    for group in together(trunk, pairs_within_budget, waste=0):
        sweeps, names = [], []
        for members, *_ in group:
            own = [trunk[i] for i in members]
            masks, said = _of_tokens(model, own) if groups is None else mask_groups(groups, members, len(own[0]))
            sweeps.append(_Sweep(model, own, [donor[i] for i in members], tokens[members], component, masks))
            names.append(said)
        in_step(sweep.walk() for sweep in sweeps)
        if again := [sweep for sweep in sweeps if sweep.shared and not sweep.agrees]:
            for sweep in again:
                sweep.shared = False
            in_step(sweep.walk() for sweep in again)
        for (members, *_), sweep, said in zip(group, sweeps, names, strict=True):
            trunk_diff, donor_diff = sweep.diffs
            ends = (donor_diff, trunk_diff) if direction == "denoise" else (trunk_diff, donor_diff)
            pieces.append(site_table(members, sweep.patched, *ends, said))
            checks.append((sweep.no_op, sweep.shared))
    table = pd.concat(pieces).sort_values(["pair", "layer"], kind="stable", ignore_index=True)
    table.attrs["no_op"] = max(no_op for no_op, _ in checks)
    table.attrs["positions_shared"] = all(shared for _, shared in checks)
    return table


def check_options(direction, component):
    """Refuse a direction or a component that there is not."""
    for name, value, allowed in (("direction", direction, tuple(DIRECTIONS)), ("component", component, COMPONENTS)):
        if value not in allowed:
            raise MedlibError(f"{name}={value!r} is not known. Choose one of {', '.join(allowed)}.")


def encode_pairs(model, pairs):
    """Token ids of clean and corrupt prompts, and the ids `[pair, 2]` of the first tokens of answer and wrong."""
    pairs = list(pairs) if hasattr(pairs, "__iter__") else [None]
    if not pairs:
        raise MedlibError("The list of pairs is empty; give at least one medlib.Pair.")
    if not all(isinstance(pair, Pair) for pair in pairs):
        raise MedlibError(
            "pairs must be a list of medlib.Pair(clean, corrupt, answer, wrong). Put a single pair in a list."
        )
    clean, corrupt = (encode(model, check([getattr(pair, side) for pair in pairs])) for side in ("clean", "corrupt"))
    tokens = []
    for number, pair in enumerate(pairs):
        a, b = len(clean[number]), len(corrupt[number])
        if a != b:
            raise MedlibError(
                f"Pair {number}: the clean prompt has {a} tokens and the corrupt one {b}; patching needs equal "
                f"lengths. Replace one entity by another of as many tokens: {pair.clean!r} / {pair.corrupt!r}."
            )
        if clean[number] == corrupt[number] and _same_beside(clean[number], corrupt[number]):
            raise MedlibError(
                f"Pair {number}: clean and corrupt prompt are the same, so nothing can be patched: {pair.clean!r}."
            )
        tokens.append([answer_token(model, pair.clean, answer) for answer in (pair.answer, pair.wrong)])
        if tokens[-1][0] == tokens[-1][1]:
            raise MedlibError(
                f"Pair {number}: answer {pair.answer!r} and wrong answer {pair.wrong!r} begin with the same token, so "
                "their logits cannot differ. Choose answers that differ in the first token."
            )
    return clean, corrupt, torch.tensor(tokens)


def _same_beside(clean, corrupt):
    """Whether what goes with the tokens of two prompts, such as their picture, is the same."""
    return all(torch.equal(value, corrupt.beside.get(name)) for name, value in clean.beside.items())


def _differ(replay, n):
    """Where the first `n` rows differ from the next `n`, in the token or in what enters there: `[row, position]`."""
    ids, states = replay.inputs["input_ids"], replay.embedding
    return (ids[:n] != ids[n:]) | (states[:n] != states[n:]).any(-1)


def _branch_bytes(model, length):
    """Size of one pair's table of branches when every token is patched."""
    return model.n_layers * length * (length + 1) // 2 * model.hidden_size * model.dtype.itemsize


def _of_tokens(model, ids):
    """Every token a site of its own: masks `[site, pair, position]`, and what a table says of each `[pair, site]`."""
    length = len(ids[0])
    masks = torch.eye(length, dtype=torch.bool)[:, None].repeat(1, len(ids), 1)
    return masks, tokens_of(model, ids)


def mask_groups(groups, members, length):
    """The tokens of each group a site; a group that a pair lacks is an empty mask without a name."""
    names = groups["group"].drop_duplicates().tolist()
    masks = torch.zeros(len(names), len(members), length, dtype=torch.bool)
    row = {pair: i for i, pair in enumerate(members)}
    for pair, position, group in groups[["pair", "position", "group"]].itertuples(index=False):
        if pair in row:
            masks[names.index(group), row[pair], position] = True
    there = masks.any(-1).T.numpy()
    return masks, {"group": np.where(there, np.array(names, dtype=object), None)}


def tokens_of(model, ids):
    """What a table says of each token: `position` and `token`, `[pair, position]`."""
    words = np.array([[model.tokenizer.decode([token]) for token in row] for row in ids], dtype=object)
    return {"position": np.indices(words.shape)[1], "token": words}


class _Sweep:
    """All sites of some pairs of one length: the trunk, the donor, and growing tables of branches.

    A site is a mask of the tokens that are patched, `masks [site, pair, position]`.
    """

    def __init__(self, model, trunk, donor, tokens, component, masks):
        self.model, self.component = model, component
        device = model.device
        self.n, self.length = len(trunk), len(trunk[0])
        self.tokens = tokens.to(device)
        self.replay = Replay(model, stacked(trunk + donor))
        self.shared = self.replay.shares_positions()
        differs = _differ(self.replay, self.n)
        self.first = differs.int().argmax(-1)  # first token in which the two runs differ
        moving = torch.arange(self.length, device=device) >= self.first[:, None]
        self.masks = masks.to(device) & moving

    def walk(self):
        """Walk up with all branches; pauses before each block (see `in_step`).

        Sets `patched`, logit differences `[pair, layer, site]`, `diffs` (trunk, donor), `no_op`, and `agrees`: whether
        the trunk patched with itself, earlier positions shared, gives the trunk's own logits.
        """
        replay, layers = self.replay, self.model.n_layers
        states = replay.embedding
        row = self.first.argmin().view(1)
        begin = max(1, int(self.first[row])) if self.shared else 0
        unpatched = states[row, begin:]
        tables = self._tables()
        for layer in range(1, layers + 1):
            yield
            patched, states, past = self._block(layer, states)
            unpatched = self._call(begin, past)(layer, unpatched, rows=row)
            for _, rows, start, mask, table in tables:
                earlier = table[: layer - 1].flatten(0, 1)
                run_blocks(replay, layer, earlier, rows.repeat(layer - 1), self._call(start, past))
                table[layer - 1] = torch.where(mask, patched[rows, start:], states[rows, start:])
        self.no_op = check_no_op([(replay, states[:, -1], [self.length - 1] * replay.rows)], "patch_sweep")
        with replay.only(slice(0, min(FEW_TOKENS, self.model.vocabulary)) if self.model.streams else None):
            own, again = (replay.tail(part[:, -1:]) for part in (states[row], unpatched))
        self.agrees = difference(own, again) <= tolerance(self.model)
        diffs = self._logit_diff(states[:, -1], torch.arange(2 * self.n, device=row.device) % self.n)
        self.diffs = tuple(diffs.view(2, self.n))
        self.patched = self.diffs[0][:, None, None].repeat(1, layers, len(self.masks))
        for site, rows, _, _, table in tables:
            found = self._logit_diff(table[:, :, -1].flatten(0, 1), rows.repeat(layers))
            self.patched[rows, :, site] = found.view(layers, -1).T

    def _block(self, layer, states):
        """The states after a block if all tokens were patched there, those of both runs, and their keys and values.

        After attention a block treats each token by itself, so at a token the first are those of a patch there alone.
        """
        if self.component == "residual":
            leaving, past = self.replay.block_and_past(layer, states)
            return leaving[self.n :], leaving, past
        with hooks.capture(self.model, [layer], self.component) as given:
            leaving, past = self.replay.block_and_past(layer, states)
        donor = given[layer].view_as(states)[self.n :]
        rows = torch.arange(self.n, device=self.model.device)
        with hooks.replace(self.model, layer, lambda own: donor.reshape(own.shape), self.component):
            return self.replay.block(layer, states[: self.n], rows=rows), leaving, past

    def _tables(self):
        """Room for the branches of each site `[layer, pair, position.., hidden]`: pairs that start alike go together.

        A list of `site, rows, start, mask [row, position.., 1], table`; none for a site before the runs differ.
        """
        tables = []
        for site, masks in enumerate(self.masks):
            begins = torch.where(masks.any(-1), masks.int().argmax(-1), -1)
            for begin in begins.unique().tolist():
                if begin < 0:
                    continue
                rows, start = torch.nonzero(begins == begin).flatten(), begin if self.shared else 0
                shape = self.model.n_layers, len(rows), self.length - start, self.model.hidden_size
                mask = masks[rows, start:, None]
                tables.append((site, rows, start, mask, self.replay.embedding.new_empty(shape)))
        return tables

    def _call(self, start, past):
        """How a block is replayed from a token on: the positions before it shared, or whole rows."""
        if not start:
            return self.replay.block
        return lambda layer, states, rows: self.replay.block_from(layer, states, start, rows, past)

    def _logit_diff(self, states, rows):
        """Answer minus wrong for each branch, from the few columns of the unembedding that are asked for."""
        tokens, column = self.tokens.unique(return_inverse=True)
        gap = states.new_empty(len(states), dtype=torch.float64)

        def reduce(logits, chunk):
            pick = logits.gather(-1, column[rows[chunk]]).double()
            gap[chunk] = pick[:, 0] - pick[:, 1]

        self.replay.read_out(states, reduce, tokens)
        return gap


def site_table(members, patched, clean, corrupt, names):
    """One row per pair, layer and site: `patched [pair, layer, site]`, `clean` and `corrupt [pair]` in logits.

    `names`: column -> what it says of each site, `[pair, site]`; sites without a name are left out.
    """
    clean, corrupt, patched = (part.cpu().numpy() for part in (clean, corrupt, patched))
    span = (clean - corrupt)[:, None, None]
    recovered = np.divide(patched - corrupt[:, None, None], span, out=np.full_like(patched, np.nan), where=span != 0)
    pair, layer, site = (index.ravel() for index in np.indices(patched.shape))
    table = pd.DataFrame(
        {
            "pair": np.asarray(members)[pair],
            "layer": layer + 1,
            **{column: of_site[pair, site] for column, of_site in names.items()},
            "clean_diff": clean[pair],
            "corrupt_diff": corrupt[pair],
            "logit_diff": patched.ravel(),
            "recovered": recovered.ravel(),
        }
    )
    return table[table[list(names)].notna().all(axis=1)]
