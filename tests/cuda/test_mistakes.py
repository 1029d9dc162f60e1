"""What is on the wrong device is refused, and what autograd makes itself is on the right one.

As elsewhere here, tensors are on cuda:1 while cuda:0 is the current GPU.
"""

import numpy as np
import pytest

import minitorch as torch
from minitorch.cuda import runtime

from .gpus import OTHER


def there(*values):
    return torch.tensor(values, device=OTHER, requires_grad=True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x: (x * 2).backward(torch.ones(2)), f"grad_output.0. is on cpu, and .* on {OTHER}"),
        (lambda x: setattr(x, "grad", torch.ones(2)), "assigned grad is on device cpu"),
        (lambda x: torch.equal(x, x.cpu()), "to be on the same device"),
        (lambda x: torch.ones(3)[x.detach().long()], "an argument is on a GPU"),
        (lambda x: x.cuda("cpu"), "must be cuda device: cpu"),
        (lambda x: x.to("cuda:99"), "the GPUs here are cuda:0"),
    ],
)
def test_the_wrong_device(wrong, words):
    with pytest.raises(RuntimeError, match=words):
        wrong(there(1.0, 2.0))


class Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, first, second):
        (x,) = ctx.saved_tensors
        return 2 * first + second * x


def test_zeros_for_what_was_not_used():
    x, unused = there(1.0, 2.0), there(3.0)
    Both.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [2, 2] and x.grad.device == x.device
    _, zeros = torch.autograd.grad(x.sum(), (x, unused), materialize_grads=True)
    assert zeros.tolist() == [0] and zeros.device == x.device


def test_forward_derivatives():
    x = there(1.0, 2.0).detach()
    assert torch.func.hessian(lambda x: (x**3).sum())(x).tolist() == [[6, 0], [0, 12]]
    _, pushed = torch.func.jvp(lambda x: x**2, (x,), (x,))
    assert pushed.tolist() == [2, 8] and pushed.device == x.device


def test_gradcheck():
    x = there(1.0, 2.0).detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: x.exp() * x.sum(), x)
    assert torch.autograd.gradgradcheck(torch.sin, x)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(lambda x: x.exp() + x.detach(), x)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool", "complex64"])
def test_new_tensors_are_made_on_the_gpu(dtype, monkeypatch):
    """Not on the CPU, to be copied; torch.empty would bring what it never wrote."""
    x = torch.tensor([0], device=OTHER).to(getattr(torch, dtype))
    torch.devices.prototype(x.device)
    moved = []
    monkeypatch.setattr(
        torch.devices,
        "moved",
        lambda a, to, move=torch.devices.moved: moved.append(a) or move(a, to),
    )
    made = [
        getattr(torch, n)(2, 3, dtype=x.dtype, device=OTHER) for n in ("zeros", "ones", "empty")
    ]
    made += [torch.full((2, 3), 1, dtype=x.dtype, device=OTHER), x.new_zeros(2, 3)]
    made += [x.new_full((2, 3), 1), x.new_ones(2, 3), x.new_empty(2, 3)]
    assert {(t.device, t.dtype, t.shape) for t in made} == {(x.device, x.dtype, (2, 3))}
    assert not [a for a in moved if type(a) is np.ndarray and a.size]
    values = [made[i].cpu().double().numpy().mean() for i in (0, 1, 3, 4, 5, 6)]
    assert values == [0, 1, 1, 0, 1, 1]


def test_an_empty_tensor_is_watched():
    """A kernel that reads what torch.empty has made is told so."""
    if runtime.library().__name__ == "cupy":
        pytest.skip("a GPU does not say what nobody wrote")
    kernel = 'extern "C" __global__ void copy(const float *x, float *y) { y[0] = x[0]; }'
    copy = runtime.library().RawModule(code=kernel).get_function("copy")
    x, y = torch.empty(1, device="cuda"), torch.zeros(1, device="cuda")
    with pytest.raises(RuntimeError, match=r"memory that nothing has written: x\[0\]"):
        copy((1,), (1,), (x.array, y.array))


@pytest.mark.parametrize("header", ["assert.h", "cassert"])
def test_an_assert_that_fails_leaves_python_alive(header):
    if runtime.library().__name__ == "cupy":
        pytest.skip("NVRTC has no such header")
    kernel = f"#include <{header}>\n" + 'extern "C" __global__ void f(int *n) { assert(*n > 0); }'
    function = runtime.library().RawModule(code=kernel).get_function("f")
    with pytest.raises(RuntimeError, match="assertion .* fails"):
        function((1,), (1,), (torch.zeros(1, dtype=torch.int32, device="cuda").array,))
