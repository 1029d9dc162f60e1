"""Collating: a list of samples becomes a batch, whatever a sample is made of.

PyTorch: torch/utils/data/_utils/collate.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

from minitorch import dtypes
from minitorch.creation import as_tensor, tensor
from minitorch.ops.join import stack
from minitorch.tensor import Tensor


def default_collate(batch):
    """Samples to a batch. Mirrors torch.utils.data.default_collate.

    Tensors and NumPy arrays are stacked, numbers become a tensor (Python floats float64), strings
    and bytes stay a list; in mappings, tuples and sequences each field is collated by itself.
    Raises TypeError for anything else, RuntimeError for sequences of unequal length.
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def collate(batch, *, collate_fn_map: dict[type | tuple[type, ...], Callable] | None = None):
    """Like default_collate, with a table of functions by the type of a sample.

    Mirrors torch.utils.data._utils.collate.collate; functions are called with
    (batch, collate_fn_map=...). An exact type goes before a base class.
    """
    table = collate_fn_map or {}
    sample = batch[0]
    function = table.get(type(sample)) or next(
        (function for kind, function in table.items() if isinstance(sample, kind)), None
    )
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(sample, Mapping):
        fields = {key: [item[key] for item in batch] for key in sample}
        return _like_mapping(
            sample, {k: collate(v, collate_fn_map=collate_fn_map) for k, v in fields.items()}
        )
    if isinstance(sample, Sequence):
        if any(len(item) != len(sample) for item in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [
            collate(field, collate_fn_map=collate_fn_map) for field in zip(*batch, strict=True)
        ]
        return _like_sequence(sample, columns)
    raise TypeError(_unsupported(type(sample)))


def default_convert(data):
    """NumPy arrays inside `data` to tensors, all else as it is; used when nothing is batched.

    Mirrors torch.utils.data.default_convert.
    """
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in "SUO" else as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(item) for item in data])
    return data


def _like_mapping(original, fields: dict):
    """`fields` in a mapping of the original's type, with its other properties, if it has a way."""
    try:
        if isinstance(original, MutableMapping):
            clone = copy.copy(original)
            clone.update(fields)
            return clone
        return type(original)(fields)
    except TypeError:
        return fields


def _like_sequence(original, fields: list):
    """`fields` in a sequence of the original's type; plain tuples become lists, as in PyTorch."""
    if isinstance(original, tuple):
        return type(original)(*fields) if hasattr(original, "_fields") else fields
    try:
        if isinstance(original, MutableSequence):
            clone = copy.copy(original)
            for i, field in enumerate(fields):
                clone[i] = field
            return clone
        return type(original)(fields)
    except TypeError:  # such as range
        return fields


def _unsupported(found) -> str:
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, "
        f"dicts or lists; found {found}"
    )


def _collate_tensors(batch, *, collate_fn_map=None):
    return stack(list(batch), 0)


def _collate_arrays(batch, *, collate_fn_map=None):
    if batch[0].dtype.kind in "SUO":
        raise TypeError(_unsupported(batch[0].dtype))
    return stack([as_tensor(array) for array in batch], 0)


def _collate_numpy_scalars(batch, *, collate_fn_map=None):
    return as_tensor(np.asarray(batch))


def _collate_floats(batch, *, collate_fn_map=None):
    return tensor(batch, dtype=dtypes.float64)


def _collate_ints(batch, *, collate_fn_map=None):
    return tensor(batch)


def _collate_strings(batch, *, collate_fn_map=None):
    return batch


default_collate_fn_map: dict[type | tuple[type, ...], Callable] = {
    Tensor: _collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number, np.object_): _collate_numpy_scalars,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_strings,
    bytes: _collate_strings,
}


def pinned(data):
    """`data` with the tensors inside in page-locked memory; what has a pin_memory() does its own.

    Mirrors torch.utils.data._utils.pin_memory.
    """
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: pinned(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [pinned(value) for value in data])
    return data
