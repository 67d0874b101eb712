"""The read-out: what last states say of the next token, one part of the vocabulary at a time.

A log-probability needs the logits of all tokens, and so the whole unembedding: a gigabyte in a large model.  What is
reported here needs only sums over tokens, and sums can be gathered from parts of the vocabulary, each read once for all
states.  Where the unembedding is in memory there is one part, the whole.
"""

import torch

from medlib.replay import width


def compare(batches):
    """How far lesioned states lie from intact ones, in what they say of the next token: scores for each batch.

    `batches`: `(replay, trunk [row, hidden], lesioned [branch, row, hidden], targets [row] or None)`, of one model.
    Returns a list of dicts of tables `[branch, row]`: `kl` (nats, intact || lesioned), `top1_same`, and, NaN without
    targets (token ids), `logprob_drop` and `logit_drop` (of the logit less the mean logit).
    """
    gathered = [_Comparison(*batch) for batch in batches]
    replay = gathered[0].replay
    for part in replay.model.vocabulary_parts():
        with replay.only(part):
            for comparison in gathered:
                comparison.add(part)
    return [comparison.scores() for comparison in gathered]


@torch.no_grad()
def normalised(batches):
    """The logits of some tokens after each state, and what normalises them: log p is `own - norm`, in nats.

    `batches`: `(replay, states [state, hidden], tokens [state, token])`, of one model.  Returns for each batch `(own
    [state, token], norm [state, 1])`, float64.
    """
    batches = list(batches)
    found = []
    for _, states, tokens in batches:
        own = torch.full(tokens.shape, -torch.inf, dtype=torch.float64, device=states.device)
        found.append((own, own[:, :1].clone()))
    model = batches[0][0].model
    for part in model.vocabulary_parts():
        with batches[0][0].only(part):
            for (replay, states, tokens), (own, norm) in zip(batches, found, strict=True):
                for rows in replay.row_chunks(len(states), width(part, model)):
                    logits = replay.tail(states[rows, None])[:, 0].float()
                    norm[rows] = torch.logaddexp(norm[rows], _log_sum(logits)[:, None])
                    own[rows] = own[rows].maximum(picked(logits, tokens[rows], part))
    return found


class _Comparison:
    """The sums over parts of the vocabulary that a comparison of one batch needs."""

    def __init__(self, replay, trunk, lesioned, targets):
        self.replay, self.trunk, self.lesioned, self.targets = replay, trunk, lesioned, targets
        self.parts = []

    def add(self, part):
        """Gather from one part of the vocabulary; the unembedding gives that part's logits meanwhile."""
        replay, (branches, rows) = self.replay, self.lesioned.shape[:2]
        intact = replay.tail(self.trunk[:, None])[:, 0].float()
        found = {name: intact.new_empty(branches, rows, dtype=torch.float64) for name in ("norm", "gap", "sum", "top")}
        found["own"] = torch.full_like(found["norm"], -torch.inf)
        best = torch.empty(branches, rows, dtype=torch.long, device=intact.device)
        for row, before in enumerate(intact):
            p = before.softmax(-1)
            total = p.sum(dtype=torch.float64)  # in float32, tens of thousands of terms lose five digits
            for chunk in replay.row_chunks(branches, len(before)):
                after = replay.tail(self.lesioned[chunk, row, None])[:, 0].float()
                found["norm"][chunk, row] = _log_sum(after)
                found["gap"][chunk, row] = ((before - after) * p).sum(-1, dtype=torch.float64) / total
                found["sum"][chunk, row] = after.sum(-1, dtype=torch.float64)
                top = after.max(-1)
                found["top"][chunk, row], best[chunk, row] = top.values.double(), top.indices
                if self.targets is not None:
                    own = self.targets[row].expand(len(after), 1)
                    found["own"][chunk, row] = picked(after, own, part)[:, 0]
        top = intact.max(-1)
        start = 0 if part is None else part.start
        found |= {
            "best": best + start,
            "before_norm": _log_sum(intact),
            "before_sum": intact.sum(-1, dtype=torch.float64),
            "before_top": top.values.double(),
            "before_best": top.indices + start,
            "tokens": intact.shape[1],
        }
        if self.targets is not None:
            found["before_own"] = picked(intact, self.targets[:, None], part)[:, 0]
        self.parts.append(found)

    def scores(self):
        """The scores `[branch, row]` from all parts."""

        def stacked(name):
            return torch.stack([part[name] for part in self.parts])

        before, after = stacked("before_norm").logsumexp(0), stacked("norm").logsumexp(0)
        weight = stacked("before_norm").softmax(0)[:, None]
        chosen = stacked("best").gather(0, stacked("top").argmax(0, keepdim=True))[0]
        own_choice = stacked("before_best").gather(0, stacked("before_top").argmax(0, keepdim=True))[0]
        scores = {"kl": (weight * stacked("gap")).sum(0) - before + after, "top1_same": chosen == own_choice}
        missing = torch.full_like(scores["kl"], torch.nan)
        if self.targets is None:
            return scores | {"logprob_drop": missing, "logit_drop": missing}
        moved = stacked("before_own").amax(0) - stacked("own").amax(0)
        means = (stacked("before_sum").sum(0) - stacked("sum").sum(0)) / sum(part["tokens"] for part in self.parts)
        return scores | {"logprob_drop": moved - before + after, "logit_drop": moved - means}


def _log_sum(logits):
    """log of the sum of exp over tokens, in float64, without a float64 copy of the logits."""
    top = logits.amax(-1, keepdim=True)
    return top[..., 0].double() + (logits - top).exp().sum(-1, dtype=torch.float64).log()


def picked(logits, tokens, part):
    """Each row's logits of its own tokens, minus infinity for those in another part: `[row, token]`, float64."""
    column = tokens - (0 if part is None else part.start)
    inside = (column >= 0) & (column < logits.shape[-1])
    return torch.where(inside, logits.gather(-1, column.clamp(0, logits.shape[-1] - 1)).double(), -torch.inf)


def one_hot(tokens, logits, part):
    """One at each row's token, where it is in this part, else zero: like `logits [row, token]`."""
    column = tokens - (0 if part is None else part.start)
    return (torch.arange(logits.shape[-1], device=logits.device) == column[:, None]).to(logits)
