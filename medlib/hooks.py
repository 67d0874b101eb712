"""The plain way: context managers that capture, replace or skip on a live model.

    with capture(model) as states:
        model.hf(**inputs)
    states[3]                                   # output of block 3: [row, position, hidden]

    with replace(model, 3, lambda state: state * 0), skip(model, 7):
        logits = model.hf(**inputs).logits

Easy to read and to adapt, one forward pass an intervention.  The replay engine must give the same numbers as these.
State 0 is the embedding output, state l the output of block l (1..L).
"""

from contextlib import ExitStack, contextmanager

import torch

from medlib.errors import MedlibError


def hidden(output):
    """The hidden state in what a block returns: a tensor, or the first of a tuple; `MedlibError` for anything else."""
    state = output[0] if isinstance(output, tuple) and output else output
    if not torch.is_tensor(state):
        raise MedlibError(
            f"A block returned {type(state).__name__}, and medlib looks for a hidden state: a tensor, or the first of "
            "a tuple. Wrap the blocks so that they return one."
        )
    return state


def with_hidden(output, state):
    """What the block returned, with another hidden state in it."""
    return (state, *output[1:]) if isinstance(output, tuple) else state


def split_call(args, kwargs):
    """The hidden state a block was called with, and the other arguments."""
    if args:
        return args[0], args[1:], kwargs
    kwargs = dict(kwargs)
    return kwargs.pop("hidden_states"), args, kwargs


def _module(model, layer, component):
    return model.blocks[layer - 1] if component == "residual" else model.part(layer, component)


@contextmanager
def capture(model, layers=None, component="residual"):
    """Collect the residual stream while the model runs: {layer: [row, position, hidden]}; all of 0..L by default.

    With component "attention" or "mlp" what these parts of blocks 1..L give out.
    """
    states = {}
    if component != "residual":
        layers = range(1, model.n_layers + 1) if layers is None else layers

    def enters_first(module, args, kwargs):
        states[0] = split_call(args, kwargs)[0]

    def leaves(layer):
        def hook(module, args, output):
            states[layer] = hidden(output)

        return hook

    wanted = range(model.n_layers + 1) if layers is None else layers
    handles = [_module(model, layer, component).register_forward_hook(leaves(layer)) for layer in wanted if layer]
    if 0 in wanted:
        handles.append(model.blocks[0].register_forward_pre_hook(enters_first, with_kwargs=True))
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replace(model, layer, function, component="residual"):
    """Replace state `layer` (1..L) by `function(state)` on its way out of the block; or the output of one of its parts.

    >>> with replace(model, 3, torch.zeros_like, component="mlp"):
    ...     logits = model.hf(**inputs).logits
    """

    def hook(module, args, output):
        own = hidden(output)
        return with_hidden(output, function(own).to(own.device))

    handle = _module(model, layer, component).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def skip(model, layer):
    """Lesion block `layer` (1..L): the residual stream passes it unchanged."""

    def hook(module, args, kwargs, output):
        return with_hidden(output, split_call(args, kwargs)[0])

    handle = model.blocks[layer - 1].register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def only(model, layer):
    """Leave one block (1..L) in place and lesion all others: a planted signal, for every measure must point at it.

    >>> with only(model, 3):
    ...     assert lesion_sweep(model, prompts).groupby("layer").kl.mean().idxmax() == 3
    """
    with ExitStack() as stack:
        for other in range(1, model.n_layers + 1):
            if other != layer:
                stack.enter_context(skip(model, other))
        yield
