"""Tiny models of image and text that can say "yes", "no" and the other answers of scans, and tables made up by hand."""

import pandas as pd
from tokenizers import Tokenizer
from vision_models import tiny

from medlib.chapters.grad_cam.heat_maps import MAPS
from medlib.chapters.grad_cam.heat_scores import METRICS

WORDS = ["yes", "no", "left", "right", "bright", "dark", "frontal", "parietal", "temporal", "occipital"]


def talking(family="llava"):
    """`tiny` with the first words of its tokenizer renamed to answers."""
    model = tiny(family)
    written = model.tokenizer.backend_tokenizer.to_str()
    for number, word in enumerate(WORDS):
        written = written.replace(f'"w{number}"', f'"{word}"')
    model.tokenizer._tokenizer = Tokenizer.from_str(written)
    return model


def made_up(pointing, random=0.1, n=12, kind="lesion", layers=(1, 2)):
    """Scores such as `heat_scores.scores` gives, and baselines: maps point as `pointing` says, at layer 2 only."""
    rows = [
        (scene, kind, name, weights, layer, *[value + 0.01 * (scene % 3)] * 3)
        for scene in range(n)
        for name in MAPS
        for layer in layers
        for weights, value in (("own", pointing.get(name, 0.0) if layer == 2 else 0.0), ("randomised", random))
    ]
    found = pd.DataFrame(rows, columns=["scene", "kind", "map", "weights", "layer", *METRICS])
    levels = {"centre": 0.05, "random": random, "brightness": 0.08, "lesion": 0.9}
    rows = [(scene, kind, name, "none", *[value] * 3) for scene in range(n) for name, value in levels.items()]
    return found, pd.DataFrame(rows, columns=["scene", "kind", "map", "weights", *METRICS])
