"""softmax and log_softmax, and their derivatives.

Both subtract the row's maximum first: exp cannot overflow then, and the sum is at least 1. A row
with nothing but -inf has no maximum to subtract, and comes out as nan, as in PyTorch.

PyTorch: aten/src/ATen/native/cpu/SoftMaxKernel.cpp.
"""

from __future__ import annotations

import numpy as np

from .blocking import by_rows, row_dot, row_sum
from .exponential import exp


def softmax_forward(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x) / sum(exp(x)) along `axis`. Mirrors torch.softmax."""

    def kernel(x, out, axis):
        np.subtract(x, np.maximum.reduce(x, axis, keepdims=True), out=out)
        exp(out, out)
        out /= row_sum(out, axis)

    return by_rows(kernel, axis, x)


def softmax_backward(grad: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """The gradient for x: out * (grad - sum(grad * out))."""

    def kernel(grad, out, dx, axis):
        np.subtract(grad, row_dot(grad, out, axis), out=dx)
        dx *= out

    return by_rows(kernel, axis, grad, out)


def log_softmax_forward(x: np.ndarray, axis: int) -> np.ndarray:
    """x - log(sum(exp(x))) along `axis`. Mirrors torch.log_softmax."""

    def kernel(x, out, axis):
        np.subtract(x, np.maximum.reduce(x, axis, keepdims=True), out=out)
        out -= np.log(row_sum(exp(out, np.empty(out.shape, out.dtype)), axis))

    return by_rows(kernel, axis, x)


def log_softmax_backward(grad: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """The gradient for x: grad - exp(out) * sum(grad)."""

    def kernel(grad, out, dx, axis):
        exp(out, dx)
        dx *= row_sum(grad, axis)
        np.subtract(grad, dx, out=dx)

    return by_rows(kernel, axis, grad, out)
