"""Token clouds: the states of image tokens and of text tokens over many pictures, every token once.

A picture asked about several times has the same image states each time, and what stands before the question is the
same in every prompt: such rows are no new observations.  They are found on the last state, which follows from all
others, are left out, and are counted.  What is resampled afterwards is the scene, with all its tokens.
"""

from dataclasses import dataclass

import numpy as np

from medlib import scans
from medlib.geometry import linear_maps
from medlib.vision import image_prompt, token_states
from medlib.vision.states import KINDS


@dataclass(frozen=True)
class TokenCloud:
    """Distinct tokens of one kind: `states` [state 0..L, token, hidden], float32, and the `scene` of each, [token].

    `fold`: [token], what is fitted or scored together: the scene of an image token, the wording of a text token, since
    the same words stand under every picture; `read`: tokens that were read; `repeats`: how many of them repeated an
    earlier one and were left out; `spare`: how many more were left out so that both kinds have as many; `with_repeats`:
    state -> [token, hidden], some states as they were read, repeats and all.
    """

    states: np.ndarray
    scene: np.ndarray
    fold: np.ndarray
    read: int
    repeats: int
    spare: int
    with_repeats: dict


def token_clouds(model, items, n_tokens, seed=0, keep=()):
    """The tokens of some questions about pictures: {"image": TokenCloud, "text": TokenCloud}, as many of each.

    >>> clouds = token_clouds(model, scans.make_items("held-out", 100), 12)

    `items`: rows of `scans.make_items`; `n_tokens` tokens of each kind are drawn from each prompt, from other places of
    each picture but the same ones whenever it is asked about again.  Of the text only what follows the picture is
    taken: what precedes it is the same in every prompt.  `keep`: the states to keep with repeats too.
    """
    found, wordings = {kind: ([], [], []) for kind in KINDS}, items["question"].unique().tolist()
    for number, (_, asked) in enumerate(items.groupby("scene", sort=False)):
        picture, _ = scans.draw(asked.iloc[0])
        prompts = [image_prompt(model, picture, question) for question in asked["question"]]
        for kind, part in token_states(model, prompts, sample=n_tokens, seed=seed + number).items():
            prompt_of = part.tokens["prompt"].to_numpy()
            ends = np.array([prompt.image[-1] for prompt in prompts])[prompt_of]
            scene = np.full(len(ends), number)
            wording = np.array([wordings.index(question) for question in asked["question"]])[prompt_of]
            taken = np.full(len(ends), True) if kind == "image" else part.tokens["position"].to_numpy() > ends
            found[kind][0].append(part.states[:, taken])
            found[kind][1].append(scene[taken])
            found[kind][2].append((scene if kind == "image" else wording)[taken])
    read = {
        kind: (np.concatenate(states, axis=1), np.concatenate(scene), np.concatenate(fold))
        for kind, (states, scene, fold) in found.items()
    }
    first = {kind: np.flatnonzero(~linear_maps.repeated(states[-1])) for kind, (states, *_) in read.items()}
    n = min(map(len, first.values()))
    clouds = {}
    for kind, (states, scene, fold) in read.items():
        rows = np.sort(np.random.default_rng(seed).permutation(first[kind])[:n])
        clouds[kind] = TokenCloud(
            states[:, rows],
            scene[rows],
            fold[rows],
            read=len(scene),
            repeats=len(scene) - len(first[kind]),
            spare=len(first[kind]) - n,
            with_repeats={state: states[state] for state in keep},
        )
    return clouds
