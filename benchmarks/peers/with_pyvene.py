"""The three jobs with pyvene, where an intervention is a configuration, and a run takes a base and its sources.

- *documented*: a collecting intervention on every block; a skipped block, and a state swapped at one position, each
  from a source that runs before the base does;
- *batched*: padded batches or repeated rows, each with a position of its own, states given instead of sources that are
  run again, no logits that nobody reads.

A run always walks up all blocks, so there is no third way.
"""

import pyvene
import torch
from shared import divergence, in_order, padded
from transformers import AutoModelForCausalLM

PACKAGE, READS = "pyvene", "ids"


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def at_block(model, layer, kind, component="block_output", tokens=1):
    """A model with an intervention at one block."""
    return pyvene.IntervenableModel([place(layer, kind, component, tokens)], model)


def place(layer, kind, component="block_output", tokens=1):
    return dict(layer=layer, component=component, intervention_type=kind, max_number_of_units=tokens)


def collector(model, component="block_output", tokens=1):
    """A model that collects states at all blocks, of so many tokens."""
    places = [
        place(layer, pyvene.CollectIntervention, component, tokens) for layer in range(model.config.num_hidden_layers)
    ]
    return pyvene.IntervenableModel(places, model)


# --- activations ------------------------------------------------------------------------------------------------------


def activations_documented(model, *prompts):
    collecting, found = collector(model), []
    for prompt in prompts:
        (_, states), _ = collecting({"input_ids": torch.tensor([prompt])}, unit_locations={"base": len(prompt) - 1})
        found.append(torch.stack(states)[:, :, 0])
    return torch.cat(found, 1)


def activations_batched(model, *prompts):
    collecting, members, found = collector(model), [], []
    for batch, inputs in padded(prompts):
        last = inputs["input_ids"].shape[1] - 1
        (_, states), _ = collecting({**inputs, "logits_to_keep": 1}, unit_locations={"base": last})
        members.append(batch)
        found.append(torch.stack(states, 1)[:, :, 0])
    return in_order(members, found).transpose(0, 1)


# --- lesions ----------------------------------------------------------------------------------------------------------


def lesion_documented(model, *prompts):
    layers = range(model.config.num_hidden_layers)
    skipping, found = [at_block(model, layer, pyvene.SkipIntervention) for layer in layers], []
    for prompt in prompts:
        inputs, row = {"input_ids": torch.tensor([prompt])}, []
        intact = model(**inputs).logits[:, -1]
        for layer in layers:
            _, lesioned = skipping[layer](inputs, [inputs])
            row.append(divergence(intact, lesioned.logits[:, -1]))
        found.append(torch.stack(row, 1))
    return torch.cat(found)


def lesion_batched(model, *prompts):
    layers = range(model.config.num_hidden_layers)
    setting = [at_block(model, layer, pyvene.VanillaIntervention) for layer in layers]
    members, found = [], []
    for batch, inputs in padded(prompts):
        inputs, tokens = {**inputs, "logits_to_keep": 1}, inputs["input_ids"].shape[1]
        collecting = collector(model, "block_input", tokens)
        (_, entering), intact = collecting(inputs, unit_locations={"base": list(range(tokens))})
        row = []
        for layer in layers:
            _, lesioned = setting[layer](inputs, source_representations=entering[layer])
            row.append(divergence(intact.logits[:, -1], lesioned.logits[:, -1]))
        members.append(batch)
        found.append(torch.stack(row, 1))
    return in_order(members, found)


# --- patches ----------------------------------------------------------------------------------------------------------


def patch_documented(model, clean, corrupt, answer, wrong):
    base, source = ({"input_ids": torch.tensor([ids])} for ids in (corrupt, clean))
    found = []
    for layer in range(model.config.num_hidden_layers):
        swapping, row = at_block(model, layer, pyvene.VanillaIntervention), []
        for position in range(len(corrupt)):
            _, patched = swapping(base, [source], {"sources->base": position})
            row.append(patched.logits[0, -1, answer] - patched.logits[0, -1, wrong])
        found.append(torch.stack(row))
    return torch.stack(found)


def patch_batched(model, clean, corrupt, answer, wrong):
    tokens = len(corrupt)
    source = {"input_ids": torch.tensor([clean]), "logits_to_keep": 1}
    (_, states), _ = collector(model, tokens=tokens)(source, unit_locations={"base": list(range(tokens))})
    base, found = {"input_ids": torch.tensor([corrupt] * tokens), "logits_to_keep": 1}, []
    own = {"sources->base": (None, [[[position] for position in range(tokens)]])}  # row p is patched at position p
    for layer, state in enumerate(states):
        swapping = at_block(model, layer, pyvene.VanillaIntervention)
        _, patched = swapping(base, None, own, source_representations=state[0, :, None])
        last = patched.logits[:, -1]
        found.append(last[:, answer] - last[:, wrong])
    return torch.stack(found)


WAYS = {
    "activations": {"documented": activations_documented, "batched": activations_batched},
    "lesion": {"documented": lesion_documented, "batched": lesion_batched},
    "patch": {"documented": patch_documented, "batched": patch_batched},
}
