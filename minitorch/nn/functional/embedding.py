"""Linear maps, and the tables that are linear maps of one-hot vectors.

PyTorch: aten/src/ATen/native/Linear.cpp, Embedding.cpp, EmbeddingBag.cpp.
"""

from __future__ import annotations

import numpy as np

from ... import devices
from ...autograd.grad_mode import no_grad
from ...dispatch.declare import composite, functions
from ...dispatch.gathering import at
from ...ops.nn import _embedding, _embedding_weight
from ...tensor import wrap

linear = functions["linear"]


@composite(method=False)
def bilinear(input1, input2, weight, bias=None):
    """out[o] = input1 @ weight[o] @ input2 + bias[o]: (*, i), (*, j) -> (*, o). weight: (o, i, j).

    Mirrors torch.nn.functional.bilinear.
    """
    if input1.ndim != input2.ndim or input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and "
            f"{list(input2.shape)}"
        )
    o, i, j = weight.shape
    if input1.shape[-1] != i or input2.shape[-1] != j:
        raise RuntimeError(
            f"bilinear(): input sizes do not match weight {list(weight.shape)}: got "
            f"{input1.shape[-1]} and {input2.shape[-1]}"
        )
    rows = input1.reshape(-1, i) @ weight.permute(1, 0, 2).reshape(i, o * j)  # (n, o * j)
    out = (rows.reshape(-1, o, j) @ input2.reshape(-1, j, 1)).squeeze(-1)
    out = out.reshape(*input1.shape[:-1], o)
    return out if bias is None else out + bias


@devices.on_its_device
def _renormed(weight, indices, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up to a norm of `max_norm` at most, in place."""
    with no_grad():
        used = wrap(np.unique(indices.array))
        rows = weight[used]
        norms = rows.norm(norm_type, 1, keepdim=True)
        scale = functions["where"](norms > max_norm, max_norm / (norms + 1e-7), 1.0)
        weight[used] = rows * scale.to(weight.dtype)


@devices.on_its_device
def _shares(indices, kind):
    """1 / how often each index occurs: (*)."""
    _, place, count = np.unique(indices.array, return_inverse=True, return_counts=True)
    return (1 / count[place].reshape(indices.shape)).astype(kind)


def _padding(padding_idx, rows: int):
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


@composite(method=False)
def embedding(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    """The rows of `weight` (rows, d) that `input`, integers of any shape, names: (*, d).

    `padding_idx`: this row gets no gradient. max_norm: rows of a larger norm are scaled down to it,
    in place. scale_grad_by_freq: gradients are divided by how often their row is looked up.
    `sparse` makes no difference: gradients are dense. IndexError for rows that are not there.
    Mirrors torch.nn.functional.embedding.
    """
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, but it is of shape {list(weight.shape)}")
    padding_idx = _padding(padding_idx, weight.shape[0])
    if max_norm is not None:
        _renormed(weight, input, max_norm, norm_type)
    if not scale_grad_by_freq:
        return _embedding(weight, input, padding_idx)
    return _embedding(weight, input, padding_idx, _shares(input, weight.array.dtype))


@devices.on_its_device
def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """The sum, mean or maximum of the rows of `weight` in each bag of indices: (bags, d).

    input: (bags, n), or all bags in one vector and in `offsets` where each begins (with
    `include_last_offset` also where the last ends). per_sample_weights: of input's shape, for
    "sum". padding_idx: these do not count. Mirrors torch.nn.functional.embedding_bag.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if per_sample_weights is not None:
        if per_sample_weights.shape != input.shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not "
                f"None, then it must have the same shape as the input ({tuple(input.shape)})"
            )
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                f"supported for mode='sum' (got mode='{mode}')"
            )
        if per_sample_weights.dtype is not weight.dtype:
            raise RuntimeError(
                "expected per_sample_weights to have the same type as weight "
                f"({weight.dtype}), but got {per_sample_weights.dtype}"
            )
        per_sample_weights = per_sample_weights.reshape(-1, 1)
    starts = _bag_starts(input, offsets, include_last_offset)
    flat, bags = input.reshape(-1), len(starts)
    places = np.arange(flat.numel(), like=starts)
    bag = np.searchsorted(starts, places, side="right") - 1
    padding_idx = _padding(padding_idx, weight.shape[0])
    rows = embedding(flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if padding_idx is not None:
        kept = flat.array != padding_idx
        index = np.flatnonzero(kept)
        rows, bag = rows[wrap(index)], bag[kept]
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights[wrap(index)]
    shape = (bags, weight.shape[1])
    if mode == "max":
        return _largest(rows, bag, shape)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights
    total = _embedding_weight(rows, wrap(bag), bags, None)
    if mode == "sum":
        return total
    counts = np.maximum(np.bincount(bag, minlength=bags), 1)[:, None]
    return total / wrap(counts.astype(weight.array.dtype))


def _bag_starts(input, offsets, include_last_offset: bool):
    """Where each bag begins in the flat input, as an array."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None")
        return np.arange(input.shape[0], like=input.array) * input.shape[1]
    if input.ndim != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    starts = offsets.array
    if len(starts) and starts[0] != 0:
        raise RuntimeError(
            f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {starts[0]}"
        )
    if len(starts) and starts[-1] > input.numel():
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {input.numel()} but got "
            f"offsets[-1] of {starts[-1]}"
        )
    return starts[:-1] if include_last_offset else starts


def _largest(rows, bag, shape):
    """The maximum of each bag's rows, element by element; 0 for an empty bag."""
    values = rows.array
    places = bag[:, None] * shape[1] + np.arange(shape[1], like=bag)  # in the flat result

    def extreme(ufunc, start, of):
        found = np.full_like(of, start, shape=shape)
        at(ufunc, found.reshape(-1), places.reshape(-1), of.reshape(-1))
        return found

    best = extreme(np.maximum, -np.inf, values)
    # The first row of each bag that has the maximum.
    number = np.arange(len(values), like=values)[:, None]
    where = np.where(values == best[bag], number, len(values))
    first = extreme(np.minimum, len(values), where)
    found = first < len(values)
    if not found.any():
        return rows.sum(0) * 0 + rows.new_zeros(shape)
    columns = wrap(np.arange(shape[1], like=first))
    picked = rows[wrap(np.where(found, first, 0)), columns]
    return functions["where"](wrap(found), picked, 0.0)


@devices.on_its_device
def one_hot(tensor, num_classes=-1):
    """Classes (*) as rows of zeros with a single one: (*, num_classes), int64.

    num_classes: -1 means the largest class + 1. Mirrors torch.nn.functional.one_hot.
    """
    classes = tensor.array
    if classes.dtype != "int64":
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if classes.size and classes.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        if not classes.size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(classes.max()) + 1
    elif classes.size and classes.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return wrap((classes[..., None] == np.arange(num_classes, like=classes)).astype("int64"))
