"""DistributedDataParallel trains as one process with the whole batch would, and as PyTorch's does.

All cases of ddp_cases.py run one after the other in one set of processes for each library.
"""

import numpy as np
import pytest

from .ddp_cases import CASES, run_pytorch, train_all, train_all_in_pytorch, train_alone
from .harness import run_ranks

IN_PYTORCH = [name for name, case in CASES.items() if case.pytorch]
DIFFERENT = (
    "batch norm",
    "hook that stays at home",
)  # ranks have statistics, gradients of their own
SIZES = [2, pytest.param(3, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=SIZES)
def world_size(request):
    return request.param


@pytest.fixture(scope="module")
def ours(world_size):
    return run_ranks(train_all, world_size, list(CASES), timeout=240, method="forkserver")


@pytest.fixture(scope="module")
def theirs(world_size, tmp_path_factory):
    path = tmp_path_factory.mktemp("gloo") / "store"
    return run_pytorch(train_all_in_pytorch, world_size, IN_PYTORCH, str(path))


def assert_equal(got, expected, tolerance):
    assert len(got) == len(expected)
    for number, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert (a is None) == (b is None), f"result {number}: got {a}, expected {b}"
        if a is not None:
            np.testing.assert_allclose(
                a, b, rtol=tolerance, atol=tolerance / 100, err_msg=f"result {number}"
            )


@pytest.mark.parametrize("name", IN_PYTORCH)
def test_as_in_pytorch(name, ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert_equal(mine[name], other[name], CASES[name].tolerance)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.single])
def test_as_in_one_process(name, ours, world_size):
    assert_equal(ours[0][name], train_alone(name, world_size), CASES[name].tolerance)


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT])
def test_ranks_are_bit_identical(name, ours):
    for other in ours[1:]:
        for a, b in zip(ours[0][name], other[name], strict=True):
            assert (a is None and b is None) or np.array_equal(a, b)
