"""A planted neuron: one unit through which alone the picture reaches the answer, in any model.

All MLPs are silent but that of one block.  There a unit reads one image token, and writes the answer's direction at
that token and at the token that produces the answer; one attention above moves what that image token holds to the
latter.  So the unit must be the first by the gradient (through the image token) and by the contribution (where the
answer is produced), and without it the answer must be as the model would have it without the plant.
"""

from contextlib import ExitStack, contextmanager

import pandas as pd
import torch

from medlib import vision
from medlib.chapters.multimodal_neurons.neuron_questions import tokens_of
from medlib.chapters.multimodal_neurons.neuron_removal import WHERE
from medlib.hooks import hidden, with_hidden
from medlib.vision.multimodal_neurons import unit_scores
from medlib.vision.units import inputs_of, output_matrix
from medlib.vision.walk import own_logits


@contextmanager
def carrying(model, prompt, token, layer, unit, at, strength=1.0):
    """For the duration one unit alone carries a token from image token `at` (its number) to the answer.

    >>> with carrying(model, prompt, token, 15, 7, at=44):
    ...     vision.multimodal_neurons(model, prompt, token, top=1)

    The unit passes on `strength` times the squared projection of what the MLP reads at that image token onto what it
    read there in this picture, times as much as makes what it writes as long as the state of the last token.
    """
    place, last = int(prompt.image[at]), prompt.length - 1
    _ = model.blocks_return_tuples  # asked now, while one token may still go through the model
    with ExitStack() as stack:
        for other in range(1, model.n_layers + 1):
            if other != layer:
                stack.enter_context(_before(output_matrix(model, other), _silent))
        with torch.no_grad(), inputs_of(model.part(layer, "mlp")) as read, inputs_of(model.blocks[layer - 1]) as state:
            own_logits(model, prompt.inputs)
        stack.enter_context(_writing(model, token, layer, unit))
        like = _flat(read[0])[place]
        loud = strength * float(_flat(state[0])[last].float().norm())
        seen = []

        def fire(passed):
            passed, reading = passed.clone(), _flat(seen[-1])[place]
            flat = passed.reshape(-1, prompt.length, passed.shape[-1])
            share = (reading @ like / (like @ like)) ** 2
            flat[:, :, unit] = 0
            flat[:, [place, last], unit] = loud * share
            return flat.reshape(passed.shape)

        stack.enter_context(_before(model.part(layer, "mlp"), lambda entering: seen.append(entering) or entering))
        stack.enter_context(_before(output_matrix(model, layer), fire))
        if layer < model.n_layers:
            stack.enter_context(_moving(model, layer + 1, place, last))
        yield


def check(model, prompt, answers, layer, unit, at, draws=5, seed=0):
    """Plant the least likely of some answers and look for it: `passed` and `detail`, for `Run.check`.

    >>> run.check("the planted unit is found", **check(model, prompt, ("bright", "dark"), 15, 7, 44))

    It passes where the unit is the first of all by both scores, the model prefers the planted answer with it and not
    without it, zeroing it gives the logit that the model has without it, and zeroing any of `draws` random units of
    the block changes less than a third as much.
    """
    tokens = tokens_of(model, prompt, answers)
    with carrying(model, prompt, tokens[0], layer, unit, at, strength=0.0):
        without = own_logits(model, prompt.inputs)[0, -1, tokens]
    own = int(without.argmin())
    with carrying(model, prompt, tokens[own], layer, unit, at):
        planted = own_logits(model, prompt.inputs)[0, -1, tokens]
        ranks = {score: _rank(unit_scores(model, prompt, tokens[own], score), layer, unit) for score in WHERE}
        alone = pd.DataFrame({"layer": [layer], "unit": [unit]})
        gone = vision.ablate_units(model, prompt, tokens[own], alone, draws=draws, seed=seed)
    change, others = gone["change"].iloc[0], gone["change"].iloc[1:].abs().max()
    left = abs(gone["logit"].iloc[0] - float(without[own]))
    first = all(rank == 1 for rank in ranks.values())
    removed = int(planted.argmax()) == own != int(without.argmax()) and left < 0.01 * -change
    told = " and ".join(f"{rank} by the {score}" for score, rank in ranks.items())
    return {
        "passed": bool(first and removed and others < -change / 3),
        "detail": f"unit {unit} of block {layer} has rank {told}; zeroed, the answer's logit falls by {-change:.1f}, "
        f"to within {left:.0e} of what it is without the plant; a random unit moves it by at most {others:.1e}",
    }


def _silent(passed):
    return passed * 0  # and not zeros of its own, which would have no gradient


def _rank(table, layer, unit):
    own = table[(table["layer"] == layer) & (table["unit"] == unit)]["score"].iloc[0]
    return 1 + int((table["score"] > own).sum())


def _flat(states):
    """States as `[position, number]`, of a batch of one."""
    return states.reshape(-1, states.shape[-1])


@contextmanager
def _before(module, function):
    """Let a module be called with `function` of its first argument."""
    handle = module.register_forward_pre_hook(lambda module, args: (function(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _writing(model, token, layer, unit):
    """Let a unit write the direction that the unembedding reads as a token, one long; as it was afterwards."""
    weight = output_matrix(model, layer).weight
    kept = weight[:, unit].detach().clone()
    with torch.no_grad():
        row = model.unembedding(torch.tensor([token]))[0][0].float()
        weight[:, unit] = (row / row.norm()).to(weight)
    try:
        yield
    finally:
        with torch.no_grad():
            weight[:, unit] = kept


@contextmanager
def _moving(model, layer, place, last):
    """Let a block's attention also move what enters the block at one position to another: a head of one's own."""
    entered = []

    def enters(module, args, kwargs):
        entered.append(args[0] if args else kwargs["hidden_states"])

    def moves(module, args, output):
        state = hidden(output).clone()
        state[:, last] = state[:, last] + entered[-1][:, place]
        return with_hidden(output, state)

    handles = [
        model.blocks[layer - 1].register_forward_pre_hook(enters, with_kwargs=True),
        model.part(layer, "attention").register_forward_hook(moves),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
