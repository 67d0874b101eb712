"""The three jobs with TransformerLens 4, whose bridge puts named hook points around the blocks of the model.

- *documented*: `run_with_cache` and `run_with_hooks` for each prompt, and the patching module's own sweep; weights are
  left as they are, and attention is the bridge's own, which computes its pattern in the open;
- *batched*: the same hooks on padded batches or repeated rows, only the states that are read cached, no logits that
  nobody reads;
- *resumed*: `start_at_layer` takes the patched state, though the blocks below run all the same.
"""

import torch
from shared import divergence, in_order, padded
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge

PACKAGE, READS = "transformer-lens", "ids"


def load(folder):
    return TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)


def leaving(layer):
    return f"blocks.{layer}.hook_resid_post"


# --- activations ------------------------------------------------------------------------------------------------------


def activations_documented(model, *prompts):
    found = []
    for prompt in prompts:
        _, cache = model.run_with_cache(torch.tensor([prompt]))
        found.append(torch.stack([cache["resid_post", layer][:, -1] for layer in range(model.cfg.n_layers)]))
    return torch.cat(found, 1)


def activations_batched(model, *prompts):
    members, found = [], []
    for batch, inputs in padded(prompts):
        ids, wanted = inputs.pop("input_ids"), [leaving(layer) for layer in range(model.cfg.n_layers)]
        _, cache = model.run_with_cache(ids, names_filter=wanted, **inputs, logits_to_keep=1)
        members.append(batch)
        found.append(torch.stack([cache[name][:, -1] for name in wanted], 1))
    return in_order(members, found).transpose(0, 1)


# --- lesions ----------------------------------------------------------------------------------------------------------


def without(layer):
    """Hooks that hand on, after a block, the state that entered it."""
    entered = []

    def remember(state, hook):
        entered.append(state)

    return [(f"blocks.{layer}.hook_resid_pre", remember), (leaving(layer), lambda state, hook: entered.pop())]


def lesion_documented(model, *prompts):
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        intact, row = model(ids)[:, -1], []
        for layer in range(model.cfg.n_layers):
            lesioned = model.run_with_hooks(ids, fwd_hooks=without(layer))[:, -1]
            row.append(divergence(intact, lesioned))
        found.append(torch.stack(row, 1))
    return torch.cat(found)


def lesion_batched(model, *prompts):
    members, found = [], []
    for batch, inputs in padded(prompts):
        ids = inputs.pop("input_ids")
        intact, row = model(ids, **inputs, logits_to_keep=1)[:, -1], []
        for layer in range(model.cfg.n_layers):
            lesioned = model.run_with_hooks(ids, fwd_hooks=without(layer), **inputs, logits_to_keep=1)[:, -1]
            row.append(divergence(intact, lesioned))
        members.append(batch)
        found.append(torch.stack(row, 1))
    return in_order(members, found)


# --- patches ----------------------------------------------------------------------------------------------------------


def patch_documented(model, clean, corrupt, answer, wrong):
    _, cache = model.run_with_cache(torch.tensor([clean]))
    return patching.generic_activation_patch(
        model,
        torch.tensor([corrupt]),
        cache,
        lambda logits: logits[0, -1, answer] - logits[0, -1, wrong],
        patching.layer_pos_patch_setter,
        "resid_post",
        index_axis_names=("layer", "pos"),
    )


def patch_batched(model, clean, corrupt, answer, wrong):
    wanted = [leaving(layer) for layer in range(model.cfg.n_layers)]
    _, cache = model.run_with_cache(torch.tensor([clean]), names_filter=wanted, logits_to_keep=1)
    ids = torch.tensor([corrupt] * len(corrupt))
    return torch.stack([patched_after(model, name, ids, cache, answer, wrong) for name in wanted])


def patched_after(model, name, ids, cache, answer, wrong):
    every = torch.arange(len(ids))

    def patch(state, hook):
        state[every, every] = cache[name][0]  # row p is patched at position p
        return state

    last = model.run_with_hooks(ids, fwd_hooks=[(name, patch)], logits_to_keep=1)[:, -1]
    return last[:, answer] - last[:, wrong]


def patch_resumed(model, clean, corrupt, answer, wrong):
    wanted = [leaving(layer) for layer in range(model.cfg.n_layers)]
    _, cache = model.run_with_cache(torch.tensor([clean, corrupt]), names_filter=wanted, logits_to_keep=1)
    every, found = torch.arange(len(corrupt)), []
    for layer, name in enumerate(wanted[:-1], 1):
        patched = cache[name][1].repeat(len(corrupt), 1, 1)
        patched[every, every] = cache[name][0]
        last = model(patched, start_at_layer=layer, logits_to_keep=1)[:, -1]
        found.append(last[:, answer] - last[:, wrong])
    ids = torch.tensor([corrupt] * len(corrupt))
    return torch.stack([*found, patched_after(model, wanted[-1], ids, cache, answer, wrong)])  # no block is left


WAYS = {
    "activations": {"documented": activations_documented, "batched": activations_batched},
    "lesion": {"documented": lesion_documented, "batched": lesion_batched},
    "patch": {"documented": patch_documented, "batched": patch_batched, "resumed": patch_resumed},
}
