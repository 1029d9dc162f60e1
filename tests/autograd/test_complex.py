"""Complex gradients are PyTorch's: conj(df/dz) for a real f. Both packages, first and second."""

import pytest
import torch

import minitorch

FUNCTIONS = {
    "mul": lambda T, z, w: z * w,
    "product of the same": lambda T, z, w: z * z * z,
    "real factor": lambda T, z, w: z * w.real,
    "number": lambda T, z, w: (1 + 2j) * z / (w + 3),
    "exp": lambda T, z, w: z.exp() * w.sin(),
    "abs": lambda T, z, w: z.abs() * w,
    "real and imag": lambda T, z, w: z.real * w.imag,
    "conj": lambda T, z, w: z.conj() * w,
    "broadcast": lambda T, z, w: z[:, None] * w,
    "matmul": lambda T, z, w: z[None] @ w[:, None],
    "sum": lambda T, z, w: (z * w).sum().abs(),
}


def derivatives(T, name):
    """Value, gradients, and gradients of a real function of the gradients."""
    z = T.tensor([1 + 2j, -0.5 + 1j], requires_grad=True)
    w = T.tensor([0.3 - 1j, 2 + 0.5j], requires_grad=True)
    out = FUNCTIONS[name](T, z, w)
    weights = (T.arange(out.numel()) + 1).reshape(out.shape) * (1 + 0j if out.is_complex() else 1)
    weights = weights * (2 - 1j) if out.is_complex() else weights.to(out.dtype)
    first = T.autograd.grad(out, [z, w], weights, create_graph=True, allow_unused=True)
    first = [g for g in first if g is not None]
    total = sum((g.abs() ** 2).sum() for g in first)
    second = T.autograd.grad(total, [z, w], allow_unused=True)
    return [out, *first, *[g for g in second if g is not None]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name):
    ours, theirs = derivatives(minitorch, name), derivatives(torch, name)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        flat = zip(a.detach().flatten().tolist(), b.detach().flatten().tolist(), strict=True)
        assert all(x == pytest.approx(y, rel=1e-4, abs=1e-4) for x, y in flat)


@pytest.mark.filterwarnings("error")
def test_a_real_leaf_takes_the_real_part(T):
    x = T.tensor([1.0, 2.0], requires_grad=True)
    (x * (3 + 4j)).backward(T.tensor([1 + 0j, 1j]))
    assert x.grad.dtype is T.float32 and x.grad.tolist() == [3, 4]


def test_hooks_and_accumulation_see_pytorchs_gradient(T):
    z = T.tensor([1 + 1j], requires_grad=True)
    y = z * (1 + 2j)
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()) or g * 1j)
    z.register_hook(lambda g: seen.append(g.tolist()))
    y.grad_fn.register_prehook(lambda o: seen.append(o[0].tolist()))
    y.grad_fn.register_hook(lambda i, o: seen.append(i[0].tolist()))
    y.backward(T.tensor([1 + 3j]))
    assert seen == [[1 + 3j], [-3 + 1j], [-1 + 7j], [-1 + 7j]] and z.grad.tolist() == [-1 + 7j]
    (z * 1j).backward(T.tensor([1j]))
    assert z.grad.tolist() == [7j]


def test_a_complex_loss_needs_a_gradient(T):
    z = T.tensor(1 + 1j, requires_grad=True)
    with pytest.raises(RuntimeError, match="only for real scalar outputs but got torch.complex64"):
        (z * 2).backward()
