"""Words of image tokens: which words do the neurons write that an answer hangs on, at each piece of the image.

This is a neuron attribution and no read-out of the token: logit_lens.py is that.  Neurons in the thousands, each read
through the unembedding, always give words; what the same number of random neurons gives stands beside them.
"""

import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.vision.inputs import answer_id
from medlib.vision.units import decoded, inputs_of, nonlinearity, starts_word
from medlib.vision.walk import blocks_asked, walk_of


def image_token_words(model, prompt, answer=None, layers=None, neurons=10, seed=0, written=None):
    """Count the words that the strongest neurons at the image tokens write, beside random neurons.

    >>> image_token_words(model, prompt, "Yes", layers=[5, 10, 15]).query("kind == 'strongest'").head(10)

    The strength of a neuron at an image token is g = Z dy/dZ, with Z the MLP's pre-activation (of the gate, where there
    is one) and y the logit of the answer's first token; without an answer, of the model's own most probable token.
    The `neurons` with the largest g at each token are decoded, each to the one token whose logit it raises most, and
    tokens that begin a word are counted.  Returns one row per layer, kind ("strongest", "random": as many neurons a
    token, drawn with `seed`) and word: `layer` (1..L), `kind`, `token` (id), `word`, `count`, `share` (of all neurons
    looked at).  `written`: a dict in which the tokens that neurons write are kept, (layer, neuron) -> id; give the same
    one for several prompts of one model, and each neuron is decoded once.  `attrs`: `answer` (id), `no_op`, `seed`.
    Raises `MedlibError` for a layer or a number of neurons that there is not.  Source: g_{k,c} of Schwettmann
    et al. 2023 (arXiv 2308.01544) on pre-activations; random neurons added.
    """
    layers, walk = blocks_asked(model, layers), walk_of(model, prompt)
    token = int(walk.logits[0].argmax()) if answer is None else answer_id(model, prompt, answer)
    image, rows, written = torch.as_tensor(prompt.image), [], {} if written is None else written
    for layer, scores in _strengths(walk, token, layers, image):
        if not 0 < neurons <= scores.shape[1]:
            raise MedlibError(f"neurons={neurons}, and block {layer} has 1 to {scores.shape[1]} of them.")
        draw = torch.Generator().manual_seed(seed * 1000 + layer)
        chosen = {
            "strongest": scores.topk(neurons).indices.cpu(),
            "random": torch.rand(scores.shape, generator=draw).topk(neurons).indices,
        }
        for kind, units in chosen.items():
            rows += _counts(model, layer, kind, units, written)
    columns = ["layer", "kind", "token", "word", "count", "share"]
    table = pd.DataFrame(rows, columns=columns)
    order = ["layer", "kind", "count", "token"]
    table = table.sort_values(order, ascending=[True, False, False, True], ignore_index=True)
    table.attrs = {"answer": token, "no_op": walk.no_op, "seed": seed}
    return table


def neuron_strengths(model, prompt, answer, layers):
    """g = Z dy/dZ of every neuron at every image token: {layer: `[token, neuron]`, float32}.

    >>> neuron_strengths(model, prompt, "Yes", [15])[15].sum(0).argmax()
    """
    walk = walk_of(model, prompt)
    token, image = answer_id(model, prompt, answer), torch.as_tensor(prompt.image)
    return {layer: scores.cpu().numpy() for layer, scores in _strengths(walk, token, layers, image)}


def _strengths(walk, token, layers, image):
    def note(layer):
        return inputs_of(nonlinearity(walk.model, layer))

    for layer, (gate,), (slope,) in walk.descend(token, note, layers):
        yield layer, (gate * slope).reshape(walk.replay.positions, -1)[image].float()


def _counts(model, layer, kind, units, written):
    """Rows of the table for one layer and kind; `units [token, neuron]`."""
    which, times = (part.tolist() for part in units.unique(return_counts=True))
    if new := [unit for unit in which if (layer, unit) not in written]:
        ids = decoded(model, layer, torch.tensor(new))[:, 0].tolist()
        written |= {(layer, unit): token for unit, token in zip(new, ids, strict=True)}
    counts = {}
    for unit, count in zip(which, times, strict=True):
        token = written[layer, unit]
        counts[token] = counts.get(token, 0) + count
    return [
        (layer, kind, token, model.tokenizer.decode([token]).strip(), count, count / units.numel())
        for token, count in counts.items()
        if starts_word(model, token)
    ]
