"""What PyTorch refuses, or answers in a way of its own, we do as well: each test runs on both."""

import warnings

import numpy as np
import pytest


def test_bools_are_not_subtracted(T):
    b = T.tensor([True, False])
    with pytest.raises(RuntimeError, match=r"Subtraction, the `-` operator, .* `logical_xor\(\)`"):
        b.sub(b)
    with pytest.raises(RuntimeError, match=r"Negation, the `-` operator, on a bool tensor"):
        b.neg()


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_are_not_divided_by_zero(T, dtype):
    kind = getattr(T, dtype)
    x, zero = T.tensor([1, 2, 0], dtype=kind), T.tensor([1, 0, 1], dtype=kind)
    calls = [
        lambda: x // zero,
        lambda: x % zero,
        lambda: x // 0,
        lambda: x % 0,
        lambda: 1 // zero,
        lambda: 1 % zero,
        lambda: x.clone().remainder_(0),
        lambda: T.div(x, zero, rounding_mode="floor"),
        lambda: T.div(x, zero, rounding_mode="trunc"),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            call()
    assert (x.float() // 0).tolist()[0] == float("inf")
    assert (x // 0.5).tolist() == [2, 4, 0]
    assert (x % zero.clone().fill_(2)).tolist() == [1, 0, 0]


def test_division_towards_zero_is_exact(T):
    big = 2**62 + 1
    x = T.tensor([big, -big, -7, 7])
    y = T.tensor([1, 1, 2, -2])
    assert T.div(x, y, rounding_mode="trunc").tolist() == [big, -big, -3, -3]
    assert T.div(x[2:], 2, rounding_mode="trunc").tolist() == [-3, 3]
    assert T.div(x[2:], 2.0, rounding_mode="trunc").tolist() == [-3.0, 3.0]


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min", "argmax", "argmin"])
def test_extremes_of_nothing(T, name):
    function, empty = getattr(T, name), T.ones(0, 3)
    with pytest.raises(
        IndexError, match=rf"^{name}\(\): Expected reduction dim 0 to have non-zero"
    ):
        function(empty, 0)
    with pytest.raises(IndexError, match="dim (0|-2) to have non-zero"):
        function(empty, -2)
    whole = IndexError if name.startswith("arg") else RuntimeError
    with pytest.raises(whole, match=rf"^{name}\(\): Expected reduction dim to be specified"):
        function(empty)
    along = function(empty, 1)
    assert tuple((along[0] if isinstance(along, tuple) else along).shape) == (0,)
    if name in ("amax", "amin"):
        with pytest.raises(IndexError, match="dim 0 to have"):
            function(empty, (1, 0))


def test_logsumexp_of_nothing(T):
    assert T.logsumexp(T.ones(0, 2), 0).tolist() == [float("-inf")] * 2
    assert T.logsumexp(T.ones(0), 0).item() == float("-inf")
    assert T.logsumexp(T.ones(0, 2), 1).tolist() == []


@pytest.mark.parametrize("dims", [(0, 1), (2, 3), (-2, 0), (0, -2)])
def test_dimensions_of_a_scalar(T, dims):
    with pytest.raises(IndexError, match="Dimension out of range"):
        T.tensor(1.0).transpose(*dims)
    assert T.tensor(1.0).transpose(0, -1).item() == 1


def test_layers_take_one_dtype(T):
    F, x, w, b = T.nn.functional, T.ones(2, 3), T.ones(4, 3), T.ones(4, dtype=T.float64)
    with pytest.raises(RuntimeError, match="must have the same dtype, but got Double and Float"):
        F.linear(x, w, b)
    with pytest.raises(RuntimeError, match="have the same dtype, but got: double != float"):
        F.linear(x.double(), w)
    with pytest.raises(RuntimeError, match=r"Input type .* and bias type .* should be the same"):
        F.conv1d(T.ones(1, 1, 5), T.ones(4, 1, 3), b)


@pytest.mark.parametrize("wrong", [-1, 4])
def test_gather_takes_no_index_from_the_end(T, wrong):
    x, index = T.arange(12).reshape(3, 4), T.tensor([[0], [wrong]])
    message = f"index {wrong} is out of bounds for dimension 1 with size 4"
    with pytest.raises(RuntimeError, match=message):
        x.gather(1, index)
    with pytest.raises(RuntimeError, match=message):
        x.scatter_add(1, index, x)
    with pytest.raises(IndexError, match="index out of range in self"):
        T.ones(4).index_select(0, index[1])
    with pytest.raises(RuntimeError, match="out of bounds"):
        T.tensor(3).gather(0, T.tensor(wrong))


def test_wrong_indices_along_a_dimension(T):
    x = T.arange(12).reshape(3, 4)
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        x.gather(0, T.tensor([0]))
    with pytest.raises(RuntimeError, match="Expected dtype int32/int64 for index"):
        x.gather(0, T.tensor([[True]]))
    with pytest.raises(IndexError, match="Index is supposed to be a vector"):
        x.index_select(0, T.tensor([[0]]))
    assert x.index_select(1, T.tensor(1)).tolist() == [[1], [5], [9]]
    assert T.take_along_dim(x, T.tensor([[-1]]), 1).tolist() == [[3], [7], [11]]


def test_bytes_as_a_mask(T):
    x, mask = T.arange(12).reshape(3, 4), T.tensor([1, 0, 2], dtype=T.uint8)
    with pytest.warns(UserWarning, match=r"torch.uint8 is now deprecated"):
        assert x[mask].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    with warnings.catch_warnings(action="ignore"):  # PyTorch warns once
        assert x[:, mask.new_tensor([0, 0, 0, 3])].tolist() == [[3], [7], [11]]
        assert x[T.tensor(1, dtype=T.uint8)].shape == (1, 3, 4)
    assert x[np.uint8(1)].tolist() == [4, 5, 6, 7]


def test_where_alone(T):
    rows, columns = T.where(T.tensor([[1, 0], [2, 3]]))
    assert rows.tolist() == [0, 1, 1] and columns.tolist() == [0, 0, 1]
    (place,) = T.where(condition=T.tensor(1))
    assert place.tolist() == [0]


def test_bits_as_another_dtype(T):
    x = T.arange(8.0).reshape(2, 4)
    assert x.view(T.int32)[0].tolist() == [0, 1065353216, 1073741824, 1077936128]
    assert x.view(T.float64)[:, 0].tolist() == [0.0078125, 2048.0004920959473]
    assert tuple(x.view(dtype=T.uint8).shape) == (2, 16)
    assert x.t().view(T.int32)[1].tolist() == [1065353216, 1084227584]
    x.view(T.int32)[0] = 0
    assert x[0].tolist() == [0, 0, 0, 0] and x._version == 1
    for wrong in (x.t(), x[:, :3], T.tensor(1.0)):
        with pytest.raises(RuntimeError, match="view Float as Double|cannot view"):
            wrong.view(T.float64)
    assert not T.ones(2, requires_grad=True).view(T.int32).requires_grad


def test_floating_classes_are_refused(T):
    """The classic: forgetting .long() on the labels."""
    F = T.nn.functional
    with pytest.raises(RuntimeError, match="expected target dtype to be Long|expected scalar type"):
        F.cross_entropy(T.zeros(4, 4), T.ones(4))
    with pytest.raises(RuntimeError):
        F.nll_loss(T.zeros(4, 4), T.ones(4))


def test_matmul_names_the_batch_dimension_that_does_not_fit(T):
    words = r"size of tensor a \(2\) must match the size of tensor b \(3\).* dimension 0"
    with pytest.raises(RuntimeError, match=words):
        T.ones(2, 3, 4) @ T.ones(3, 4, 5)


def test_softmax_wants_a_dimension(T):
    with pytest.raises(TypeError):
        T.softmax(T.ones(2, 2))
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        assert T.nn.functional.softmax(T.ones(2, 2)).tolist() == [[0.5, 0.5], [0.5, 0.5]]
