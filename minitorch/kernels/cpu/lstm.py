"""A whole LSTM layer: the loop over time steps, forward and back, without a graph of its steps.

Of the four gates' sums (input, forget, cell, output) only what depends on the hidden state is left
to the loop; the gradients of all steps for the weight are one product at the end.
PyTorch: aten/src/ATen/native/RNN.cpp; oneDNN.
"""

from __future__ import annotations

import numpy as np


def lstm_forward(sums, h, c, weight):
    """(h of all steps (L, N, H), c of all steps, the gates (L, N, 4 H)) from h, c (N, H).

    sums (L, N, 4 H): the part of the gates' sums that the inputs make; weight (4 H, H).
    """
    steps, n, size = sums.shape[0], sums.shape[1], h.shape[-1]
    hs, cs = np.empty_like(sums, shape=(2, steps, n, size), order="C")
    gates = np.empty_like(sums)
    back = weight.T.copy()  # in order; np.ascontiguousarray does not know CuPy's arrays
    cell = slice(2 * size, 3 * size)
    for t in range(steps):
        gate = np.matmul(h, back, out=gates[t])
        gate += sums[t]
        new = np.tanh(gate[:, cell])
        np.negative(gate, out=gate)
        np.exp(gate, out=gate)
        gate += 1
        np.reciprocal(gate, out=gate)  # all sigmoids, those of the cell gate for nothing
        gate[:, cell] = new
        c = np.multiply(gate[:, size : 2 * size], c, out=cs[t])
        c += gate[:, :size] * new
        h = np.tanh(c, out=hs[t])
        h *= gate[:, 3 * size :]
    return hs, cs, gates


def lstm_backward(dhs, dcs, h, c, weight, hs, cs, gates):
    """The gradients for (sums, h, c, weight); dhs and dcs (L, N, H) or None are those of hs, cs."""
    steps, n, size = hs.shape
    dsums = np.empty_like(gates)
    dh, dc = np.zeros_like(hs, shape=(2, n, size))
    tanh_cs = np.tanh(cs)
    i, f, g, o = (gates[..., k * size : (k + 1) * size] for k in range(4))
    # What a gate's gradient is multiplied by to be that of its sum.
    slopes = gates * (1 - gates)
    slopes[..., 2 * size : 3 * size] = 1 - g * g
    through_h = o * (1 - tanh_cs * tanh_cs)  # dh / dc
    for t in reversed(range(steps)):
        if dhs is not None:
            dh = dh + dhs[t]
        if dcs is not None:
            dc = dc + dcs[t]
        dc = dc + dh * through_h[t]
        before = cs[t - 1] if t else c
        d = dsums[t]
        np.multiply(dc, g[t], out=d[:, :size])
        np.multiply(dc, before, out=d[:, size : 2 * size])
        np.multiply(dc, i[t], out=d[:, 2 * size : 3 * size])
        np.multiply(dh, tanh_cs[t], out=d[:, 3 * size :])
        d *= slopes[t]
        dh = d @ weight
        dc = dc * f[t]
    dweight = dsums[0].T @ h
    dweight += dsums[1:].reshape(-1, 4 * size).T @ hs[:-1].reshape(-1, size)
    return dsums, dh, dc, dweight
