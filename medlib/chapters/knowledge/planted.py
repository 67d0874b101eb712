"""Models made up for the check of the knowledge chapter: one that knows, one with an answer bias, one with both.

They are the questions of a real domain with other logits.  A bias must not pass for knowledge, and knowledge beneath a
bias must show in the contrast.
"""

import numpy as np

from medlib import knowledge


def accuracies(asked, seed=0):
    """Pairwise accuracy and contrast of each made-up model: name -> two `Interval`s.

    >>> accuracies(knowledge.ask(model, "diseases"))["bias"]
    """
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=asked.logits.shape)
    bias = 9 * generator.normal(size=asked.logits.shape[1])
    right = np.arange(asked.logits.shape[1]) == asked.own[:, None]
    planted = {"knows": noise + 9 * right, "bias": noise + bias, "knows, with a bias": noise + bias + 3 * right}
    return {
        name: [measure(asked._replace(logits=logits), seed) for measure in (knowledge.pairwise, knowledge.contrast)]
        for name, logits in planted.items()
    }


def check(found):
    """Whether `accuracies` are what they must be, and the line that says what they are: `passed` and `detail`.

    >>> run.check("planted knowledge is found", **check(accuracies(asked)))
    """
    passed = (
        found["knows"][0].low > 0.99
        and all(abs(one.value - 0.5) < 0.05 for one in found["bias"])
        and found["knows, with a bias"][1].low > 0.9
    )
    detail = "; ".join(
        f"{name}: pairwise {pairwise.value:.2f}, contrast {contrast.value:.2f} ({contrast.low:.2f} to "
        f"{contrast.high:.2f})"
        for name, (pairwise, contrast) in found.items()
    )
    return {"passed": bool(passed), "detail": detail}
