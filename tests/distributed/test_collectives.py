"""Every function of torch.distributed beside Gloo, and its names and arguments."""

import inspect
import warnings

import numpy as np
import pytest
import torch.distributed as theirs

import minitorch.distributed as ours

from .cases import CASES, OPS, Plain, operand, run_gloo, run_ours
from .harness import run_ranks

UFUNCS = dict(
    zip(
        OPS,
        "add add multiply minimum maximum bitwise_and bitwise_or bitwise_xor".split(),
        strict=True,
    )
)


@pytest.fixture(
    scope="module", params=[3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4))]
)
def results(request, tmp_path_factory):
    """What the cases returned on every rank, under minitorch and under PyTorch."""
    path = str(tmp_path_factory.mktemp("gloo") / "store")
    size = request.param
    return (
        run_ranks(run_ours, size, timeout=120),
        run_ranks(run_gloo, size, path, process_group=False, timeout=120),
    )


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"reductions", "errors"}))
def test_results_are_gloos(results, name):
    for rank, (mine, gloos) in enumerate(zip(*results, strict=True)):
        compare(mine[name], gloos[name], f"{name} on rank {rank}")


def compare(mine, gloos, where):
    if isinstance(gloos, dict):
        assert mine.keys() == gloos.keys(), where
        for key in gloos:
            compare(mine[key], gloos[key], f"{where}[{key}]")
    elif isinstance(gloos, list):
        assert len(mine) == len(gloos), where
        for i, (a, b) in enumerate(zip(mine, gloos, strict=True)):
            compare(a, b, f"{where}[{i}]")
    elif isinstance(gloos, Plain):
        assert mine.dtype == gloos.dtype, where
        assert mine.array.shape == gloos.array.shape, where
        np.testing.assert_allclose(mine.array, gloos.array, rtol=1e-5, err_msg=where)
    else:
        assert mine == gloos, where


def test_errors_are_of_pytorchs_types(results):
    for rank, (mine, gloos) in enumerate(zip(*results, strict=True)):
        differing = {
            i: (mine["errors"][0][i], gloo)
            for i, gloo in gloos["errors"][0].items()
            if mine["errors"][0][i] != gloo
        }
        assert not differing, f"rank {rank}: call number: (ours, PyTorch's) {differing}"


def test_every_reduction_of_every_dtype(results):
    """Beside NumPy, and beside Gloo where it can do it."""
    size = len(results[0])
    for mine, gloos in zip(*results, strict=True):
        for what, got in mine["reductions"].items():
            _, dtype, op = what
            gloo = gloos["reductions"][what]
            if isinstance(got, str):
                # For complex numbers PyTorch's all_reduce raises one type and its reduce another.
                assert got == gloo or ("complex" in dtype and got == "ValueError"), what
                continue
            terms = [operand(r, dtype) for r in range(size)]
            expected = getattr(np, UFUNCS[op]).reduce(terms)
            expected = expected / size if op == "AVG" else expected.astype(terms[0].dtype)
            tolerance = {"float16": 1e-3, "bfloat16": 1e-2}.get(dtype, 1e-6)
            np.testing.assert_allclose(got.array, expected, rtol=tolerance, err_msg=str(what))
            assert got.dtype == f"torch.{dtype}"
            if not isinstance(gloo, str):
                np.testing.assert_allclose(got.array, gloo.array, rtol=tolerance, err_msg=str(what))
            elif dtype != "int16":  # which Gloo does not know
                assert op == "PRODUCT" and "complex" in dtype, f"{what}: Gloo has {gloo}"
        wrong = [what for what, got in mine["reductions"].items() if isinstance(got, str)]
        # AVG of 6 integer types; 3 bit operations of 4 floats and 2 complex; MIN, MAX of these 2
        assert len(wrong) == 2 * (6 + 3 * 6 + 2 * 2), wrong


# Functions that exist only there.
LEFT_OUT = {
    # Tracing, debugging, and other processes' groups
    "get_debug_level", "set_debug_level", "set_debug_level_from_env", "record_comm", "shrink_group",
    "breakpoint",
}  # fmt: skip


def public_functions(module):
    return {
        name
        for name, value in vars(module).items()
        if inspect.isroutine(value) and not name.startswith("_") and "torch" in value.__module__
    }


def test_every_function_of_pytorch_is_here():
    missing = public_functions(theirs) - public_functions(ours) - LEFT_OUT
    assert not missing
    assert not LEFT_OUT & public_functions(ours), "no longer left out"


@pytest.mark.parametrize(
    "name",
    sorted(
        n
        for n in public_functions(theirs) - LEFT_OUT
        if n not in ("rendezvous", "register_rendezvous_handler")
    ),
)
def test_arguments_are_pytorchs(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = inspect.signature(getattr(theirs, name)).parameters.values()
    got = inspect.signature(getattr(ours, name)).parameters.values()
    assert [(p.name, default(p)) for p in got] == [(p.name, default(p)) for p in expected]


def default(parameter):
    """Comparable between the two packages: ReduceOp.SUM is of different classes."""
    value = parameter.default
    return getattr(value, "name", value)


@pytest.mark.parametrize(
    ("mine", "gloos"),
    [
        (ours.Work, theirs.Work),
        (ours.P2POp, theirs.P2POp),
        (ours.ProcessGroup, theirs.ProcessGroup),
    ],
)
def test_methods(mine, gloos):
    needed = {
        "Work": "wait is_completed is_success exception result get_future source_rank synchronize",
        "P2POp": "__repr__",
        "ProcessGroup": "rank size name set_timeout barrier",
    }[mine.__name__]
    for method in needed.split():
        assert hasattr(mine, method) and hasattr(gloos, method), method
