import types

import numpy as np
import pytest

from minitorch import kernels


class FakeArray(np.ndarray):
    """Stands for another device's array type."""


@pytest.fixture
def fake_device(monkeypatch):
    monkeypatch.setattr(kernels, "_devices", dict(kernels._devices))
    module = types.ModuleType("fake")
    module.softmax_forward = lambda x, axis: ("fake softmax", axis)
    kernels.register(FakeArray, "fake", module)
    return np.ones(3).view(FakeArray)


def test_the_type_of_the_first_array_decides(fake_device):
    assert kernels.softmax_forward(fake_device, -1) == ("fake softmax", -1)
    np.testing.assert_allclose(kernels.softmax_forward(np.zeros(2), -1), [0.5, 0.5])


def test_a_missing_kernel_names_kernel_and_device(fake_device):
    with pytest.raises(NotImplementedError, match=r"gelu_forward.*'fake'"):
        kernels.gelu_forward(fake_device)


def test_an_unknown_array_type():
    with pytest.raises(NotImplementedError, match=r"gelu_forward.*type list"):
        kernels.gelu_forward([1.0])


def test_scalars_of_numpy_are_arrays_without_dimensions():
    assert kernels.sigmoid_forward(np.float32(0)) == 0.5
