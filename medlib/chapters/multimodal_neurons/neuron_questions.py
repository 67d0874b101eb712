"""The questions of this chapter: two kinds of question about the same scenes, in two halves.

Units are chosen on one half of the scenes and tested on the other, each way round, so no scene tests what it chose.
Both kinds ask about the same picture: a unit that serves one question only must leave the other alone.
"""

import numpy as np
import pandas as pd

from medlib import scans, vision
from medlib.chapters.grad_cam.lesion_scenes import brain_of, twin_of
from medlib.errors import MedlibError
from medlib.scans.items import QUESTIONS
from medlib.vision.inputs import answer_id

STEP = 20  # scenes drawn at a time
MOST = 2000  # scenes looked through before it is said that there are too few


def choose(kinds, count, seed=0):
    """Held-out scenes that both kinds of question can be asked of: two rows a scene, one a kind.

    >>> asked = choose("polarity plane", 30)

    `kinds`: two of `scans.items.QUESTIONS`, the first one about the lesion.  Columns: `scene`, `half` (0 or 1; right
    answers are spread evenly over both), `question_kind`, `question`, `answer`, `answers` (all of the kind, a tuple),
    `picture`, `twin` (the same without its lesion), `mask` (of the lesion) and `brain` (which pixels show it), bool
    `[height, width]`.  A picture that is
    there already is left out: `attrs["repeated"]` counts them.  Raises `MedlibError` for other kinds, for scenes that
    run out, and where an answer is not in both halves.
    """
    first, second = names = _kinds(kinds)
    rows, seen, repeated, at = [], set(), 0, 0
    while len(seen) < count:
        if at >= MOST:
            raise MedlibError(f"{MOST} scenes hold {len(seen)} that ask for both {first} and {second}; {count} wanted.")
        items = scans.make_items("held-out", STEP, seed, first=at)
        at += STEP
        for scene, own in items.groupby("scene"):
            own = own.set_index("question_kind")
            if not set(names) <= set(own.index) or len(seen) == count:
                continue
            picture, mask = scans.draw(own.loc[first])
            if (key := picture.tobytes()) in seen:
                repeated += 1
                continue
            seen.add(key)
            shown = dict(picture=picture, mask=mask, brain=brain_of(own.loc[first]))
            shown["twin"] = scans.draw(twin_of(own.loc[first]))[0]
            for kind in names:
                known = dict(question=own.question[kind], answer=own.answer[kind], answers=tuple(QUESTIONS[kind][1]))
                rows.append(dict(scene=scene, question_kind=kind, **known, **shown))
    table = in_halves(pd.DataFrame(rows), seed)
    table.attrs["repeated"] = repeated
    return table


def _kinds(kinds):
    names = kinds.split()
    if len(set(names)) != 2 or not set(names) <= set(QUESTIONS):
        raise MedlibError(f"kinds={kinds!r}; give two of {', '.join(QUESTIONS)}, such as 'polarity plane'.")
    return names


def in_halves(table, seed=0):
    """The table with a column `half`: scenes with the same right answers are dealt to both halves in turn.

    Raises `MedlibError` where an answer that is right somewhere is not right in both halves.
    """
    answers = table.pivot(index="scene", columns="question_kind", values="answer")
    order = answers.sample(frac=1, random_state=seed)
    order = order.sort_values(list(answers.columns), kind="stable")
    half = pd.Series(np.arange(len(order)) % 2, index=order.index)
    table = table.assign(half=table["scene"].map(half))
    for (kind, answer), own in table.groupby(["question_kind", "answer"]):
        if own["half"].nunique() < 2:
            raise MedlibError(
                f"Only {len(own)} scene has {answer!r} as its {kind}; both halves need one. Ask for more."
            )
    return table


def prompts_of(model, table):
    """The prompt of each row, a list of `ImagePrompt`s.

    >>> prompts = prompts_of(model, asked)
    """
    return [
        vision.image_prompt(model, picture, question)
        for picture, question in zip(table["picture"], table["question"], strict=True)
    ]


def tokens_of(model, prompt, answers):
    """The first token's id of each answer where it stands, with a space before it unless the prompt ends in one.

    Raises `MedlibError` where two begin with the same token.
    """
    space = "" if prompt.text[-1:].isspace() else " "
    tokens = [answer_id(model, prompt, space + answer) for answer in answers]
    if len(set(tokens)) < len(tokens):
        raise MedlibError(f"Two of the answers {', '.join(answers)} begin with the same token of {model.name}.")
    return tokens
