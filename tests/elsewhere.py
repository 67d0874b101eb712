"""A second device where there is none: tensors that lie on it meet no tensor of the first.

It goes by the name of "meta", the one device besides the processor that autograd knows everywhere; a tensor there holds
its numbers in `held`.  An operation on tensors of both devices is refused, as accelerators refuse it.
"""

from contextlib import contextmanager

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from medlib.model import find_blocks

THERE = torch.device("meta")
BETWEEN = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}  # may take a tensor of each device


class Elsewhere(torch.Tensor):
    """A tensor on the second device."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=THERE,
        )

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _apply(function, args, kwargs or {})


class _Devices(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _apply(function, args, kwargs or {})


def _apply(function, args, kwargs):
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    here = [tensor for tensor in tensors if tensor.numel() > 1 and not isinstance(tensor, Elsewhere)]
    if there and here and function not in BETWEEN:
        raise AssertionError(f"{function} was given tensors of two devices")
    to = kwargs.get("device")
    lands_there = torch.device(to) == THERE if to is not None else isinstance(args[0] if args else None, Elsewhere)
    lands_there = lands_there or (to is None and bool(there) and function not in BETWEEN)
    own_args, own_kwargs = tree_map(_held, (args, kwargs))
    if to is not None:
        own_kwargs["device"] = "cpu"
    found = function(*own_args, **own_kwargs)
    if not lands_there:
        return found
    wrapped = tree_map(lambda leaf: Elsewhere(leaf) if isinstance(leaf, torch.Tensor) else leaf, found)
    return return_and_correct_aliasing(function, args, kwargs, wrapped)


def _held(leaf):
    if isinstance(leaf, Elsewhere):
        return leaf.held
    if isinstance(leaf, torch.Tensor) and leaf.device == THERE and not leaf.numel():  # made from an empty list
        return torch.empty(leaf.shape, dtype=leaf.dtype, device="cpu")
    return leaf


class _Fetches(AlignDevicesHook):
    """What accelerate puts on a part that lies on another device; its weights are there already."""

    def init_hook(self, module):
        return module


@contextmanager
def spread_over_two_devices(hf, blocks, parts=()):
    """While it lasts, some blocks of a model (1..L), and parts by their names, lie on the second device."""
    every = find_blocks(hf, hf.config.get_text_config(decoder=True))
    there = [*(every[layer - 1] for layer in blocks), *(hf.get_submodule(part) for part in parts)]
    inside = {module for block in every for module in block.modules()}
    others = [module for module in hf.modules() if module not in inside and list(module.parameters(recurse=False))]
    with _Devices():
        for module in (module for part in there for module in part.modules()):
            for name, weight in list(module.named_parameters(recurse=False)):
                module._parameters[name] = torch.nn.Parameter(Elsewhere(weight.detach()))
            for name, buffer in list(module.named_buffers(recurse=False)):
                module._buffers[name] = Elsewhere(buffer)
        for module in [*every, *others]:
            add_hook_to_module(module, _Fetches(THERE if module in there else "cpu"))
        add_hook_to_module(hf, _Fetches("cpu", io_same_device=True))
        yield hf
