"""What a chapter would cost on a model that did not run here, by `medlib.plan` and without any weights.

Planned are a chapter's sweeps at its default parameters; what it does besides (UMAP, shuffles, resamples, windows of
blocks) is not.  Rates are those of one H100 in bfloat16, as on the page of models.
"""

from medlib import plan

MACHINE = plan.ACCELERATORS["h100"]
WORKING = 2**30  # bytes that a sweep takes for its states unless told otherwise
TEXT, IMAGE = 16, 640  # tokens of a prompt: a sentence; a picture of 576 tokens with its question
SWEEPS = {  # chapter -> (technique of the plan, prompts or pairs) of each sweep, and tokens of a prompt
    "knowledge": ([("activations", 5852)], TEXT),
    "geometry": ([("activations", 4803)], TEXT),
    "ages": ([("activations", 1212)], TEXT),
    "progression": ([("activations", 960)], TEXT),
    "collapse": ([("activations", 1824)], TEXT),
    "lesion": ([("lesion", 456 + 2 * 288 + 4 * 48)], TEXT),  # blocks absent; two other ways; their parts
    "patching": ([("patching", 288)], TEXT),  # twelve couples, both directions, of twelve domains
    "embedding_geometry": ([("activations", 316)], IMAGE),
    "contextualisation": ([("activations", 2 * 50 * 3 + 8 * 3 + 3)], IMAGE),  # as they are and shuffled; others; black
    "image_tokens": ([("activations", 2 * 60 + 30 + 1), ("saliency", 20)], IMAGE),  # the lens's pictures; the neurons'
    "grad_cam": ([("saliency", 2 * 80)], IMAGE),  # two kinds of question, own and random weights
    "multimodal_neurons": ([("saliency", 60), ("activations", 60 * 40)], IMAGE),  # the scores; each set taken out
}


def command(chapters, model):
    """The command that runs some chapters on a model.

    >>> command(["lesion", "knowledge"], "qwen3-32b")
    'medlib run lesion --model qwen3-32b && medlib run knowledge --model qwen3-32b'
    """
    return " && ".join(f"medlib run {chapter} --model {model}" for chapter in chapters)


def cost(chapters, model):
    """Bytes and seconds that the sweeps of some chapters take on a model whose weights are in memory.

    >>> memory, seconds = cost(["geometry"], "llama-3.3-70b")

    The bytes are those of the weights, of one prompt's pass, and of what a sweep works in: it takes its prompts in
    groups that fit.
    """
    memory, seconds = 0.0, 0.0
    for chapter in chapters:
        sweeps, tokens = SWEEPS[chapter]
        for technique, prompts in sweeps:
            memory = max(memory, _planned(model, technique, tokens, 1)["memory"] + WORKING)
            seconds += _planned(model, technique, tokens, prompts)["seconds"]
    return memory, seconds


def _planned(model, technique, tokens, prompts):
    found = plan.plan(model, MACHINE, tokens=tokens, prompts=prompts)
    return found[(found["technique"] == technique) & (found["weights"] == "in memory")].iloc[0]
