"""Random words that the words of a lesion are held against: as many, and as like them as the vocabulary has.

Where the softmax of all words drifts at the tokens over a lesion, every rare word gains or loses there.  So for each
token that a word counts by, a random token is drawn from those most like it: behind a space or not, with a capital or
not, letters only, of the same length, and near it in the list of the vocabulary, which most tokenizers order by how
common a token was in the text that they were made from.
"""

import numpy as np

SETS = 10  # of random words, whose mean counts
NEAREST = 100  # tokens that are most like one, of which one is drawn


def matched_words(model, tokens, words, seed=0):
    """Sets of random tokens, each as large as that of some words together: `{"random words 0": ids, ...}`.

    >>> matched_words(model, word_tokens(model), ["bright", "dark"])

    `tokens`: `{word: ids}` of all words that are looked for, none of which is drawn; `words`: those to be matched.  No
    token is twice in a set.
    """
    taken = {token for own in tokens.values() for token in own}
    wanted = [token for word in words for token in tokens[word]]
    order = _most_alike(model, wanted, taken)
    generator = np.random.default_rng(seed)
    found = {}
    for number in range(SETS):
        drawn = []
        for near in order:
            free = [token for token in near if token not in drawn]
            drawn.append(int(generator.choice(free[:NEAREST])))
        found[f"random words {number}"] = sorted(drawn)
    return found


def _most_alike(model, wanted, taken):
    """For each wanted token the others, the most alike first: a list of id arrays, long enough to draw all from."""
    count = min(len(model.tokenizer), model.vocabulary)
    pieces = [piece or "" for piece in model.tokenizer.convert_ids_to_tokens(range(count))]
    shapes = np.array([_shape(piece) for piece in pieces])
    lengths = np.array([len(_bare(piece)) for piece in pieces])
    others = np.setdiff1d(np.arange(count), [*taken, *model.tokenizer.all_special_ids])
    found = []
    for token in wanted:
        unlike = (shapes[others] != shapes[token]).sum(axis=1)
        ranks = (abs(others - token), abs(lengths[others] - lengths[token]), unlike)
        found.append(others[np.lexsort(ranks)][: NEAREST + len(wanted)])
    return found


def _shape(piece):
    bare = _bare(piece)
    return bare != piece, bare[:1].isupper(), bare.isascii() and bare.isalpha()


def _bare(piece):
    """A token's text without the mark that tokenizers write for a space before it."""
    return piece.lstrip("Ġ▁ ")
