"""launch: a kernel gets what its declaration says, or an error says what was wrong."""

import re

import numpy as np
import pytest

from minitorch.cuda import runtime
from minitorch.kernels.cuda import launch as module
from minitorch.kernels.cuda.launch import blocks, contiguous, empty, launch, threads


def device(*shape, dtype=np.float32):
    return runtime.library().ones(shape, dtype)


def test_numbers_become_what_the_kernel_declares():
    x, out = device(10), empty(10, np.float32)
    launch("softplus_forward", 1, 32, x, out, 10, 1, 20)  # Python's ints, for int64 and float
    np.testing.assert_allclose(out.get(), np.log1p(np.e), rtol=1e-6)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((device, device, 10), None, ""),
        ((device, 10), TypeError, "sigmoid_forward takes 3 arguments but 2 were given: x, out, n"),
        (
            (device, lambda n: device(n, dtype=np.float64), 10),
            TypeError,
            "sigmoid_forward: the array out has to be of float32, not float64",
        ),
        (
            (lambda n: device(2 * n)[::2], device, 10),
            ValueError,
            "the array x has to be contiguous. Its shape is (10,) with strides (8,)",
        ),
    ],
)
def test_arguments_are_checked(args, error, message):
    made = [a(10) if callable(a) else a for a in args]
    if error is None:
        launch("sigmoid_forward", 1, 32, *made)
        return
    with pytest.raises(error, match=re.escape(message)):
        launch("sigmoid_forward", 1, 32, *made)


def test_there_is_no_such_kernel_or_type():
    with pytest.raises(LookupError, match=r"no \.cu file of .*cuda has a kernel sigmoid$"):
        launch("sigmoid", 1, 32, device(1))
    with pytest.raises(NotImplementedError, match="not implemented for complex64"):
        launch("sigmoid_forward", 1, 32, device(1, dtype=np.complex64), device(1), 1)


def test_an_empty_grid_is_nothing_to_do():
    x = device(0)
    launch("sigmoid_forward", blocks(0), 32, x, x, 0)


def test_lines_are_those_of_the_files():
    text = module.source(module.files()["softmax_forward"], np.dtype(np.float32)).splitlines()
    file, line = "", 0
    found = {}
    for row in text:
        if match := re.match(r'#line (\d+) "(.*)"', row):
            line, file = int(match[1]) - 1, match[2]
        else:
            found[file, line] = row
        line += 1
    for name in ("common.cuh", "rows.cuh", "softmax.cu"):
        lines = (module.FOLDER / name).read_text().splitlines()
        for i, expected in enumerate(lines, 1):
            if not expected.startswith('#include "'):
                assert found[name, i] == expected


def test_how_many():
    assert [blocks(n, 100) for n in (0, 1, 100, 101)] == [0, 1, 1, 2]
    assert [threads(n) for n in (0, 1, 32, 33, 1000, 5000)] == [32, 32, 32, 64, 1024, 1024]
    x = device(2, 3)
    assert contiguous(x) is x and contiguous(x.T).flags.c_contiguous
