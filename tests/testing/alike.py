"""The same call in both packages: what comes out must have the same structure and values."""

import importlib

import numpy as np
import torch

import minitorch


def module_of(T, path):
    """T.path, imported."""
    return importlib.import_module(f"{T.__name__}.{path}")


def is_tensor(value):
    return isinstance(value, (torch.Tensor, minitorch.Tensor))


def array_of(tensor):
    return tensor.detach().numpy()


def assert_alike(ours, theirs, rtol=1e-6, atol=1e-9):
    """`ours` is made like `theirs`, tensor for tensor: shape, dtype, requires_grad, values."""
    if is_tensor(theirs):
        assert isinstance(ours, minitorch.Tensor), f"{type(ours)} for a tensor"
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert str(ours.dtype) == str(theirs.dtype)
        assert ours.requires_grad == theirs.requires_grad
        np.testing.assert_allclose(array_of(ours), array_of(theirs), rtol=rtol, atol=atol)
    elif isinstance(theirs, dict):
        assert type(ours) is type(theirs) and list(ours) == list(theirs)
        for key in theirs:
            assert_alike(ours[key], theirs[key], rtol, atol)
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_alike(a, b, rtol, atol)
    else:
        assert ours == theirs


def both(call):
    """call(T) for minitorch and for PyTorch: the results are alike, or so are the errors' types.

    Returns minitorch's result or error.
    """
    results = []
    for T in (minitorch, torch):
        try:
            results.append(call(T))
        except Exception as error:
            results.append(error)
    ours, theirs = results
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"PyTorch raises {theirs!r}, minitorch does not"
        kinds = [k for k in type(theirs).__mro__ if k.__module__ == "builtins"]
        assert isinstance(ours, kinds[0]), f"{ours!r} instead of {theirs!r}"
    else:
        if isinstance(ours, Exception):
            raise ours
        assert_alike(ours, theirs)
    return ours
