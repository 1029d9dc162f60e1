"""What the graph saves, packed by somebody else: on disk, compressed, not at all.

    with saved_tensors_hooks(pack, unpack):
        loss = model(x)                      # pack(tensor) -> anything, kept instead of the tensor
    loss.backward()                          # unpack(anything) -> the tensor

A node saves (value, edge, storage, version) tuples (graph.py). When it has been recorded, the hooks
replace the values that are arrays by `Packed` ones. Invariant: a packed value has no storage in its
tuple, so nothing keeps the memory alive, and no version of it can be checked.
PyTorch: torch/autograd/graph.py, torch/csrc/autograd/saved_variable.cpp. utils/checkpoint.py is
built on this.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..tensor import Tensor, wrap
from .grad_mode import Watcher, mode, no_grad


class Packed:
    """What a hook has made of a saved tensor, and how to get it back."""

    __slots__ = ("unpack", "value")

    def __init__(self, value, unpack):
        self.value, self.unpack = value, unpack

    def unpacked(self) -> Tensor:
        tensor = self.unpack(self.value)
        if not isinstance(tensor, Tensor):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(tensor).__name__}"
            )
        return tensor


class saved_tensors_hooks(Watcher):
    """What operations inside the block save is packed; their backward unpacks it.

    `pack_hook(tensor) -> anything` runs when the operation is recorded, and must not change the
    tensor; `unpack_hook(anything) -> Tensor` runs in backward, and returns equal values. With
    blocks inside each other the innermost packs. Mirrors torch.autograd.graph.saved_tensors_hooks.
    """

    def __init__(self, pack_hook: Callable, unpack_hook: Callable):
        self.pack, self.unpack = pack_hook, unpack_hook

    def __enter__(self):
        for watcher in mode.watchers:
            if isinstance(watcher, disable_saved_tensors_hooks):
                raise RuntimeError(watcher.error_message)
        return super().__enter__()

    def recorded(self, node) -> None:
        node.saved = [self._packed(*entry) for entry in node.saved]

    def _packed(self, value, edge, storage, version) -> tuple:
        if hasattr(value, "flags") and not isinstance(value, (Tensor, np.generic)):
            # Not the result itself: a hook that kept it would make a cycle of node and tensor.
            tensor = at_its_place(value, None if isinstance(edge, int) else edge, storage)
        elif isinstance(value, Tensor):
            tensor = value
        else:  # a number, a shape, or packed already
            return value, edge, storage, version
        before = None if storage is None else storage.version
        with no_grad():
            packed = Packed(self.pack(tensor), self.unpack)
        if storage is not None and storage.version != before:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as "
                "input to pack hook cannot be modified by in-place operations as this can lead to "
                "unexpected side-effects."
            )
        return packed, edge, None, 0


def at_its_place(array, edge, storage) -> Tensor:
    """A saved array as a tensor with its place in the graph; a leaf as the very one it was."""
    if isinstance(array, Tensor):
        return array
    leaf = getattr(edge, "variable", None)
    if leaf is not None and leaf.array is array:
        return leaf
    tensor = wrap(array)
    if storage is not None:
        tensor._storage = storage
    if edge is not None:
        tensor._requires_grad = True
        if hasattr(edge, "variable"):  # the AccumulateGrad of a leaf whose data is another by now
            tensor._accumulator = edge
        else:
            tensor._node = edge
    return tensor


class save_on_cpu(saved_tensors_hooks):
    """Saved tensors wait for backward in the host's memory. Mirrors autograd.graph.save_on_cpu.

    `pin_memory` is accepted; there is nothing to pin for tensors on the CPU.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        def pack(tensor):
            return tensor.device, tensor.detach().to("cpu", copy=True)

        def unpack(packed):
            device, tensor = packed
            return tensor.to(device)

        super().__init__(pack, unpack)


class disable_saved_tensors_hooks(Watcher):
    """In this block saved_tensors_hooks raise RuntimeError(error_message).

    For functions that could not work with them. Mirrors
    torch.autograd.graph.disable_saved_tensors_hooks.
    """

    def __init__(self, error_message: str):
        self.error_message = error_message

    def __enter__(self):
        if any(isinstance(watcher, saved_tensors_hooks) for watcher in mode.watchers):
            raise RuntimeError(self.error_message)
        return super().__enter__()
