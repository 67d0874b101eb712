"""The same question to many pictures: the states of its tokens, and of the image tokens, read once for each picture.

Only tokens behind the picture can know of it; those in front are the same whatever is shown.  Image tokens in turn
know nothing of the question, so they are read with the first question and left out, as repeats, with every other.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medlib import scans
from medlib.errors import MedlibError
from medlib.vision import image_prompt, token_states

TILES = 10  # tiles along a side of a shuffled picture


@dataclass(frozen=True)
class Read:
    """States of the same tokens over many pictures.

    >>> read = read_pictures(model, pictures, ["Is there a lesion?"])
    >>> read.text["Is there a lesion?"].shape                      # [state 0..L, picture, token, hidden]

    `text`: question -> float32 `[state, picture, token, hidden]`, the tokens behind the picture; `tokens`: question ->
    their texts; `image`: `[state, picture, place, hidden]`, the same places of the grid; `places`: [place], their
    numbers in the grid; `front`: how many tokens stand before the picture; `front_moves`, `image_moves`: the largest
    change of a token in front with the picture, and of an image token with the question, over the largest state.
    """

    text: dict
    tokens: dict
    image: np.ndarray
    places: np.ndarray
    front: int
    front_moves: float
    image_moves: float

    @property
    def repeats(self):
        """How many image states were left out because another question had them."""
        return (len(self.text) - 1) * self.image.shape[1] * self.image.shape[2]


def scenes(n, seed=0):
    """Held-out scenes and their pictures: a data frame of `scans.make_scenes`, and a list of arrays.

    >>> table, pictures = scenes(50, seed=0)

    Pictures that are equal to the last bit are kept once, and more are drawn in their place.
    """
    rows, pictures, seen, first = [], [], set(), 0
    while len(pictures) < n:
        for _, row in scans.make_scenes("held-out", n - len(pictures), seed, first).iterrows():
            picture, _ = scans.draw(row)
            first += 1
            if picture.tobytes() not in seen:
                seen.add(picture.tobytes())
                rows.append(row)
                pictures.append(picture)
    return pd.DataFrame(rows).reset_index(drop=True), pictures


def shuffled(picture, seed=0, tiles=TILES):
    """A picture with its tiles in random order: the same grey values, no anatomy.  `MedlibError` for uneven tiles.

    >>> shuffled(picture, seed=3)
    """
    picture = np.asarray(picture)
    height, width, channels = picture.shape
    if height % tiles or width % tiles:
        raise MedlibError(f"A picture of {height} x {width} pixels has no {tiles} x {tiles} equal tiles.")
    cut = picture.reshape(tiles, height // tiles, tiles, width // tiles, channels).swapaxes(1, 2)
    cut = cut.reshape(tiles * tiles, height // tiles, width // tiles, channels)
    order = np.random.default_rng(seed).permutation(tiles * tiles)
    mixed = cut[order].reshape(tiles, tiles, height // tiles, width // tiles, channels)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(picture.shape))


def asked(text):
    """The questions of a parameter, divided by "|": a list; `MedlibError` for none, or for one twice.

    >>> asked("Is there a lesion? | What is shown?")
    ['Is there a lesion?', 'What is shown?']
    """
    questions = [question.strip() for question in text.split("|")]
    if not all(questions) or len(set(questions)) < len(questions):
        raise MedlibError(f"The questions are {text!r}; give different ones, divided by |.")
    return questions


def read_pictures(model, pictures, questions, n_places=None, seed=0):
    """Ask every question of every picture and read the states: a `Read`.

    >>> read_pictures(model, pictures, ["Is there a lesion?"], n_places=30).image.shape

    `pictures`: what `vision.image_prompt` takes, as many image tokens each; `n_places`: so many places of the grid,
    drawn with `seed`, all by default.  Raises `MedlibError` where pictures differ in their number of image tokens, as
    then no place of one is that of another.
    """
    text, tokens, image, front = {}, {}, [], []
    places, image_moves = None, 0.0
    for question in questions:
        behind = []
        for number, picture in enumerate(pictures):
            prompt = image_prompt(model, picture, question)
            if places is None:
                count, grid = len(prompt.image), prompt.view.grid
                order = np.random.default_rng(seed).permutation(count)[:n_places]
                places = np.sort(order)
            if prompt.view.grid != grid:
                raise MedlibError(f"Picture {number} has a grid of {prompt.view.grid}, the first one of {grid}.")
            found = token_states(model, [prompt])
            at = found["text"].tokens["position"].to_numpy()
            after = at > prompt.image[-1]
            behind.append(found["text"].states[:, after])
            tokens[question] = found["text"].tokens["token"][after].tolist()
            front.append(found["text"].states[:, at < prompt.image[0]])
            here = found["image"].states[:, places]
            if len(image) < len(pictures):
                image.append(here)
            else:
                image_moves = max(image_moves, _moved(here, image[number]))
        text[question] = np.stack(behind, axis=1)
    front_moves = max(_moved(one, front[0]) for one in front)
    return Read(text, tokens, np.stack(image, axis=1), places, front[0].shape[1], front_moves, image_moves)


def _moved(a, b):
    """The largest difference of two sets of states over the largest of them; zero where there is none."""
    return float(np.abs(a - b).max() / np.abs(b).max()) if a.size else 0.0
