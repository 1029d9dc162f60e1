"""Helpers that build the same thing in minitorch and in PyTorch, and compare."""

import importlib

import numpy as np
import torch

import minitorch

PACKAGES = {"minitorch": minitorch, "torch": torch}


def nn_of(T):
    """`T`.nn with its functional, init, utils and parameter modules loaded."""
    return importlib.import_module(T.__name__ + ".nn")


def in_minitorch(value):
    """PyTorch's tensors, also inside of dicts, lists and tuples, as minitorch's."""
    if isinstance(value, torch.Tensor):
        return minitorch.tensor(value.detach().numpy().copy())
    if isinstance(value, dict):
        return type(value)((k, in_minitorch(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)([in_minitorch(v) for v in value])
    return value


def in_torch(value):
    """The reverse of `in_minitorch`."""
    if isinstance(value, minitorch.Tensor):
        return torch.tensor(value.detach().numpy().copy())
    if isinstance(value, dict):
        return {k: in_torch(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([in_torch(v) for v in value])
    return value


def assert_same(got, expected, rtol=1e-6, atol=1e-7, what=""):
    """Same shape, dtype and values; `got` minitorch's, `expected` PyTorch's."""
    got, expected = got.detach().numpy(), expected.detach().numpy()
    assert got.dtype == expected.dtype, what
    assert got.shape == expected.shape, what
    np.testing.assert_allclose(got, expected, rtol, atol, err_msg=what)


def make_both(make, seed=0):
    """make(package) for both packages, each after manual_seed(seed): (minitorch's, PyTorch's)."""
    results = []
    for T in (minitorch, torch):
        T.manual_seed(seed)
        results.append(make(T))
    return results
