"""Attribution patching: what every patch would do, estimated from one gradient.

To first order a patch moves the logit difference by its gradient with respect to what is patched, times the difference
of the two runs there.  One walk up and one down give the estimate for all layers and tokens at once, where the exact
map (patching.py) needs a branch for each; how far it may be trusted is their rank correlation, which a chapter shows.
Source: Nanda 2023, "Attribution Patching: Activation Patching At Industrial Scale".
"""

from contextlib import nullcontext

import pandas as pd
import torch

from medlib import hooks
from medlib.patching import check_options, encode_pairs, mask_groups, site_table, tokens_of
from medlib.prompts import stacked, together
from medlib.replay import Replay, check_no_op, in_step


@torch.enable_grad()
def attribution_sweep(model, pairs, direction="denoise", component="residual", groups=None):
    """Estimate what `patch_sweep` measures: the same arguments, and a table of the same columns.

    >>> exact, estimate = patch_sweep(model, pairs), attribution_sweep(model, pairs)
    >>> stats.spearman(exact.logit_diff - exact.corrupt_diff, estimate.logit_diff - estimate.corrupt_diff)

    `logit_diff` and `recovered` are estimates, `clean_diff` and `corrupt_diff` are not.  To first order a group of
    tokens moves what its tokens move one by one, so with `groups` their estimates are added up.  Raises as
    `patch_sweep` does.
    """
    check_options(direction, component)
    clean, corrupt, tokens = encode_pairs(model, pairs)
    trunk, donor = (corrupt, clean) if direction == "denoise" else (clean, corrupt)
    pieces, differences = [], []

    def pairs_within_budget(length):
        return model.memory // 2 // (4 * (model.n_layers + 1) * length * model.hidden_size * model.dtype.itemsize)

    for group in together(trunk, pairs_within_budget, waste=0):
        walks = []
        for members, *_ in group:
            both = [trunk[i] for i in members], [donor[i] for i in members]
            walks.append(_Walk(model, *both, tokens[members].to(model.device), component))
        in_step(walk.up() for walk in walks)
        ends = [(w.replay, w.states[-1][:, -1], [w.replay.positions - 1] * w.replay.rows) for w in walks]
        differences.append(check_no_op(ends, "attribution_sweep"))
        for walk in walks:
            walk.turn()
        in_step(walk.down() for walk in walks)
        for (members, *_), walk in zip(group, walks, strict=True):
            trunk_diff, donor_diff = walk.diffs.view(2, len(members))
            ends = (donor_diff, trunk_diff) if direction == "denoise" else (trunk_diff, donor_diff)
            own, moved = [trunk[i] for i in members], walk.moved
            names = tokens_of(model, own)
            if groups is not None:
                masks, names = mask_groups(groups, members, len(own[0]))
                moved = torch.einsum("nlp,snp->nls", moved, masks.to(moved))
            pieces.append(site_table(members, trunk_diff[:, None, None] + moved, *ends, names))
    table = pd.concat(pieces).sort_values(["pair", "layer"], kind="stable", ignore_index=True)
    table.attrs["no_op"] = max(differences)
    return table


class _Walk:
    """One batch's walk: up with both runs, and down with the gradient of the trunk's logit difference."""

    def __init__(self, model, trunk, donor, tokens, component):
        self.replay = Replay(model, stacked(trunk + donor))
        self.n, self.tokens, self.component = len(trunk), tokens, component

    @torch.no_grad()
    def up(self):
        """Keep the L+1 states `[row, position, hidden]` of both runs, and what the patched part of each block gives."""
        replay = self.replay
        self.states, self.parts = [replay.embedding], []
        for layer in range(1, replay.model.n_layers + 1):
            yield
            with hooks.capture(replay.model, [layer], self.component) as given:
                self.states.append(replay.block(layer, self.states[-1]))
            self.parts.append(given[layer].view_as(self.states[-1]).to(self.states[-1].device))

    def turn(self):
        """Logit differences, answer minus wrong, of both runs `[row]`; and the trunk's gradient at the last state."""
        state = self.states[-1]
        found, column = self.tokens.unique(return_inverse=True)
        with self.replay.only(found):
            with torch.no_grad():
                logits = self.replay.tail(state[:, -1:])[:, -1].float().gather(-1, column.repeat(2, 1))
            last = state[: self.n, -1:].detach().requires_grad_()
            picked = self.replay.tail(last)[:, -1].float().gather(-1, column)
            self.gradient = torch.zeros_like(state[: self.n])
            self.gradient[:, -1:] = torch.autograd.grad((picked[:, 0] - picked[:, 1]).sum(), last)[0]
        self.diffs = (logits[:, 0] - logits[:, 1]).double()

    def down(self):
        """The estimated change of the trunk's logit difference by a patch at each site: `[pair, layer, position]`."""
        replay, n, moved = self.replay, self.n, []
        rows = torch.arange(n, device=self.gradient.device)
        whole = self.component == "residual"
        for layer in range(replay.model.n_layers, 0, -1):
            yield
            entering = self.states[layer - 1][:n].detach().requires_grad_()
            with nullcontext({}) if whole else hooks.capture(replay.model, [layer], self.component) as given:
                leaving = replay.block(layer, entering, rows=rows)
            below, *at_part = torch.autograd.grad(leaving, [entering, *given.values()], self.gradient)
            slope = self.gradient if whole else at_part[0].view_as(self.gradient).to(self.gradient.device)
            change = self.parts[layer - 1][n:] - self.parts[layer - 1][:n]
            moved.append((slope * change).sum(-1, dtype=torch.float64))
            self.gradient = below
        self.moved = torch.stack(moved[::-1], dim=1)
