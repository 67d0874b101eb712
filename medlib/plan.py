"""What a technique will cost on a model, worked out from its configuration alone: no weights are fetched or read.

A block costs two operations for each of its weights and each token it is given, and attention four for each pair of
tokens and width; a sweep's cost is then how many tokens all its branches bring through how many blocks.  Time is
operations over what the hardware does a second, and what is moved over what it moves; `make bench` holds both against
measurements.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from medlib.errors import MedlibError
from medlib.model import find_blocks, to_bytes
from medlib.replay import TOKENS_PER_CALL

PROMPTS = {"activations": 64, "lesion": 16, "patching": 1, "saliency": 16}  # of each technique; pairs for patching
TECHNIQUES = tuple(PROMPTS)
PROCESS = 0.6 * 2**30  # bytes that Python with torch and transformers takes
CALL = 1e-3  # seconds that calling a block takes, however small its input
LEAST = 2**28  # bytes that a sweep over streamed weights gets for its states
BLOCK = 0.62  # of the rate of one large product, reached by a block with its small ones, attention and norms (measured)
EFFICIENCY = 0.4  # of the peak that vendors state, reached by matrix products of a few thousand tokens


class Hardware(NamedTuple):
    """What a machine does a second: operations, bytes through its memory, bytes from its disk; bytes a weight takes."""

    name: str
    operations: float
    memory: float
    disk: float
    itemsize: int


# Dense bf16 peak and memory bandwidth as the vendors' data sheets state them; the disk is a common NVMe one.
ACCELERATORS = {
    "h200": Hardware("h200", 989e12 * EFFICIENCY, 4.8e12, 3e9, 2),
    "h100": Hardware("h100", 989e12 * EFFICIENCY, 3.35e12, 3e9, 2),
    "a100": Hardware("a100", 312e12 * EFFICIENCY, 2.0e12, 3e9, 2),
    "l40s": Hardware("l40s", 362e12 * EFFICIENCY, 0.864e12, 3e9, 2),
    "rtx-4090": Hardware("rtx-4090", 165e12 * EFFICIENCY, 1.008e12, 3e9, 2),
}
CORE = Hardware("core", 70e9, 8e9, 1e9, 4)  # of a recent server, in float32; `this_machine` measures instead


class Shape(NamedTuple):
    """Sizes of a model: weights of a block, those of them that a token uses, of embedding and unembedding, and all."""

    layers: int
    hidden: int
    vocabulary: int
    width: int  # of all queries together
    block: int
    used: int
    widest: int  # outputs of a block's matrices for one token, all together
    embedding: int
    head: int
    total: int
    stored: float  # bytes a weight takes in the checkpoint

    @property
    def experts(self):
        return self.used < self.block


@cache
def shape(name):
    """The `Shape` of a model of the zoo, or of a local folder, from its configuration.

    >>> shape("llama-3.3-70b").layers
    80
    """
    from medlib.models import streaming

    auto, config = _configuration(name)
    hf = streaming.empty(auto, config, torch.bfloat16)
    text = hf.config.get_text_config(decoder=True)
    block = max(find_blocks(hf, text), key=lambda block: sum(p.numel() for p in block.parameters()))
    embedding, head = (end.weight for end in (hf.get_input_embeddings(), hf.get_output_embeddings()))
    experts = sum(p.numel() for p in block.parameters() if p.ndim == 3)
    of = getattr(text, "num_local_experts", None) or 1
    share = getattr(text, "num_experts_per_tok", None) or of
    weights = sum(p.numel() for p in block.parameters())
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Shape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=len(embedding),
        width=text.num_attention_heads * head_width,
        block=weights,
        used=round(weights - experts + experts * share / of),
        widest=sum(max(p.shape[-2:]) for p in block.parameters() if p.ndim >= 2),
        embedding=embedding.numel(),
        head=0 if head is embedding else head.numel(),
        total=sum(p.numel() for p in hf.parameters()),
        stored=2,
    )


def _configuration(name):
    """The class and the configuration of a model of the zoo, or of a local folder."""
    import transformers

    from medlib.models import loading, zoo

    if name in zoo.names():
        entry = zoo.entry(name)
        sizes = entry.get("config") or zoo.entry(entry["like"])["config"]
        config = getattr(transformers, entry["architecture"]).config_class(**sizes)
    else:
        config = loading._config(Path(name).expanduser(), str(name))
    return loading._auto_class(config, str(name)), config


def operations(shape, technique, prompts, tokens, first=1):
    """Operations of one sweep: a dict of those in `blocks`, of the `read-out`, of numbers `touched` besides, and of the
    `tokens` that go through blocks, counted for each block.

    `first` is the first token in which the two prompts of a pair differ (0-based); `prompts` are pairs then.
    """
    n, layers = prompts * tokens, shape.layers
    branched = layers * (layers - 1) / 2
    through = {  # tokens through blocks
        "activations": n * layers,
        "lesion": n * (layers + branched),
        "patching": prompts * (2 * tokens * layers + (tokens - first) * (tokens - first + 1) / 2 * branched)
        + (tokens - first) * layers,
        "saliency": 3 * n * layers,
    }[technique]
    attention = 4 * tokens * shape.width
    rows = {"activations": 0, "lesion": prompts * (2 * layers + 1), "patching": 0, "saliency": 3 * prompts}[technique]
    found = {
        "blocks": through * (2 * shape.used + attention) + 2 * 2 * tokens * layers * shape.used,  # and the no-op check
        "read-out": rows * 2 * shape.vocabulary * shape.hidden,
        "touched": 0,
        "tokens": through,
    }
    if technique == "saliency":  # the product of two thin matrices for each weight and prompt, and its absolute sum
        found["blocks"] += 2 * n * layers * shape.used
        found["touched"] = 2 * prompts * layers * shape.used
    return found


def table_bytes(shape, technique, prompts, tokens, itemsize, first=1):
    """The states that a sweep keeps at once."""
    states = {
        "activations": prompts * tokens,
        "lesion": prompts * tokens * (shape.layers + 2),
        "patching": prompts * shape.layers * (tokens - first) * (tokens - first + 1) / 2,
        "saliency": prompts * tokens * (shape.layers + 3),
    }[technique]
    return states * shape.hidden * itemsize


def plan(name, hardware=None, memory="4GiB", tokens=16, prompts=None):
    """What each technique costs on a model: a row for each, with its weights in memory and streamed from disk.

    >>> plan("llama-3.3-70b", ACCELERATORS["h100"])

    `hardware`: a `Hardware`, `cores(n)`, or None for this machine, measured; `memory` bounds the whole process where
    weights are streamed.  `prompts` of `tokens` each: 64 for activations, 16 for lesions and saliency and one pair for
    patching, unless given.  Returns `technique`, `weights` ("in memory" or "streamed"), `memory` (bytes; more than what
    was given where a block does not fit in that), `disk` (bytes of the checkpoint), `moved` (bytes of weights read from
    disk), `walks`, `operations`, `seconds`.  Raises `MedlibError` for an unknown model.
    """
    import pandas as pd

    sizes = shape(name)
    hardware = hardware or this_machine(sizes)
    rows = []
    for technique in TECHNIQUES:
        jobs = prompts or PROMPTS[technique]
        found = operations(sizes, technique, jobs, tokens)
        seconds = (found["blocks"] + found["read-out"]) / hardware.operations
        seconds += found["touched"] * hardware.itemsize / hardware.memory
        seconds += CALL * sizes.layers * (1 + found["tokens"] // (TOKENS_PER_CALL * sizes.layers))
        table = table_bytes(sizes, technique, jobs, tokens, hardware.itemsize)
        call = min(TOKENS_PER_CALL, jobs * tokens) * (sizes.widest + 8 * sizes.hidden) * hardware.itemsize
        checkpoint = sizes.total * sizes.stored
        whole = sizes.total * hardware.itemsize + table + call + PROCESS
        common = dict(technique=technique, disk=checkpoint, operations=found["blocks"] + found["read-out"])
        rows.append(common | dict(weights="in memory", memory=whole, moved=checkpoint, walks=1, seconds=seconds))
        fixed = PROCESS + sizes.block * (hardware.itemsize + sizes.stored / 3) + 2**28
        left = max(to_bytes(memory) - fixed - call, LEAST)
        groups = max(1, -(-table // (left / 2)))
        walks = groups * (2 if technique == "saliency" else 1) + 1  # and one that checks the first
        moved = walks * (checkpoint - sizes.embedding * sizes.stored * (1 if sizes.head else 0))
        streamed = fixed + table / groups + call
        seconds += moved / hardware.disk
        rows.append(common | dict(weights="streamed", memory=streamed, moved=moved, walks=walks, seconds=seconds))
    columns = ["technique", "weights", "memory", "disk", "moved", "walks", "operations", "seconds"]
    return pd.DataFrame(rows)[columns]


def cores(n):
    """A machine of `n` cores, as an estimate where none is at hand to be measured."""
    return Hardware(f"{n} cores", n * CORE.operations, n * CORE.memory, CORE.disk, CORE.itemsize)


def this_machine(sizes, seconds=0.5):
    """This machine, measured: a product of the shape of the model's own, and a pass over numbers in memory."""
    from time import perf_counter

    inner = max(sizes.hidden, min(4 * sizes.hidden, sizes.block // (3 * sizes.hidden)))
    given, weight = torch.randn(TOKENS_PER_CALL // 2, sizes.hidden), torch.randn(inner, sizes.hidden)
    many = torch.randn(2**22)

    def rate(work, amount):
        work()
        start, done = perf_counter(), 0
        while perf_counter() - start < seconds:
            work()
            done += amount
        return done / (perf_counter() - start)

    flops = rate(lambda: given @ weight.T, 2 * len(given) * weight.numel())
    moved = rate(lambda: many.abs().sum(), many.numel() * 4)
    return Hardware(f"this machine, {torch.get_num_threads()} threads", flops * BLOCK, moved, CORE.disk, 4)


def said(seconds):
    """A time in words of two digits: `41 s`, `3.2 min`, `5.1 h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.1g} s"


def hardware(name):
    """The `Hardware` of a name: an accelerator's, "8 cores", or "here".

    Raises `MedlibError` for another name.
    """
    if name == "here":
        return None
    number = str(name).removesuffix(" cores").removesuffix("-cores").removesuffix(" core")
    if number.isdigit() and int(number) and number != str(name):
        return cores(int(number))
    if name in ACCELERATORS:
        return ACCELERATORS[name]
    raise MedlibError(
        f"{name!r} is no hardware known here. Give here, a number of cores (8-cores), or one of "
        f"{', '.join(ACCELERATORS)}."
    )
