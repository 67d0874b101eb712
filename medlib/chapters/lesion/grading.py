"""Grades of a lesion from 1 (no change) to 10 (gibberish), by a rule that needs no outside judge, or by any function.

A grader is a function of a table with a row per prompt and lesion, `prompt` (text), `before` and `after` (what the
intact and the lesioned model write), `kl` (nats), that returns a grade for each row.  The local one compares a lesion
with something that everyone can picture: the intact model with another prompt.  Its reference is pooled over all
domains, so that a grade means the same in each: 1 is a next word that moves less than between most pairs of prompts
that differ in one name, 6 one that moves as far as between any such pair, 10 one that lies further off than half of
all prompts about something else altogether.
"""

import importlib
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from medlib import hooks
from medlib.errors import MedlibError
from medlib.prompts import batches, check, encode

LOCAL = "local"


class Reference(NamedTuple):
    """Divergences between prompts of one group, and of two groups."""

    same: np.ndarray
    other: np.ndarray


def grader(name, reference=None):
    """The grader of a name: "local", which needs a `Reference`, or "package.module:function".

    >>> grade = grader("local", references(model, groups))
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
    """Grades from divergences, whole numbers 1 to 10: one more for each fifth of `reference.same` that lies below, and
    for each eighth of `reference.other`, of which four count.

    >>> by_divergence([0.0, 9.9], references(model, {"drugs": drugs, "foods": foods}))
    """
    same, other = (np.sort(np.asarray(part, dtype=float)) for part in reference)
    if not len(same) or not len(other) or not np.isfinite([*same, *other]).all():
        raise MedlibError("The reference of the local grader is empty or holds NaN; give 2 groups of 2 prompts.")
    kl = np.asarray(kl, dtype=float)
    near, far = (np.searchsorted(part, kl, side="left") / len(part) for part in (same, other))
    return (1 + np.floor(5 * near) + np.minimum(4, np.floor(8 * far))).astype(int)


def references(model, groups):
    """How far next words lie apart between prompts of one group and of two: a `Reference` for the local grader.

    >>> reference = references(model, {"drugs": drugs, "foods": foods, "neutral text": texts})

    `groups`: name -> prompts, those of a group alike but for one name; a name that holds no two prompts adds nothing to
    `same`.  KL in nats, all ordered pairs.
    """
    labels = np.repeat([*groups], [len(prompts) for prompts in groups.values()])
    found = divergences(model, [prompt for prompts in groups.values() for prompt in prompts])
    alike = (labels[:, None] == labels)[~np.eye(len(labels), dtype=bool)]
    return Reference(found[alike], found[~alike])


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
    for members, inputs, last in batches(ids, lambda length: 16):
        found = model.hf(input_ids=inputs["input_ids"].to(model.device), use_cache=False).logits
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


def written(model, questions, table, layers, judge, tokens=8):
    """What a model writes before and after the lesion of some layers, with grades: a row a question and layer.

    `table` is the `harm.sweep` of these questions and perhaps others, `layers`: layer -> its name, `judge` a `grader`.
    Returns `item`, `variant`, `prompt`, `answer`, `before`, `layer`, `lesion` (the name), `after`, `kl`,
    `top1_same`, `grade`.
    """
    prompts = list(questions["prompt"])
    asked = questions[["item", "variant", "prompt", "answer"]].assign(before=continuations(model, prompts, tokens))
    parts = [
        asked.assign(layer=layer, lesion=name, after=continuations(model, prompts, tokens, without=layer))
        for layer, name in layers.items()
    ]
    found = pd.concat(parts, ignore_index=True).merge(table[["item", "variant", "layer", "kl", "top1_same"]])
    return found.assign(grade=judge(found))


def written_in_domains(model, questions, tables, judge, tokens=8):
    """`written` of each domain's worst and median layer: its columns and `domain`; `questions`, `tables` by domain."""
    parts = []
    for domain, asked in questions.items():
        cost = tables[domain].groupby("layer")["kl"].mean().sort_values(ascending=False)
        layers = {cost.index[len(cost) // 2]: "median", cost.index[0]: "worst"}
        parts.append(written(model, asked, tables[domain], layers, judge, tokens).assign(domain=domain))
    return pd.concat(parts, ignore_index=True)


def anchors(texts):
    """Do the ends of the scale hold?  Grades where the likeliest next word stays, and where it changes.

    >>> anchors(written_in_domains(model, questions, tables, judge))

    `texts` is the table of `written`.  Returns a row for each case that occurs: how many `texts`, and the `lowest`,
    `median` and `highest` grade.
    """
    words = texts["top1_same"].astype(bool).map({True: "the next word stays", False: "another next word"})
    grades = texts.groupby(words.rename(None), sort=False)["grade"]
    return grades.agg(texts="size", lowest="min", median="median", highest="max")


def _ends(model):
    ends = model.config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}
