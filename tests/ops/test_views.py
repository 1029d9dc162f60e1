"""Chains of views: they share memory where PyTorch's do, and gradients find their way back."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch

from .harness import assert_same


@st.composite
def view_steps(draw, x):
    """(name, arguments) of a view that `x`, a torch tensor, allows."""
    names = ["unsqueeze", "getitem", "expand_front"]
    if x.ndim:
        names += ["transpose", "permute", "squeeze", "narrow", "select", "flatten", "unbind"]
    name = draw(st.sampled_from(names))
    dim = draw(st.integers(-x.ndim, x.ndim - 1)) if x.ndim else 0
    if name == "unsqueeze":
        return name, (draw(st.integers(-x.ndim - 1, x.ndim)),)
    if name == "getitem":
        index = [draw(st.sampled_from([slice(None), slice(1, None), slice(None, None, 2), None]))]
        return name, (tuple(index[: x.ndim]),)
    if name == "expand_front":
        return name, (2, *[-1] * x.ndim)
    if name == "transpose":
        return name, (dim, draw(st.integers(-x.ndim, x.ndim - 1)))
    if name == "permute":
        return name, (draw(st.permutations(range(x.ndim))),)
    if name == "narrow":
        start = draw(st.integers(0, x.shape[dim]))
        return name, (dim, start, draw(st.integers(0, x.shape[dim] - start)))
    if name in ("select", "unbind"):
        if x.shape[dim] == 0:
            return "unsqueeze", (0,)
        return name, (dim, draw(st.integers(0, x.shape[dim] - 1)))
    if name == "flatten":
        return name, ()
    return name, (dim,)


def take(x, name, args):
    if name == "getitem":
        return x[args[0]]
    if name == "expand_front":
        return x.expand(*args)
    if name == "select":
        return x[(slice(None),) * (args[0] % x.ndim) + (args[1],)]
    if name == "unbind":
        return x.unbind(args[0])[args[1]]
    return getattr(x, name)(*args)


@given(data=st.data())
def test_chains_of_views(data):
    shape = data.draw(st.lists(st.integers(0, 4), max_size=4).map(tuple))
    values = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    leaves = [T.tensor(values.numpy()).requires_grad_() for T in (minitorch, torch)]
    bases = [leaf * 1 for leaf in leaves]
    views = list(bases)
    for _ in range(data.draw(st.integers(1, 5))):
        name, args = data.draw(view_steps(views[1]))
        views = [take(v, name, args) for v in views]
        assert_same(*views, f"{name}{args}")
    ours, theirs = views
    weights = torch.linspace(-1, 1, theirs.numel()).reshape(theirs.shape)
    (ours * minitorch.tensor(weights.numpy())).sum().backward()
    (theirs * weights).sum().backward()
    assert_same(leaves[0].grad, leaves[1].grad, "gradient")


@given(data=st.data())
def test_writing_through_a_chain_of_views(data):
    """A change of a view is seen in its base, with autograd, and the other way round."""
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple))
    values = torch.linspace(0.5, 2.0, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    leaves = [T.tensor(values.numpy()).requires_grad_() for T in (minitorch, torch)]
    factors = [T.tensor(3.0, dtype=T.float64).requires_grad_() for T in (minitorch, torch)]
    bases = [leaf * 2 for leaf in leaves]
    views = list(bases)
    for _ in range(data.draw(st.integers(1, 3))):
        name, args = data.draw(view_steps(views[1]))
        if name in ("expand_front", "unbind", "flatten"):  # repeated or perhaps copied memory
            continue
        views = [take(v, name, args) for v in views]
    others = [b[0] for b in bases]
    through_view = data.draw(st.booleans())
    for target, factor in zip(views if through_view else bases, factors, strict=True):
        target.mul_(factor)
    for group in (bases, views, others):
        assert_same(*group, "values")
    for base, view, other in zip(bases, views, others, strict=True):
        (base.square().sum() + view.sum() + 5 * other.sum()).backward()
    assert_same(leaves[0].grad, leaves[1].grad, "gradient of the base")
    assert_same(factors[0].grad, factors[1].grad, "gradient of the factor")


SHARING = {
    "view": lambda x: x.view(-1),
    "reshape": lambda x: x.reshape(4, 3),
    "transpose": lambda x: x.transpose(0, 1),
    "T": lambda x: x.T,
    "permute": lambda x: x.permute(1, 0),
    "getitem": lambda x: x[1:, None, ::2],
    "one element": lambda x: x[1, 2],
    "one of a vector": lambda x: x[0].unbind()[1],
    "expand": lambda x: x.expand(1, 3, 4),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
    "split": lambda x: x.split(2)[1],
    "chunk": lambda x: x.chunk(2, 1)[0],
    "unbind": lambda x: x.unbind(1)[2],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "flatten": lambda x: x.flatten(),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "view_as": lambda x: x.view_as(x.reshape(2, 6)),
    "contiguous": lambda x: x.contiguous(),
    "to": lambda x: x.to(x.dtype),
    "diagonal": lambda x: x.diagonal(1),
    "unfold": lambda x: x.unfold(1, 2, 1),
    "as_strided": lambda x: x.T.as_strided((2, 2), (3, 1), 1),
    "select": lambda x: x.select(1, 2),
    "tensor_split": lambda x: x.tensor_split([1], 1)[1],
    "movedim": lambda x: x.movedim(0, 1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "mT": lambda x: x.mT,
    "atleast_3d": lambda x: T_of(x).atleast_3d(x),
}


def T_of(x):
    return minitorch if isinstance(x, minitorch.Tensor) else torch


COPYING = {
    "reshape": lambda x: x.T.reshape(-1),
    "contiguous": lambda x: x.T.contiguous(),
    "clone": lambda x: x.clone(),
    "list": lambda x: x[[0, 1]],
    "flip": lambda x: x.flip(0),
    "repeat": lambda x: x.repeat(1, 1),
    "to": lambda x: x.to(x.dtype, copy=True),
    "diag": lambda x: x.diag(),
    "narrow_copy": lambda x: x.narrow_copy(0, 0, 1),
    "tile": lambda x: x.tile(1),
    "ravel": lambda x: x.T.ravel(),
}


@pytest.mark.parametrize("name", SHARING)
def test_shares_memory(T, name):
    x = T.zeros(3, 4)
    SHARING[name](x).add_(1)
    assert x.sum().item() > 0


@pytest.mark.parametrize("name", COPYING)
def test_copies(T, name):
    x = T.zeros(3, 4)
    COPYING[name](x).add_(1)
    assert x.sum().item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda T: T.ones(3, 4).view(5), r"shape '\[5\]' is invalid for input of size 12"),
        (lambda T: T.ones(3, 4).reshape(-1, -1), "only one dimension can be inferred"),
        (lambda T: T.ones(3, 4).T.view(12), "view size is not compatible with input tensor's size"),
        (lambda T: T.ones(3, 4).expand(2, 4), r"expanded size of the tensor \(2\) must match"),
        (lambda T: T.ones(2).expand(()), "number of sizes provided"),
        (lambda T: T.ones(3).expand(2, 3).add_(1), "more than one element of the written-to"),
        (lambda T: T.cat([T.ones(2, 2), T.ones(3, 3)]), "Sizes of tensors must match except in"),
        (lambda T: T.stack([T.ones(2), T.ones(3)]), "stack expects each tensor to be equal size"),
        (lambda T: T.ones(4).split([1, 2]), "split_with_sizes expects split_sizes to sum exactly"),
    ],
)
def test_errors(T, call, message):
    with pytest.raises(RuntimeError, match=message):
        call(T)


def test_dimension_out_of_range(T):
    for call in (lambda x: x.sum(2), lambda x: x.transpose(0, 5), lambda x: x.unsqueeze(9)):
        with pytest.raises(IndexError, match="Dimension out of range"):
            call(T.ones(2, 3))


def test_storage(T):
    x = T.arange(12.0).reshape(3, 4)
    view = x[1:, 2]
    assert (x.storage_offset(), view.storage_offset(), view.stride()) == (0, 6, (4,))
    memory = view.untyped_storage()
    assert memory.data_ptr() == x.data_ptr() and memory.nbytes() == len(memory) == 48
    assert memory.device == T.device("cpu")
    assert T.is_storage(memory) and not T.is_storage(x)
    assert x.view(3, 4).is_set_to(x) and not x[:1].is_set_to(x)


def test_as_strided_is_about_the_memory(T):
    x = T.arange(12.0).reshape(3, 4)[1:]
    assert x.as_strided((2,), (1,)).tolist() == [4, 5]
    assert x.as_strided((2, 2), (1, 2), 0).tolist() == [[0, 2], [1, 3]]
    assert x.t()[1].as_strided((2,), (3,)).tolist() == [5, 8]
    for arguments in (((2,), (1,), 11), ((2,), (-1,)), ((2,), (1, 1)), ((1,), (1,), -1)):
        with pytest.raises(RuntimeError):
            x.as_strided(*arguments)


def test_new_memory_and_new_sizes(T):
    x, y = T.zeros(2), T.arange(6.0)
    x.set_(y)
    x[0] = 7
    assert x.shape == (6,) and y[0].item() == 7
    assert y.resize_(2, 2).tolist() == [[7, 1], [2, 3]] and y.data_ptr() == x.data_ptr()
    assert y.resize_(7)[:6].tolist()[:4] == [7, 1, 2, 3]
    assert y.resize_as_(T.ones(1, 3)).shape == (1, 3)
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        T.ones(2, requires_grad=True).resize_(1)


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("unsqueeze_", (0,), (1, 2, 1, 3)),
        ("squeeze_", (), (2, 3)),
        ("transpose_", (0, 2), (3, 1, 2)),
        ("swapdims_", (0, 2), (3, 1, 2)),
    ],
)
def test_shapes_changed_in_place(T, name, arguments, shape):
    leaf = T.arange(6.0).reshape(2, 1, 3).requires_grad_()
    x = leaf * 2
    assert getattr(x, name)(*arguments) is x and x.shape == shape and x._version == 1
    (x * x).sum().backward()
    assert leaf.grad.flatten().tolist() == [0, 8, 16, 24, 32, 40]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        getattr(leaf, name)(*arguments)


def test_a_view_whose_shape_is_changed_remains_one(T):
    leaf = T.arange(6.0).requires_grad_()
    base = leaf * 1
    view = base[:4]
    view.unsqueeze_(0)
    base.mul_(3)
    assert view._base is base and view.tolist() == [[0, 3, 6, 9]]
    view.sum().backward()
    assert leaf.grad.tolist() == [3, 3, 3, 3, 0, 0]


def test_reversed_dimensions(T):
    x = T.zeros(2, 3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns once
        assert x.T.shape == (4, 3, 2)
    assert x.mT.shape == x.mH.shape == x.adjoint().shape == (2, 4, 3) and x[0].H.shape == (4, 3)
    for wrong in (lambda: x.H, lambda: x[0, 0].mT, lambda: x[0, 0].mH):
        with pytest.raises(RuntimeError, match="only supported on matrices"):
            wrong()
