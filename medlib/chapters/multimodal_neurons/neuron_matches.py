"""Units that write as much as the first ones do, and are chosen for nothing.

A score of activation times weight picks units that are loud, and most units are nearly silent: random ones cost an
answer nothing because nothing is taken away.  So each first unit is matched with another of its layer that writes to
the residual stream a vector as long, in the same prompt and at the same tokens.  What the first units cost beyond these
is due to the direction that they write in, and not to how much they write.
"""

import numpy as np
import torch

from medlib.vision.multimodal_neurons import activations_of
from medlib.vision.units import directions


@torch.no_grad()
def written_norms(walk, layer, positions):
    """How long a vector each unit of a block writes over some positions, root of the sum of squares: `[unit]`."""
    passed = activations_of(walk, layer)[positions.to(walk.model.device)]
    lengths = directions(walk.model, layer, slice(None)).double().norm(dim=1)
    return (passed.norm(dim=0) * lengths.to(passed.device)).cpu().numpy()


def matched_units(norms, chosen):
    """For each chosen unit another of its layer that writes about as much: `{layer: units}`, none twice.

    >>> matched_units({layer: written_norms(walk, layer, positions) for layer in first}, first)

    `norms`: `{layer: [unit]}`; `chosen`: `{layer: units}`.  The loudest is served first, by the nearest in the
    logarithm of the norm.
    """
    found = {}
    for layer, units in chosen.items():
        size = np.log(np.maximum(norms[layer], 1e-30))
        free = np.setdiff1d(np.arange(len(size)), units)
        own = []
        for unit in sorted(units, key=lambda unit: -size[unit]):
            at = int(np.abs(size[free] - size[unit]).argmin())
            own.append(int(free[at]))
            free = np.delete(free, at)
        found[layer] = np.array(own)
    return found


def written(norms, units):
    """How much some units write together, the mean of their norms: a number."""
    return float(np.mean(np.concatenate([norms[layer][own] for layer, own in units.items()])))
