"""Write a checkpoint of random numbers in the shape of a Llama model: something large to stream, made in a minute.

    python benchmarks/random_checkpoint.py FOLDER --layers 32 --hidden 4096

The weights are drawn shard by shard, so memory stays at the size of a shard; the tokenizer is that of the embedded
model.  Numbers are scaled as transformers initialises a model, so that states stay finite through any depth.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from accelerate import init_empty_weights
from safetensors.torch import save_file

import medlib

SHAPES = {  # billions of parameters -> layers, hidden, intermediate, heads, key-value heads, vocabulary
    "tiny": (4, 64, 128, 4, 2, 49152),
    "1.6b": (24, 2048, 8192, 16, 8, 49152),
    "8b": (32, 4096, 14336, 32, 8, 128256),
}


def write(folder, size="8b", tied=False, dtype=torch.bfloat16, shard=2**31, seed=0):
    """Write the checkpoint, its config and its tokenizer; shards of at most `shard` bytes.  Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    layers, hidden, intermediate, heads, key_value_heads, vocabulary = SHAPES[size]
    config = transformers.LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        architectures=["LlamaForCausalLM"],
        torch_dtype=dtype,
    )
    config.save_pretrained(folder)
    medlib.load("smollm2-135m").tokenizer.save_pretrained(folder)
    with init_empty_weights():
        empty = transformers.LlamaForCausalLM(config)
    shapes = {
        name: value.shape for name, value in empty.state_dict().items() if not (tied and name == "lm_head.weight")
    }
    generator, written, names = torch.Generator().manual_seed(seed), [], {}
    pending, size_of = {}, 0

    def flush():
        if pending:
            file = f"model-{len(written) + 1:05d}.safetensors"
            save_file(pending, folder / file, metadata={"format": "pt"})
            written.append(file)
            names.update(dict.fromkeys(pending, file))
            pending.clear()

    for name, shape in shapes.items():
        bytes_of = shape.numel() * dtype.itemsize
        if size_of + bytes_of > shard:
            flush()
            size_of = 0
        pending[name] = torch.ones(shape, dtype=dtype) if len(shape) == 1 else _random(shape, dtype, generator)
        size_of += bytes_of
    flush()
    total = sum(shape.numel() * dtype.itemsize for shape in shapes.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": names})
    )
    return folder


def _random(shape, dtype, generator):
    values = torch.empty(shape, dtype=dtype)
    for rows in values.view(shape[0], -1).split(2**12):  # float32 is drawn in parts, or it would double the memory
        rows.copy_(torch.randn(rows.shape, generator=generator) * 0.02)
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--size", choices=SHAPES, default="8b")
    parser.add_argument("--tied", action="store_true")
    given = parser.parse_args()
    print(write(given.folder, given.size, given.tied))
