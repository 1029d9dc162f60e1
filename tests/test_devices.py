"""Devices: their spelling, held against PyTorch's, and the errors for those that are not there."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import minitorch
from minitorch.tensor import wrap


@pytest.mark.parametrize("arguments", [("cpu",), ("cuda:1",), ("cuda", 2), ("cuda",)])
def test_spelling(arguments):
    ours, theirs = minitorch.device(*arguments), torch.device(*arguments)
    assert (ours.type, ours.index) == (theirs.type, theirs.index)
    assert str(ours) == str(theirs) and repr(ours) == repr(theirs)
    assert ours == minitorch.device(str(ours)) and hash(ours) == hash(minitorch.device(ours))


WRONG = "gpu cpu:x cuda:-1 cuda: cuda:01 cuda:² :1".split()


@pytest.mark.parametrize("wrong", [*WRONG, "", ("cuda", -1), ("cuda:1", 0), -1])
def test_a_wrong_spelling_is_an_error_of_pytorchs_type(wrong):
    for library in (minitorch, torch):
        with pytest.raises(RuntimeError):
            library.device(*wrong if isinstance(wrong, tuple) else [wrong])


def test_what_is_no_device_is_a_type_error():
    for library in (minitorch, torch):
        with pytest.raises(TypeError):
            library.device(1.0)


def test_running_out_of_memory_has_pytorchs_names():
    for library in (minitorch, torch):
        assert library.OutOfMemoryError is library.cuda.OutOfMemoryError
        assert library.OutOfMemoryError.__bases__ == (RuntimeError,)


def test_memory_without_a_gpu():
    for name in ("memory_allocated", "max_memory_reserved"):
        assert getattr(minitorch.cuda, name)() == getattr(torch.cuda, name)() == 0
        assert getattr(minitorch.accelerator, name)() == 0
    assert (
        set(minitorch.accelerator.memory_stats().values()) == {0} and not torch.cuda.memory_stats()
    )


def test_a_device_that_is_not_there_says_so():
    assert not minitorch.cuda.is_available() and minitorch.cuda.device_count() == 0
    for ask in (
        lambda: minitorch.zeros(2, device="cuda"),
        lambda: minitorch.zeros(2).to("cuda:0"),
        lambda: minitorch.zeros(2).cuda(),
        lambda: minitorch.nn.Linear(2, 2).cuda(),
    ):
        with pytest.raises(RuntimeError, match="not available"):
            ask()


class ElsewhereArray:
    """Stands in for a GPU's array: NumPy cannot compute with it."""

    __array_ufunc__ = None
    device = SimpleNamespace(id=0)

    def __init__(self, shape):
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype("float32")
        self.size = int(np.prod(shape))


def test_mixed_devices_are_pytorchs_error():
    here, there = minitorch.ones(2), wrap(ElsewhereArray((2,)))
    assert str(there.device) == "cuda:0"
    for mix in (lambda: here * there, lambda: there + here, lambda: here == there):
        with pytest.raises(
            RuntimeError, match="Expected all tensors to be on the same device.*cpu"
        ):
            mix()
