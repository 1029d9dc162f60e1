"""One step of an LSTM and of a GRU, from the sums that its gates are made of; a whole LSTM layer.

As single operations: what a step computes is a dozen small operations, and a sequence has many
steps. PyTorch: aten/src/ATen/native/RNN.cpp.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..autograd.differentiate import grad as differentiate
from ..autograd.grad_mode import enable_grad
from ..dispatch.declare import composite, functions, op
from ..tensor import Tensor
from .nn import linear
from .ufuncs import sigmoid


def _parts(array, n: int) -> list:
    """`array` in n equal parts along the last dimension."""
    size = array.shape[-1] // n
    return [array[..., i * size : (i + 1) * size] for i in range(n)]


@op(method=False, function=False, many=True)
def lstm_step(gates, c):
    """(h, c) after a step. gates (N, 4 H): the sums for input, forget, cell and output gate."""
    i, f, g, o = _parts(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@lstm_step.joint_derivative("gates", "c")
def _lstm_backward(grads, wanted, gates, c):
    dh, dc = grads
    i, f, g, o = _parts(gates, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    tanh_c = np.tanh(f * c + i * g)
    if dh is not None:  # h = o tanh(c)
        through_h = dh * o * (1 - tanh_c * tanh_c)
        dc = through_h if dc is None else dc + through_h
    do = np.zeros_like(o) if dh is None else dh * tanh_c * o * (1 - o)
    sums = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), do]
    return [np.concatenate(sums, -1), dc * f]


@op(method=False, function=False, many=True, outputs=("hs", "cs", "gates"))
def lstm_layer(sums, h, c, weight):
    """(h, c, gates) of all steps, from the inputs' part of the sums (L, N, 4 H) and weight_hh."""
    return kernels.lstm_forward(sums, h, c, weight)


@lstm_layer.defined_by
def _lstm_steps(sums, h, c, weight):
    hs, cs = [], []
    for step in sums.unbind(0):
        h, c = lstm_step(step + linear(h, weight), c)
        hs.append(h)
        cs.append(c)
    return functions["stack"](hs), functions["stack"](cs)


@lstm_layer.joint_derivative("sums", "h", "c", "weight")
def _lstm_layer_backward(grads, wanted, sums, h, c, weight, hs, cs, gates):
    if not any(isinstance(g, Tensor) for g in grads):
        backward = kernels.find("lstm_backward", hs)  # grads[0] may be None, and say nothing
        return backward(grads[0], grads[1], h, c, weight, hs, cs, gates)
    # Derivatives of derivatives: those of the steps, from aliases of the arguments. There may be
    # ways from one argument to another: h may come from a layer with the same weight.
    with enable_grad():
        arguments = [t.view(t.shape) for t in (sums, h, c, weight)]
        outs = _lstm_steps(*arguments)
    inputs = [t for t, want in zip(arguments, wanted, strict=True) if want]
    given = [np.zeros_like(o) if g is None else g for o, g in zip(outs, grads[:2], strict=True)]
    found = iter(differentiate(outs, inputs, given, create_graph=True))
    return [next(found) if want else None for want in wanted]


@op(method=False, function=False)
def gru_step(from_input, from_h, h):
    """h after a step. The sums (N, 3 H) for reset, update and new gate, and the h before."""
    (ri, zi, ni), (rh, zh, nh) = _parts(from_input, 3), _parts(from_h, 3)
    z, n = sigmoid(zi + zh), np.tanh(ni + sigmoid(ri + rh) * nh)
    return n + z * (h - n)


@gru_step.joint_derivative("from_input", "from_h", "h")
def _gru_backward(grad, wanted, from_input, from_h, h):
    (ri, zi, ni), (rh, zh, nh) = _parts(from_input, 3), _parts(from_h, 3)
    r, z = sigmoid(ri + rh), sigmoid(zi + zh)
    n = np.tanh(ni + r * nh)
    dn = grad * (1 - z) * (1 - n * n)
    dr, dz = dn * nh * r * (1 - r), grad * (h - n) * z * (1 - z)
    sums = [np.concatenate([dr, dz, new], -1) for new in (dn, dn * r)]
    return [*sums, grad * z]


@composite(method=False)
def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """(h, c) after a step from hx = (h, c), with input (N, inputs). Mirrors torch.lstm_cell."""
    return lstm_step(linear(input, w_ih, b_ih) + linear(hx[0], w_hh, b_hh), hx[1])


@composite(method=False)
def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """h after a step from hx = h, with input (N, inputs). Mirrors torch.gru_cell."""
    return gru_step(linear(input, w_ih, b_ih), linear(hx, w_hh, b_hh), hx)
