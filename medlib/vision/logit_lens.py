"""The logit lens on image tokens: what each of them would say next, if the model stopped after a layer.

The read-out is the model's own final norm and unembedding, so after the last layer it must give the model's own logits;
that is checked before anything is reported.
"""

import numpy as np
import pandas as pd
import torch

from medlib.errors import MedlibError
from medlib.replay import Replay
from medlib.vision.inputs import check_prompt
from medlib.vision.walk import agree, own_states, states_asked


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
    layers = states_asked(model, layers)
    if not 1 <= words <= model.vocabulary:
        raise MedlibError(f"words={words}; give 1 to {model.vocabulary}, the words that {model.name} has.")
    no_op, tops = read_lens(model, prompt, layers, lambda logits: logits.softmax(-1).topk(words))
    columns = prompt.view.grid[1]
    pieces = []
    for layer in layers:
        p, token = (part.cpu().numpy() for part in tops[layer])
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


@torch.no_grad()
def read_lens(model, prompt, layers, reduce):
    """What `reduce` makes of the lens's logits at the image tokens: the no-op difference, and `{layer: tensors}`.

    >>> _, found = read_lens(model, prompt, [20], lambda logits: (logits.log_softmax(-1)[:, tokens],))
    >>> found[20][0].shape                          # [image token, ...]

    `reduce(logits [row, token])` gives a tuple of tensors with the rows in front; rows come in chunks, so that the
    logits of all image tokens need not be in memory together.  Raises `MedlibError` as `logit_lens` does.
    """
    check_prompt(model, prompt)
    layers, image = states_asked(model, layers), torch.as_tensor(prompt.image, device=model.device)
    states, own = own_states(model, prompt, image)
    replay = Replay(model, prompt.inputs)
    own, last = own[0], replay.tail(states[-1][:, image])[0]
    no_op = agree(model, own, last, "the logits that the lens reads after the last layer")
    del own, last
    found = {}
    for layer in layers:
        parts = []
        replay.read_out(states[layer][0, image], lambda logits, rows, into=parts: into.append(reduce(logits)))
        found[layer] = tuple(torch.cat(part) for part in zip(*parts, strict=True))
    return no_op, found
