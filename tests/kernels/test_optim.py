"""Twelve steps of each variant, beside PyTorch's optimizer: equal to the last bits."""

import itertools

import numpy as np
import pytest
import torch

from minitorch import kernels

from .samples import array


def walk(make_optimizer, step, shape, dtype):
    """Both optimizers go twelve steps with the same gradients; returns both parameters."""
    ours = array(shape, dtype)
    theirs = torch.nn.Parameter(torch.from_numpy(ours.copy()))
    optimizer = make_optimizer([theirs])
    for i in range(12):
        grad = array(shape, dtype, seed=i + 1)
        theirs.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        step(ours, grad, i + 1)
    return ours, theirs.detach().numpy()


def equal_to_the_last_bits(ours, theirs):
    """PyTorch may round a * b + c once where the processor can, so a few bits differ."""
    np.testing.assert_array_max_ulp(ours.ravel(), theirs.ravel(), maxulp=16384)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=8 * np.finfo(ours.dtype).eps * scale)


sgd_cases = pytest.mark.parametrize(
    ("momentum", "dampening", "weight_decay", "nesterov", "maximize"),
    [
        case
        for case in itertools.product([0, 0.9], [0, 0.3], [0, 0.1], [False, True], [False, True])
        if not case[3] or (case[0] and not case[1])
    ],
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@sgd_cases
def test_sgd(momentum, dampening, weight_decay, nesterov, maximize, dtype):
    options = {
        "lr": 0.1,
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": weight_decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    buffer = np.empty((3, 7), dtype)

    def step(param, grad, i):
        kernels.sgd_step(param, grad, buffer, first=i == 1, **options)

    equal_to_the_last_bits(
        *walk(lambda p: torch.optim.SGD(p, foreach=False, **options), step, (3, 7), dtype)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.3, 0.5)])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("maximize", [False, True])
def test_adam(optimizer, betas, amsgrad, weight_decay, maximize, dtype):
    options = {"lr": 0.01, "eps": 1e-8, "weight_decay": weight_decay, "maximize": maximize}
    state = [np.zeros((5, 3), dtype) for _ in range(3 if amsgrad else 2)]

    def step(param, grad, i):
        kernels.adam_step(
            param,
            grad,
            *state,
            step=i,
            beta1=betas[0],
            beta2=betas[1],
            decoupled_weight_decay=optimizer is torch.optim.AdamW,
            **options,
        )

    def make(p):
        return optimizer(p, betas=betas, amsgrad=amsgrad, foreach=False, **options)

    equal_to_the_last_bits(*walk(make, step, (5, 3), dtype))


@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
def test_several_blocks_and_strides_change_in_place(layout, two_threads):
    param, grad = array((400, 500), layout=layout), array((400, 500), seed=1)
    expected = param - np.float32(0.5) * grad
    kernels.sgd_step(param, grad, lr=0.5)
    np.testing.assert_array_equal(param, expected)
