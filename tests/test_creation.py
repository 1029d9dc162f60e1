"""Tensors from values and ranges: PyTorch's types, and its numbers to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch
from tests.ops.harness import assert_same, dtype_name

VALUES = [
    [np.float64(1)],
    np.float64(1),
    [1.0, np.float64(1)],
    [np.float32(1), np.float64(1)],
    [np.float32(1), 1.0],
    [np.float32(1), 2],
    [[np.float16(1)], [np.float16(2)]],
    [1, np.float64(2)],
    [np.int8(1)],
    [np.int8(1), 2],
    [np.array([1.0, 2.0]), np.array([3.0, 4.0])],
    [np.complex128(1)],
    [np.float64(1), 1j],
    [1.5, 1j],
    [True, 2],
    [True, 2, 3.0],
    [],
    [[], []],
    3,
    2.5,
    True,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_types_of_values(value):
    assert_same(minitorch.tensor(value), torch.tensor(value), repr(value))
    assert_same(
        minitorch.tensor(value, dtype=minitorch.complex128),
        torch.tensor(value, dtype=torch.complex128),
        repr(value),
    )


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "bool"])
def test_types_of_tensors_in_lists(dtype):
    def both(T):
        one = T.tensor(1, dtype=getattr(T, dtype))
        return [T.tensor([one]), T.tensor([one, one]), T.tensor([one, 2]), T.tensor([[one], [2.5]])]

    for ours, theirs in zip(both(minitorch), both(torch), strict=True):
        assert_same(ours, theirs, dtype)


def test_all_digits_are_kept(T):
    assert T.tensor([0.1, 1e-300], dtype=T.float64).tolist() == [0.1, 1e-300]
    assert T.tensor([2**53 + 1]).tolist() == [2**53 + 1]


@pytest.mark.parametrize(
    ("value", "error"),
    [("a", TypeError), (["a"], ValueError), ([[1], [1, 2]], ValueError), ([2**63], ValueError)],
    ids=repr,
)
def test_what_is_no_tensor(T, value, error):
    with pytest.raises(error):
        T.tensor(value)


FLOATS = st.integers(-(10**5), 10**5).map(lambda n: n / 1000)


@given(start=FLOATS, step=st.integers(10, 3000).map(lambda n: n / 1000), count=st.integers(1, 200))
def test_arange(start, step, count):
    end = start + step * (count - 0.5)
    for dtype in ("float32", "float64"):
        ours, theirs = (
            T.arange(start, end, step, dtype=getattr(T, dtype)) for T in (minitorch, torch)
        )
        assert ours.tolist() == theirs.tolist()


ARANGES = [(5,), (0,), (2, 7), (5, 0, -2), (0, 1, 0.1), (0.5, 3.6, 1), (2, 2), (0, 1, 0.5), (2.0,)]


@pytest.mark.parametrize("dtype", [None, "int64", "int32", "float64", "float16", "uint8"])
@pytest.mark.parametrize("arguments", ARANGES, ids=repr)
def test_arange_types(arguments, dtype):
    def outcome(T):
        try:
            return T.arange(*arguments, dtype=dtype and getattr(T, dtype))
        except (RuntimeError, ValueError):
            return None

    ours, theirs = outcome(minitorch), outcome(torch)
    assert (ours is None) == (theirs is None)
    if theirs is not None:
        assert_same(ours, theirs, f"arange{arguments}")


@pytest.mark.parametrize("arguments", [(0, 1, 0), (0, 1, -1), (0, float("inf")), (float("nan"),)])
def test_wrong_aranges(T, arguments):
    with pytest.raises(RuntimeError):
        T.arange(*arguments)


@given(start=FLOATS, end=FLOATS, steps=st.integers(0, 200))
def test_linspace(start, end, steps):
    for dtype in ("float32", "int64", "int8"):
        ours, theirs = (
            T.linspace(start, end, steps, dtype=getattr(T, dtype)) for T in (minitorch, torch)
        )
        assert dtype_name(ours.dtype) == dtype
        assert ours.tolist() == theirs.tolist()


def test_linspace_of_integers(T):
    assert T.linspace(0, 10, 5, dtype=T.int64).tolist() == [0, 2, 5, 7, 10]
    assert T.linspace(-3, 7, 4, dtype=T.int32).tolist() == [-3, 0, 3, 7]


def test_constructors_of_old(T):
    assert T.FloatTensor(2, 3).shape == (2, 3) and T.FloatTensor().shape == (0,)
    for name, dtype in [
        ("Double", T.float64),
        ("Int", T.int32),
        ("Byte", T.uint8),
        ("Bool", T.bool),
    ]:
        made = getattr(T, name + "Tensor")([1, 0])
        assert made.dtype is dtype and made.tolist() == [1, 0]
    assert T.LongTensor([1.5, 2]).tolist() == [1, 2]
    assert T.FloatTensor(np.ones((2, 2))).dtype is T.float32
    assert isinstance(T.ones(2), T.FloatTensor) and not isinstance(T.ones(2), T.LongTensor)
    assert not isinstance(T.ones(2), T.cuda.FloatTensor)
    assert repr(T.FloatTensor) == "<class 'torch.FloatTensor'>" and T.FloatTensor.dtype is T.float32
    assert T.ones(2).type(T.LongTensor).dtype is T.ones(2).type("torch.LongTensor").dtype is T.int64
    assert T.ones(2, dtype=T.int64).new([1, 2]).dtype is T.int64
    assert T.ones(2).new(2, 3).shape == T.Tensor(2, 3).shape == T.Tensor(T.Size([2, 3])).shape
    assert T.Tensor([True, 2]).tolist() == [1, 2]
    shared = T.zeros(2, dtype=T.float64)
    T.Tensor(shared)[0] = 1
    assert shared[0].item() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda T: T.FloatTensor(3.5),
        lambda T: T.FloatTensor("a"),
        lambda T: T.Tensor(2.0, 3),
        lambda T: T.Tensor([1], [2]),
        lambda T: T.LongTensor(T.ones(2)),
        lambda T: T.cuda.FloatTensor(2),
    ],
)
def test_what_the_constructors_refuse(T, wrong):
    with pytest.raises(TypeError):
        wrong(T)


def test_the_default_type(T):
    try:
        T.set_default_tensor_type(T.DoubleTensor)
        assert T.zeros(1).dtype is T.tensor(1.0).dtype is T.float64
        T.set_default_tensor_type("torch.FloatTensor")
        assert T.zeros(1).dtype is T.float32
    finally:
        T.set_default_dtype(T.float32)


def test_shared_and_copied_memory(T):
    array = np.zeros(3)
    for share in (T.from_numpy, T.as_tensor, T.asarray, lambda a: T.asarray(a, copy=False)):
        share(array)[0] += 1
    assert array[0] == 4
    for copy in (
        T.tensor,
        lambda a: T.asarray(a, copy=True),
        lambda a: T.as_tensor(a, dtype=T.int8),
    ):
        copy(array)[0] += 1
    assert array[0] == 4
    with pytest.raises(ValueError):
        T.asarray([1.0], copy=False)
    memory = bytearray(np.arange(4, dtype="f").tobytes())
    part = T.frombuffer(memory, dtype=T.float32, count=2, offset=4)
    part[0] = 9
    assert part.tolist() == [9, 2] and np.frombuffer(memory, "f").tolist() == [0, 9, 2, 3]
    with pytest.raises(ValueError):
        T.frombuffer(memory, dtype=T.float32, count=9)


def test_options(T):
    x = T.zeros(2, 3, dtype=T.float64, device="cpu", requires_grad=True, layout=T.strided)
    assert x.requires_grad and T.ones(size=(2,)).shape == (2,)
    out = T.empty(0)
    assert T.ones(3, out=out) is out and out.tolist() == [1, 1, 1]
    assert T.ones_like(x.detach().t()).stride() == (1, 3)
    assert T.full_like(x, 2, dtype=T.int8).dtype is x.new_ones(2, dtype=T.int8).dtype is T.int8
    assert T.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    for wrong in (lambda: T.zeros(), lambda: T.full(3, 1), lambda: T.zeros(2, nonsense=1)):
        with pytest.raises(TypeError):
            wrong()
    for wrong in (lambda: T.zeros(-1), lambda: T.eye(-1), lambda: T.linspace(0, 1, -1)):
        with pytest.raises(RuntimeError):
            wrong()


def test_conversions_by_position(T):
    x = T.ones(2)
    assert x.to("cpu") is x and x.to(x.dtype) is x and x.to(T.zeros(1)) is x
    assert x.to("cpu", T.int64, False, True).dtype is T.int64
    assert x.to(T.float32, copy=True) is not x
    assert x.to("cpu", T.float32, False, True) is not x
    assert x.type_as(T.zeros(1, dtype=T.int8)).dtype is T.int8


@pytest.mark.parametrize("make", ["from_numpy", "as_tensor", "asarray", "tensor"])
def test_arrays_that_are_mapped_from_a_file(make, tmp_path):
    mapped = np.memmap(tmp_path / "numbers", np.float32, "w+", shape=(4,))
    mapped[:] = 3
    ours, theirs = (getattr(library, make)(mapped) for library in (minitorch, torch))
    assert ours.device == minitorch.device("cpu") and (ours + 1).tolist() == (theirs + 1).tolist()
    mapped[0] = 5
    assert ours.tolist() == theirs.tolist()  # all but tensor() share the memory
