"""One walk up the layers with an image in the prompt, and one walk down with the gradient of an answer's logit.

The walk is the replay's (medlib/replay.py), so a block's gradients are in memory one block at a time.  The model's own
forward of the whole prompt, picture included, is what the walk must agree with before anything is read from it.
"""

from contextlib import contextmanager
from functools import cached_property
from numbers import Integral

import torch

from medlib import hooks
from medlib.errors import MedlibError
from medlib.replay import Replay, difference, tolerance
from medlib.vision.inputs import check_prompt


class Walk:
    """A prompt's states after every block, with what it takes to replay a block.

    >>> walk = Walk(model, prompt.inputs)
    >>> walk.states[3].shape                        # [row, position, hidden], l = 0..L
    >>> walk.logit(token, walk.states[-1])

    `pasts[l]`: the keys and values of block l (1..L).  `no_op` is the largest difference of the replayed logits of the
    last position from the model's own, relative to the largest.  Raises `MedlibError` where that exceeds the tolerance
    of the model's precision.
    """

    @torch.no_grad()
    def __init__(self, model, inputs):
        self.model, self.replay = model, Replay(model, inputs)
        self.states, self.pasts = [self.replay.embedding], [None]
        for layer in range(1, model.n_layers + 1):
            state, past = self.replay.block_and_past(layer, self.states[-1])
            self.states.append(state)
            self.pasts.append(past)
        self.logits = self.replay.tail(self.states[-1][:, -1:])[:, -1].float()
        own = own_logits(model, inputs)[:, -1]
        self.no_op = agree(model, own, self.logits, "the logits of the last token")

    @cached_property
    def shares_positions(self):
        """Whether `block_from` may share earlier positions: no token sees a later one, and the logits stay."""
        if not self.replay.shares_positions():
            return False
        start, state = self.replay.positions // 2, self.states[0][:, self.replay.positions // 2 :]
        for layer in range(1, self.model.n_layers + 1):
            state = self.block_from(layer, state, start)
        again = self.replay.tail(state[:, -1:])[:, -1].float()
        return difference(self.logits, again) <= tolerance(self.model)

    @torch.no_grad()
    def block_from(self, layer, states, start, rows=None):
        """Output of a block for `states [row, position - start, hidden]`, the earlier positions the walk's own."""
        if not start:
            return self.replay.block(layer, states, rows)
        rows = torch.arange(len(states), device=states.device) if rows is None else rows
        return self.replay.block_from(layer, states, start, rows, self.pasts[layer])

    @torch.no_grad()
    def logit(self, tokens, state):
        """Logits of tokens (a list of ids) at the last position, for a state: `[row, token]`, float64."""
        with self.replay.only(torch.tensor(tokens, device=self.model.device)):
            return self.replay.tail(state[:, -1:])[:, -1].double()

    @torch.enable_grad()
    def slope(self, token):
        """The gradient of a token's logit (None: of the sum of all) with respect to the last state where it is made.

        `[hidden]`: what one more unit of each number of that state adds to the logit, final norm and all.
        """
        last = self.states[-1][:, -1:].detach().requires_grad_()
        with self.replay.only(None if token is None else torch.tensor([token], device=self.model.device)):
            total = self.replay.tail(last).float().sum()
        return torch.autograd.grad(total, last)[0].reshape(-1)

    @torch.enable_grad()
    def descend(self, token, note, layers):
        """Walk down to the lowest of `layers` with the gradient of a token's logit at the last position.

        >>> for layer, noted, slopes in walk.descend(token, note, [15]):

        `token`: an id, or None for the sum of all logits; `note(layer)`: a context that gives a list, to which it adds
        tensors of the block.  Yields, from the last of `layers` to the first, the layer, these tensors and the
        gradients with respect to them.
        """
        for layer, noted, (slopes,) in self.descend_each([token], note, layers):
            yield layer, noted, slopes

    @torch.enable_grad()
    def descend_each(self, tokens, note, layers):
        """The same for several tokens, for which each block is replayed once: yields lists of gradients, one a token.

        >>> for layer, noted, (of_yes, of_no) in walk.descend_each([yes, no], note, [15]):
        """
        layers = blocks_asked(self.model, layers)
        top = self.states[-1]
        gradients = [torch.zeros_like(top) for _ in tokens]
        for gradient, token in zip(gradients, tokens, strict=True):
            gradient[:, -1] = self.slope(token).view(len(top), -1)
        for layer in range(self.model.n_layers, min(layers) - 1, -1):
            entering = self.states[layer - 1].detach().requires_grad_()
            with note(layer) if layer in layers else _nothing() as noted:
                leaving = self.replay.block(layer, entering)
            again = dict(retain_graph=True, materialize_grads=True)
            found = [torch.autograd.grad(leaving, [entering, *noted], gradient, **again) for gradient in gradients]
            gradients = [gradient for gradient, *_ in found]
            if layer in layers:
                yield layer, [tensor.detach() for tensor in noted], [slopes for _, *slopes in found]


@contextmanager
def _nothing():
    yield []


def walk_of(model, prompt):
    """The `Walk` of an `ImagePrompt`; raises `MedlibError` as `check_prompt` does.

    >>> walk_of(model, prompt).states[3].shape
    """
    check_prompt(model, prompt)
    return Walk(model, prompt.inputs)


def blocks_asked(model, layers):
    """Numbers of blocks as a list in rising order, each once; None is all of 1..L.

    >>> blocks_asked(model, [15, 5])
    [5, 15]

    Raises `MedlibError` for anything but a list of whole numbers, an empty one, and a block that there is not.
    """
    return _numbers(model, layers, 1, "block")


def states_asked(model, layers):
    """The same for states, which begin with 0: what enters the first block."""
    return _numbers(model, layers, 0, "state")


def _numbers(model, layers, first, what):
    if layers is None:
        return list(range(first, model.n_layers + 1))
    numbers = list(layers) if hasattr(layers, "__iter__") else []
    if not numbers or not all(isinstance(one, Integral) for one in numbers):
        raise MedlibError(f"layers={layers!r} is no list of whole numbers; give {what}s such as [{model.n_layers}].")
    if wrong := [one for one in numbers if not first <= one <= model.n_layers]:
        raise MedlibError(f"There is no {what} {wrong[0]}; {model.name} has {first} to {model.n_layers}.")
    return sorted({int(one) for one in numbers})


@torch.no_grad()
def own_states(model, prompt, keep=slice(-1, None)):
    """The states of the model's own forward of an `ImagePrompt`, and its logits at some positions (the last one).

    `[row, position, hidden]` for each state 0..L, and `[row, position, token]`.  Raises `MedlibError` for logits that
    are NaN, and as `check_prompt` does.
    """
    check_prompt(model, prompt)
    with hooks.capture(model) as states:
        logits = own_logits(model, prompt.inputs, keep)
    if not torch.isfinite(logits).all():
        raise MedlibError(f"{model.name} gives logits that are NaN or infinite; try a wider dtype.")
    return [states[layer].to(model.device) for layer in range(model.n_layers + 1)], logits


@torch.no_grad()
def own_logits(model, inputs, keep=slice(-1, None)):
    """The model's own logits at some positions (the last one): `[row, position, token]`."""
    head = model.hf.get_output_embeddings()
    with head.register_forward_pre_hook(lambda head, args: args[0][:, keep]):
        return model.hf(**inputs, use_cache=False).logits.float()


def agree(model, own, replayed, what):
    """Refuse replayed logits that are not the model's own; returns the largest difference, relative to the largest."""
    gap = difference(own, replayed)
    if not gap <= tolerance(model):  # NaN is refused too
        raise MedlibError(
            f"On {model.name}, {what} differ from the model's own by {gap:.1e} of the largest logit. Either they are "
            "NaN, or the model does something between its blocks that replay does not see; use medlib.hooks for it."
        )
    return gap
