"""Three places of a prompt, read in one walk up the layers: over an entity, at its end, and at the prompt's end.

Which token holds an item is a choice, and the walk is what costs, so a chapter that looks at all three walks once.
"""

import numpy as np
import torch

from medlib.prompts import batches, encode
from medlib.replay import Replay, check_no_op, tokens_per_call
from medlib.states import entity_tokens

PLACES = ("mean", "entity", "last")


@torch.no_grad()
def read(model, prompts):
    """The residual stream of each prompt at three places: place -> [state, prompt, hidden], float32.

    >>> three_places.read(model, prompts)["last"].shape

    `prompts` are `medlib.Prompt`s.  `mean` is over the tokens of the entity, `entity` its last token, `last` the last
    token of the prompt; each as `medlib.activations` gives it.
    """
    ids = encode(model, prompts)
    spans = [entity_tokens(model, prompt) for prompt in prompts]
    found = np.empty((len(PLACES), model.n_layers + 1, len(ids), model.hidden_size), dtype=np.float32)
    size = tokens_per_call(model)
    for members, batch, last in batches(ids, lambda length: size // length):
        replay = Replay(model, {"input_ids": batch.to(model.device)})
        weights = replay.embedding.new_zeros(len(members), len(PLACES), replay.positions)
        for row, member in enumerate(members):
            start, end = spans[member]
            weights[row, 0, start:end] = 1 / (end - start)
            weights[row, 1, end - 1] = weights[row, 2, last[row]] = 1
        state = replay.embedding
        for layer in range(model.n_layers + 1):
            state = replay.block(layer, state) if layer else state
            found[:, layer, members] = (weights @ state).transpose(0, 1).float().cpu().numpy()
        check_no_op(replay, state[torch.arange(len(members)), last], last, "activations")
    return dict(zip(PLACES, found, strict=True))
