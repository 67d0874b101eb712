"""Grades of a lesion from 1 (no change) to 10 (gibberish), by a rule that needs no outside judge, or by any function.

A grader is a function of a table with a row per prompt and lesion, `prompt` (text), `before` and `after` (what the
intact and the lesioned model write), `kl` (nats), that returns a grade for each row.  The local one compares a lesion
with something that everyone can picture: the intact model with another prompt.  A grade of 10 says that the lesioned
model's next word is further from its own than those of nearly all other prompts are.
"""

import importlib
from contextlib import nullcontext

import numpy as np
import torch

from medlib import hooks
from medlib.errors import MedlibError
from medlib.prompts import batches, check, encode

LOCAL = "local"


def grader(name, reference=None):
    """The grader of a name: "local", which needs the `reference` of `divergences`, or "package.module:function".

    >>> grade = grader("local", divergences(model, prompts))
    >>> grade(table)
    """
    if name == LOCAL:
        return lambda table: by_divergence(table["kl"], reference)
    module, _, function = name.partition(":")
    try:
        judge = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise MedlibError(
            f'grader={name!r} cannot be found ({error}). Give "local", or "package.module:function" of a function '
            "that takes a table with prompt, before, after and kl."
        ) from None

    def checked(table):
        grades = np.asarray(judge(table))
        if grades.shape != (len(table),) or not np.isin(grades, np.arange(1, 11)).all():
            raise MedlibError(
                f"The grader {name!r} must return a whole number from 1 to 10 for each of {len(table)} rows."
            )
        return grades.astype(int)

    return checked


def by_divergence(kl, reference):
    """Grades from divergences: one more for each tenth of the `reference` that lies below, whole numbers 1 to 10.

    >>> by_divergence([0.0, 9.9], divergences(model, prompts))
    """
    reference = np.sort(np.asarray(reference, dtype=float))
    if not len(reference) or not np.isfinite(reference).all():
        raise MedlibError("The reference of the local grader is empty or holds NaN; give the divergences of 2 prompts.")
    below = np.searchsorted(reference, np.asarray(kl, dtype=float), side="left") / len(reference)
    return np.minimum(10, 1 + np.floor(10 * below)).astype(int)


@torch.no_grad()
def divergences(model, prompts):
    """How far the next word after one prompt lies from that after another: KL in nats, all ordered pairs, `[n (n-1)]`.

    >>> np.quantile(divergences(model, prompts), [0.1, 0.5, 0.9])
    """
    prompts = check(prompts)
    if len(prompts) < 2:
        raise MedlibError("Divergences are between prompts, and there is only one. Give more.")
    ids = encode(model, prompts)
    logits = [None] * len(ids)
    for members, batch, last in batches(ids, lambda length: 16):
        found = model.hf(input_ids=batch.to(model.device), use_cache=False).logits
        for row, member in enumerate(members):
            logits[member] = found[row, last[row]].float().log_softmax(-1)
    logs = torch.stack(logits)
    entropy = (logs.exp() * logs).sum(-1, keepdim=True)
    table = entropy - logs.exp() @ logs.T
    return table[~torch.eye(len(logs), dtype=torch.bool, device=logs.device)].clamp_min(0).cpu().numpy()


@torch.no_grad()
def continuations(model, prompts, tokens=12, without=None):
    """What a model writes after each prompt: the likeliest token each time, at most `tokens`; a text a prompt.

    >>> continuations(model, ["Insulin is used to treat"], without=3)      # with block 3 lesioned
    """
    written = []
    for ids in encode(model, check(prompts)):
        with nullcontext() if without is None else hooks.skip(model, without):
            step, tokens_so_far, past = torch.tensor([ids], device=model.device), [], None
            while len(tokens_so_far) < tokens:
                output = model.hf(input_ids=step, past_key_values=past, use_cache=True)
                step, past = output.logits[:, -1:].argmax(-1), output.past_key_values
                tokens_so_far.append(int(step))
                if tokens_so_far[-1] in _ends(model):
                    break
        written.append(model.tokenizer.decode(tokens_so_far, skip_special_tokens=True))
    return written


def _ends(model):
    ends = model.config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}
