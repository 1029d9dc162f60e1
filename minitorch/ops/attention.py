"""Attention as one operation, whose kernel never stores the scores: on a GPU.

On a CPU NumPy has to write down the scores anyway, and the plain composition does
(nn/functional/attention.py). PyTorch: aten/src/ATen/native/transformers/cuda/attention.cu.
"""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..autograd.differentiate import grad as differentiate
from ..autograd.grad_mode import enable_grad
from ..dispatch.declare import op
from ..tensor import Tensor, wrap
from .nn import softmax

LARGEST_HEAD = 256
"""The largest last dimension that the kernel takes."""


def suits(query, key, value) -> bool:
    """Whether `attention` can do it: on a GPU, float32 or less, heads of one size, some keys."""
    array = query.array
    return (
        type(array) is not np.ndarray
        and array.dtype.name in ("float32", "float16", "bfloat16")
        and query.shape[:-2] == key.shape[:-2]
        and key.shape == value.shape
        and query.shape[-1] == key.shape[-1]
        and 0 < query.shape[-1] <= LARGEST_HEAD
        and key.shape[-2] > 0
    )


@op(
    method=False,
    function=False,
    outputs=("out", "log_sums"),
    node="ScaledDotProductFlashAttention",
)
def attention(query, key, value, causal, scale):
    """softmax(query @ key.T * scale) @ value, and the log of each softmax's sum."""
    return kernels.find("attention_forward", query)(query, key, value, causal, scale)


def _composition(query, key, value, causal, scale):
    """The same in plain operations, which are differentiable any number of times."""
    scores = (query * scale) @ key.transpose(-2, -1)
    if causal:
        seen = np.tri(*scores.shape[-2:], dtype=bool, like=scores.array)
        scores = scores.masked_fill(wrap(~seen), -math.inf)
    return softmax(scores, -1) @ value


@attention.joint_derivative("query", "key", "value")
def _backward(grad, wanted, query, key, value, causal, scale, out, log_sums):
    if not isinstance(grad, Tensor):
        backward = kernels.find("attention_backward", grad)
        return backward(grad, query, key, value, out, log_sums, causal, scale)
    with enable_grad():
        arguments = [t.view(t.shape) for t in (query, key, value)]  # one may be made of another
        result = _composition(*arguments, causal, scale)
    inputs = [t for t, want in zip(arguments, wanted, strict=True) if want]
    found = iter(differentiate([result], inputs, [grad], create_graph=True))
    return [next(found) if want else None for want in wanted]
