"""The emulated GPU refuses what CuPy refuses, no more and no less.

Where CuPy is installed, lacking.py is compared with it: its functions and their parameters can be
read without a GPU.
"""

import inspect
import re

import numpy as np
import pytest

import minitorch as torch
from minitorch.cuda import emulator
from minitorch.cuda.emulator import lacking


@pytest.fixture
def x():
    return emulator.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))


REFUSED = {
    "a function": (lambda x: np.vecdot(x, x), TypeError, "no vecdot"),
    "a parameter": (lambda x: np.max(x, initial=0), TypeError, "argument 'initial'"),
    "NumPy's own": (lambda x: np.ones(2, like=x), TypeError, "argument 'device'"),
    "by position": (lambda x: np.take(x, 0, 0, None, "clip"), TypeError, "argument 'mode'"),
    "of a method": (lambda x: x.sum(where=x > 0), TypeError, "argument 'where'"),
    "where=": (lambda x: np.add(x, 1, where=x > 0), TypeError, "Wrong arguments"),
    "a reduction": (lambda x: np.maximum.reduce(x), NotImplementedError, "cupy_maximum.reduce"),
    "two outputs": (lambda x: np.divmod(x, 2, out=(x, x)), ValueError, "exactly one array"),
    "a host array": (lambda x: x + np.ones(3), TypeError, "Unsupported type"),
    "assigning one": (lambda x: x.__setitem__(0, np.ones(3)), TypeError, "Unsupported type"),
    "a copy": (lambda x: np.asarray(x), TypeError, "Implicit conversion"),
    "a list": (lambda x: np.add(x, [1, 2, 3]), TypeError, "Unsupported type <class 'list'>"),
    "a range": (lambda x: x == range(3), TypeError, "Unsupported type <class 'range'>"),
    "several indices": (lambda x: np.add.at(x, (x, x), 1), TypeError, "Unsupported type"),
    "an index": (lambda x: [1, 2][x[0, 0].astype(int)], TypeError, "must be integers"),
    "complex logic": (lambda x: np.logical_not(x * 1j), TypeError, "Wrong type"),
    "flags": (lambda x: x.flags.writeable, AttributeError, "writeable"),
}


@pytest.mark.parametrize("call, error, words", REFUSED.values(), ids=REFUSED)
def test_refusals(x, call, error, words):
    with pytest.raises(error, match=words):
        call(x)


def test_other_devices(x):
    with emulator.cuda.Device(1):
        for change in (x.__add__, x.__iadd__, x.fill, lambda v: x.__setitem__(0, v)):
            with pytest.raises(ValueError, match=r"resides \(0\) is different .* device \(1\)"):
                change(1)
        assert x[0].device.id == 0  # a view needs no kernel


def test_views_know_their_base(x):
    for view in (x[0, 1], x.T, x.reshape(-1), x.view(np.int32), (x + 1j).real):
        assert view.base is not None
    assert x[0, 1].shape == () and (x + 1).base is None
    with pytest.raises(RuntimeError):  # CuPy itself would not notice
        torch.zeros(3, device="cuda").as_strided((4,), (1,))


def test_bfloat16_is_widened():
    x = emulator.asarray(np.ones((2, 3))).astype(torch.bfloat16.numpy)
    for wide in (np.where(x > 0, x, x), np.clip(x, 0, 1), np.tril(x), np.round(x)):
        assert wide.dtype == np.float32
    assert np.count_nonzero(x).shape == ()


def parameters(function) -> set[str]:
    """The names of the parameters, from the first line of the docstring if need be."""
    try:
        return set(inspect.signature(function).parameters)
    except ValueError:
        inside = re.search(r"\((.*)\)", (function.__doc__ or "").splitlines()[0])
        parts = re.sub(r"\[.*?\]", "", inside[1]).split(",") if inside else []
        names = [re.split("[=:]", part)[0].split() for part in parts if part.strip()]
        return {name[-1].strip("*\\") for name in names}


def test_what_is_lacking_is_what_cupy_lacks():
    """For all of NumPy's functions that arrays of other kinds can take over."""
    cupy = pytest.importorskip("cupy")
    functions, found = set(), {}
    for space in ("", "linalg", "fft"):
        numpys, cupys = (getattr(m, space) if space else m for m in (np, cupy))
        for name in dir(numpys):
            function = getattr(numpys, name)
            ours = isinstance(function, np.ufunc) or hasattr(function, "_implementation")
            if name != getattr(function, "__name__", "") or not ours or name.startswith("_"):
                continue
            theirs = getattr(cupys, name, function)
            if theirs is function:
                functions.add(f"{space}.{name}" if space else name)
            elif not isinstance(function, np.ufunc):
                _, *names = inspect.signature(function).parameters
                known = parameters(theirs)
                for parameter in [] if "kwargs" in known else names:
                    if parameter not in known:
                        found.setdefault(parameter, set()).add(name)
    assert functions == lacking.FUNCTIONS
    for parameter, names in lacking.PARAMETERS.items():
        names = names - {"ones", "full", "eye", "identity"}  # which arrays cannot take over
        assert names == found.get(parameter, set()), parameter
    for ufunc in lacking.NOT_COMPLEX:
        assert not any("F" in types for types in getattr(cupy, ufunc).types)
    for ufunc in lacking.METHODS["at"]:
        assert getattr(cupy, ufunc)._scatter_op
