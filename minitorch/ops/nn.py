"""What layers compute: linear maps, softmax, embedding. (Others have files of their own.)

The heavy ones call a kernel (kernels/), forward and backward. A backward formula is `fused`: arrays
go to the kernel; Tensors, which only come here under create_graph=True, go to the plain composition
of ops that says what the kernel computes, and are recorded. `defined_by` does the same service for
the forward: tests hold each kernel against its definition.
PyTorch: torch/nn/functional.py.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes, kernels
from ..dispatch.declare import composite, op
from ..dispatch.dims import axes
from ..tensor import Tensor
from .linalg import matmul, product


def fused(kernel, composition):
    """`kernel` for arrays, `composition` for Tensors."""

    def call(grad, *args):
        return composition(grad, *args) if isinstance(grad, Tensor) else kernel(grad, *args)

    return call


# Linear maps


@op(method=False, node="Addmm")
def linear(input, weight, bias=None):
    """input @ weight.T + bias: (..., in) -> (..., out). weight: (out, in) or (in,), bias: (out,).

    Mirrors torch.nn.functional.linear.
    """
    out = matmul(input, weight.T)
    if bias is not None:
        if bias.dtype != out.dtype:
            got = f"{dtypes.of(bias).legacy_name} and {dtypes.of(out).legacy_name}"
            raise RuntimeError(f"bias and input must have the same dtype, but got {got}")
        out = np.add(out, bias, out=out) if out.ndim else out + bias
    return out


def _linear_by_weight(grad, input, weight_shape):
    if len(weight_shape) == 1:
        return np.expand_dims(grad, -1) * input
    rows = np.reshape(grad, (-1, weight_shape[0]))  # (n, out).T @ (n, in) -> (out, in)
    return product(np.swapaxes(rows, 0, 1), np.reshape(input, (-1, weight_shape[1])))


linear.derivatives(
    input=lambda grad, weight: (
        product(grad, weight) if len(weight.shape) > 1 else np.expand_dims(grad, -1) * weight
    ),
    weight=_linear_by_weight,
    bias=lambda grad: grad,
)


# Softmax and what follows it


def _dim(dim, ndim: int) -> int:
    return axes(dim, ndim)[0] if ndim else 0


@op(function=False, method=False, alone=True)
def _softmax(input, dim):
    return kernels.softmax_forward(input, _dim(dim, input.ndim))


@_softmax.defined_by
def _(input, dim):
    e = (input - input.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


_softmax_backward = fused(
    kernels.softmax_backward,
    lambda grad, out, dim: out * (grad - (grad * out).sum(dim, keepdim=True)),
)
_softmax.derivatives(input=lambda grad, out, dim: _softmax_backward(grad, out, dim))


@op(function=False, method=False, alone=True)
def _log_softmax(input, dim):
    return kernels.log_softmax_forward(input, _dim(dim, input.ndim))


@_log_softmax.defined_by
def _(input, dim):
    return input - input.logsumexp(dim, keepdim=True)


_log_softmax_backward = fused(
    kernels.log_softmax_backward,
    lambda grad, out, dim: grad - out.exp() * grad.sum(dim, keepdim=True),
)
_log_softmax.derivatives(input=lambda grad, out, dim: _log_softmax_backward(grad, out, dim))


def _with_type(operation, name: str):
    def call(input, dim, dtype=None):
        if dtype is not None:
            input = input.to(dtype)
        return operation(input, dim)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`{name}` along `dim`, in `dtype` if given. Mirrors torch.{name}."
    return composite(call, out=True)


softmax = _with_type(_softmax, "softmax")
log_softmax = _with_type(_log_softmax, "log_softmax")

# Embedding


@op(method=False, function=False)
def _embedding(weight, indices, padding_idx=None, shares=None):
    """Rows of `weight`. shares: what part of its gradient each index passes on, None: all of it."""
    if indices.dtype.kind != "i" or indices.itemsize < 4:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {dtypes.of(indices)} instead; .long() converts it"
        )
    try:
        if indices.size and indices.min() < 0:
            raise IndexError
        return weight.take(indices, axis=0)
    except IndexError:
        rows = len(weight)
        wrong = indices[(indices < 0) | (indices >= rows)].flat[0]
        raise IndexError(
            f"index out of range in self: there is an index {wrong}, but the table has {rows} rows"
        ) from None


@op(method=False, function=False)
def _embedding_weight(grad_out, indices, rows, padding_idx):
    """Zeros (rows, d), with each row of `grad_out` added to the one that its index names."""
    return kernels.embedding_backward(grad_out, indices, rows, padding_idx)


def _embedding_by_weight(grad, weight_shape, indices, padding_idx, shares):
    grad = grad if shares is None else grad * shares[..., None]
    return _embedding_weight(grad, indices, weight_shape[0], padding_idx)


def _masked_rows(grad, indices, padding_idx):
    rows = _embedding(grad, indices)
    return rows if padding_idx is None else np.where((indices == padding_idx)[..., None], 0, rows)


_embedding.derivatives(weight=_embedding_by_weight)
_embedding_weight.derivatives(grad_out=_masked_rows)

# Dropout on a GPU


@op(method=False, function=False, node="NativeDropout")
def _dropout(input, p, seed):
    """input / (1 - p), but 0 with probability p; `seed` decides where, so no mask is stored."""
    return kernels.find("dropout", input)(input, p, seed)


_dropout.derivatives(input=lambda grad, p, seed: _dropout(grad, p, seed))
