"""Activations and special functions, element by element: elementwise.cu, special.cu.

Signatures and formulas as in ../cpu/activations.py, special.py and gamma.py.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...cuda import runtime
from ..cpu import special
from ..cpu.activations import _is_exact
from .launch import THREADS, blocks, contiguous, empty, launch


def _each(kernel: str, inputs, *numbers) -> Any:
    """The kernel's result on inputs of one shape: a thread for every 16 bytes of it."""
    x = inputs[0]
    out = empty(x.shape, x.dtype)
    grid = blocks(x.size, THREADS * 16 // x.itemsize)
    launch(kernel, grid, THREADS, *map(contiguous, inputs), out, x.size, *numbers)
    return out


def sigmoid_forward(x):
    """1 / (1 + exp(-x)). Mirrors torch.sigmoid."""
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    return _each("sigmoid_forward", [x])


def sigmoid_backward(grad, out):
    """The gradient for x: grad * out * (1 - out)."""
    if out.dtype.kind == "c":
        return grad * out * (1 - out)
    return _each("sigmoid_backward", [grad, out])


def silu_forward(x):
    """x * sigmoid(x). Mirrors torch.nn.functional.silu."""
    if x.dtype.kind == "c":
        return x * sigmoid_forward(x)
    return _each("silu_forward", [x])


def silu_backward(grad, x):
    """The gradient for x: grad * s * (1 + x * (1 - s)), where s = sigmoid(x)."""
    if x.dtype.kind == "c":
        s = sigmoid_forward(x)
        return grad * s * (1 + x * (1 - s))
    return _each("silu_backward", [grad, x])


def softplus_forward(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold."""
    return _each("softplus_forward", [x], beta, threshold)


def softplus_backward(grad, x, beta=1.0, threshold=20.0):
    """The gradient for x: grad * sigmoid(beta x)."""
    return _each("softplus_backward", [grad, x], beta, threshold)


def gelu_forward(x, approximate="none"):
    """x * (the normal distribution's probability below x), or the approximation by tanh."""
    return _each("gelu_forward" if _is_exact(approximate) else "gelu_tanh_forward", [x])


def gelu_backward(grad, x, approximate="none"):
    """The gradient for x."""
    return _each("gelu_backward" if _is_exact(approximate) else "gelu_tanh_backward", [grad, x])


def _function_of_one(name: str):
    def function(x):
        return _each(f"{name}_forward", [x])

    function.__name__ = function.__qualname__ = name
    function.__doc__ = getattr(special, name, function).__doc__
    return function


erf, erfc, erfcx, erfinv = map(_function_of_one, ("erf", "erfc", "erfcx", "erfinv"))
ndtri, log_ndtr = map(_function_of_one, ("ndtri", "log_ndtr"))
lgamma, digamma = map(_function_of_one, ("lgamma", "digamma"))


def zeta(s, q):
    """The sum of (q + k) ** -s over k = 0, 1, ..., broadcast. Mirrors torch.special.zeta."""
    shape = np.broadcast_shapes(s.shape, q.shape)
    return _each("zeta_forward", [np.broadcast_to(s, shape), np.broadcast_to(q, shape)])


def _bessel(name: str, order: int, scaled: bool):
    def function(x):
        near, far = _polynomials(order, x.device.id)
        return _each("bessel_forward", [x], order, scaled, near, near.size, far, far.size)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = getattr(special, name).__doc__
    return function


i0, i0e = _bessel("i0", 0, False), _bessel("i0e", 0, True)
i1, i1e = _bessel("i1", 1, False), _bessel("i1e", 1, True)


@functools.cache
def _polynomials(order: int, device: int):
    """The coefficients of special.py's two polynomials, on the current GPU."""
    return [runtime.library().asarray(p.coef) for p in special.bessel_polynomials(order)]
