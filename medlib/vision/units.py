"""The hidden units of a block's MLP: what goes into their nonlinearity, what they pass on, and what they write.

Unit i of block l writes a_i W_out[:, i] to the residual stream.  A gated MLP has a_i = act(z_i) u_i with z_i the gate
pre-activation, one without a gate a_i = act(z_i).  Which modules these are, the MLP shows: the nonlinearity is its only
part without parameters, W_out its last matrix.
"""

from contextlib import contextmanager

import torch

from medlib.errors import MedlibError

UNITS_AT_ONCE = 256  # rows of logits, one a unit, in memory together


def nonlinearity(model, layer):
    """The module of block `layer` (1..L) whose input is the pre-activation of the MLP's units."""
    leaves = [module for module in model.part(layer, "mlp").modules() if not list(module.children())]
    found = [m for m in leaves if not isinstance(m, torch.nn.Dropout | torch.nn.Identity) and not list(m.parameters())]
    if len(found) != 1:
        raise MedlibError(
            f"{model.name}: the MLP of block {layer} has {len(found)} parts without weights, and medlib looks for one "
            "nonlinearity. Its units cannot be told apart (experts, or a fused kernel?)."
        )
    return found[0]


def output_matrix(model, layer):
    """The linear module of block `layer` (1..L) through which the MLP's units write to the residual stream."""
    linear = [m for m in model.part(layer, "mlp").modules() if isinstance(m, torch.nn.Linear)]
    if not linear or linear[-1].out_features != model.hidden_size:
        raise MedlibError(
            f"{model.name}: the MLP of block {layer} does not end in a linear module of {model.hidden_size} outputs; "
            "what a unit writes cannot be read off."
        )
    return linear[-1]


@contextmanager
def inputs_of(module):
    """While it lasts, what a module is called with: a list of tensors."""
    found = []
    handle = module.register_forward_hook(lambda module, args, output: found.append(args[0]))
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def zeroed(module, units, positions):
    """Set some units to zero at some positions on their way into W_out: `units`, `positions`: index tensors."""

    def hook(module, args):
        passed = args[0].clone()
        passed[:, positions[:, None].to(passed.device), units.to(passed.device)] = 0
        return (passed, *args[1:])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def directions(model, layer, units):
    """What units write to the residual stream, `[unit, hidden]`: columns of W_out."""
    model.block(layer)
    return output_matrix(model, layer).weight[:, units].T.detach()


@torch.no_grad()
def decoded(model, layer, units, words=1):
    """The tokens whose logits a unit raises most, through the unembedding: ids `[unit, words]`.

    >>> model.tokenizer.decode(decoded(model, 12, torch.tensor([7]))[0])

    These are the largest entries of W_U W_out[:, i]; the norms that a model puts between the two are left out (Geva et
    al. 2022, arXiv 2203.14680; Pan et al. 2023, arXiv 2311.07470).
    """
    written = directions(model, layer, units)
    best = torch.full((len(written), words), -torch.inf, device=written.device)
    ids = torch.zeros((len(written), words), dtype=torch.long, device=written.device)
    for part in model.vocabulary_parts():
        rows = slice(0, model.vocabulary) if part is None else part
        weight, _ = model.unembedding(rows)
        for at in range(0, len(written), UNITS_AT_ONCE):
            some = slice(at, at + UNITS_AT_ONCE)
            logits = (written[some].to(weight.device) @ weight.T).float().to(best.device)
            both = torch.cat([best[some], logits], dim=1)
            own = torch.arange(rows.start, rows.start + logits.shape[1], device=ids.device).expand(len(logits), -1)
            named = torch.cat([ids[some], own], dim=1)
            best[some], place = both.topk(words, dim=1)
            ids[some] = named.gather(1, place)
    return ids.cpu()


def starts_word(model, token):
    """Whether a token begins a word: letters after a space, as it is written behind another token."""
    tokenizer = model.tokenizer
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
    before, after = tokenizer.decode(anchor), tokenizer.decode([*anchor, int(token)])
    piece = after.removeprefix(before)
    return token not in tokenizer.all_special_ids and piece[:1].isspace() and piece.strip()[:1].isalpha()
