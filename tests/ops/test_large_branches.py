"""What is computed in another way from a few thousand elements on, where inputs have every sign."""

import numpy as np
import pytest
import torch

import minitorch

CASES = {
    "relu": lambda T, x, y: x.relu(),
    "leaky_relu": lambda T, x, y: T.nn.functional.leaky_relu(x, 0.1),
    "leaky_relu, steep": lambda T, x, y: T.nn.functional.leaky_relu(x, 1.5),
    "hardtanh": lambda T, x, y: T.nn.functional.hardtanh(x),
    "hardsigmoid": lambda T, x, y: T.nn.functional.hardsigmoid(x * 4),
    "softshrink": lambda T, x, y: T.nn.functional.softshrink(x),
    "sign": lambda T, x, y: x.sign(),
    "abs": lambda T, x, y: x.abs(),
    "frac": lambda T, x, y: (x * 3).frac(),
    "lerp": lambda T, x, y: T.lerp(x, y, 0.3),
    "lerp, weight of more dimensions": lambda T, x, y: T.lerp(x, y, T.ones(2, 1, 1) * 0.3),
    "addcmul, broadcast": lambda T, x, y: T.addcmul(T.ones(3, 1, 1), x, y, value=0.5),
    "where": lambda T, x, y: T.where(x > y, x, y),
    "where, row": lambda T, x, y: T.where(x > y[0], x, y[:1]),
    "masked_fill": lambda T, x, y: x.masked_fill(x > 0, 2.0),
    "mse_loss": lambda T, x, y: T.nn.functional.mse_loss(x, y),
    "smooth_l1": lambda T, x, y: T.nn.functional.smooth_l1_loss(x * 2, y, beta=0.7),
    "huber": lambda T, x, y: T.nn.functional.huber_loss(x * 2, y, delta=0.7),
    "index_select": lambda T, x, y: x.index_select(0, T.tensor([3, 1, 3] * 3)),
    "group_norm": lambda T, x, y: T.nn.functional.group_norm(
        x.reshape(2, 6, -1), 3, y[0, :6], y[1, :6]
    ),
    "batch_norm": lambda T, x, y: T.nn.functional.batch_norm(
        x.reshape(2, 6, -1), None, None, y[0, :6], y[1, :6], training=True
    ),
    "batch_norm, matrix": lambda T, x, y: T.nn.functional.batch_norm(x, None, None, training=True),
    "layer_norm": lambda T, x, y: T.nn.functional.layer_norm(x, (130,), y[0], y[1]),
}
for half in ("tril", "triu"):
    for k in (0, 5, -70, 90, 300, -300):
        CASES[f"{half} {k}"] = lambda T, x, y, half=half, k=k: getattr(T.stack([x, y]), half)(k)


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
def test_values_and_gradients(function):
    rng, found = np.random.default_rng(0), []
    arrays = [rng.standard_normal((180, 130)).astype(np.float32) for _ in range(2)]
    arrays[0][:3, :3] = 0
    weights = None
    for T in (minitorch, torch):
        x, y = [T.tensor(a, requires_grad=True) for a in arrays]
        out = function(T, x, y)
        if weights is None:
            weights = rng.standard_normal(tuple(out.shape)).astype(np.float32)
        out.backward(T.tensor(weights))
        grads = [np.zeros(()) if v.grad is None else v.grad.numpy() for v in (x, y)]
        found.append([out.detach().numpy(), *grads])
    for ours, theirs in zip(*found, strict=True):
        scale = max(np.abs(theirs).max(), 1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)
