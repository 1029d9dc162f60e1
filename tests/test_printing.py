"""A tensor's repr is PyTorch's, character for character.

The oracle is torch's own repr of the same memory. The tensor is stood in for by the five attributes
that printing reads, so that printing is tested apart from everything else; one test prints real
tensors.
"""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import minitorch
from minitorch import dtypes, printing

DTYPES = [d for d in dtypes.ALL if d._numpy is not None]


class Tensor:
    """Just what tensor_repr reads."""

    def __init__(self, array, requires_grad=False, grad_fn=None, device="cpu"):
        self.array = array
        self.dtype = dtypes.of(array)
        self.requires_grad = requires_grad
        self.grad_fn = grad_fn and SimpleNamespace(name=lambda: grad_fn)
        self.device = device


class Fancy(Tensor):
    """A user's subclass, printed under its own name."""


def to_torch(array):
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def check(array, **options):
    array = np.asarray(array)  # NumPy turns 0-d results into scalars
    with printing.printoptions(**options):
        got = printing.tensor_repr(Tensor(array))
    with torch._tensor_str.printoptions(**options):
        expected = repr(to_torch(array))
    assert got == expected, (
        f"options {options}, array {array!r}\ngot:\n{got}\nexpected:\n{expected}"
    )


SHAPES = [(), (0,), (0, 3), (3, 0, 2), (1,), (7,), (40,), (2, 3), (3, 30), (1, 1), (2, 1, 4)]
SHAPES += [(2, 2, 2, 2), (1001,), (1000,), (40, 40), (7, 200), (200, 7), (3, 5, 100), (6, 6, 6, 7)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_dtype_and_shape(dtype, shape):
    numbers = np.arange(math.prod(shape)).reshape(shape)
    check((numbers % 100).astype(dtype.numpy))
    check((numbers * 0.37 - 20).astype(np.float32).astype(dtype.numpy))


floats = st.one_of(
    st.floats(width=32),
    st.integers(-(10**9), 10**9).map(float),
    st.floats(-100, 100, width=16),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-4, 9.9e-5, 1e8, 1.0001e8, math.nan, math.inf]),
    st.sampled_from([-math.inf, 999.5, 1000.0, 0.99999, 9999.99999, -0.00001, 5e-324, 1.7e308]),
)
shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(shapes)
    if dtype.is_floating_point or dtype.is_complex:
        pool = draw(st.lists(floats, min_size=1, max_size=6))
    else:
        pool = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6))
    values = np.array(list(itertools.islice(itertools.cycle(pool), math.prod(shape))))
    with np.errstate(all="ignore"):
        if dtype.is_complex:
            values = values.astype(np.float64) + 0j
            values.imag = np.roll(values.real, 1)
        return values.astype(dtype.numpy).reshape(shape)


options = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.integers(0, 8),
        "threshold": st.integers(0, 30),
        "edgeitems": st.integers(0, 4),
        "linewidth": st.integers(10, 120),
        "profile": st.sampled_from(["default", "short", "full"]),
        "sci_mode": st.sampled_from([None, True, False]),
    },
)


@settings(max_examples=400, deadline=None)
@given(arrays())
def test_any_values(array):
    check(array)


@settings(max_examples=400, deadline=None)
@given(arrays(), options)
def test_any_options(array, chosen):
    check(array, **chosen)


@pytest.mark.parametrize("edgeitems", [0, 1])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 4)], ids=str)
def test_everything_is_summarised_above_threshold_zero(shape, edgeitems):
    check(np.full(shape, 1.5), threshold=0, edgeitems=edgeitems)


@settings(max_examples=100, deadline=None)
@given(st.lists(floats, min_size=1, max_size=8), st.sampled_from(["f4", "f8"]))
def test_summaries_look_at_the_edges_only(pool, dtype):
    """The value in the middle that is not shown must not choose the notation either."""
    with np.errstate(all="ignore"):
        array = np.resize(np.array(pool), (9, 13, 11)).astype(dtype)
    array[4, 5, 5] = 1e30
    check(array)


def test_noncontiguous():
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    got = printing.tensor_repr(Tensor(base.transpose(2, 0, 1)[::2]))
    assert got == repr(torch.from_numpy(base).permute(2, 0, 1)[::2])


@pytest.mark.parametrize("width", range(1, 16))
def test_suffixes_wrap_where_torch_wraps_them(width):
    array = np.arange(width, dtype=np.float64) + 1000
    leaf = torch.from_numpy(array).requires_grad_()
    assert printing.tensor_repr(Tensor(array, requires_grad=True)) == repr(leaf)
    got = printing.tensor_repr(Tensor(array * 2, requires_grad=True, grad_fn="MulBackward0"))
    assert got == repr(leaf * 2)


def test_suffixes_of_empty_tensors():
    leaf = torch.empty(0, 3, dtype=torch.float64, requires_grad=True)
    empty = np.empty((0, 3))
    assert printing.tensor_repr(Tensor(empty, requires_grad=True)) == repr(leaf)
    got = printing.tensor_repr(Tensor(empty, requires_grad=True, grad_fn="MulBackward0"))
    assert got == repr(leaf * 2)


def test_device_is_named_unless_it_is_the_cpu():
    got = printing.tensor_repr(Tensor(np.arange(2), device="cuda:0"))
    assert got == "tensor([0, 1], device='cuda:0')"
    got = printing.tensor_repr(Tensor(np.empty((0, 2), np.int32), device="cuda:1"))
    assert got == "tensor([], device='cuda:1', size=(0, 2), dtype=torch.int32)"


def test_a_subclass_prints_its_own_name():
    class Fancy(torch.Tensor):
        pass

    array = np.arange(40, dtype=np.float32).reshape(2, 20)
    expected = repr(torch.from_numpy(array).as_subclass(Fancy))
    assert printing.tensor_repr(globals()["Fancy"](array)) == expected


@pytest.mark.parametrize("name", ["float64", "float16"])
def test_the_default_dtype_is_not_printed(name, monkeypatch):
    monkeypatch.setattr(dtypes, "_default", getattr(dtypes, name))
    torch.set_default_dtype(getattr(torch, name))
    try:
        for other in ("float16", "float32", "float64", "complex64", "complex128", "int64"):
            for shape in ((2,), (0,)):
                check(np.ones(shape, other))
    finally:
        torch.set_default_dtype(torch.float32)


def test_options_are_kept_and_restored():
    before = printing.get_printoptions()
    assert before == torch._tensor_str.get_printoptions()
    with pytest.raises(KeyError), printing.printoptions(precision=2, sci_mode=True):
        assert printing.get_printoptions() == before | {"precision": 2, "sci_mode": True}
        printing.set_printoptions(edgeitems=1)  # sci_mode left out: back to automatic, as in torch
        assert printing.get_printoptions()["sci_mode"] is None
        raise KeyError
    assert printing.get_printoptions() == before
    with pytest.raises(ValueError, match="unknown profile 'tiny': expected one of default, short"):
        printing.set_printoptions(profile="tiny")


def test_large_tensors_are_cut_before_they_are_formatted(monkeypatch):
    formatted = []
    cells = printing._real_cells
    monkeypatch.setattr(
        printing, "_real_cells", lambda flat: formatted.append(flat.size) or cells(flat)
    )
    check(np.broadcast_to(np.float32(0.5), (1000, 1000)))
    assert formatted == [36]


def test_real_tensors():
    for module in (minitorch, torch):
        x = module.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        lines = [repr(x), str(x * 2), repr(x.detach()), f"{x.sum().detach():.2f}"]
        lines += [repr(module.tensor([[1, 2, 3], [4, 5, 6]]) * 2), repr(module.tensor(3.0))]
        lines += [repr(module.nn.Parameter(module.ones(2))), repr(module.tensor([True, False]))]
        lines += [repr(module.tensor([], dtype=module.int64)), repr(module.zeros(0, 3))]
        if module is minitorch:
            got = lines
    assert got == lines


SHAPES = [(), (0,), (3,), (2, 3), (0, 3), (1001,), (40, 30), (2, 2, 2, 2), (5, 300), (1100, 2)]
OPTIONS = [{}, {"precision": 2}, {"edgeitems": 1, "threshold": 3}, {"linewidth": 40}]
OPTIONS += [{"sci_mode": True}, {"sci_mode": False}, {"profile": "short"}]


def values(dtype, shape, kind):
    """Numbers of ordinary, large and small size, whole ones, and some that are not finite."""
    scale = {"large": 1e5, "small": 1e-5, "huge": 1e10}.get(kind, 3)
    x = torch.randn(shape, dtype=torch.complex128 if dtype.is_complex else torch.float64) * scale
    if kind == "whole" or not (dtype.is_complex or dtype.is_floating_point):
        x = torch.complex(x.real.round(), x.imag.round()) if dtype.is_complex else x.round() % 100
    x = x.to(dtype)
    if kind == "not finite" and x.numel() and (dtype.is_complex or dtype.is_floating_point):
        x.view(-1)[0], x.view(-1)[-1] = float("nan"), float("-inf")
    return x


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", minitorch.dtypes.ALL, ids=str)
def test_every_dtype_size_and_option(dtype, options):
    torch.manual_seed(0)
    torch.set_printoptions(**options)
    minitorch.set_printoptions(**options)
    try:
        for shape in SHAPES:
            for kind in ("ordinary", "large", "small", "huge", "whole", "not finite"):
                x = values(getattr(torch, dtype.name), shape, kind)
                assert repr(minitorch.from_dlpack(x)) == repr(x)
    finally:
        torch.set_printoptions(profile="default")
        minitorch.set_printoptions(profile="default")
