"""What the peers' ways share: padded batches, and the numbers that a job asks for.

A prompt is a list of token ids.  Every way of a job returns an array of the same meaning: states `[layer, prompt,
hidden]` after blocks 1..L at the last token; KL divergences `[prompt, layer]`; logit differences `[layer, position]`.
"""

import torch

ROWS = 16  # prompts in one batch


def padded(prompts):
    """Prompts of like length together, filled on the left so that each one's last token is last: (members, inputs)."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for at in range(0, len(order), ROWS):
        members = order[at : at + ROWS]
        longest = len(prompts[members[-1]])
        fill = [longest - len(prompts[i]) for i in members]
        ids = torch.tensor([[0] * n + prompts[i] for n, i in zip(fill, members, strict=True)])
        mask = (torch.arange(longest) >= torch.tensor(fill)[:, None]).long()
        yield members, dict(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp_min(0))


def in_order(members, rows):
    """Rows of several batches, given as lists, in the order of the prompts."""
    place = torch.tensor([i for batch in members for i in batch]).argsort()
    return torch.cat(rows)[place]


def divergence(intact, lesioned):
    """KL(intact || lesioned) in nats, over the last dimension of two tensors of logits."""
    intact, lesioned = intact.log_softmax(-1), lesioned.log_softmax(-1)
    return (intact.exp() * (intact - lesioned)).sum(-1)
