"""What a model knows of a domain: does it prefer an item's own answer to the answers of other items?

All questions of the domain are asked, and at each one the first tokens of all its answers are read.  Three numbers
follow, each with an interval, and of each it is known what a model without the knowledge scores:

- *pairwise*: at item A's question, is A's answer likelier than B's?  Over all A and B, both ways round, so that a model
  with a bias for one answer is right half of the time.
- *contrast*: the same for the sum of both margins, A's answer at A and B's at B.  A bias for an answer cancels.
- *n-way*: is the item's own answer likelier than every wrong one?  To be read beside what the model would score if it
  gave its answers the same order whatever the item.

Answers with the same first token are one answer here, and what could also be right for an item is never a wrong one.
A tie is half a win.  Intervals resample the domain's clusters: single items, or several that are about one thing.
What is measured is a preference; a domain is called known, for short, where the right answer of two is preferred.

Every chapter asks what the model knows, so the logits are kept in the cache folder, under a hash of all that they
depend on.
"""

import hashlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import transformers

from medlib import concepts, paths, stats, summary
from medlib.errors import MedlibError
from medlib.prompts import answer_token, check, encode, together
from medlib.replay import Replay, check_no_op, in_step, run_blocks
from medlib.states import rows_within_budget

KNOWN = 0.6  # pairwise accuracy above which a domain is known; chance is 0.5
FEWEST = 20  # items: of six a random model may get all right, and no interval would show it
FEWEST_CLUSTERS = 10  # what an interval resamples: with fewer it is too short (stats.bootstrap)


class Asked(NamedTuple):
    """A domain's questions and the logits of its answers at each.

    `questions` is `concepts.questions`; `logits [question, token]` those of the first tokens of all answers, `own
    [question]` the column of its own answer, `wrong [question, token]` whether a column is wrong for the question.
    """

    questions: pd.DataFrame
    logits: np.ndarray
    own: np.ndarray
    wrong: np.ndarray


def ask(model, domain, n_items=None, seed=0):
    """Ask the questions of a domain, or those of `n_items` items drawn at random: an `Asked`.

    >>> pairwise(ask(model, "drugs")).low

    Questions whose answer has no first token of its own for this tokenizer are left out.  Raises `MedlibError` as
    `concepts.questions` and `medlib.activations` do, and where no question is left.
    """
    questions = concepts.questions(domain)
    if n_items is not None:
        questions = summary.sample_items(questions, n_items, seed)
    first = [_token(model, row.prompt, row.answer) for row in questions.itertuples()]
    if all(token is None for token in first):
        raise MedlibError(f"{domain}: for the tokenizer of {model.name} no answer has a first token of its own.")
    questions = questions[[token is not None for token in first]].reset_index(drop=True)
    prompts = check(questions["prompt"])
    first = torch.tensor([token for token in first if token is not None])
    tokens, own = first.unique(return_inverse=True)
    wrong = np.ones((len(questions), len(tokens)), dtype=bool)
    wrong[np.arange(len(questions)), own] = False
    column = {int(token): i for i, token in enumerate(tokens)}
    for row, (prompt, also) in enumerate(zip(prompts, questions["also"], strict=True)):
        for other in also:
            wrong[row, column.get(_token(model, prompt, other), own[row])] = False
    return Asked(questions, _kept_logits(model, prompts, tokens), own.numpy(), wrong)


METRICS = ("pairwise", "contrast", "n-way")


def scores(asked, seed=0, metrics=METRICS):
    """The three accuracies, or some of them, over all templates and in each one.

    One row per `metric` (pairwise, contrast, n-way) and `variant` ("" for all templates together): `value`, `low`,
    `high` (95 % interval over clusters), `n` and `items` (clusters, and items, with a wrong answer), and `chance`, what
    a model without the knowledge scores: a half, and n-way what this model scores with each answer's mean logit over
    the items.
    """
    parts = {
        "": asked,
        **{name: _only(asked, rows) for name, rows in asked.questions.groupby("variant").indices.items()},
    }
    table = []
    for variant, part in parts.items():
        counts = part.questions[part.wrong.any(axis=1)][["cluster", "item"]].nunique()
        for metric in metrics:
            measure = {"pairwise": pairwise, "contrast": contrast}.get(metric)
            score, chance = (measure(part, seed), 0.5) if measure else _n_way(part, seed)
            table.append((metric, variant, *score, *counts, chance))
    return pd.DataFrame(table, columns=["metric", "variant", "value", "low", "high", "n", "items", "chance"])


def pairwise(asked, seed=0):
    """How often an item's own answer is likelier than another item's, with its interval over clusters."""
    return _share(asked, *_games(asked, lambda margins: margins), seed)


def contrast(asked, seed=0):
    """How often the margins of two items, each for its own answer, sum to more than zero, with its interval."""
    return _share(asked, *_games(asked, lambda margins: margins + margins.T), seed)


def by_item(asked):
    """Pairwise accuracy of each item against all others that it can be told from: `item`, `cluster`, `value`, `met`.

    `met` is the number of comparisons; an item whose alternatives leave none has none, and no value.
    """
    won, met = _games(asked, lambda margins: margins)
    table = asked.questions.drop_duplicates("item")[["item", "cluster"]].reset_index(drop=True)
    met = met.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return table.assign(value=won.sum(axis=1) / met, met=met)


def compared(asked):
    """The share of pairs with unlike answers that are compared: of the others, one answer could be right for both."""
    unlike = fair = 0
    for rows in asked.questions.groupby("variant").indices.values():
        part = _only(asked, rows)
        unlike += (part.own[:, None] != part.own).sum()
        fair += _fair(part).sum()
    return fair / unlike


def is_known(scores):
    """Whether the `scores` of a domain say that it is known: the right answer of two is reliably preferred.

    The interval of its pairwise accuracy lies above `KNOWN`, and in no template is the accuracy itself below: what
    shows in one wording only is not known.  Fewer than `FEWEST` items or `FEWEST_CLUSTERS` clusters say nothing.
    """
    found = scores[scores["metric"] == "pairwise"].set_index("variant")
    enough = found["items"][""] >= FEWEST and found["n"][""] >= FEWEST_CLUSTERS
    return bool(enough and found["low"][""] > KNOWN and found["value"].min() > KNOWN)


def knows(model, domains, seed=0):
    """Whether a model knows each of some domains, and the sentence that says so.

    >>> known, said = knows(model, ["drugs", "foods"])
    >>> figures.curve(axes, table, "medical", "drugs", known=known["drugs"])

    `known`: domain -> bool.  What a model does not know is drawn in grey: a map of it would be a map of something else.
    """
    known = {domain: is_known(scores(ask(model, domain), seed, ["pairwise"])) for domain in domains}
    if unknown := [str(domain) for domain, is_so in known.items() if not is_so]:
        grey = f"Grey, since the model does not reliably prefer the right answer to a wrong one: {', '.join(unknown)}"
        return known, f"{grey} (see the knowledge chapter)."
    return known, (
        "Nothing is grey, since in every domain here the model reliably prefers the right answer to a wrong one "
        "(see the knowledge chapter)."
    )


def filter_pairs(asked, candidates, threshold=1.0):
    """The candidates of `concepts.pairs` with what the model makes of them: the filter table of a model and domain.

    To `item, other, template, kept, reason` it adds `clean_diff` and `corrupt_diff` (logits, answer minus wrong; null
    for what the tokenizer had ruled out).  It drops pairs whose clean difference does not lie `threshold` above the
    corrupt one, or even as far below it, and pairs that the model gets wrong when clean.
    """
    row = {key: i for i, key in enumerate(zip(asked.questions["item"], asked.questions["variant"], strict=True))}
    table = candidates.copy()
    made = table[table["kept"]]
    if unasked := set(made["item"]) - set(asked.questions["item"]):
        raise MedlibError(
            f"{len(unasked)} items of the candidates were not asked, such as {min(unasked)!r}; ask the same domain, "
            "all its items."
        )
    clean, corrupt = (
        np.array([row[key] for key in zip(made[side], made["template"], strict=True)], dtype=int)
        for side in ("item", "other")
    )
    right, wrong = asked.own[clean], asked.own[corrupt]
    for name, at in (("clean_diff", clean), ("corrupt_diff", corrupt)):
        table.loc[made.index, name] = asked.logits[at, right] - asked.logits[at, wrong]
    span = table["clean_diff"] - table["corrupt_diff"]
    backward = table["kept"] & (span <= -threshold)
    small = table["kept"] & (span.abs() < threshold)
    mistaken = table["kept"] & (span >= threshold) & (table["clean_diff"] <= 0)
    for dropped, reason in ((backward, "backward"), (small, "small difference"), (mistaken, "wrong when clean")):
        table.loc[dropped, "reason"] = reason
        table["kept"] &= ~dropped
    return table


def _token(model, prompt, answer):
    """The first token of an answer, or None where it melts into the prompt."""
    try:
        return answer_token(model, prompt, answer)
    except MedlibError:
        return None


def _kept_logits(model, prompts, tokens):
    """`_logits`, computed once for the same model, questions, code, libraries and number of threads.

    A model is recognised by its logits after the first prompt, as it stands: with a lesion it is another one.
    """
    with torch.no_grad():
        ids = torch.tensor([encode(model, prompts[:1])[0]], device=model.device)
        answer = model.hf(input_ids=ids, use_cache=False).logits[0, -1].double().cpu().numpy()
    here = Path(__file__)
    code = b"".join(
        here.with_stem(name).read_bytes() for name in (here.stem, "hooks", "model", "prompts", "replay", "states")
    )
    asked = "\0".join([*prompts, *map(str, tokens.tolist())]).encode()
    by = f"{torch.__version__} {transformers.__version__} {torch.get_num_threads()}".encode()  # roundings depend on it
    digest = hashlib.sha256(b"\0".join([answer.tobytes(), asked, code, by])).hexdigest()
    path = paths.cache() / "knowledge" / f"{digest}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, cut off, or empty
        found = _logits(model, prompts, tokens)
    buffer = BytesIO()
    np.save(buffer, found)
    with suppress(OSError):  # a cache that cannot be written costs time, and nothing else
        paths.write_atomically(path, buffer.getvalue())
    return found


@torch.no_grad()
def _logits(model, prompts, tokens):
    """Logits `[prompt, token]` of some tokens after each prompt."""
    ids = encode(model, prompts)
    found = np.empty((len(ids), len(tokens)))

    def walk(members, inputs, last, ends):
        replay = Replay(model, inputs)
        state, rows = replay.embedding.clone(), torch.arange(len(members), device=model.device)
        for layer in range(1, model.n_layers + 1):
            yield
            run_blocks(replay, layer, state, rows)
        ends.append((replay, state[rows, last], last))

        def keep(logits, chunk):
            found[members[chunk]] = logits.cpu().numpy()

        replay.read_out(state[rows, last], keep, tokens.to(model.device))

    for group in together(ids, rows_within_budget(model)):
        ends = []
        in_step(walk(*batch, ends) for batch in group)
        check_no_op(ends, "knowledge.ask")
    return found


def _only(asked, rows):
    return Asked(asked.questions.iloc[rows], asked.logits[rows], asked.own[rows], asked.wrong[rows])


def _own_logits(asked):
    return asked.logits[np.arange(len(asked.own)), asked.own]


def _fair(part):
    """Which pairs of questions of one template are compared: neither answer could be right for the other item."""
    fair = part.wrong[:, part.own]
    return fair & fair.T


def _games(asked, compare):
    """Comparisons won and comparisons made, `[item, item]`, summed over templates; a tie is half a win."""
    items = asked.questions["item"].drop_duplicates()
    won, met = np.zeros((2, len(items), len(items)))
    for rows in asked.questions.groupby("variant").indices.values():
        part = _only(asked, rows)
        at = pd.Index(items).get_indexer(part.questions["item"])
        margins, fair = compare(_own_logits(part)[:, None] - part.logits[:, part.own]), _fair(part)
        won[np.ix_(at, at)] += fair * ((margins > 0) + 0.5 * (margins == 0))
        met[np.ix_(at, at)] += fair
    return won, met


def _share(asked, won, met, seed):
    """The share of comparisons won, with its interval over clusters; within a cluster nothing is compared."""
    if not met.any():
        raise MedlibError(
            "No two items have answers that differ in their first token, so there is nothing to tell apart."
        )
    cluster, names = pd.factorize(asked.questions.drop_duplicates("item")["cluster"])
    member = np.eye(len(names))[cluster]
    won, met = (member.T @ table @ member for table in (won, met))
    for table in (won, met):
        np.fill_diagonal(table, 0)
    return stats.bootstrap_pairs(won, met, seed=seed)


def _n_way(part, seed):
    """How often an item's own answer is likelier than every wrong one, with its interval; and by the mean logits."""
    part = _only(part, np.flatnonzero(part.wrong.any(axis=1)))
    mean = pd.DataFrame(part.logits).groupby(part.questions["variant"].to_numpy()).transform("mean").to_numpy()
    own, same = (
        np.where(part.wrong, logits, -np.inf).max(axis=1) < logits[np.arange(len(part.own)), part.own]
        for logits in (part.logits, mean)
    )
    return stats.bootstrap(own.astype(float), seed=seed, groups=part.questions["cluster"]), same.mean()
