"""A model with its weights in random order, as it was afterwards: what a map shows of it, it shows of no knowledge."""

from contextlib import contextmanager

import torch

from medlib.errors import MedlibError


@contextmanager
def randomised(model, seed=0):
    """For the duration, the numbers of every weight matrix are in random order, by `seed`; then they are put back.

    >>> with randomised(model):
    ...     noise = grad_cam(model, prompt, "Yes", layer=15)

    Vision tower and language model alike; no copy is kept, since an order can be undone, bit for bit.  A map that looks
    the same on such a model says nothing of what was learnt (Adebayo et al. 2018, arXiv 1810.03292).  Raises
    `MedlibError` for weights that are streamed from disk or are codes.
    """
    matrices = [parameter for parameter in model.hf.parameters() if parameter.ndim >= 2]
    if model.streams or not all(matrix.is_floating_point() for matrix in matrices):
        raise MedlibError(f"The weights of {model.name} are not plain numbers in memory, so they cannot be shuffled.")
    done = 0
    try:
        for number, matrix in enumerate(matrices):
            flat = matrix.data.reshape(-1)
            matrix.data.copy_(flat[_order(matrix, seed, number)].view(matrix.shape))
            done += 1
        yield
    finally:
        for number, matrix in enumerate(matrices[:done]):
            own = torch.empty(matrix.numel(), dtype=matrix.dtype, device=matrix.device)
            own[_order(matrix, seed, number)] = matrix.data.reshape(-1)
            matrix.data.copy_(own.view(matrix.shape))


def _order(matrix, seed, number):
    generator = torch.Generator().manual_seed(seed * 100_003 + number)
    return torch.randperm(matrix.numel(), generator=generator).to(matrix.device)
