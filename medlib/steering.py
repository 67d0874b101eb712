"""Steering: a vector is added to the residual stream after one block, and the answer moves, or does not.

The vector says what distinguishes two kinds of prompts at that layer, such as those with one answer from all others
(`difference_vectors`).  Every layer is a branch of one walk up the layers (see replay.py).  Only the last token is
steered, so a branch shares all earlier ones with the trunk and is one token long.
"""

import numpy as np
import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.prompts import answer_tokens, check, encode, together
from medlib.replay import Replay, check_no_op, difference, in_step, run_blocks, tolerance


@torch.no_grad()
def steer_sweep(model, prompts, vectors, answers, targets):
    """Add a vector to the state of the last token, after each block in turn, and see which answer gains.

    >>> steer_sweep(model, ["Insulin is used to treat"], vectors, [" diabetes"], [" pain"]).nlargest(3, "shift")

    `vectors [state 0..L, prompt, hidden]`, as `medlib.activations` and `difference_vectors` give them; that of state 0
    is not used.  `answers` and `targets` count by their first token.  Returns one row per prompt and block: `prompt`
    (index), `layer` (1..L, the block after which the vector is added), `intact` and `steered` (logits, target minus
    answer), `shift` (steered minus intact).  `attrs["no_op"]` is the largest difference from the model's own logits
    without steering, relative to the largest logit; too large a one raises `MedlibError`, as do vectors of another
    shape or with NaN, and a target that begins like the answer.
    Source: the last token's state is what Turner et al., arXiv 2308.10248, and Rimsky et al., arXiv 2312.06681, add to.
    """
    prompts = check(prompts)
    ids = encode(model, prompts)
    vectors = _checked(model, vectors, len(ids))
    tokens = torch.stack([answer_tokens(model, prompts, texts) for texts in (answers, targets)], dim=1)
    if same := [i for i, (own, other) in enumerate(tokens.tolist()) if own == other]:
        raise MedlibError(
            f"Prompt {same[0]}: answer {answers[same[0]]!r} and target {targets[same[0]]!r} begin with the same token, "
            "so none can gain on the other. Choose a target that differs in its first token."
        )
    tokens = tokens.to(model.device)
    found = torch.empty(model.n_layers + 1, len(ids), dtype=torch.float64)
    differences = []
    for group in together(ids, _rows_within_budget(model), waste=0):
        walks = [_Walk(model, inputs, vectors[:, members]) for members, inputs, _ in group]
        in_step(walk.up() for walk in walks)
        if again := [walk for walk in walks if walk.shared and not walk.agrees()]:
            for walk in again:
                walk.shared = False
            in_step(walk.up() for walk in again)
        differences.append(check_no_op([(walk.replay, walk.ends[0], walk.last) for walk in walks], "steer_sweep"))
        for (members, *_), walk in zip(group, walks, strict=True):
            found[:, members] = _gaps(walk.replay, walk.ends, tokens[members]).cpu()
    intact, steered = found[0].numpy(), found[1:].T.numpy()
    table = pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(len(ids)), model.n_layers),
            "layer": np.tile(np.arange(1, model.n_layers + 1), len(ids)),
            "intact": np.repeat(intact, model.n_layers),
            "steered": steered.ravel(),
        }
    )
    table["shift"] = table["steered"] - table["intact"]
    table.attrs["no_op"] = max(differences)
    return table


def difference_vectors(states, labels):
    """For each label, the mean state of the prompts that have it less that of all others: label -> `[state, hidden]`.

    >>> difference_vectors(medlib.activations(model, prompts), answers)[" diabetes"].shape
    (31, 576)

    `states [state, prompt, hidden]`, `labels [prompt]`.  Raises `MedlibError` where there is one label only.
    Source: Rimsky et al., arXiv 2312.06681.
    """
    labels = np.asarray(labels)
    if states.ndim != 3 or states.shape[1] != len(labels):
        raise MedlibError(f"states has shape {states.shape}; give [state, prompt, hidden] for the {len(labels)} labels")
    if len(set(labels)) < 2:
        raise MedlibError(f"Every prompt has the label {labels[0]!r}, so nothing differs from it. Give two labels.")
    return {
        label: states[:, labels == label].mean(axis=1) - states[:, labels != label].mean(axis=1)
        for label in dict.fromkeys(labels)
    }


def random_vectors(vectors, generator):
    """Vectors of the same lengths in directions drawn at random: what any push as strong would do."""
    drawn = generator.normal(size=vectors.shape).astype(vectors.dtype)
    size = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return drawn * size / np.linalg.norm(drawn, axis=-1, keepdims=True)


def _checked(model, vectors, n):
    wanted = (model.n_layers + 1, n, model.hidden_size)
    vectors = np.asarray(vectors)
    if vectors.shape != wanted or not np.isfinite(vectors).all():
        raise MedlibError(
            f"vectors has shape {vectors.shape}{'' if np.isfinite(vectors).all() else ' and holds NaN'}; "
            f"{model.name} needs finite [state, prompt, hidden] = {wanted}."
        )
    return torch.tensor(vectors, dtype=model.dtype, device=model.device)


class _Walk:
    """One batch's walk, all prompts of one length, with a branch a block: `shared` says whether earlier tokens are."""

    def __init__(self, model, inputs, vectors):
        self.model, self.vectors = model, vectors
        self.replay = Replay(model, inputs)
        self.shared = self.replay.shares_positions()
        self.last = [self.replay.positions - 1] * self.replay.rows

    def up(self):
        """Walk up; pauses before each block (see `in_step`).

        Sets `ends [branch 0..L, row, hidden]`, the states at the last token, the intact ones first, and `alone`, those
        of the intact last token if it walked as a branch does.
        """
        replay, layers = self.replay, self.model.n_layers
        start = replay.positions - 1 if self.shared else 0
        rows = torch.arange(replay.rows, device=self.model.device)
        states = replay.embedding
        table = states.new_empty(layers + 1, *states[:, start:].shape)
        table[0] = states[:, start:]
        for layer in range(1, layers + 1):
            yield
            states, past = replay.block_and_past(layer, states)
            run_blocks(replay, layer, table[:layer].flatten(0, 1), rows.repeat(layer), self._call(start, past))
            table[layer] = states[:, start:]
            table[layer][:, -1] += self.vectors[layer]
        self.alone = table[0, :, -1]
        self.ends = torch.cat([states[:, -1][None], table[1:, :, -1]])

    def agrees(self):
        """Whether a last token that shares the earlier ones gives the logits of the whole prompt."""
        own, alone = (self.replay.tail(part[:, None]) for part in (self.ends[0], self.alone))
        return difference(own, alone) <= tolerance(self.model)

    def _call(self, start, past):
        """How a block is replayed: at the last token alone, or at all tokens."""
        if not start:
            return self.replay.block
        return lambda layer, states, rows: self.replay.block_from(layer, states, start, rows, past)


def _gaps(replay, states, tokens):
    """Logit of the target minus that of the answer: `states [branch, row, hidden]`, `tokens [row, 2]`."""
    branches, rows = states.shape[:2]
    own, column = tokens.unique(return_inverse=True)
    column, gap = column.repeat(branches, 1), states.new_empty(branches * rows, dtype=torch.float64)

    def reduce(logits, chunk):
        pick = logits.gather(-1, column[chunk]).double()
        gap[chunk] = pick[:, 1] - pick[:, 0]

    replay.read_out(states.flatten(0, 1), reduce, own)
    return gap.view(branches, rows)


def _rows_within_budget(model):
    """How many prompts of a length have their tables of branches in memory at once."""
    return lambda length: (
        model.memory // 2 // ((model.n_layers + 2) * length * model.hidden_size * model.dtype.itemsize)
    )
