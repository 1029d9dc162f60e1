"""The tensor as an object: made, asked, converted, copied, compared, and shared with NumPy."""

import copy
import pickle

import numpy as np
import pytest
import torch

import minitorch


def test_creation(T):
    assert T.tensor([[1, 2], [3, 4]]).dtype is T.int64
    assert T.tensor([1.0, 2]).dtype is T.float32
    assert T.tensor(True).dtype is T.bool
    assert T.tensor([1, 2.5, True]).tolist() == [1, 2.5, 1]
    assert T.tensor([]).dtype is T.float32 and T.tensor([]).shape == (0,)
    assert T.tensor([[], []]).shape == (2, 0)
    assert T.tensor(np.float64(2.5)).dtype is T.float64
    assert T.tensor(np.arange(3, dtype=np.int32)).dtype is T.int32
    assert T.tensor([T.tensor(1.5), T.tensor(2.5)]).tolist() == [1.5, 2.5]
    assert T.tensor([1, 2], dtype=T.float16).dtype is T.float16
    with pytest.raises(ValueError, match=r"expected sequence of length|same length"):
        T.tensor([[1, 2], [3]])
    with pytest.raises(ValueError, match="too many dimensions 'str'"):
        T.tensor(["a"])
    with pytest.raises(TypeError, match="invalid data type 'str'"):
        T.tensor("a")


def test_constructors_with_a_type(T):
    assert T.Tensor(2, 3).shape == (2, 3) and T.Tensor([1, 2]).tolist() == [1.0, 2.0]
    assert T.Tensor().shape == (0,) and T.Tensor(T.Size([2])).shape == (2,)


def test_factories(T):
    for x in (T.zeros(2, 3), T.zeros((2, 3)), T.zeros(size=(2, 3)), T.ones([2, 3]) - 1):
        assert x.shape == (2, 3) and x.dtype is T.float32 and x.sum() == 0
    like = T.ones(2, dtype=T.float16)
    for x in (T.zeros_like(like), T.full_like(like, 3), like.new_zeros(4), like.new_full((3,), 2)):
        assert x.dtype is T.float16
    assert T.full((2,), 3).dtype is T.int64 and T.full((2,), 3.0).dtype is T.float32
    assert T.full((2,), True).dtype is T.bool
    assert T.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert T.arange(3).dtype is T.int64 and T.arange(0.5, 2).tolist() == [0.5, 1.5]
    assert T.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert T.linspace(0, 1, 3).tolist() == [0, 0.5, 1] and T.linspace(2, 9, 1).tolist() == [2]
    with pytest.raises(RuntimeError, match="negative"):
        T.zeros(-1)
    with pytest.raises(RuntimeError, match="step"):
        T.arange(0, 3, -1)


def test_linspace_is_the_same_to_the_last_digit():
    for steps in (2, 3, 7, 10, 100, 1001):
        ours, theirs = minitorch.linspace(-1.3, 2.7, steps), torch.linspace(-1.3, 2.7, steps)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=2.4e-7)


def test_questions(T):
    x = T.zeros(2, 3, 4)
    assert x.shape == T.Size([2, 3, 4]) == x.size() and x.size(1) == 3 and x.size(-1) == 4
    assert x.ndim == x.dim() == 3 and x.numel() == x.nelement() == 24 == x.shape.numel()
    assert x.stride() == (12, 4, 1) and x.transpose(0, 2).stride() == (1, 4, 12)
    assert x.stride(0) == 12 and x.is_contiguous() and not x.transpose(0, 1).is_contiguous()
    assert x.element_size() == x.itemsize == 4 and x.nbytes == 96
    assert x.is_floating_point() and not x.is_complex() and T.is_tensor(x) and not T.is_tensor(1)
    assert x.type() == "torch.FloatTensor" and x.long().type() == "torch.LongTensor"
    assert x.device == T.device("cpu") and str(x.device) == "cpu" and not x.is_cuda
    assert len(x) == 2 and x.mT.shape == (2, 4, 3)
    assert x.is_leaf and x.output_nr == 0 and x.get_device() == -1
    assert isinstance(x.shape[:2], T.Size) and x.shape[0] == 2
    assert repr(x.shape) == "torch.Size([2, 3, 4])"
    with pytest.raises(TypeError, match="len\\(\\) of a 0-d tensor"):
        len(T.tensor(1))


def test_conversion_to_python(T):
    assert T.tensor(2.5).item() == 2.5 and isinstance(T.tensor(2).item(), int)
    assert T.tensor([[7]]).item() == 7
    assert (int(T.tensor(2.7)), float(T.tensor(3)), bool(T.tensor([0.0]))) == (2, 3.0, False)
    assert [10, 20, 30][T.tensor(1)] == 20 and list(range(T.tensor(3))) == [0, 1, 2]
    assert f"{T.tensor(1.25):.1f}" == "1.2" and T.tensor([[1, 2]]).tolist() == [[1, 2]]
    with pytest.raises(RuntimeError, match="a Tensor with 2 elements cannot be converted"):
        T.tensor([1, 2]).item()
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value"):
        bool(T.tensor([1, 2]))
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with no values is ambiguous"):
        bool(T.tensor([]))
    with pytest.raises(TypeError, match="only integer tensors of a single element can be"):
        [1, 2][T.tensor(0.5)]


def test_iteration_and_membership(T):
    x = T.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = x
    assert first.tolist() == [1, 2] and second.requires_grad
    assert 3.0 in x and 7.0 not in x
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(T.tensor(1))


def test_comparison_and_hashing(T):
    x = T.tensor([1, 2])
    assert (x == 1).tolist() == [True, False] and (x != T.tensor([1, 3])).tolist() == [False, True]
    assert (x == "one") is False and (x != None) is True  # noqa: E711
    assert x in {x} and len({x, x.clone()}) == 2
    assert (1 < x).tolist() == [False, True]  # noqa: SIM300 (the reflected operator is meant)


def test_conversion_of_type(T):
    x = T.tensor([1.7, -2.3])
    assert x.int().tolist() == [1, -2] and x.to(T.int64).dtype is T.int64
    assert x.double().dtype is x.type(T.float64).dtype is x.type("torch.DoubleTensor").dtype
    assert x.to(x.dtype) is x and x.float() is x and x.cpu() is x and x.to("cpu") is x
    assert x.to(x, copy=True) is not x
    assert x.to("cpu", T.float64).dtype is T.float64
    assert x.type_as(T.tensor([1])).dtype is T.int64
    assert x.bool().tolist() == [True, True] and x.half().dtype is T.float16


def test_numpy_shares_memory(T):
    array = np.zeros(3)
    for x in (T.from_numpy(array), T.as_tensor(array)):
        x[0] += 1
    assert array[0] == 2
    x = T.zeros(3)
    x.numpy()[1] = 5
    assert x.tolist() == [0, 5, 0]
    assert np.asarray(x).dtype == np.float32
    copied = T.tensor(array)
    copied[0] = 100
    assert array[0] == 2
    with pytest.raises(TypeError):
        T.from_numpy([1, 2])
    with pytest.raises(ValueError, match="negative"):
        T.from_numpy(array[::-1])


def test_numpy_functions_of_tensors():
    """Ours alone: NumPy's functions run the ops that stand for them, with gradients."""
    x = minitorch.tensor([1.0, 4.0], requires_grad=True)
    y = np.sqrt(x) + np.array([1.0, 1.0], dtype=np.float32)
    assert isinstance(y, minitorch.Tensor) and y.requires_grad
    z = np.sum(np.array([2.0, 3.0], dtype=np.float32) * x)
    assert isinstance(z, minitorch.Tensor)
    (z + y.sum()).backward()
    assert x.grad.tolist() == [2.5, 3.25]
    with pytest.raises(RuntimeError, match="Can't call numpy"):  # it would lose the gradient
        np.partition(x, 1)


def test_pickle_and_deepcopy(T):
    x = T.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.tolist() == [1, 2] and twin.requires_grad and twin.is_leaf
    assert twin.grad.tolist() == [2, 4] and twin.data_ptr() != x.data_ptr()
    again = pickle.loads(pickle.dumps(x.detach()))
    assert again.tolist() == [1, 2] and not again.requires_grad
    assert pickle.loads(pickle.dumps(x)).requires_grad
    assert pickle.loads(pickle.dumps(T.float16)) is T.float16
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1]
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


def test_data_setter(T):
    x = T.tensor([1.0, 2.0], requires_grad=True)
    x.data = T.tensor([5.0, 6.0, 7.0])
    assert x.tolist() == [5, 6, 7] and x.requires_grad and x.is_leaf
    (x * x).sum().backward()
    assert x.grad.tolist() == [10, 12, 14]


def test_devices(T):
    assert T.device("cuda:1").index == 1 and T.device("cuda", 1) == T.device("cuda:1")
    assert repr(T.device("cpu")) == "device(type='cpu')"
    assert T.zeros(2, device="cpu").device.type == "cpu"
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        T.device("gpu")


def test_arguments_by_name(T):
    x, y = T.tensor([1.0, 5.0]), T.tensor([3.0, 2.0])
    assert T.add(x, other=y, alpha=2).tolist() == [7, 9]
    assert T.mul(input=x, other=y).tolist() == [3, 10]
    assert x.clamp(max=2.0).tolist() == [1, 2] and x.clamp(min=2.0).tolist() == [2, 5]
    assert T.sum(input=x).item() == 6 and x.sum(dim=0, keepdim=True).shape == (1,)
    assert T.exp(input=T.zeros(1)).tolist() == [1]
    assert T.where(condition=x > 2, input=x, other=y).tolist() == [3, 5]
    assert x.add(y, alpha=2).tolist() == [7, 9]


def test_variable_shares_memory_and_requires_grad():
    from minitorch.autograd import Variable

    a = minitorch.ones(2)
    v = Variable(a, requires_grad=True)
    assert v.requires_grad and v.data_ptr() == a.data_ptr() and isinstance(v, Variable)
    assert type(v) is minitorch.Tensor and isinstance(a, Variable)


def test_the_old_constructor_refuses_what_it_does_not_know(T):
    for unknown in ({"foo": 3}, {"requires_grad": True}):
        with pytest.raises(TypeError):
            T.Tensor([1.0], **unknown)


def test_pieces_come_as_tuples(T):
    for pieces in (T.ones(4).split(2), T.ones(4).chunk(2), T.ones(2).unbind()):
        assert type(pieces) is tuple


def test_pythons_types_as_dtypes(T):
    assert T.ones(2, dtype=float).dtype is T.float64 and T.zeros(2, dtype=int).dtype is T.int64
    assert T.tensor([0, 2], dtype=bool).tolist() == [False, True]
    assert T.ones(2).to(int).dtype is T.int64 and T.ones(2).sum(dtype=float).dtype is T.float64
    with pytest.raises(TypeError, match="dtype"):
        T.ones(2, dtype="float32")


def test_values_and_indices_print_as_tensors():
    for library in (minitorch, torch):
        shown = repr(library.tensor([3.0, 1.0]).max(0))
        assert shown == "torch.return_types.max(\nvalues=tensor(3.),\nindices=tensor(0))"


def test_numpy_functions_without_a_twin_compute_on_the_memory():
    x = minitorch.arange(6.0).view(2, 3)
    array = x.numpy()
    assert np.array_equal(np.transpose(x, (1, 0)), array.T)
    assert np.allclose(x, array) and np.linalg.norm(x) == np.linalg.norm(array)
    assert np.array_equal(np.vstack([x, x]), np.vstack([array, array]))
    assert np.array_equal(np.unique(x), array.ravel())
    assert np.array_equal(np.add.reduce(x, axis=0), array.sum(0))
    assert np.array_equal(np.cbrt(x), np.cbrt(array))
    with pytest.raises(RuntimeError, match="Can't call numpy"):
        np.unique(x.requires_grad_())
