"""The three jobs with nnsight, where an intervention is written in the order in which the forward pass meets it.

- *documented*: a trace for each prompt; a block skipped with its own input; the positions of a layer as the invokes of
  one trace;
- *batched*: padded batches or repeated rows in one trace, one edit of the whole tensor, no logits that nobody reads;
- *resumed*: batched, and all blocks below the intervention skipped with the state that it leaves behind.
"""

import nnsight
import torch
from shared import divergence, in_order, padded

PACKAGE, READS = "nnsight", "ids"


def load(folder):
    return nnsight.TransformersModel(folder, task="text-generation", dispatch=True, dtype=torch.float32)


# --- activations ------------------------------------------------------------------------------------------------------


def activations_documented(model, *prompts):
    found = []
    for prompt in prompts:
        with model.trace(torch.tensor([prompt])):
            states = nnsight.save([block.output[:, -1] for block in model.model.layers])
        found.append(torch.stack(states))
    return torch.cat(found, 1)


def activations_batched(model, *prompts):
    members, found = [], []
    for batch, inputs in padded(prompts):
        with model.trace(**inputs, logits_to_keep=1):
            states = nnsight.save([block.output[:, -1].clone() for block in model.model.layers])
        members.append(batch)
        found.append(torch.stack(states, 1))
    return in_order(members, found).transpose(0, 1)


# --- lesions ----------------------------------------------------------------------------------------------------------


def lesion_documented(model, *prompts):
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with model.trace(ids):
            intact = model.output.logits[:, -1].save()
        row = []
        for block in model.model.layers:
            with model.trace(ids):
                block.skip(block.input)
                lesioned = model.output.logits[:, -1].save()
            row.append(divergence(intact, lesioned))
        found.append(torch.stack(row, 1))
    return torch.cat(found)


def lesion_batched(model, *prompts):
    members, found = [], []
    for batch, inputs in padded(prompts):
        with model.trace(**inputs, logits_to_keep=1):
            intact = model.output.logits[:, -1].save()
        row = []
        for block in model.model.layers:
            with model.trace(**inputs, logits_to_keep=1):
                block.skip(block.input)
                lesioned = model.output.logits[:, -1].save()
            row.append(divergence(intact, lesioned))
        members.append(batch)
        found.append(torch.stack(row, 1))
    return in_order(members, found)


def lesion_resumed(model, *prompts):
    members, found = [], []
    for batch, inputs in padded(prompts):
        with model.trace(**inputs, logits_to_keep=1):
            entering = nnsight.save([block.input for block in model.model.layers])
            intact = model.output.logits[:, -1].save()
        row = []
        for layer, state in enumerate(entering):
            with model.trace(**inputs, logits_to_keep=1):
                for block in model.model.layers[: layer + 1]:
                    block.skip(state)
                lesioned = model.output.logits[:, -1].save()
            row.append(divergence(intact, lesioned))
        members.append(batch)
        found.append(torch.stack(row, 1))
    return in_order(members, found)


# --- patches ----------------------------------------------------------------------------------------------------------


def patch_documented(model, clean, corrupt, answer, wrong):
    with model.trace(torch.tensor([clean])):
        states = nnsight.save([block.output for block in model.model.layers])
    ids, found = torch.tensor([corrupt]), []
    for layer in range(len(states)):
        with model.trace() as tracer:
            row = nnsight.save([])
            for position in range(len(corrupt)):
                with tracer.invoke(ids):
                    model.model.layers[layer].output[:, position] = states[layer][:, position]
                    logits = model.output.logits[0, -1]
                    row.append(logits[answer] - logits[wrong])
        found.append(torch.stack(row))
    return torch.stack(found)


def patch_batched(model, clean, corrupt, answer, wrong):
    with model.trace(torch.tensor([clean]), logits_to_keep=1):
        states = nnsight.save([block.output for block in model.model.layers])
    every = torch.arange(len(corrupt))
    ids, found = torch.tensor([corrupt] * len(corrupt)), []
    for layer in range(len(states)):
        with model.trace(ids, logits_to_keep=1):
            model.model.layers[layer].output[every, every] = states[layer][0]  # row p is patched at position p
            last = model.output.logits[:, -1].save()
        found.append(last[:, answer] - last[:, wrong])
    return torch.stack(found)


def patch_resumed(model, clean, corrupt, answer, wrong):
    with model.trace(torch.tensor([clean, corrupt]), logits_to_keep=1):
        states = nnsight.save([block.output for block in model.model.layers])
    every = torch.arange(len(corrupt))
    ids, found = torch.tensor([corrupt] * len(corrupt)), []
    for layer in range(len(states)):
        patched = states[layer][1].repeat(len(corrupt), 1, 1)
        patched[every, every] = states[layer][0]
        with model.trace(ids, logits_to_keep=1):
            for block in model.model.layers[: layer + 1]:
                block.skip(patched)
            last = model.output.logits[:, -1].save()
        found.append(last[:, answer] - last[:, wrong])
    return torch.stack(found)


WAYS = {
    "activations": {"documented": activations_documented, "batched": activations_batched},
    "lesion": {"documented": lesion_documented, "batched": lesion_batched, "resumed": lesion_resumed},
    "patch": {"documented": patch_documented, "batched": patch_batched, "resumed": patch_resumed},
}
