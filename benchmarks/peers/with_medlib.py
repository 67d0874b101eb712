"""The three jobs with medlib: a function each.  Runs in the project's own environment."""

import medlib

PACKAGE, READS = "medlib", "texts"


def load(folder):
    return medlib.load(folder, device="cpu")


def activations(model, *prompts):
    return medlib.activations(model, prompts)[1:]


def lesion(model, *prompts):
    return medlib.lesion_sweep(model, prompts).kl.to_numpy().reshape(len(prompts), -1)


def patch(model, clean, corrupt, answer, wrong):
    table = medlib.patch_sweep(model, [medlib.Pair(clean, corrupt, answer, wrong)])
    return table.logit_diff.to_numpy().reshape(model.n_layers, -1)


WAYS = {"activations": {"own": activations}, "lesion": {"own": lesion}, "patch": {"own": patch}}
