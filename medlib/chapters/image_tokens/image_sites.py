"""Where the answer is, layer by layer: patches from a picture with a lesion into its lesion-free twin, part by part.

Clean is the picture with the lesion and corrupt its twin, with the same question, so what a patch brings back is the
lesion.  The parts of the prompt are the image tokens over the lesion, as many others of the brain drawn at random, all
the others, all image tokens, the words after the picture, and the last token.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medlib import attribution, patching, stats
from medlib.errors import MedlibError
from medlib.prompts import Pair
from medlib.vision.inputs import answer_id
from medlib.vision.walk import own_logits

PARTS = ("lesion", "random", "other image", "all image", "question", "last")
FEWEST = 5  # pictures that the answer must hang on, for anything to be traced


@dataclass(frozen=True)
class Traced:
    """Pairs to be patched, and how they were chosen.

    `pairs`; `groups`: their parts, `pair, position, group`; `scenes`: the number of each pair's scene; `known`: whether
    enough pictures move the answer, without which nothing that is measured counts; `tried`, `moved`: how many pictures
    were put to the model, and of how many the lesion moves the answer by the threshold.
    """

    pairs: list
    groups: pd.DataFrame
    scenes: list
    known: bool
    tried: int
    moved: int


def parts(prompt, inside, brain, seed=0):
    """The parts of a prompt, a row for each token: `position, group`.

    `inside`, `brain`: bool `[row, column]`, which image tokens lie over the lesion, and which are brain; those at
    random are drawn from the rest of the brain, since background carries nothing.  Words before the picture are in no
    part: they are the same in both runs.  A token may be in several parts.
    """
    chosen, others, rest = (np.flatnonzero(mask) for mask in (inside, ~inside, brain & ~inside))
    if not len(chosen) or len(rest) < len(chosen):
        raise MedlibError(
            f"{len(chosen)} of {inside.size} image tokens lie over the lesion, and {len(rest)} others are brain; it "
            "takes 1 or more, and as many others."
        )
    drawn = np.random.default_rng(seed).choice(rest, len(chosen), replace=False)
    numbers = {"lesion": chosen, "random": drawn, "other image": others, "all image": np.arange(inside.size)}
    positions = {part: prompt.image[own] for part, own in numbers.items()}
    after = np.arange(prompt.image[-1] + 1, prompt.length)
    positions |= {"question": after[:-1], "last": after[-1:]}
    return pd.concat(
        [pd.DataFrame(dict(position=positions[part], group=part)) for part in PARTS if len(positions[part])],
        ignore_index=True,
    )


def as_written(prompt, word):
    """A word as the reply to an `ImagePrompt` begins with it: behind a space, unless one or a new line is there.

    >>> as_written(prompt, "yes")
    ' yes'
    """
    return word if prompt.text[-1:].isspace() else f" {word}"


def differences(model, prompts, answer, wrong):
    """The logit of an answer less that of another at the end of each `ImagePrompt`: `[prompt]`."""
    found = []
    for prompt in prompts:
        logits = own_logits(model, prompt.inputs)[0, -1]
        found.append(float(logits[answer_id(model, prompt, answer)] - logits[answer_id(model, prompt, wrong)]))
    return np.array(found)


def traced(model, clean, corrupt, inside, brain, scenes, answers=("yes", "no"), count=12, least=1.0, seed=0):
    """Choose the pairs whose answer hangs on the lesion: `Traced`.

    `clean`, `corrupt`: `ImagePrompt`s with and without the lesion; `inside`, `brain`: bool `[pair, row, column]`, as
    `parts` takes them; `scenes`: their numbers; `answers`: the words that are right with the lesion, and without.  The
    first `count` pairs are taken whose difference of logits the lesion moves towards the right answer by `least`
    logits; where there are fewer than `FEWEST`, the `FEWEST` that it moves most, whichever way, and `known` is False.
    Raises `MedlibError` where there are not so many at all.
    """
    answers = [as_written(clean[0], word) for word in answers]
    span = differences(model, clean, *answers) - differences(model, corrupt, *answers)
    good = np.flatnonzero(span >= least)
    known = len(good) >= FEWEST
    if len(span) < FEWEST:
        raise MedlibError(f"{len(span)} pictures have a lesion, and it takes {FEWEST} to trace one; give more scenes.")
    chosen = good[:count] if known else np.sort(np.argsort(-np.abs(span), kind="stable")[:FEWEST])
    pairs = [Pair(clean[i], corrupt[i], *answers) for i in chosen]
    groups = [parts(clean[i], inside[i], brain[i], [seed, int(scenes[i])]).assign(pair=n) for n, i in enumerate(chosen)]
    numbers = [int(scenes[i]) for i in chosen]
    return Traced(pairs, pd.concat(groups, ignore_index=True), numbers, known, len(span), len(good))


def sweeps(model, chosen):
    """What patches of each part recover, and what one gradient estimates: two tables with the scene of each pair.

    Rows are those of `patch_sweep` with groups.  `attrs["no_op"]` is that of the sweep.
    """
    found = []
    for sweep in (patching.patch_sweep, attribution.attribution_sweep):
        table = sweep(model, chosen.pairs, groups=chosen.groups)
        table["scene"] = np.array(chosen.scenes)[table["pair"]]
        found.append(table[table["group"].notna()])
    return found


def curves(table, seed=0):
    """The median of P over pictures, by part and layer, with its interval: part -> `layer, value, low, high, n`."""
    found = {}
    for part in PARTS:
        own = table[table["group"] == part].pivot(index="scene", columns="layer", values="recovered")
        if own.empty:
            continue
        value, low, high = stats.bootstrap(own.to_numpy(), np.median, seed=seed)
        found[part] = pd.DataFrame(dict(layer=own.columns, value=value, low=low, high=high, n=len(own)))
    return found


def handovers(table, seed=0):
    """Where the answer leaves the image tokens, and where it reaches the last token: `what, value, low, high, n`.

    "leaves": the first layer at which all image tokens together recover less than one half; "reaches": the first at
    which the last token recovers more.  A layer is that of the median over pictures, its interval that of resampled
    pictures.  Where a curve never passes one half, the layer is one past the last.
    """
    last = int(table["layer"].max()) + 1
    rows = []
    for what, part, sign in (("leaves", "all image", -1), ("reaches", "last", 1)):
        own = table[table["group"] == part].pivot(index="scene", columns="layer", values="recovered")
        layers = own.columns.to_numpy()

        def first(values, axis, sign=sign, layers=layers):
            past = sign * (np.median(values, axis=axis) - 0.5) > 0
            return np.where(past.any(-1), layers[past.argmax(-1)], last)

        interval = stats.bootstrap(own.to_numpy(), first, seed=seed)
        rows.append((what, *(float(one) for one in interval), len(own)))
    return pd.DataFrame(rows, columns=["what", "value", "low", "high", "n"])


def lead_of_lesion(table, seed=0):
    """What the lesion's image tokens recover beyond as many others, by layer: `layer, value, low, high, n` (median).

    The others are the same in picture and twin but for what the vision tower and earlier blocks brought to them.
    """
    wide = table[table["group"].isin(["lesion", "random"])]
    wide = wide.pivot(index="scene", columns=["group", "layer"], values="recovered")
    gap = wide["lesion"] - wide["random"]
    value, low, high = stats.bootstrap(gap.to_numpy(), np.median, seed=seed)
    return pd.DataFrame(dict(layer=gap.columns, value=value, low=low, high=high, n=len(gap)))


def agreement(exact, estimate, seed=0):
    """Rank correlation of patches and their estimates over the layers and parts of a picture: the median, an interval.

    None where, in a picture, either is the same everywhere.
    """
    both = exact.merge(estimate, on=["scene", "layer", "group"], suffixes=("", "_estimated"))
    try:
        ranks = [stats.spearman(own["recovered"], own["recovered_estimated"]) for _, own in both.groupby("scene")]
    except MedlibError:
        return None
    return stats.bootstrap(np.array(ranks), np.median, seed=seed)
