"""A model larger than memory: each block's weights are read from the checkpoint when the block is visited.

The model is built without weights, transformers says which tensor of which file is which parameter, and a visit reads a
block's tensors into buffers that all blocks share.  A sweep visits each block once (see replay.py), so each weight is
read once a walk, and counted.  Of the embedding only the rows of the prompts' tokens are read, and the unembedding is
read in parts.

These are plain reads, not memory maps: pages of a map count as resident until they are dropped one by one.  And they
are ours, not transformers' `device_map={"": "disk"}`: that reads every weight once while loading (3.9 GiB resident for
a checkpoint of 3.2), and its hooks sit on single modules, which are read again for every batch.
Blocks are converted to the dtype of the computation as they are read: on a CPU float32 is computed several times
faster than bfloat16.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.integrations.accelerate import accelerate_disk_offload

from medlib.errors import MedlibError
from medlib.model import find_blocks

PART = 2**27  # bytes of the unembedding that are in memory at once
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Place(NamedTuple):
    """Where a tensor lies: a file, the offset of its first byte, its dtype and shape."""

    file: str
    offset: int
    dtype: torch.dtype
    shape: tuple

    @property
    def bytes(self):
        return self.dtype.itemsize * torch.Size(self.shape).numel()


class Streamed:
    """The weights of an empty model, in its checkpoint's safetensors.

    >>> hf = empty(transformers.AutoModelForCausalLM, config, torch.float32)
    >>> weights = Streamed(hf, files, device="cpu")
    >>> model = medlib.Model(hf, tokenizer, weights=weights)

    What is neither in a block nor an embedding is loaded at once.  `prefetch` reads the next block while one computes.
    `bytes_read` counts what was read from the files.  Raises `MedlibError` where the checkpoint does not hold all
    tensors in the form in which the model has them.
    """

    def __init__(self, hf, files, device="cpu", prefetch=False):
        self.hf, self.device, self.bytes_read = hf, torch.device(device), 0
        self.blocks = list(find_blocks(hf, hf.config.get_text_config(decoder=True)))
        self._files, self._counting = {}, Lock()
        self.places = _places(hf, files)
        self._empty, self._buffers, self._now, self._changes = {}, {}, None, {}
        self._staging = torch.empty(0, dtype=torch.uint8)
        self._reader = ThreadPoolExecutor(1) if prefetch else None
        self._ahead, self._embedded = (None, None), (torch.empty(0), None)
        self._embedding, self._head = hf.get_input_embeddings(), hf.get_output_embeddings()
        self._tensors = {block: _tensors(block, name) for name, block in hf.named_modules() if block in self.blocks}
        self._load_the_rest()
        self._embedding.padding_idx = None  # it may lie beyond the few rows that are read; only training needs it
        self._embedding.forward = self._embed
        self._head.forward = self._unembed
        for block in self.blocks:
            block.register_forward_pre_hook(lambda block, args: self.bring(block))

    # --- blocks -----------------------------------------------------------------------------------------------------

    def bring(self, block):
        """Put a block's weights in place, and take those of the block before it away."""
        if self._now is block:
            return
        if self._now is not None:
            for owner, leaf, kind, _ in self._tensors[self._now]:
                getattr(owner, kind)[leaf] = self._empty[owner, leaf]
        at = self.blocks.index(block)
        raw = self._read_ahead(at)
        for owner, leaf, kind, name in self._tensors[block]:
            self._empty[owner, leaf] = getattr(owner, kind)[leaf]
            value = self._buffer(at, name, self.places[name], raw.get(name))
            getattr(owner, kind)[leaf] = nn.Parameter(value, False) if kind == "_parameters" else value
        step = 1 if self._now is None else at - self.blocks.index(self._now)
        self._now = block
        if at in self._changes:
            self._changes[at]()
        if self._reader is not None and 0 <= at + step < len(self.blocks):
            following = self.blocks[at + step]
            names = [name for *_, name in self._tensors[following]]
            self._ahead = following, self._reader.submit(lambda: {name: self._raw(self.places[name]) for name in names})

    @contextmanager
    def changed(self, changes):
        """While it lasts, call `changes[layer]()` (layer 1..L) each time that block's weights have been brought."""
        kept = dict(self._changes)
        self._changes |= {layer - 1: change for layer, change in changes.items()}
        self._now = self._forget()
        try:
            yield
        finally:
            self._changes, self._now = kept, self._forget()

    def _forget(self):
        """Take the present block's weights away."""
        if self._now is not None:
            for owner, leaf, kind, _ in self._tensors[self._now]:
                getattr(owner, kind)[leaf] = self._empty[owner, leaf]

    def _read_ahead(self, at):
        """What was read ahead for this block: name -> bytes; nothing if it was another block, or none."""
        block, future = self._ahead
        self._ahead = (None, None)
        found = future.result() if future is not None else {}
        return found if block is self.blocks[at] else {}

    def _buffer(self, at, name, place, raw):
        """A tensor's values in the buffer that tensors of its name and shape share over all blocks."""
        dtype = self.hf.dtype if place.dtype.is_floating_point else place.dtype
        key = name.split(f".{at}.", 1)[-1], place.shape
        if key not in self._buffers:
            self._buffers[key] = torch.empty(place.shape, dtype=dtype, device=self.device)
        values = raw if raw is not None else self._raw(place, staging=True)
        return self._buffers[key].copy_(values.view(place.dtype).view(place.shape))

    # --- embedding and unembedding ----------------------------------------------------------------------------------

    def rows(self, module, leaf, tokens):
        """Rows of an embedding or unembedding, `[token, ...]`, in the dtype of the model; None where it has no `leaf`.

        `tokens` are ids `[token]`, or a slice of ids.
        """
        name = self._name(module, leaf)
        if name is None:
            return None
        place = self.places[name]
        if isinstance(tokens, slice):
            raw = self._raw(self._span(place, tokens.start, tokens.stop))
        else:
            raw = torch.cat([self._raw(self._span(place, token, token + 1)) for token in tokens.tolist()])
        return raw.view(place.dtype).view(-1, *place.shape[1:]).to(self.device, self.hf.dtype)

    def rows_at_once(self, module):
        """How many rows of the unembedding are in memory at once."""
        return max(1, PART // (self.places[self._name(module, "weight")].shape[1] * self.hf.dtype.itemsize))

    def _name(self, module, leaf):
        owner = "embedding" if module is self._embedding else "head"
        return self._ends.get((owner, leaf))

    def _span(self, place, start, stop):
        row = place.dtype.itemsize * torch.Size(place.shape[1:]).numel()
        return place._replace(offset=place.offset + start * row, shape=(stop - start, *place.shape[1:]))

    def _embed(self, ids):
        """The embedding's own forward, on a table of the few rows that are wanted."""
        wanted, ids = ids.unique(return_inverse=True)
        if not torch.equal(wanted, self._embedded[0]):  # a batch is embedded several times over
            self._embedded = wanted, nn.Parameter(self.rows(self._embedding, "weight", wanted), False)
        empty = self._embedding.weight
        self._embedding._parameters["weight"] = self._embedded[1]
        try:
            return type(self._embedding).forward(self._embedding, ids)
        finally:
            self._embedding._parameters["weight"] = empty

    def _unembed(self, states):
        step, vocabulary = self.rows_at_once(self._head), len(self._head.weight)
        parts = [slice(at, min(at + step, vocabulary)) for at in range(0, vocabulary, step)]
        return torch.cat([nn.functional.linear(states, *self.head(part)) for part in parts], dim=-1)

    def head(self, tokens):
        """Weight and bias of the unembedding, of some tokens: `[token, hidden]`, and `[token]` or None."""
        return self.rows(self._head, "weight", tokens), self.rows(self._head, "bias", tokens)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _raw(self, place, staging=False):
        """The bytes of a tensor; `staging` lets the next such call overwrite them."""
        if staging and len(self._staging) < place.bytes:
            self._staging = torch.empty(place.bytes, dtype=torch.uint8)
        values = self._staging[: place.bytes] if staging else torch.empty(place.bytes, dtype=torch.uint8)
        if place.file not in self._files:
            self._files[place.file] = os.open(place.file, os.O_RDONLY)
        view, at = memoryview(values.numpy()), 0
        while at < place.bytes:
            got = os.preadv(self._files[place.file], [view[at:]], place.offset + at)
            if not got:
                raise MedlibError(f"{place.file} ends before its tensors do. Fetch or copy it again.")
            at += got
        with self._counting:
            self.bytes_read += place.bytes
        return values

    def _load_the_rest(self):
        """Load what is neither in a block nor an embedding: norms, position tables, the part that sees images."""
        streamed = {name for tensors in self._tensors.values() for *_, name in tensors}
        self._ends = {}
        for owner, module in (("embedding", self._embedding), ("head", self._head)):
            (path,) = {name for name, found in self.hf.named_modules() if found is module}
            for leaf in (*module._parameters, *module._buffers):
                if f"{path}.{leaf}" in self.places:
                    self._ends[owner, leaf] = f"{path}.{leaf}"
        for name, place in self.places.items():
            if name in streamed or name in self._ends.values():
                continue
            path, _, leaf = name.rpartition(".")
            module = self.hf.get_submodule(path)
            value = self._raw(place).view(place.dtype).view(place.shape)
            value = value.to(self.device, self.hf.dtype if value.dtype.is_floating_point else value.dtype)
            if leaf in module._parameters:
                module._parameters[leaf] = nn.Parameter(value, False)
            else:
                module._buffers[leaf] = value

    @property
    def size(self):
        """Bytes of the whole checkpoint, each tensor once."""
        return sum(place.bytes for place in {(p.file, p.offset): p for p in self.places.values()}.values())

    @property
    def in_memory(self):
        """Bytes of weights that are in memory at most: one block's, converted, and what reading it takes."""
        sizes = [[self.places[name] for *_, name in tensors] for tensors in self._tensors.values()]
        numbers = max(sum(torch.Size(place.shape).numel() for place in block) for block in sizes)
        raw = max(place.bytes for block in sizes for place in block)
        ahead = max(sum(place.bytes for place in block) for block in sizes) if self._reader is not None else 0
        return numbers * self.hf.dtype.itemsize + raw + ahead + 2 * PART

    def close(self):
        """Close the files."""
        for file in self._files.values():
            os.close(file)
        self._files = {}


def empty(auto, config, dtype):
    """A model of a config without weights; buffers that it computes itself are there."""
    with init_empty_weights(include_buffers=False):
        hf = auto.from_config(config, dtype=dtype)
    hf.tie_weights()
    return hf.eval()


def headers(files):
    """Every tensor of some safetensors files: name -> `Place`.  Only the files' headers are read."""
    found = {}
    for file in files:
        with Path(file).open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            for name, tensor in json.loads(opened.read(length)).items():
                if name != "__metadata__":
                    dtype = DTYPES.get(tensor["dtype"])
                    start, _ = tensor["data_offsets"]
                    found[name] = Place(str(file), 8 + length + start, dtype, tuple(tensor["shape"]))
    return found


def _places(hf, files):
    """Where each of the model's parameters and saved buffers lies: name -> `Place`."""
    there = headers(files)
    shards = {"weight_map": {name: Path(place.file).name for name, place in there.items()}}
    files = [str(file) for file in files]
    index = accelerate_disk_offload(
        hf, None, files, {"": "disk"}, shards if len(files) > 1 else None, get_model_conversion_mapping(hf)
    )
    wanted = hf.state_dict()
    found = {name: there[entry["weight_name"]] for name, entry in index.items() if name in wanted}
    missing = sorted(name for name, value in wanted.items() if name not in found or found[name].shape != value.shape)
    if missing:
        raise MedlibError(
            f"{len(missing)} tensors of {type(hf).__name__} are not in the checkpoint as the model has them "
            f"({missing[0]} first): they are missing, or are rearranged on loading, as experts often are. Such weights "
            'cannot be streamed; leave offload="disk" out.'
        )
    if odd := [name for name, place in found.items() if place.dtype is None]:
        raise MedlibError(f"{odd[0]} is stored in a number format that cannot be streamed: quantised weights are not.")
    return found


def _tensors(block, path):
    """A block's parameters and saved buffers: `(module, leaf, "_parameters" or "_buffers", name)`."""
    found = []
    for name, module in block.named_modules():
        start = ".".join(part for part in (path, name) if part)
        saved = [leaf for leaf in module._buffers if leaf not in module._non_persistent_buffers_set]
        own = [leaf for leaf, parameter in module._parameters.items() if parameter is not None]
        for kind, leaves in (("_parameters", own), ("_buffers", saved)):
            found += [(module, leaf, kind, f"{start}.{leaf}") for leaf in leaves]
    return found
