"""minitorch's counterpart of whatever a sample holds: tensors, dtypes, functions, lists of them.

Why: a sample of PyTorch's OpInfo database is made of PyTorch's objects. Invariant: a twin has the
same values, strides and overlaps as the original, and memory of its own; two tensors of a sample
that share memory have twins that share memory.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import minitorch
from minitorch import devices
from minitorch.dispatch.memory import strided

DEVICE = "cpu"  # where the twins are


class NotHere(Exception):
    """minitorch has no such kind of thing at all (a sparse tensor, a quantised dtype)."""


def twin(value, memo: dict | None = None) -> Any:
    """The counterpart of `value`. `memo` keeps what has been made: pass the same one throughout."""
    memo = {} if memo is None else memo
    if isinstance(value, torch.Tensor):
        if id(value) not in memo:
            memo[id(value)] = (_tensor(value, memo), value)  # held, so that the id stays taken
        return memo[id(value)][0]
    if isinstance(value, torch.Size):
        return minitorch.Size(value)
    if type(value) in (list, tuple):
        return type(value)([twin(v, memo) for v in value])
    if isinstance(value, tuple):  # a named tuple, torch.return_types
        return tuple(twin(v, memo) for v in value)
    if isinstance(value, dict):
        return {k: twin(v, memo) for k, v in value.items()}
    if isinstance(value, torch.dtype):
        if not has_dtype(value):
            raise NotHere(str(value))
        return getattr(minitorch, str(value).removeprefix("torch."))
    if isinstance(value, (torch.layout, torch.memory_format)):
        name = str(value).removeprefix("torch.")
        if not hasattr(minitorch, name):
            raise NotHere(str(value))
        return getattr(minitorch, name)
    if isinstance(value, torch.device):
        return minitorch.device(DEVICE if value.type == "cpu" else str(value))
    if isinstance(value, torch.Generator):
        return minitorch.Generator().manual_seed(value.initial_seed())
    if isinstance(value, torch.nn.Module):
        return getattr(minitorch.nn, type(value).__name__)()
    if callable(value) and not isinstance(value, type):
        return function(value)
    return value


def _tensor(original: torch.Tensor, memo: dict):
    if original.layout is not torch.strided or original.is_quantized or original.is_nested:
        raise NotHere(f"a tensor of layout {original.layout}")
    if original.device.type != "cpu" or original.ndim > 64:
        raise NotHere(f"a tensor of {original.ndim} dimensions on {original.device}")
    dtype = twin(original.dtype).numpy
    plain = original.detach().resolve_conj().resolve_neg()
    if plain.numel() == 0:
        array = on_device(np.empty(tuple(plain.shape), dtype))
    else:
        storage = plain.untyped_storage()
        key = (storage.data_ptr(), dtype)
        if key not in memo:
            count = storage.nbytes() // plain.itemsize
            whole = torch.empty(0, dtype=plain.dtype).set_(storage, 0, (count,))
            memo[key] = on_device(numpy_of(whole).copy()), plain
        whole = memo[key][0]
        if plain.is_contiguous() and plain.numel() == whole.size:
            array = whole.reshape(tuple(plain.shape))
        else:
            steps = [s * plain.itemsize for s in plain.stride()]
            offset = plain.storage_offset() * plain.itemsize
            array = strided(whole, tuple(plain.shape), steps, offset)
    made = minitorch.tensor(0).data
    made.array = array
    return made.requires_grad_() if original.requires_grad else made


def on_device(array: np.ndarray):
    return devices.moved(array, devices.check(DEVICE))


def has_dtype(dtype: torch.dtype) -> bool:
    return isinstance(getattr(minitorch, str(dtype).removeprefix("torch."), None), minitorch.dtype)


def numpy_of(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's memory as an array, of NumPy's bfloat16 where it is one."""
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(minitorch.bfloat16.numpy)
    return tensor.numpy()


# Functions


def find(path: str) -> Any:
    """What `path` ("linalg.det") is in minitorch; None if there is nothing of that name."""
    found: Any = minitorch
    for part in path.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def resolve(name: str) -> Callable | None:
    """How to call the op of this name in minitorch: a function, else a method or an attribute."""
    found = find(name)
    if callable(found) and not isinstance(found, minitorch.dtype):
        return found
    if hasattr(minitorch.Tensor, name):
        attribute = getattr(minitorch.Tensor, name)
        if callable(attribute):
            return attribute
        return lambda tensor: getattr(tensor, name)
    return None


def function(original: Callable, name: str | None = None) -> Callable:
    """The counterpart of a function; `name` is what the OpInfo calls it.

    A lambda in PyTorch's test files becomes the same lambda with `torch` meaning minitorch.
    """
    if isinstance(original, functools.partial):
        inner = function(original.func, name)
        return functools.partial(inner, *twin(original.args), **twin(original.keywords))
    if _is_of_tests(original):
        names = _namespace(original.__module__)
        made = types.FunctionType(
            original.__code__,
            names,
            original.__name__,
            original.__defaults__,
            original.__closure__,
        )
        made.__kwdefaults__ = original.__kwdefaults__
        return made
    found = None if name is None else resolve(name)
    if found is None:
        short = getattr(original, "__name__", "")
        found = resolve("nn.functional." + short) or resolve(short)
    if found is None:
        raise AttributeError(f"minitorch has no {name or original!r}")
    return found


def method(original: Callable) -> Callable:
    """The counterpart of a method, in-place or not."""
    if isinstance(original, functools.partial) or _is_of_tests(original):
        return function(original)
    name = original.__name__
    return lambda tensor, *args, **kwargs: getattr(tensor, name)(*args, **kwargs)


def _is_of_tests(original: Callable) -> bool:
    module = getattr(original, "__module__", None) or ""
    return isinstance(original, types.FunctionType) and module.startswith("torch.testing")


@functools.cache
def _namespace(module: str) -> dict:
    """The names of one of PyTorch's test files, with `torch` meaning minitorch."""
    names = dict(vars(sys.modules[module]))
    return names | {"torch": minitorch, "wrapper_set_seed": _seeded, "F": minitorch.nn.functional}


def _seeded(operation, *args, **kwargs):
    minitorch.manual_seed(42)  # what PyTorch's function of that name does
    return operation(*args, **kwargs)
