"""What two types become: every pair of dtypes, as tensors, 0-d tensors and Python numbers.

The expected type is always PyTorch's own answer.
"""

import itertools

import pytest
import torch

import minitorch
from minitorch import dtypes

NAMES = [d.name for d in dtypes.ALL]
PAIRS = list(itertools.product(NAMES, NAMES))
NUMBERS = [True, 3, 2.5, 1 + 2j]


def name(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def dtype_of(call) -> str:
    """The dtype that comes out, or the kind of error."""
    try:
        result = call()
    except (RuntimeError, TypeError, NotImplementedError):
        return "error"
    return name(getattr(result, "dtype", result))


def disagreements(cases) -> list:
    """(description, ours, PyTorch's) where the two differ; cases: (description, function of T).

    Where PyTorch gives an error or its complex32, which is not here, nothing is expected.
    """
    found = []
    for what, call in cases:
        ours, theirs = (dtype_of(lambda T=T, call=call: call(T)) for T in (minitorch, torch))
        if ours != theirs and theirs not in ("error", "complex32"):
            found.append((what, ours, theirs))
    return found


def full(T, dtype: str, shape):
    return T.ones(shape, dtype=getattr(T, dtype))


@pytest.mark.parametrize("function", ["promote_types", "can_cast"])
def test_functions_of_two_dtypes(function):
    for a, b in PAIRS:
        ours = getattr(minitorch, function)(getattr(minitorch, a), getattr(minitorch, b))
        theirs = getattr(torch, function)(getattr(torch, a), getattr(torch, b))
        assert name(ours) == name(theirs), (a, b)


@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())], ids=str)
def test_result_type(shapes):
    cases = [
        (
            (a, b),
            lambda T, a=a, b=b: T.result_type(full(T, a, shapes[0]), full(T, b, shapes[1])),
        )
        for a, b in PAIRS
    ]
    assert disagreements(cases) == []


@pytest.mark.parametrize("shape", [(2,), ()], ids=str)
def test_result_type_with_numbers(shape):
    cases = [
        ((a, n), lambda T, a=a, n=n: T.result_type(full(T, a, shape), n))
        for a, n in itertools.product(NAMES, NUMBERS)
    ]
    cases += [
        ((m, n), lambda T, m=m, n=n: T.result_type(m, n))
        for m, n in itertools.product(NUMBERS, NUMBERS)
    ]
    assert disagreements(cases) == []


OPERATIONS = {
    "add": lambda T, x, y: x + y,
    "mul": lambda T, x, y: x * y,
    "div": lambda T, x, y: x / y,
    "eq": lambda T, x, y: x == y,
    "where": lambda T, x, y: T.where(T.tensor([True, False]), x, y),
    "pow": lambda T, x, y: x**y,
    "maximum": lambda T, x, y: T.maximum(x, y) if not isinstance(y, (int, float, complex)) else x,
    "floor_divide": lambda T, x, y: x // y,
    "remainder": lambda T, x, y: x % y,
}
REAL = [n for n in NAMES if not n.startswith("complex")]
UNSUPPORTED = {"maximum": REAL, "floor_divide": REAL, "remainder": REAL}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())], ids=str)
def test_operations_on_tensors(operation, shapes):
    names = UNSUPPORTED.get(operation, NAMES)
    function = OPERATIONS[operation]
    cases = [
        (
            (a, b),
            lambda T, a=a, b=b: function(T, full(T, a, shapes[0]), full(T, b, shapes[1])),
        )
        for a, b in itertools.product(names, names)
    ]
    assert disagreements(cases) == []


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [(2,), ()], ids=str)
def test_operations_on_tensors_and_numbers(operation, shape):
    names = UNSUPPORTED.get(operation, NAMES)
    function = OPERATIONS[operation]
    cases = []
    for a, n in itertools.product(names, NUMBERS):
        if operation in UNSUPPORTED and isinstance(n, complex):
            continue
        if (operation, a, n) == ("pow", "bool", True):  # NumPy has no power of booleans
            continue
        cases.append(((a, n), lambda T, a=a, n=n: function(T, full(T, a, shape), n)))
        if operation != "maximum":
            cases.append(((n, a), lambda T, a=a, n=n: function(T, n, full(T, a, shape))))
    assert disagreements(cases) == []


FLOATING = ["exp", "log", "sqrt", "sin", "tanh", "sigmoid", "reciprocal", "rsqrt"]


def test_functions_that_make_floats():
    cases = [
        ((f, a), lambda T, f=f, a=a: getattr(T, f)(full(T, a, (2,))))
        for f, a in itertools.product(FLOATING, NAMES)
    ]
    assert disagreements(cases) == []


def test_reductions():
    functions = ["sum", "prod", "cumsum", "mean", "amax", "argmax", "all"]
    cases = [
        ((f, a), lambda T, f=f, a=a: getattr(T, f)(full(T, a, (2, 2)), 0))
        for f, a in itertools.product(functions, REAL)
    ]
    assert disagreements(cases) == []


def test_the_default_dtype(T):
    assert T.tensor(1.5).dtype is T.float32 and T.ones(2).dtype is T.float32
    T.set_default_dtype(T.float64)
    try:
        assert T.tensor(1.5).dtype is T.float64 and T.ones(2).dtype is T.float64
        assert (T.tensor([1, 2]) * 0.5).dtype is T.float64
        assert (T.tensor([1]) / T.tensor([2])).dtype is T.float64
    finally:
        T.set_default_dtype(T.float32)
    assert (T.tensor([1, 2]) * 0.5).dtype is T.float32
    assert (T.tensor([1]) / T.tensor([2])).dtype is T.float32
    with pytest.raises(TypeError, match="floating"):
        T.set_default_dtype(T.int64)


def test_integers_wrap_around(T):
    assert (T.tensor([250], dtype=T.uint8) + 10).tolist() == [4]
    assert (T.tensor([100], dtype=T.int8) * 2).tolist() == [-56]
    assert (T.tensor([1], dtype=T.uint8) * -1).tolist() == [255]


@pytest.mark.parametrize("dtype", [d.name for d in dtypes.ALL])
def test_limits(dtype):
    ours, theirs = getattr(minitorch, dtype), getattr(torch, dtype)
    kind = "finfo" if theirs.is_floating_point or theirs.is_complex else "iinfo"
    if dtype == "bool":
        for T in (minitorch, torch):
            for limits in (T.finfo, T.iinfo):
                with pytest.raises(TypeError):
                    limits(T.bool)
        return
    a, b = getattr(minitorch, kind)(ours), getattr(torch, kind)(theirs)
    shared = ["bits", "min", "max", "dtype"]
    if kind == "finfo":
        shared += ["eps", "tiny", "smallest_normal"]
        assert a.resolution == pytest.approx(b.resolution)
    for attribute in shared:
        assert getattr(a, attribute) == getattr(b, attribute), attribute
    assert repr(a) == repr(b)


@pytest.mark.parametrize("dtype", [d.name for d in dtypes.ALL])
def test_attributes_of_dtypes(dtype):
    ours, theirs = getattr(minitorch, dtype), getattr(torch, dtype)
    for attribute in ("is_floating_point", "is_complex", "is_signed", "itemsize"):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert repr(ours) == repr(theirs)
