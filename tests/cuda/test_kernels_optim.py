"""Steps of optimizers on the emulated GPU: optim.cu against NumPy's kernels."""

import ml_dtypes
import numpy as np
import pytest

import minitorch as torch
from minitorch import kernels
from minitorch.kernels.cuda import adam_steps, optim, sgd_steps
from minitorch.kernels.cuda.launch import launch
from minitorch.kernels.cuda.optim import CHUNK

from ..kernels.test_optim import sgd_cases
from .gpus import OTHER
from .twins import close, to_device

SHAPES = [(3, 7), (1,), (), (0,), (CHUNK + 5,), (2, CHUNK)]


def draw(shape, dtype, seed):
    return np.array(np.random.default_rng(seed).standard_normal(shape), dtype)


def walk(one, all_at_once, states, dtype, steps=3):
    """`steps` steps of all parameters on both devices; asserts equal parameters and states."""
    rows = [
        [draw(s, dtype, i), *[np.zeros(s, dtype) for _ in range(states)]]
        for i, s in enumerate(SHAPES)
    ]
    on_device = [list(map(to_device, row)) for row in rows]
    for step in range(1, steps + 1):
        grads = [draw(row[0].shape, dtype, 10 * step + i) for i, row in enumerate(rows)]
        for (param, *state), grad in zip(rows, grads, strict=True):
            one(param, grad, *state, step=step)
        tensors = [
            (param, to_device(grad), *state)
            for (param, *state), grad in zip(on_device, grads, strict=True)
        ]
        all_at_once(tensors, step=step)
    for row, got in zip(rows, on_device, strict=True):
        close(got, row, scale=10)


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

    def one(param, grad, buffer, step):
        kernels.sgd_step(param, grad, buffer, first=step == 1, **options)

    walk(one, lambda rows, step: sgd_steps(rows, first=step == 1, **options), 1, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.3, 0.5)])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("weight_decay", "maximize"), [(0, False), (0.1, True)])
def test_adam(weight_decay, maximize, decoupled, amsgrad, betas, dtype):
    options = {"lr": 0.01, "beta1": betas[0], "beta2": betas[1], "eps": 1e-8, "maximize": maximize}
    options |= {"weight_decay": weight_decay, "decoupled_weight_decay": decoupled}

    def all_at_once(rows, step):
        rows = rows if amsgrad else [(*row, None) for row in rows]
        adam_steps(rows, step=step, **options)

    def one(*arrays, step):
        kernels.adam_step(*arrays, step=step, **options)

    walk(one, all_at_once, 3 if amsgrad else 2, dtype)


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    arrays = [draw((50,), dtype, i) for i in range(3)] + [np.abs(draw((50,), dtype, 3))]
    options = {"step": 2, "lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    wide = [a.astype("f") for a in arrays]
    kernels.adam_step(*wide, **options)
    got = list(map(to_device, arrays))
    kernels.adam_step(*got, **options)
    close(got, [a.astype(dtype) for a in wide])
    wide = [a.astype("f") for a in arrays[:2]]
    kernels.sgd_step(*wide, lr=0.1)
    got = list(map(to_device, arrays[:2]))
    kernels.sgd_step(*got, lr=0.1)
    close(got, [a.astype(dtype) for a in wide])


def test_parameters_of_several_types_and_in_another_order():
    params = [draw((5, 3), "f", 0).T, draw((4,), "d", 1), draw((2, 3), "f", 2)]
    grads = [draw((3, 5), "f", 3), draw((4,), "d", 4), draw((3, 2), "f", 5).T]
    on_device = [to_device(p) for p in params]
    assert not on_device[0].flags.c_contiguous
    sgd_steps([(p, to_device(g), None) for p, g in zip(on_device, grads, strict=True)], lr=0.5)
    close(on_device, [p - p.dtype.type(0.5) * g for p, g in zip(params, grads, strict=True)])


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.1),
        lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    ],
)
def test_an_optimizer_takes_one_launch_a_step(make, monkeypatch):
    launched = []
    monkeypatch.setattr(optim, "launch", lambda *a, **k: (launched.append(a[0]), launch(*a, **k)))
    results = []
    for device in ("cpu", OTHER):
        params = [torch.tensor(draw(s, "f", i), device=device) for i, s in enumerate(SHAPES)]
        optimizer = make(params)
        for step in range(3):
            for i, p in enumerate(params[: 4 + step]):  # later ones join in
                p.grad = torch.tensor(draw(SHAPES[i], "f", 10 * step + i), device=device)
            optimizer.step()
        results.append([p.cpu().numpy() for p in params])
    assert len(launched) <= 6
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_an_address_in_a_table_must_be_an_arrays():
    layout = to_device(np.array([0, 1]))
    with pytest.raises(RuntimeError, match="a null pointer"):
        launch("sgd_step", 1, 32, to_device(np.array([64, 64], np.uint64)), layout, 1,
               *(0.1, 0, 0, 0, 0, 0, 0), dtype=np.dtype("f"))  # fmt: skip
