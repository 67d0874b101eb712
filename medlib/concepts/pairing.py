"""Couples of questions for patching: same template, same number of tokens, answers that tell the two apart.

Drugs differ in length from tokenizer to tokenizer, so the couples are not written down but found: among the questions
of equal length the one with the commonest answer chooses first (it has the fewest partners), and takes the first
question left, in an order fixed by the text itself, whose answer is wrong for it and the other way round.
"""

import hashlib
from collections import Counter, namedtuple
from types import SimpleNamespace

import pandas as pd

from medlib.errors import MedlibError
from medlib.model import Model
from medlib.prompts import Pair, answer_token, tokenised

Question = namedtuple("Question", "item variant prompt answer also cluster length token also_tokens")


def pair(asked, model):
    """Pairs and candidates (see `concepts.pairs`) from `concepts.questions`."""
    tries, met = [], set()
    if not isinstance(model, Model):
        model = SimpleNamespace(tokenizer=model)
    for _, questions in asked.groupby("variant", sort=False):
        usable = []
        for question in questions.itertuples():
            length = len(tokenised(model, question.prompt))
            try:
                token, *also = (
                    answer_token(model, question.prompt, answer) for answer in (question.answer, *question.also)
                )
                usable.append(Question(*question[1:], length, token, set(also)))
            except MedlibError:
                tries.append((question, None, "the answer melts into the prompt's last token"))
        common = Counter((q.length, q.answer) for q in usable)
        usable.sort(key=lambda q: (-common[q.length, q.answer], _shuffled(q.prompt)))
        while usable:
            a = usable.pop(0)
            others = sorted((b for b in usable if b.length == a.length), key=lambda b: _shuffled(b.prompt))
            for b in others:
                tries.append((a, b, reason := _misfit(a, b, met)))
                if not reason:
                    met.add(frozenset((a.item, b.item)))
                    usable.remove(b)
                    break
            else:
                tries.append((a, None, "no partner of equal token length is left"))
    # Mixed, so that the first hundred pairs are a fair sample of templates and answers.
    tries.sort(key=lambda entry: _shuffled(f"{entry[0].prompt} {entry[1] and entry[1].item}"))
    rows, kept = [], []
    for a, b, reason in tries:
        for one, other in [(a, b), (b, a)] if b else [(a, None)]:
            rows.append((one.item, other.item if other else "", one.variant, not reason, reason))
            if not reason:
                kept.append(Pair(one.prompt, other.prompt, one.answer, other.answer))
    return kept, pd.DataFrame(rows, columns=["item", "other", "template", "kept", "reason"])


def _misfit(a, b, met):
    """Why two questions of equal length make no couple; "" if they do."""
    if a.token == b.token:
        return "the answers begin with the same token"
    if b.token in a.also_tokens or a.token in b.also_tokens:
        return "one answer is right for both"
    if frozenset((a.item, b.item)) in met:
        return "the two meet in another template"
    return ""


def _shuffled(text):
    """A key that puts texts in an order that has nothing to do with the table's, the same on every machine."""
    return hashlib.sha256(text.encode()).hexdigest()
