"""Multimodal neurons: MLP units through which a picture becomes a word.

Two scores find them, a gradient at the image tokens and a direct contribution where the answer is produced; a third
takes the contribution through the norms that the second leaves out.  A high score is a claim, and zeroing the units
against as many random units of the same layers is its test.
"""

import numpy as np
import pandas as pd
import torch

from medlib import stats
from medlib.errors import MedlibError
from medlib.vision.inputs import answer_id
from medlib.vision.units import decoded, directions, inputs_of, output_matrix, zeroed
from medlib.vision.walk import blocks_asked, walk_of

SCORES = ("gradient", "contribution", "direct")
PLACES = ("all", "image", "last")


def multimodal_neurons(model, prompt, answer, score="gradient", layers=None, top=100):
    """The MLP units that raise an answer's logit most, with what each of them writes.

    >>> multimodal_neurons(model, prompt, "Yes", top=20)[["layer", "unit", "score", "word"]]

    `score="gradient"`: the sum over image tokens p of g = Z_k^p dy/dZ_k^p, with Z_k^p what unit k passes on at p (its
    activation, times the gate's partner where there is one) and y the logit of the answer's first token (g_{k,c} of
    Schwettmann et al. 2023, arXiv 2308.01544).  "contribution": a_i (W_U W_out)_{t,i} at the last token of the prompt,
    which produces the answer t, norms in between left out (s_{l,i} of Pan et al. 2023, arXiv 2311.07470); no logit
    where the model has a final norm.  "direct": a_i W_out[:, i] dy/dh_L there, with h_L the last state, so through the
    final norm and to first order.  Returns the `top` units of the layers, highest first: `layer` (1..L), `unit`
    (0-based), `score` (logits, for a contribution in its own unit), `peak` (the largest over image tokens; else the
    same), `activation` (mean over the image tokens, or at the last token), `word` (the token that the unit raises
    most).  `attrs`: `answer` (id), `score`, `no_op`.  Raises `MedlibError` for
    another score, and for an MLP whose units cannot be told apart.
    """
    if top < 1:
        raise MedlibError(f"top={top}; give at least 1.")
    table = unit_scores(model, prompt, answer, score, layers)
    kept = table.nlargest(top, "score").reset_index(drop=True)
    words = pd.Series("", index=kept.index)
    for layer, units in kept.groupby("layer")["unit"]:
        ids = decoded(model, layer, torch.tensor(units.tolist()))[:, 0]
        words[units.index] = [model.tokenizer.decode([token]).strip() for token in ids.tolist()]
    kept["word"] = words
    kept.attrs = table.attrs
    return kept


def unit_scores(model, prompt, answer, score="gradient", layers=None):
    """The scores of every unit, as `multimodal_neurons` describes them, without words; by layer and unit.

    >>> unit_scores(model, prompt, "Yes").groupby("layer").score.sum()
    """
    if score not in SCORES:
        raise MedlibError(f"score={score!r} is not known. Choose one of {', '.join(SCORES)}.")
    return scores_of(walk_of(model, prompt), prompt, answer_id(model, prompt, answer), score, layers)


def scores_of(walk, prompt, token, score, layers=None):
    """`unit_scores` of a walk that is there already, for a token's id."""
    layers = blocks_asked(walk.model, layers)
    if score == "gradient":
        scored = (found["gradient"] for found in _down(walk, prompt, token, layers, {}))
    else:
        row = _row_of(walk, token, score)
        scored = (_contribution(walk, layer, activations_of(walk, layer)[-1], row) for layer in layers)
    return _score_table(walk, scored, token, score)


def every_score(walk, prompt, token):
    """The tables of all `SCORES`, from one way down: {score: table}.

    >>> every_score(Walk(model, prompt.inputs), prompt, token)["direct"]
    """
    rows = {score: _row_of(walk, token, score) for score in ("contribution", "direct")}
    found = list(_down(walk, prompt, token, blocks_asked(walk.model, None), rows))
    return {score: _score_table(walk, (one[score] for one in found), token, score) for score in SCORES}


def _score_table(walk, scored, token, score):
    pieces = [
        pd.DataFrame({"layer": layer, "unit": np.arange(len(total)), "score": total, "peak": peak, "activation": mean})
        for layer, total, peak, mean in scored
    ]
    table = pd.concat(pieces).sort_values(["layer", "unit"], ignore_index=True)
    table.attrs = {"answer": token, "score": score, "no_op": walk.no_op}
    return table


def _row_of(walk, token, score):
    """What a unit's output is read with: the slope of the logit, or the token's row of the unembedding; `[hidden]`."""
    return walk.slope(token) if score == "direct" else walk.model.unembedding(torch.tensor([token]))[0][0]


def _down(walk, prompt, token, layers, rows):
    """From the last of some layers to the first, score -> `(layer, score, peak, activation)`, each `[unit]`.

    "gradient", and the contributions by each of `rows`: what they need at the last token is passed on the way.
    """
    image = torch.as_tensor(prompt.image)

    def note(layer):
        return inputs_of(output_matrix(walk.model, layer))

    for layer, (passed,), (slope,) in walk.descend(token, note, layers):
        passed, slope = (part.reshape(walk.replay.positions, -1) for part in (passed, slope))
        by_token = passed[image].double() * slope[image].double()
        parts = by_token.sum(0), by_token.amax(0), passed[image].double().mean(0)
        found = {"gradient": (layer, *(part.cpu().numpy() for part in parts))}
        last = passed[-1].double()
        yield found | {score: _contribution(walk, layer, last, row) for score, row in rows.items()}


@torch.no_grad()
def _contribution(walk, layer, passed, row):
    """`passed`: what the units pass on at the last token, `[unit]`."""
    every = directions(walk.model, layer, slice(None))
    score = passed * (every @ row.to(every)).double()
    return layer, *(part.cpu().numpy() for part in (score, score, passed))


@torch.no_grad()
def activations_of(walk, layer):
    """What every unit of a block passes on to W_out, at each position of a prompt: `[position, unit]`, float64."""
    with inputs_of(output_matrix(walk.model, layer)) as found:
        walk.replay.block(layer, walk.states[layer - 1])
    return found[0].reshape(walk.replay.positions, -1).double()


def unit_map(model, prompt, layer, unit):
    """What one unit passes on at each image token: `[row, column]`.

    >>> prompt.view.to_picture(unit_map(model, prompt, 12, 7))
    """
    there = 1 <= layer <= model.n_layers
    count = output_matrix(model, layer).in_features if there else 0
    if unit not in range(count):
        raise MedlibError(
            f"There is no unit {unit} in block {layer} of {model.name}: blocks are 1 to {model.n_layers}"
            + (f", units 0 to {count - 1}." if there else ".")
        )
    passed = activations_of(walk_of(model, prompt), layer)
    return prompt.on_grid(passed[torch.as_tensor(prompt.image, device=passed.device), unit].cpu().numpy())


@torch.no_grad()
def ablate_units(model, prompt, answer, units, where="all", draws=20, seed=0):
    """Zero units, and as many random units of the same layers, and measure the answer's logit.

    >>> units = multimodal_neurons(model, prompt, "Yes", top=20)
    >>> ablate_units(model, prompt, "Yes", units).groupby("units").change.mean()

    `units`: a table with `layer` and `unit`; `where`: zeroed at "all" positions, the "image" tokens, or the "last"
    token.  Random units are drawn `draws` times with `seed`, from the others of each layer.  Returns one row per draw:
    `units` ("top", "random"), `draw` (0 for the top), `logit` (of the answer's first token), `change` (from the intact
    model, logits).  `attrs`: `logit` (intact), `p` (share of draws that lower the logit at least as much, the top
    counted among them), `no_op`, `seed`.  Raises `MedlibError` for another `where`, a unit that there is not, and a
    layer without enough other units.
    """
    if where not in PLACES:
        raise MedlibError(f"where={where!r} is not known. Choose one of {', '.join(PLACES)}.")
    if draws < 0:
        raise MedlibError(f"draws={draws}; give 0 or more.")
    chosen = units_by_layer(model, units)
    walk, token = walk_of(model, prompt), answer_id(model, prompt, answer)
    positions = positions_of(prompt, where)
    random = np.random.default_rng(seed)
    sets = [("top", 0, chosen)]
    for draw in range(draws):
        sets.append(("random", draw, random_units(model, chosen, random)))
    intact = float(walk.logit([token], walk.states[-1])[0, 0])
    rows = []
    for name, draw, by_layer in sets:
        logit = float(walk.logit([token], state_without(walk, by_layer, positions))[0, 0])
        rows.append((name, draw, logit, logit - intact))
    table = pd.DataFrame(rows, columns=["units", "draw", "logit", "change"])
    changes = table["change"].to_numpy()
    p = stats.permutation_p(changes[0], changes[1:], "less") if draws else None
    table.attrs = {"logit": intact, "p": p, "no_op": walk.no_op, "seed": seed, "answer": token}
    return table


def positions_of(prompt, where):
    """The positions of a prompt that a place of `PLACES` names: an index tensor."""
    places = {"all": np.arange(prompt.length), "image": prompt.image, "last": np.array([prompt.length - 1])}
    return torch.as_tensor(places[where])


def units_by_layer(model, units):
    """A table of units as `{layer: units}`; `MedlibError` for an empty one, or a unit that there is not."""
    if not isinstance(units, pd.DataFrame) or not len(units) or not {"layer", "unit"} <= set(units):
        raise MedlibError("units must be a table with at least one row and the columns layer and unit.")
    if units[["layer", "unit"]].isna().any(axis=None):
        raise MedlibError("units has rows without a layer or a unit; drop them.")
    found = {int(layer): np.unique(own) for layer, own in units.groupby("layer")["unit"]}
    for layer, own in found.items():
        if not 1 <= layer <= model.n_layers or own.min() < 0 or own.max() >= output_matrix(model, layer).in_features:
            raise MedlibError(f"Block {layer} of {model.name} has no such units: {own.tolist()}.")
    return found


def random_units(model, chosen, random):
    """As many other units of the same layers as `chosen`, `{layer: units}`, drawn with a `Generator`."""
    drawn = {}
    for layer, own in chosen.items():
        rest = np.setdiff1d(np.arange(output_matrix(model, layer).in_features), own)
        if len(rest) < len(own):
            raise MedlibError(
                f"Block {layer} has {len(rest)} units beside the {len(own)} chosen; too few to draw from."
            )
        drawn[layer] = random.choice(rest, len(own), replace=False)
    return drawn


@torch.no_grad()
def state_without(walk, by_layer, positions):
    """The last state with units `{layer: units}` zeroed; blocks below the first of them are those of the intact walk.

    `[row, position, hidden]`; `positions`: an index tensor of where they are zeroed.  Where the first of them stands in
    the second half of the prompt, the positions before it are shared with the walk, and are not in what is returned.
    """
    first, start = min(by_layer), int(positions.min())
    start = start if 2 * start >= walk.replay.positions and walk.shares_positions else 0
    state, positions = walk.states[first - 1][:, start:], positions.to(walk.model.device) - start
    for layer in range(first, walk.model.n_layers + 1):
        if layer not in by_layer:
            state = walk.block_from(layer, state, start)
            continue
        gone = torch.as_tensor(by_layer[layer], device=positions.device)
        with zeroed(output_matrix(walk.model, layer), gone, positions):
            state = walk.block_from(layer, state, start)
    return state
