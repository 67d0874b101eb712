"""The words that are looked for at image tokens: the answers to the questions about the scans, and no others.

The list is fixed before any result: each kind of question whose answers name something that is seen, with its answers
as they stand.  "Yes" and "no" are left out, since they name nothing, and so are the marked structures.  A word counts
by the tokens it can begin with: behind a space or not, with a capital or not.
"""

from medlib.errors import MedlibError

WORDS = {
    "modality": ["MRI", "CT", "photograph", "microscopy"],
    "plane": ["axial", "coronal", "sagittal"],
    "polarity": ["bright", "dark"],
    "side": ["left", "right"],
    "lobe": ["frontal", "parietal", "temporal", "occipital"],
}
OF_LESION = ("polarity", "side", "lobe")  # kinds of word that only a lesion calls for
SHORTEST = 3  # letters of a token that stands for a longer word; fewer would stand for too many


def word_tokens(model, words=WORDS):
    """The tokens that each word can begin with: `{word: sorted ids}`.

    >>> word_tokens(model)["bright"]

    A word's first token behind a space always counts, as an answer does; its other spellings where their first token is
    the whole word or has three letters.  A token that two words share counts for neither.  Raises `MedlibError` for a
    word that is left without one.
    """
    found = {word: _beginnings(model, word) for answers in words.values() for word in answers}
    every = [token for tokens in found.values() for token in tokens]
    found = {word: sorted(token for token in tokens if every.count(token) == 1) for word, tokens in found.items()}
    if bare := [word for word, tokens in found.items() if not tokens]:
        raise MedlibError(
            f"To {model.name}, {bare[0]!r} begins with the same tokens as another of the words, so the two cannot be "
            "told apart. Give words that differ in their first token."
        )
    return found


def _beginnings(model, word):
    def first(text):
        return model.tokenizer(text, add_special_tokens=False)["input_ids"][0]

    found = {first(f" {word}")}
    for text in (word, f" {word.capitalize()}", word.capitalize()):
        piece = model.tokenizer.decode([first(text)]).strip()
        if len(piece) >= SHORTEST or piece == text.strip():
            found.add(first(text))
    return found
