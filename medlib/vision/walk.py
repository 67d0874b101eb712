"""One walk up the layers with an image in the prompt, and one walk down with the gradient of an answer's logit.

The walk is the replay's (medlib/replay.py), so a block's gradients are in memory one block at a time.  The model's own
forward of the whole prompt, picture included, is what the walk must agree with before anything is read from it.
"""

from contextlib import contextmanager

import torch

from medlib.errors import MedlibError
from medlib.replay import Replay, difference, tolerance


class Walk:
    """A prompt's states after every block, with what it takes to replay a block.

    >>> walk = Walk(model, prompt.inputs)
    >>> walk.states[3].shape                        # [row, position, hidden], l = 0..L
    >>> walk.logit(token, walk.states[-1])

    `no_op` is the largest difference of the replayed logits of the last position from the model's own, relative to the
    largest.  Raises `MedlibError` where that exceeds the tolerance of the model's precision.
    """

    @torch.no_grad()
    def __init__(self, model, inputs):
        self.model, self.replay = model, Replay(model, inputs)
        self.states = [self.replay.embedding]
        for layer in range(1, model.n_layers + 1):
            self.states.append(self.replay.block(layer, self.states[-1]))
        self.logits = self.replay.tail(self.states[-1][:, -1:])[:, -1].float()
        own = own_logits(model, inputs)[:, -1]
        self.no_op = agree(model, own, self.logits, "the logits of the last token")

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
        if wrong := [layer for layer in layers if not 1 <= layer <= self.model.n_layers]:
            raise MedlibError(f"There is no block {wrong[0]}; {self.model.name} has 1 to {self.model.n_layers}.")
        top = self.states[-1]
        gradient = torch.zeros_like(top)
        gradient[:, -1] = self.slope(token).view(len(top), -1)
        for layer in range(self.model.n_layers, min(layers) - 1, -1):
            entering = self.states[layer - 1].detach().requires_grad_()
            with note(layer) if layer in layers else _nothing() as noted:
                leaving = self.replay.block(layer, entering)
            gradient, *slopes = torch.autograd.grad(leaving, [entering, *noted], gradient, materialize_grads=True)
            if layer in layers:
                yield layer, [tensor.detach() for tensor in noted], slopes


@contextmanager
def _nothing():
    yield []


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
