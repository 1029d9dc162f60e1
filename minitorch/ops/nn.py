"""What layers compute: linear maps, softmax, normalisation, embedding, activations, attention.

The heavy ones call a kernel (kernels/), forward and backward. A backward formula is `fused`: arrays
go to the kernel; Tensors, which only come here under create_graph=True, go to the plain composition
of ops that says what the kernel computes, and are recorded. `defined_by` does the same service for
the forward: tests hold each kernel against its definition.
PyTorch: torch/nn/functional.py.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes, kernels
from ..tensor import Tensor
from .declare import composite, functions, op
from .dims import axes
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
    lambda grad, out, dim: kernels.softmax_backward(grad, out, _dim(dim, out.ndim)),
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
    lambda grad, out, dim: kernels.log_softmax_backward(grad, out, _dim(dim, out.ndim)),
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
    return composite(call)


softmax = _with_type(_softmax, "softmax")
log_softmax = _with_type(_log_softmax, "log_softmax")

# Normalisation


@op(method=False, function=False, outputs=("out", "mean", "rstd"), node="NativeLayerNorm")
def _layer_norm(input, normalized_shape, weight, bias, eps):
    return kernels.layer_norm_forward(input, normalized_shape, weight, bias, eps)


@_layer_norm.defined_by
def _(input, normalized_shape, weight, bias, eps):
    dims = tuple(range(-len(normalized_shape), 0))
    centred = input - input.mean(dims, keepdim=True)
    out = centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


@_layer_norm.joint_derivative("input", "weight", "bias")
def _layer_norm_backward(grad, wanted, input, normalized_shape, weight, eps, mean, rstd):
    if not isinstance(grad, Tensor):
        return kernels.layer_norm_backward(grad, input, mean, rstd, weight, wanted)
    dims = tuple(range(-len(normalized_shape), 0))
    centred = input - input.mean(dims, keepdim=True)
    rstd = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    normal = centred * rstd
    g = grad if weight is None else grad * weight
    dx = rstd * (g - g.mean(dims, keepdim=True) - normal * (g * normal).mean(dims, keepdim=True))
    return [dx, grad * normal, grad]  # the engine sums the last two to the shape of the weights


@composite(method=False)
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(input - mean) / sqrt(variance + eps) * weight + bias over the last dimensions.

    normalized_shape: those dimensions; weight, bias: of that shape. Mirrors
    torch.nn.functional.layer_norm.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    return _layer_norm(input, shape, weight, bias, eps)[0]


# Embedding


@op(method=False, function=False)
def _embedding(weight, indices, padding_idx):
    try:
        if indices.size and indices.min() < 0:
            raise IndexError
        return weight.take(indices, axis=0)
    except IndexError:
        raise IndexError(
            f"index out of range in self: the indices go from {indices.min()} to {indices.max()}, "
            f"the table has {len(weight)} rows"
        ) from None


@op(method=False, function=False)
def _embedding_weight(grad_out, indices, rows, padding_idx):
    return kernels.embedding_backward(grad_out, indices, rows, padding_idx)


def _masked_rows(grad, indices, padding_idx):
    rows = _embedding(grad, indices, padding_idx)
    return rows if padding_idx is None else np.where((indices == padding_idx)[..., None], 0, rows)


_embedding.derivatives(
    weight=lambda grad, weight_shape, indices, padding_idx: _embedding_weight(
        grad, indices, weight_shape[0], padding_idx
    )
)
_embedding_weight.derivatives(grad_out=_masked_rows)


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

    `padding_idx`: this row gets no gradient. Raises IndexError for a row that is not there.
    Mirrors torch.nn.functional.embedding.
    """
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise NotImplementedError(
            "embedding: max_norm, scale_grad_by_freq and sparse are not supported"
        )
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return _embedding(weight, input, padding_idx)


# Activations with kernels


@op(method=False, function=False, alone=True)
def _gelu(input, approximate):
    return kernels.gelu_forward(input, approximate)


def _gelu_composition(grad, input, approximate):
    if approximate == "none":
        density = (input * input * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
        return grad * (0.5 * (1 + functions["erf"](input * math.sqrt(0.5))) + input * density)
    k = math.sqrt(2 / math.pi)
    t = (k * (input + 0.044715 * input**3)).tanh()
    slope = k * (1 + 3 * 0.044715 * input * input)
    return grad * (0.5 * (1 + t) + 0.5 * input * (1 - t * t) * slope)


_gelu_backward = fused(
    lambda grad, input, approximate: kernels.gelu_backward(grad, input, approximate),
    _gelu_composition,
)
_gelu.derivatives(input=lambda grad, input, approximate: _gelu_backward(grad, input, approximate))


@composite(method=False)
def gelu(input, *, approximate="none"):
    """input * Phi(input), Phi the normal distribution's; "tanh" takes an approximation of it.

    Mirrors torch.nn.functional.gelu.
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")
    return _gelu(input, approximate)


def _result(input, result, inplace: bool):
    return input.copy_(result) if inplace else result


@op(method=False, function=False, alone=True)
def _silu(input):
    return kernels.silu_forward(input)


def _silu_composition(grad, input):
    s = functions["sigmoid"](input)
    return grad * s * (1 + input * (1 - s))


_silu_backward = fused(kernels.silu_backward, _silu_composition)
_silu.derivatives(input=lambda grad, input: _silu_backward(grad, input))


@composite(method=False)
def silu(input, inplace=False):
    """input * sigmoid(input). Mirrors torch.nn.functional.silu."""
    return _result(input, _silu(input), inplace)


@op(method=False, function=False, alone=True)
def _leaky_relu(input, slope):
    below = input * input.dtype.type(slope)
    return np.maximum(input, below) if 0 <= slope <= 1 else np.where(input > 0, input, below)


_leaky_relu.derivatives(input=lambda grad, input, slope: np.where(input > 0, grad, grad * slope))


@composite(method=False)
def leaky_relu(input, negative_slope=0.01, inplace=False):
    """input, times `negative_slope` where it is below 0. Mirrors torch.nn.functional.leaky_relu."""
    return _result(input, _leaky_relu(input, negative_slope), inplace)


@composite(method=False)
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None
):
    """softmax(query @ key.T / sqrt(d)) @ value.

    query (..., L, d), key (..., S, d), value (..., S, v) -> (..., L, v). attn_mask: True where
    attention is allowed, or a float added to the scores; is_causal: position i sees up to i.
    Mirrors torch.nn.functional.scaled_dot_product_attention.
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("attention takes attn_mask or is_causal, not both")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)  # (..., L, d) @ (..., d, S) -> (..., L, S)
    if is_causal:
        attn_mask = functions["ones"](*scores.shape[-2:]).tril().bool()
    if attn_mask is not None:
        if attn_mask.array.dtype == bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        else:
            scores = scores + attn_mask
    return functions["dropout"](softmax(scores, -1), dropout_p) @ value
