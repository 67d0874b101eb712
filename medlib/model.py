"""A model as the library sees it: a list of blocks, a tokenizer, and where it came from.

This is the one place that knows the anatomy of a model, and it asks the model itself: transformers names the decoder,
the decoder's configuration says how many blocks it has, and the list of that length holds them.
"""

import math
from functools import cached_property

import torch
from torch import nn

from medlib.errors import MedlibError
from medlib.hooks import hidden
from medlib.prompts import chat_prefix

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
COMPONENTS = ("residual", "attention", "mlp")


class Model:
    """A causal language model, alone or behind image tokens, with its tokenizer.

    >>> model = Model(hf_model, tokenizer)
    >>> model.n_layers, model.hidden_size

    `hf` is any decoder-only model of transformers, `processor` its image processor if it has one.  `memory` bounds the
    working memory of a sweep, weights apart: a number of bytes or a text such as "1GiB".  `weights` streams them from
    disk (models/streaming.py), if they are not in memory.  With `chat` every prompt begins the model's own reply in its
    chat template, after a user's turn that asks for a sentence to be completed; what the template puts in front is
    `model.chat_prefix`, None where prompts go in raw.  `name`, `source`, `revision` and `weights_sha256` go into the
    record of each run.  An encoder-decoder, a model whose blocks cannot be found, or `chat` without a template that
    takes a reply only begun, raises `MedlibError`.
    """

    def __init__(
        self,
        hf,
        tokenizer,
        processor=None,
        *,
        name=None,
        source=None,
        revision=None,
        weights_sha256=None,
        memory="1GiB",
        weights=None,
        chat=False,
    ):
        self.hf, self.tokenizer, self.processor = hf, tokenizer, processor
        self.name = name or type(hf).__name__
        self.source = source or {}
        self.revision = revision
        self.weights_sha256 = weights_sha256
        self.memory = to_bytes(memory)
        self.weights = weights
        self.chat = bool(chat)
        self.chat_prefix = chat_prefix(tokenizer, self.name) if chat else None
        self.checked = None  # how well replay gave the model's own logits, where that is not measured in each sweep
        self.config = hf.config.get_text_config(decoder=True)
        self.blocks = find_blocks(hf, self.config)
        if hf.get_output_embeddings() is None:
            raise MedlibError(
                f"{type(hf).__name__} has no unembedding, so it has no next-token distribution. Load it with "
                "AutoModelForCausalLM, or AutoModelForImageTextToText where it reads pictures."
            )
        hf.eval()

    def __repr__(self):
        return (
            f"Model({self.name!r}, {self.n_layers} layers, hidden size {self.hidden_size}, {self.dtype}, {self.device})"
        )

    @property
    def n_layers(self):
        return len(self.blocks)

    @property
    def hidden_size(self):
        return self.config.hidden_size

    @property
    def device(self):
        return self.weights.device if self.streams else self.hf.get_input_embeddings().weight.device

    @property
    def dtype(self):
        return self.hf.get_input_embeddings().weight.dtype

    def part(self, layer, component):
        """The module of block `layer` (1..L) that makes its "attention" output, or its "mlp" output.

        A block adds to the residual stream twice, and its last module with weights writes what the attention does not.
        Raises `MedlibError` where a block has no such two parts.
        """
        children = dict(self.blocks[layer - 1].named_children())
        weighted = [name for name, child in children.items() if any(p.ndim >= 2 for p in child.parameters())]
        attention = [name for name in weighted if "att" in name.lower()]
        if len(attention) != 1 or attention == weighted[-1:]:
            raise MedlibError(
                f"{self.name}: block {layer} has the parts {', '.join(weighted)}, and medlib looks for one attention "
                'and, after it, an MLP. Take component="residual".'
            )
        return children[attention[0] if component == "attention" else weighted[-1]]

    @property
    def streams(self):
        """Whether weights are read from disk when they are wanted, instead of being in memory."""
        return self.weights is not None

    def block(self, layer):
        """Block `layer` (1..L), its weights in place."""
        block = self.blocks[layer - 1]
        if self.streams:
            self.weights.bring(block)
        return block

    def unembedding(self, tokens):
        """Rows of the unembedding and of its bias, or None: `[token, hidden]`, `[token]`; ids, or a slice of ids."""
        if self.streams:
            return self.weights.head(tokens)
        head = self.hf.get_output_embeddings()
        tokens = tokens.to(head.weight.device) if torch.is_tensor(tokens) else tokens
        return head.weight[tokens], None if getattr(head, "bias", None) is None else head.bias[tokens]

    def vocabulary_parts(self):
        """The token ids in slices whose rows of the unembedding fit in memory; `[None]` where it is there already."""
        if not self.streams:
            return [None]
        step = self.weights.rows_at_once(self.hf.get_output_embeddings())
        return [slice(at, min(at + step, self.vocabulary)) for at in range(0, self.vocabulary, step)]

    @cached_property
    def vocabulary(self):
        """How many tokens the model has an embedding for."""
        return len(self.hf.get_input_embeddings().weight)

    @cached_property
    def context(self):
        """The longest prompt the model takes, in tokens; infinite where its configuration does not say."""
        return getattr(self.config, "max_position_embeddings", None) or math.inf

    @cached_property
    def blocks_return_tuples(self):
        """Whether a block hands on a tuple, state first, rather than the state alone; one token shows it."""

        def tell(module, args, output):
            hidden(output)
            raise _Told(isinstance(output, tuple))

        handle = self.blocks[0].register_forward_hook(tell)
        try:
            self.hf(input_ids=torch.zeros((1, 1), dtype=torch.long, device=self.device), use_cache=False)
        except _Told as told:
            return told.args[0]
        finally:
            handle.remove()
        raise MedlibError(
            f"{self.name}: the first block was not called in a forward pass; medlib cannot walk this model."
        )

    @cached_property
    def bytes_per_token(self):
        """Working memory of one token inside one block: its widest parameters' outputs and a few residual streams."""
        outputs = sum(max(p.shape) for p in self.blocks[0].parameters() if p.ndim >= 2)
        return (outputs + 8 * self.hidden_size) * self.dtype.itemsize


class _Told(Exception):
    """Carries an answer out of a forward pass that need not go on."""


def find_blocks(hf, config):
    """The list of a decoder's blocks: the one of as many modules as its configuration says it has layers."""
    if getattr(hf.config, "is_encoder_decoder", False):
        raise MedlibError(
            f"{type(hf).__name__} is an encoder-decoder; medlib walks decoder-only models. "
            "Load a causal language model, or a vision-language model with a causal decoder."
        )
    decoder = hf.get_decoder()
    lists = [m for m in decoder.modules() if isinstance(m, nn.ModuleList) and len(m) == config.num_hidden_layers]
    if not lists:
        raise MedlibError(
            f"No list of {config.num_hidden_layers} blocks was found in {type(decoder).__name__}; medlib needs a "
            "decoder that keeps its blocks in one ModuleList. Use medlib.hooks on its modules instead."
        )
    return lists[0]


def to_bytes(memory):
    """A number of bytes from a number or a text such as "512MiB" or "4GiB"."""
    if isinstance(memory, int | float) and not isinstance(memory, bool) and 0 < memory < math.inf:
        return int(memory)
    for unit in ("KiB", "MiB", "GiB", "B"):
        number = str(memory).removesuffix(unit)
        if number != str(memory):
            try:
                if (size := int(float(number) * _UNITS[unit])) > 0:
                    return size
            except (ValueError, OverflowError):
                break
            break
    raise MedlibError(f'memory={memory!r} is not a size. Give bytes, or a text such as "512MiB" or "4GiB".')
