"""Taking and assigning by index: every kind and mixture of indices, with gradients, as PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch

from .harness import assert_same


@st.composite
def indices(draw, shape):
    """An index into `shape`: a tuple of integers, slices, None, one Ellipsis, lists and masks.

    Arrays are NumPy's here; the test makes tensors of them.
    """
    parts, rest, arrays = [], list(shape), None
    while rest:
        kind = draw(st.sampled_from(["int", "slice", "none", "array", "mask", "stop"]))
        extent = rest[0]
        if kind == "stop":
            break
        if kind == "none":
            parts.append(None)
            if sum(p is None for p in parts) > 2:
                break
            continue
        if kind == "int" and extent:
            parts.append(draw(st.integers(-extent, extent - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-extent - 1, extent + 1)
            parts.append(slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 3))))
        elif kind == "array" and extent:
            arrays = arrays or draw(st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple))
            flat = draw(st.lists(st.integers(-extent, extent - 1), min_size=9, max_size=9))
            parts.append(np.resize(np.array(flat), arrays))
        elif kind == "mask" and arrays is None:
            arrays = ()
            parts.append(
                np.array(draw(st.lists(st.booleans(), min_size=extent, max_size=extent)), bool)
            )
        else:
            continue
        rest.pop(0)
    if draw(st.booleans()) and not arrays:
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
        if parts[-1] is not Ellipsis and rest:  # parts after ... count from the end
            parts = [p for p in parts if p is Ellipsis or p is None or isinstance(p, slice)]
    return tuple(parts)


def with_tensors(T, index):
    return tuple(T.tensor(i) if isinstance(i, np.ndarray) else i for i in index)


SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)


def leaves(shape):
    values = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    return [T.tensor(values).requires_grad_() for T in (minitorch, torch)]


@given(data=st.data())
def test_taking(data):
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    ours, theirs = leaves(shape)
    try:
        expected = theirs[with_tensors(torch, index)]
    except IndexError:
        with pytest.raises(IndexError):
            ours[with_tensors(minitorch, index)]
        return
    got = ours[with_tensors(minitorch, index)]
    assert_same(got, expected, f"x[{index}]")
    for out in (got, expected):
        (out * out).sum().backward()
    assert_same(ours.grad, theirs.grad, f"gradient of x[{index}]")


@given(data=st.data())
def test_assigning(data):
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    try:
        target = torch.zeros(shape)[with_tensors(torch, index)]
    except IndexError:
        return
    # Where an element is named twice, which value it gets is left open: assign one value then.
    numbers = torch.arange(int(np.prod(shape))).reshape(shape)[with_tensors(torch, index)]
    unique = numbers.unique().numel() == numbers.numel()
    value_shape = tuple(target.shape) if unique and data.draw(st.booleans()) else ()
    xs, values = leaves(shape), leaves(value_shape)
    results = []
    for T, x, value in zip((minitorch, torch), xs, values, strict=True):
        y = x * 2
        y[with_tensors(T, index)] = value
        (y * y * y).sum().backward()
        results.append(y)
    assert_same(*results, f"x[{index}] = ...")
    assert_same(xs[0].grad, xs[1].grad, "gradient of the target")
    for v in values:
        if v.grad is None:  # an empty assignment
            v.grad = v.detach() * 0
    assert_same(values[0].grad, values[1].grad, "gradient of the value")


def test_assigning_without_autograd(T):
    x = T.zeros(3, 4)
    x[1] = 5
    x[:, 2] = T.tensor([1.0, 2.0, 3.0])
    x[x == 5] = -1.0
    x[0, 0] = T.tensor(7)
    x[[0, 2], 3] = 9.0
    x[..., 1:2] = T.ones(1, 3, 1)  # leading dimensions of extent 1 are dropped
    assert x.tolist() == [[7, 1, 1, 9], [-1, 1, 2, -1], [0, 1, 3, 9]]


def test_kinds_of_index(T):
    x = T.arange(12).reshape(3, 4)
    assert x[T.tensor(1)].tolist() == [4, 5, 6, 7]
    assert x[1, T.tensor(2)].item() == 6
    assert x[True].shape == (1, 3, 4)
    assert x[[True, False, True]].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert x[()].tolist() == x.tolist()
    assert x[-1][-1].item() == 11
    assert x[[0, -1], [1, 2]].tolist() == [1, 10]
    assert x[T.tensor(1) :].shape == (2, 4)


KINDS = """
5 | -3 | (slice(None), 3) | (..., 0) | (..., None) | () | [] | (0, 0, 0, 0) | slice(5, 1) | None
[0, 1] | [[0, 1], [1, 2]] | [slice(0, 2), 1] | [None, 0] | [..., 0] | [0, [1, 2]] | [(0, 1)]
[t(0), t(1)] | [[True, False], [0]] | [True, False] | (slice(None), [True, False, True]) | True
False | (True, 0) | (0, True) | (True, True) | (None, True) | (True, [0, 1])
(slice(None), True, [0, 1]) | t(True) | t(False) | (slice(0, 1), t(True))
t([[True, False, True], [False, True, False]]) | t([True] * 3) | t([[True, False]])
(t([True, False]), t([0])) | (t([True, True]), t([0, 1])) | (slice(None), t([[True] * 4] * 3))
range(2) | (range(2), 0) | (0, (0, 1)) | ((0, 1), (1, 2)) | T.Size([0, 1]) | t(1, dtype=T.uint8)
np.array([0, 1]) | np.array(1) | np.int64(1) | (np.int64(1), slice(None)) | np.bool_(True)
slice(t(0), t(2)) | (t(0), t([0, 1])) | t([], dtype=T.long) | t([0, 1], dtype=T.int32)
t([0, 1], dtype=T.int16) | t([-1, -2]) | t([2]) | t([-3]) | (0, t([5])) | t(2) | t(-1) | t(1.5)
t(1j) | ([0, 1], slice(None), [0, 1]) | (slice(None), [0, 1], [[0], [1]])
(0, slice(None), [0, 1]) | ([0], 0) | (None, [0, 1]) | ([0, 1], None, [0, 1])
(slice(None), None, [0, 1]) | ([0, 1], [0, 1, 2]) | ([],) | 1.5 | "a" | (1.5,) | (0, "a") | {}
slice(1.0, 2) | slice(0, 2, 0) | slice(0, 2, -1)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", KINDS.strip().replace("\n", " | ").split(" | "))
def test_every_kind_of_index(text):
    """The same elements, the same kind of error, a view or not, and the same elements assigned."""
    outcomes = []
    for T in (minitorch, torch):
        x = T.arange(24).reshape(2, 3, 4)
        index = eval(text, {"T": T, "t": T.tensor, "np": np})
        try:
            taken = x[index]
            assigned = x.clone()
            assigned[index] = -1
        except (IndexError, TypeError, ValueError) as error:
            outcomes.append(type(error))
        else:
            outcomes.append((taken.shape, taken.tolist(), taken._is_view(), assigned.tolist()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (3, IndexError),
        ((0, 0, 0), IndexError),
        (slice(None, None, -1), ValueError),
        ([0, 3], IndexError),
        ((slice(None), [4]), IndexError),
    ],
)
def test_wrong_indices(T, index, error):
    with pytest.raises(error):
        T.ones(3, 4)[index]
    with pytest.raises(error):
        T.ones(3, 4)[index] = 1


def test_wrong_index_types(T):
    x = T.ones(3, 4)
    with pytest.raises(IndexError, match="tensors used as indices must be long"):
        x[T.tensor([0.5])]
    with pytest.raises(IndexError):
        x[T.tensor([True, False])]
    with pytest.raises(RuntimeError, match=r"shape mismatch|must match"):
        x[:2] = T.ones(3, 4)


def test_a_number_that_does_not_fit_the_type(T):
    x = T.ones(2, dtype=T.uint8)
    with pytest.raises(RuntimeError, match="without overflow"):
        x[0] = 300
