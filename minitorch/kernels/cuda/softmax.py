"""softmax, log_softmax and their derivatives: softmax.cu."""

from __future__ import annotations

from math import prod

from .launch import contiguous, empty, launch
from .rows import row_grid


def softmax_forward(x, axis):
    """exp(x) / sum(exp(x)) along `axis`. Mirrors torch.softmax."""
    return _along(axis, "softmax_forward", x)


def softmax_backward(grad, out, axis):
    """The gradient for x: out * (grad - sum(grad * out))."""
    return _along(axis, "softmax_backward", grad, out)


def log_softmax_forward(x, axis):
    """x - log(sum(exp(x))) along `axis`. Mirrors torch.log_softmax."""
    return _along(axis, "log_softmax_forward", x)


def log_softmax_backward(grad, out, axis):
    """The gradient for x: grad - exp(out) * sum(grad)."""
    return _along(axis, "log_softmax_backward", grad, out)


def _along(axis, kernel, *inputs):
    """The kernel's result, of one shape with its inputs; for each row along `axis`."""
    shape = inputs[0].shape
    out = empty(shape, inputs[0].dtype)
    shape = shape or (1,)
    axis %= len(shape)
    n, inner = shape[axis], prod(shape[axis + 1 :])
    if n == 0:
        return out
    rows = out.size // n
    grid, block = row_grid(rows, n, inner, out.itemsize)
    launch(kernel, grid, block, *map(contiguous, inputs), out, rows, n, inner)
    return out
