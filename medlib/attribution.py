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
from medlib.prompts import batches
from medlib.replay import Replay, check_no_op


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

    for members, *_ in batches(trunk, pairs_within_budget, waste=0):
        own = [trunk[i] for i in members]
        rows = torch.tensor(own + [donor[i] for i in members], device=model.device)
        replay = Replay(model, {"input_ids": rows})
        states, parts = _walk_up(replay, component)
        last = [rows.shape[1] - 1] * len(rows)
        differences.append(check_no_op(replay, states[-1][:, -1], last, "attribution_sweep"))
        diffs, gradient = _from_the_difference(replay, states[-1], tokens[members].to(model.device))
        moved = _walk_down(replay, states, parts, gradient, component)
        trunk_diff, donor_diff = diffs.view(2, len(members))
        ends = (donor_diff, trunk_diff) if direction == "denoise" else (trunk_diff, donor_diff)
        names = tokens_of(model, own)
        if groups is not None:
            masks, names = mask_groups(groups, members, len(own[0]))
            moved = torch.einsum("nlp,snp->nls", moved, masks.to(moved))
        pieces.append(site_table(members, trunk_diff[:, None, None] + moved, *ends, names))
    table = pd.concat(pieces).sort_values(["pair", "layer"], kind="stable", ignore_index=True)
    table.attrs["no_op"] = max(differences)
    return table


@torch.no_grad()
def _walk_up(replay, component):
    """The L+1 states `[row, position, hidden]` of both runs, and what the patched part of each block gives out."""
    states, parts = [replay.embedding], []
    for layer in range(1, replay.model.n_layers + 1):
        with hooks.capture(replay.model, [layer], component) as given:
            states.append(replay.block(layer, states[-1]))
        parts.append(given[layer].view_as(states[-1]))
    return states, parts


def _from_the_difference(replay, state, tokens):
    """Logit differences, answer minus wrong, of both runs `[row]`; and the trunk's gradient at the last state."""
    n = len(tokens)
    with torch.no_grad():
        logits = replay.tail(state[:, -1:])[:, -1].float().gather(-1, tokens.repeat(2, 1))
    gradient = torch.zeros_like(state[:n])
    last = state[:n, -1:].detach().requires_grad_()
    picked = replay.tail(last)[:, -1].float().gather(-1, tokens)
    gradient[:, -1:] = torch.autograd.grad((picked[:, 0] - picked[:, 1]).sum(), last)[0]
    return (logits[:, 0] - logits[:, 1]).double(), gradient


def _walk_down(replay, states, parts, gradient, component):
    """The estimated change of the trunk's logit difference by a patch at each site: `[pair, layer, position]`."""
    n, moved = len(gradient), []
    rows = torch.arange(n, device=gradient.device)
    whole = component == "residual"
    for layer in range(replay.model.n_layers, 0, -1):
        entering = states[layer - 1][:n].detach().requires_grad_()
        with nullcontext({}) if whole else hooks.capture(replay.model, [layer], component) as given:
            leaving = replay.block(layer, entering, rows=rows)
        below, *at_part = torch.autograd.grad(leaving, [entering, *given.values()], gradient)
        slope = gradient if whole else at_part[0].view_as(gradient)
        change = parts[layer - 1][n:] - parts[layer - 1][:n]
        moved.append((slope * change).sum(-1, dtype=torch.float64))
        gradient = below
    return torch.stack(moved[::-1], dim=1)
