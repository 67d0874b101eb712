"""The logit lens on image tokens: what each of them would say next, if the model stopped after a layer.

The read-out is the model's own final norm and unembedding, so after the last layer it must give the model's own logits;
that is checked before anything is reported.
"""

import numpy as np
import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.vision.walk import Walk, agree, own_logits


@torch.no_grad()
def logit_lens(model, prompt, layers=None, words=1):
    """The most probable next tokens after each image token, read from each state.

    >>> logit_lens(model, prompt, layers=[20]).pivot(index="row", columns="column", values="word")

    Returns one row per state, image token and rank: `layer` (0..L, the state), `row`, `column` (of the grid, 0-based),
    `position` (in the prompt, 0-based), `rank` (1..`words`), `token` (id), `word`, `p` (probability).  `attrs["no_op"]`
    is the largest difference of the last layer's logits from the model's own, relative to the largest.  Raises
    `MedlibError` where that exceeds the tolerance of the model's precision, and for a state that there is not.  Source:
    nostalgebraist 2020, "interpreting GPT: the logit lens"; on image tokens Neo et al. 2024 (arXiv 2410.07149).
    """
    layers = list(range(model.n_layers + 1)) if layers is None else list(layers)
    if wrong := [layer for layer in layers if not 0 <= layer <= model.n_layers]:
        raise MedlibError(f"There is no state {wrong[0]}; {model.name} has 0 to {model.n_layers}.")
    walk = Walk(model, prompt.inputs)
    image = torch.as_tensor(prompt.image, device=model.device)
    own = own_logits(model, prompt.inputs, image)[0]
    last = walk.replay.tail(walk.states[-1][:, image])[0]
    no_op = agree(model, own, last, "the logits that the lens reads after the last layer")
    columns = prompt.view.grid[1]
    pieces = []
    for layer in layers:
        found = []

        def best(logits, rows, found=found):
            found.append(logits.softmax(-1).topk(words))

        walk.replay.read_out(walk.states[layer][0, image], best)
        p, token = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
        number, rank = (index.ravel() for index in np.indices(token.shape))
        pieces.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "row": number // columns,
                    "column": number % columns,
                    "position": prompt.image[number],
                    "rank": rank + 1,
                    "token": token.ravel(),
                    "word": [model.tokenizer.decode([t]).strip() for t in token.ravel()],
                    "p": p.ravel(),
                }
            )
        )
    table = pd.concat(pieces, ignore_index=True)
    table.attrs["no_op"] = no_op
    return table
