"""What the lens reads at image tokens, cut down to what the chapter asks: the answer words, and the first few words.

For each picture, state and image token: the log-probability of each answer word, how many of the token's first words
are that word, and which word comes first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from medlib.chapters.image_tokens.answer_words import WORDS
from medlib.vision.logit_lens import read_lens

ANSWERS = {word for answers in WORDS.values() for word in answers}
FIRST = 10  # words of a token that are looked at, as many as project B shows


@dataclass(frozen=True)
class LensWords:
    """What the lens reads at the image tokens of some pictures.

    `log_p`: log-probability of each word, nats; `hits`: how many of the token's first `FIRST` words are the word; both
    float32 `[picture, layer, token, word]`; `best`: the first word's token id, `[picture, layer, token]`; `layers`,
    `words`: their names, answers first and the sets of random words behind; `no_op`: the largest difference of the last
    layer's logits from the model's own, relative to the largest.
    """

    log_p: np.ndarray
    hits: np.ndarray
    best: np.ndarray
    layers: list
    words: list
    no_op: float

    @property
    def answers(self):
        """The names of the answer words."""
        return [word for word in self.words if word in ANSWERS]

    @property
    def random(self):
        """The names of the sets of random words."""
        return [word for word in self.words if word not in ANSWERS]

    def of(self, measure, words=None):
        """A measure of some words, float64 `[picture, layer, token, word]`: "share" (of the first words) or "log_p"."""
        which = slice(None) if words is None else [self.words.index(word) for word in words]
        values = self.hits / FIRST if measure == "share" else self.log_p
        return values[..., which].astype(np.float64)

    def together(self, measure, words):
        """The same for any of the words: `[picture, layer, token]`; shares add up, and so do probabilities."""
        values = self.of(measure, words)
        return values.sum(-1) if measure == "share" else np.logaddexp.reduce(values, axis=-1)


def read(model, prompts, tokens, layers):
    """The lens at the image tokens of `ImagePrompt`s with one grid, for the words of `word_tokens`: `LensWords`.

    >>> read(model, prompts, tokens | matched_words(model, tokens, ["bright", "dark"]), [0, 5])

    Raises `MedlibError` as `logit_lens` does: where the last layer does not give the model's own logits.
    """
    ids = [torch.tensor(own, device=model.device) for own in tokens.values()]

    def reduce(logits):
        log_p = logits.log_softmax(-1)
        first = logits.topk(FIRST).indices
        own = torch.stack([log_p[:, some].logsumexp(-1) for some in ids], dim=-1)
        hits = torch.stack([torch.isin(first, some).sum(-1) for some in ids], dim=-1)
        return own, hits, first[:, 0]

    found, no_op = [], 0.0
    for prompt in prompts:
        difference, parts = read_lens(model, prompt, layers, reduce)
        no_op = max(no_op, difference)
        found.append([np.stack([parts[layer][i].float().cpu().numpy() for layer in layers]) for i in range(3)])
    log_p, hits, best = (np.stack(part) for part in zip(*found, strict=True))
    return LensWords(log_p, hits, best.astype(np.int64), list(layers), list(tokens), no_op)


def every(model, step):
    """The states that are read: the embedding, every so many-th, and the last."""
    return sorted({0, *range(step, model.n_layers + 1, step), model.n_layers})


def blocks(model, states):
    """The blocks whose neurons are read: those of `states` before the last, or the middle one where there is none.

    What the last block writes at an image token no later token sees, so that no neuron there has a gradient.
    """
    return [layer for layer in states if 0 < layer < model.n_layers] or [max(1, model.n_layers // 2)]


def commonest(model, found, count=5):
    """The words that most often come first at an image token, by layer: `layer, rank, word, token, share` of tokens."""
    rows = []
    for place, layer in enumerate(found.layers):
        tokens, times = np.unique(found.best[:, place], return_counts=True)
        order = np.lexsort((tokens, -times))[:count]
        for rank, at in enumerate(order, 1):
            share = times[at] / found.best[:, place].size
            piece = model.tokenizer.decode([int(tokens[at])])  # of white space nothing would be left to show
            rows.append((layer, rank, piece.strip() or piece, int(tokens[at]), share))
    return pd.DataFrame(rows, columns=["layer", "rank", "word", "token", "share"])


def likeness(found, other):
    """How far a picture's first words are those of another: `[picture, layer]`, 0 (none in common) to 1 (the same).

    Two bags of words, one word a token, share the smaller of their two counts of each word.  `other` has the same
    pictures in the same order, or one that all are held against.
    """
    held = np.broadcast_to(other.best, (len(found.best), *other.best.shape[1:]))
    return np.array(
        [[_shared(a, b) for a, b in zip(one, two, strict=True)] for one, two in zip(found.best, held, strict=True)]
    )


def likeness_of_scenes(found):
    """The same between a picture and the next one of the list, the last beside the first."""
    return np.array(
        [
            [_shared(a, b) for a, b in zip(one, two, strict=True)]
            for one, two in zip(found.best, np.roll(found.best, -1, axis=0), strict=True)
        ]
    )


def _shared(a, b):
    tokens, code = np.unique(np.concatenate([a, b]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(tokens)) / len(a) for part in (code[: len(a)], code[len(a) :])]
    return float(np.minimum(*counts).sum())
