"""A decoder is a list of blocks, h_l = f_l(h_{l-1}; c_l), and each block can be replayed on its own.

One pass of the model's own forward, with the blocks stubbed out, notes what enters block 1 and what else each block is
called with: the context c_l (mask, positions, rotary pair, cache, ...).  From then on a block is a pure function of
states.  Nothing here knows a model family; what the model does between and after its blocks stays the model's own code.

Three consequences:
- a branch (a lesion, a patch) enters where it differs from the trunk, and every block is visited once for all branches;
- a branch that differs from position p on replays positions p.. only: the keys and values before are the trunk's;
- the read-out is the model's own tail, run with the stubbed blocks handing it the states of a branch.
"""

from contextlib import contextmanager
from functools import partial

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten
from transformers.cache_utils import Cache

from medlib.errors import MedlibError
from medlib.hooks import hidden, split_call

# Of the largest logit. Trained models in float32 come to about 1e-6; with weights in random order 1e-4 was measured.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
HALF_TOLERANCE = 5e-2
MASKED = 2  # rows with a masked first token that a recording gets, so that masks are written out
TOKENS_PER_CALL = 2048  # more tokens in one call of a block do not make it faster, only larger


class Replay:
    """The blocks and the tail of a model as functions of states, for one batch of inputs.

    >>> replay = Replay(model, dict(input_ids=ids))
    >>> states = replay.embedding
    >>> for layer in range(1, model.n_layers + 1):
    ...     states = replay.block(layer, states)
    >>> logits = replay.tail(states[:, -1:])

    `inputs` is what the model's forward takes, every tensor with the batch in front: `input_ids [row, position]`, and
    `attention_mask`, `pixel_values`, ... where there are any.  `embedding` is state 0, `[row, position, hidden]`.
    """

    def __init__(self, model, inputs):
        inputs = {name: value.to(model.device) if torch.is_tensor(value) else value for name, value in inputs.items()}
        self.model, self.inputs = model, inputs
        self.rows, self.positions = inputs["input_ids"].shape
        self._memory = _KeyValues()
        self.embedding, self._calls = self._record(inputs)
        doubled = self._record(_more_rows(inputs))[1]
        self._row_axes = [_axes_that_differ(one, two) for one, two in zip(self._calls, doubled, strict=True)]
        self._explicit = None

    # --- whole rows -------------------------------------------------------------------------------------------------

    def block(self, layer, states, rows=None):
        """Output of block `layer` (1..L) for `states [row, position, hidden]`.

        `rows[i]` is the row of the batch whose context row i of `states` lives in; without it the batch is taken as
        repeated as often as it fits.
        """
        leaves, spec = self._calls[layer - 1]
        if rows is None and len(states) != self.rows:
            rows = torch.arange(self.rows, device=states.device).repeat(len(states) // self.rows)
        if rows is not None:
            axes = self._row_axes[layer - 1]
            leaves = [_take(leaf, own, rows, self.rows) for leaf, own in zip(leaves, axes, strict=True)]
        return self._call(layer, states, leaves, spec)

    def block_and_past(self, layer, states):
        """Output of block `layer` for the batch's own rows, and the keys and values it attended to."""
        self._memory.seen = None
        return self.block(layer, states), self._memory.seen

    # --- positions shared -------------------------------------------------------------------------------------------

    def block_from(self, layer, states, start, rows, past):
        """Output of block `layer` at the positions from `start` on, the earlier ones shared.

        `states [row, position - start, hidden]`; `past` are the keys and values of the trunk at this block.
        """
        leaves, spec, row_axes, position_axes = self._explicit_calls()[layer - 1]
        leaves = [_take(leaf, axes, rows, self.rows + MASKED) for leaf, axes in zip(leaves, row_axes, strict=True)]
        leaves = [_from(leaf, axes, start) for leaf, axes in zip(leaves, position_axes, strict=True)]
        self._memory.prefix = tuple(part[rows.to(part.device), ..., :start, :] for part in past)
        try:
            return self._call(layer, states, leaves, spec)
        finally:
            self._memory.prefix = None

    def shares_positions(self):
        """Whether keys and values of earlier positions can be shared: a causal mask that can be cut, and a cache.

        Among the tokens of a picture some models attend forwards too; there an earlier token's keys are no longer its
        own after a patch.
        """
        if self.positions == 1:
            return False
        calls = self._explicit_calls()
        cached = all(any(leaf is self._memory for leaf in leaves) for leaves, *_ in calls)
        masked = all(any(len(axes) == 2 for axes in position_axes) for *_, position_axes in calls)
        plain = all(_by_whole_rows(call, self.rows + MASKED) for call in calls)
        return cached and masked and plain and all(_is_causal(call, self.rows) for call in calls)

    def _explicit_calls(self):
        """The blocks' calls with every mask written out, and the axes of each argument that go by row and by position.

        Two extra rows with a masked first token keep attention from leaving out the mask; a recording with a row more
        and one with a token less show which axes move.
        """
        if self._explicit is None:
            masked = _with_masked_rows(self.inputs, MASKED)
            calls = self._record(masked)[1]
            wider = self._record(_with_masked_rows(self.inputs, MASKED + 1))[1]
            shorter = self._record({k: v[:, :-1] if self.by_position(v) else v for k, v in masked.items()})[1]
            self._explicit = [
                (*call, _axes_that_differ(call, wide), _axes_that_differ(call, short))
                for call, wide, short in zip(calls, wider, shorter, strict=True)
            ]
        return self._explicit

    # --- the tail ---------------------------------------------------------------------------------------------------

    def tail(self, states):
        """Logits `[row, position, token]` of `states [row, position, hidden]`, outputs of the last block.

        They come from the model's own tail; inside `with replay.only(tokens):` just those of some tokens.
        """
        ids = torch.zeros(states.shape[:2], dtype=torch.long, device=self.model.device)

        def hand_over(index, args, kwargs):
            state, *_ = split_call(args, kwargs)
            return states if index == self.model.n_layers - 1 else state

        with self._stubbed(hand_over):
            return self.model.hf(input_ids=ids, use_cache=False).logits

    @contextmanager
    def only(self, tokens):
        """Let the unembedding compute some tokens' logits only (token ids, or a slice of them; None for all)."""
        if tokens is None:
            yield
            return
        head = self.model.hf.get_output_embeddings()
        weight, bias = self.model.unembedding(tokens)
        kept = vars(head).pop("forward", None)
        head.forward = lambda states: torch.nn.functional.linear(states.to(weight.device), weight, bias)
        try:
            yield
        finally:
            del head.forward
            if kept is not None:
                head.forward = kept

    def read_out(self, states, reduce, tokens=None):
        """`reduce(logits [row, token], rows)` of `states [row, hidden]`, in chunks that keep the logits small."""
        with self.only(tokens):
            for chunk in self.row_chunks(len(states), width(tokens, self.model)):
                reduce(self.tail(states[chunk, None])[:, 0].float(), chunk)

    def row_chunks(self, rows, width):
        """Slices of so many rows, few enough at a time to keep their logits, `width` numbers each, small."""
        step = max(1, int(self.model.memory / 8 / (width * 4 * 4)))
        return [slice(at, min(at + step, rows)) for at in range(0, rows, step)]

    def part(self, rows, positions):
        """The inputs of some rows up to a number of positions."""
        own = {name: value[rows] if torch.is_tensor(value) else value for name, value in self.inputs.items()}
        return {name: value[:, :positions] if self.by_position(value) else value for name, value in own.items()}

    def by_position(self, value):
        """Whether an input holds a number for each token: `[row, position]`."""
        return torch.is_tensor(value) and value.ndim == 2 and value.shape[1] == self.positions

    # --- plumbing ---------------------------------------------------------------------------------------------------

    def _call(self, layer, states, leaves, spec):
        args, kwargs = tree_unflatten(leaves, spec)
        try:
            leaving = hidden(self.model.blocks[layer - 1](states, *args, **kwargs))
        except RuntimeError as error:
            if _out_of_memory(error):
                raise
            raise MedlibError(
                f"{self.model.name}: block {layer} cannot be called alone ({str(error).partition(chr(10))[0]}). Use "
                "medlib.hooks for this model."
            ) from error
        if leaving.shape != states.shape:
            raise MedlibError(
                f"{self.model.name}: block {layer} turned states of shape {tuple(states.shape)} into "
                f"{tuple(leaving.shape)}; medlib needs blocks that keep the shape. Use medlib.hooks for this model."
            )
        return leaving.to(states.device)  # of a block elsewhere, which fetched what it was called with (accelerate)

    def _record(self, inputs):
        """State 0 and, for each block, the flattened arguments it is called with besides the hidden state."""
        calls, entered = [], []

        def note(index, args, kwargs):
            state, args, kwargs = split_call(args, kwargs)
            entered.append(state)
            calls.append(tree_flatten((args, dict(kwargs))))
            return state

        one = torch.zeros(1, dtype=torch.long, device=self.model.device)  # a recording has no use for logits
        with self._stubbed(note), torch.no_grad(), self.only(one):
            self.model.hf(**inputs, past_key_values=self._memory, use_cache=True)
        if len(calls) != self.model.n_layers:
            raise MedlibError(
                f"{self.model.name}: {len(calls)} calls of {self.model.n_layers} blocks were seen in one forward pass; "
                "medlib needs each block to be called once, in order. Use medlib.hooks for this model."
            )
        if not all(torch.equal(state, entered[0]) for state in entered):
            raise MedlibError(
                f"{self.model.name} changes the hidden state between its blocks, which a replay of the blocks would "
                "not see. Use medlib.hooks for this model."
            )
        return entered[0], calls

    @contextmanager
    def _stubbed(self, function):
        """Stand-ins for the blocks that only hand the hidden state on, as `function(index, args, kwargs)` says."""
        blocks, tuples = self.model.blocks, self.model.blocks_return_tuples
        kept = list(blocks)
        for index, block in enumerate(kept):
            blocks[index] = _Stub(block, partial(function, index), tuples)
        try:
            yield
        finally:
            for index, block in enumerate(kept):
                blocks[index] = block


class _Stub(torch.nn.Module):
    """In a block's place, with its attributes and without its weights and hooks."""

    def __init__(self, block, function, in_tuple):
        super().__init__()
        self._stands_for, self._function, self._in_tuple = (block,), function, in_tuple

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._stands_for[0], name)

    def forward(self, *args, **kwargs):
        state = self._function(args, kwargs)
        return (state, None) if self._in_tuple else state


class _KeyValues(Cache):
    """A cache that keeps nothing: it shows the keys and values of the last call, and can put a prefix before them."""

    def __init__(self):
        super().__init__(layers=[])
        self.prefix = self.seen = None

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        if self.prefix is not None:
            key_states, value_states = (
                torch.cat([before, now], dim=-2)
                for before, now in zip(self.prefix, (key_states, value_states), strict=True)
            )
        self.seen = key_states, value_states
        return key_states, value_states

    def get_seq_length(self, layer_idx=0):
        return 0

    def get_mask_sizes(self, query_length, layer_idx):
        return query_length, 0

    def get_query_offset(self, layer_idx=0):
        return 0


def _more_rows(inputs):
    return {name: torch.cat([value, value]) if torch.is_tensor(value) else value for name, value in inputs.items()}


def _with_masked_rows(inputs, extra):
    """The batch and, after it, `extra` copies of its first row in which the first token is masked."""
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
    inputs = {
        name: torch.cat([value, *[value[:1]] * extra]) if torch.is_tensor(value) else value
        for name, value in (inputs | {"attention_mask": mask}).items()
    }
    inputs["attention_mask"][-extra:, 0] = 0
    return inputs


def _is_causal(call, rows):
    """Whether the masks among a block's arguments let no token of the first `rows` rows see a later one."""
    leaves, _, *axes = call
    for leaf, row_axes, position_axes in zip(leaves, *axes, strict=True):
        if len(position_axes) == 2:
            mask = leaf.narrow(row_axes[0], 0, rows) if row_axes else leaf
            seen = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
            if seen.triu(1).any():
                return False
    return True


def _axes_that_differ(call, other):
    """For each argument of a block, the axes in which two recordings differ in length."""
    return [
        tuple(i for i, (n, m) in enumerate(zip(leaf.shape, twin.shape, strict=True)) if n != m)
        if torch.is_tensor(leaf)
        else ()
        for leaf, twin in zip(call[0], other[0], strict=True)
    ]


def _by_whole_rows(call, n):
    """Whether each argument that goes by row has one entry for each of n rows, and none for each head of a row."""
    leaves, _, row_axes, _ = call
    return all(not axes or leaf.shape[axes[0]] == n for leaf, axes in zip(leaves, row_axes, strict=True))


def _take(leaf, axes, rows, n):
    """An argument's entries of some rows, of the n that it was recorded for; a row may have several, one a head."""
    if not axes:
        return leaf
    at = axes[0]
    return leaf.unflatten(at, (n, -1)).index_select(at, rows).flatten(at, at + 1)


def _from(leaf, axes, start):
    """Cut an argument to the positions from `start` on; of two position axes the first is the query's."""
    return leaf.narrow(axes[0], start, leaf.shape[axes[0]] - start) if axes else leaf


def in_step(walks):
    """Let walks up the layers go together, so that each block's weights are wanted once for all of them.

    >>> in_step(walk_of(batch) for batch in batches)

    A walk is a generator that pauses (`yield`) before each block, on its way up or down.
    """
    for _ in zip(*walks, strict=True):
        pass


def run_blocks(replay, layer, states, rows, call=None):
    """Replay block `layer` in place on a table of rows `[row, position, hidden]`, some rows at a time.

    Where memory does not suffice after all, the rows at a time are halved, down to one.
    """
    call, at = call or replay.block, 0
    step = max(1, tokens_per_call(replay.model) // states.shape[1])
    while at < len(states):
        chunk = slice(at, at + step)
        try:
            states[chunk] = call(layer, states[chunk], rows=rows[chunk])
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if step == 1 or not _out_of_memory(error):
                raise
            step = -(-step // 2)
        else:
            at += step


def _out_of_memory(error):
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def width(tokens, model):
    """How many tokens `tokens` are: ids, a slice of ids, or None for all."""
    if tokens is None:
        return model.vocabulary
    return tokens.stop - tokens.start if isinstance(tokens, slice) else len(tokens)


def tokens_per_call(model):
    """How many tokens go through a block at once, within the model's memory budget."""
    return min(TOKENS_PER_CALL, max(1, model.memory // (4 * model.bytes_per_token)))


def check_no_op(walks, what):
    """Refuse to go on when replay without intervention does not give the model's own logits.

    `walks` are the batches that went up together: `(replay, states [row, hidden], last [row])`, the last block's states
    as replayed, at position `last`.  The first row of the first batch and the last row of the last one (the shortest
    and the longest prompt) are held against the model's own forward of them, unfilled.  Such a forward costs as much
    as some fifty tokens of a batch, so not every batch gets its own; a model whose weights are streamed is checked in
    its first sweep only.
    Returns the largest difference, relative to the largest logit; raises `MedlibError` above the tolerance of the
    model's precision.
    """
    model = walks[0][0].model
    if model.checked is not None:  # a further pass of the model's own would cost a further walk through its weights
        return model.checked
    first, final = walks[0], walks[-1]
    ends = [(first, [0]), (final, [len(final[1]) - 1])]
    if first is final and first[2][0] == first[2][-1]:
        ends = [(first, sorted({0, len(first[1]) - 1}))]
    gaps, head = [], model.hf.get_output_embeddings()
    with torch.no_grad(), head.register_forward_pre_hook(lambda head, args: args[0][:, -1:]):  # others are not read
        for (replay, states, last), rows in ends:
            own = model.hf(**replay.part(rows, last[rows[0]] + 1), use_cache=False).logits[:, -1]
            gaps.append(difference(own, replay.tail(states[rows, None])[:, -1]))
    gap = max(gaps)
    if not all(gap <= tolerance(model) for gap in gaps):  # NaN is refused too
        raise MedlibError(
            f"{what} refused: on {model.name}, replay without intervention differs from the model's own logits by "
            f"{gap:.1e} of the largest logit. Either the logits are NaN, or the model does something between its "
            "blocks that replay does not see; use the plain hooks of medlib.hooks for it."
        )
    if model.streams:
        model.checked = gap
    return gap


def difference(own, logits):
    """The largest difference of two tables of logits, relative to the largest logit."""
    own, logits = own.float(), logits.float()
    return float((own - logits).abs().max() / own.abs().max().clamp_min(1e-30))


def tolerance(model):
    """How far replayed logits may lie from the model's own, as a share of the largest."""
    return TOLERANCE.get(model.dtype, HALF_TOLERANCE)
