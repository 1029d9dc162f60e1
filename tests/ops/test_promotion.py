"""What two types become: every pair of dtypes, as tensors, 0-d tensors and Python numbers.

The expected type is always PyTorch's own answer.
"""

import builtins
import itertools
import operator
import random
import warnings

import numpy as np
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


REAL = [n for n in NAMES if not n.startswith("complex")]


@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())], ids=str)
def test_where(shapes):
    def case(make_x, make_y):
        return lambda T: T.where(T.tensor([True, False]), make_x(T), make_y(T))

    def tensor(dtype, shape):
        return lambda T: full(T, dtype, shape)

    cases = [
        ((a, b), case(tensor(a, shapes[0]), tensor(b, shapes[1])))
        for a, b in itertools.product(NAMES, NAMES)
    ]
    for a, n in itertools.product(NAMES, NUMBERS):
        cases.append(((a, n), case(tensor(a, shapes[0]), lambda T, n=n: n)))
        cases.append(((n, a), case(lambda T, n=n: n, tensor(a, shapes[0]))))
    assert disagreements(cases) == []


FLOATING = """exp exp2 expm1 log log1p log2 log10 sqrt rsqrt reciprocal sigmoid sinc
sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh
deg2rad rad2deg erf erfc erfinv lgamma digamma i0 logit angle""".split()


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


# Every binary operation, in every form, on every pair of operands: dtype, shape and values, or the
# kind of error.

BINARY = """add sub mul true_divide div floor_divide remainder pow fmod rsub float_power xlogy
bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift gcd lcm
eq ne lt le gt ge logical_and logical_or logical_xor isclose
maximum minimum fmax fmin clamp_min clamp_max heaviside
atan2 hypot logaddexp logaddexp2 copysign nextafter ldexp""".split()
OPERATORS = {"add": "+", "sub": "-", "mul": "*", "true_divide": "/", "floor_divide": "//"}
OPERATORS |= {"remainder": "%", "pow": "**", "bitwise_and": "&", "bitwise_or": "|"}
OPERATORS |= {"bitwise_xor": "^", "bitwise_left_shift": "<<", "bitwise_right_shift": ">>"}
OPERATORS |= {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
PYTHON = {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod"}
PYTHON |= {"**": "pow", "&": "and", "|": "or", "^": "xor", "<<": "lshift", ">>": "rshift"}

OPERANDS = [*itertools.product(NAMES, [(2,), ()]), *NUMBERS]  # tensors, 0-d tensors, numbers


def forms(name: str):
    """(description, function of T, x, y, and whether x is changed) for each way of calling it."""
    yield f"{name}(x, y)", lambda T, x, y: getattr(T, name)(x, y), False
    if name not in ("isclose", "rsub"):

        def with_out(T, x, y):
            return getattr(T, name)(x, y, out=T.ones(2, dtype=T.float32))

        yield f"{name}(x, y, out=)", with_out, False
    if name in OPERATORS:
        sign = OPERATORS[name]
        yield f"x {sign} y", eval(f"lambda T, x, y: x {sign} y"), False
        if sign in PYTHON:
            change = getattr(operator, f"i{PYTHON[sign]}")
            yield f"x {sign}= y", lambda T, x, y: change(x, y), True
    if hasattr(torch.Tensor, name + "_"):
        yield f"x.{name}_(y)", lambda T, x, y: getattr(x, name + "_")(y), True


def left_out(name: str, form: str, x, y, expected) -> str | None:
    """Why the case is no matter, if it is none."""
    kinds = [o[0] if isinstance(o, tuple) else type(o).__name__ for o in (x, y)]
    if "float16" in kinds and any(k.startswith("complex") for k in kinds):
        return "PyTorch's complex32 is not here"
    if name == "ldexp" and isinstance(expected, RuntimeError):
        return "PyTorch's ldexp takes some pairs of types only"
    if kinds == ["bool", "bool"] and name in ("pow", "clamp_min", "clamp_max"):
        return "what PyTorch does with tensor and number, it does not do with two tensors"
    overloads = "out=" in form or name == "rsub"
    if overloads and not isinstance(x, tuple) and isinstance(expected, TypeError):
        return "PyTorch has no such overload; here it works"
    if "out=" in form and name in ("float_power", "clamp_min", "clamp_max"):
        return "PyTorch wants out= to have the dtype of the result; here it is cast"
    if name == "float_power" and form.endswith("_(y)"):
        return "PyTorch wants the tensor to be float64; here the result is cast"
    if name == "logaddexp" and any(k.startswith("complex") for k in kinds):
        return "not here for complex numbers"
    if name == "heaviside" and "out=" in form:
        return "PyTorch wants out= to have the dtype of the result; here it is cast"
    return None


def operand(T, given, values: list):
    if not isinstance(given, tuple):
        return given
    dtype, shape = given
    return T.tensor(values if shape else values[0], dtype=getattr(T, dtype))


def outcome(T, call, x, y):
    """(dtype, shape, values), or the exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call(T, operand(T, x, [3, 1]), operand(T, y, [2, 1]))
    except Exception as error:
        return error
    return name_of(result), tuple(result.shape), np.array(result.tolist())


def name_of(tensor) -> str:
    return name(tensor.dtype)


TOLERANCE = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 1e-6, "complex64": 1e-6}


def same(got, expected, kinds=()) -> bool:
    if isinstance(expected, Exception):
        kind = next(c for c in type(expected).__mro__ if c.__module__ == builtins.__name__)
        return isinstance(got, kind)
    if isinstance(got, Exception) or got[:2] != expected[:2]:
        return False
    tolerance = max(TOLERANCE.get(kind, 1e-12) for kind in (got[0], *kinds))
    return np.allclose(got[2], expected[2], tolerance, tolerance, equal_nan=True)


def binary_disagreements(cases) -> list:
    found = []
    for operation, form, call, x, y in cases:
        expected = outcome(torch, call, x, y)
        if left_out(operation, form, x, y, expected) is None:
            got = outcome(minitorch, call, x, y)
            if not same(got, expected, [o[0] for o in (x, y) if isinstance(o, tuple)]):
                found.append((form, x, y, got, expected))
    return found


def binary_cases(operation: str) -> list:
    return [
        (operation, form, call, x, y)
        for form, call, changes in forms(operation)
        for x, y in itertools.product(OPERANDS, repeat=2)
        if isinstance(x, tuple) or (isinstance(y, tuple) and not changes)
    ]


@pytest.mark.parametrize("operation", BINARY)
def test_pairs_of_types(operation):
    """A sample of all pairs; a few thousand cases over all operations."""
    cases = binary_cases(operation)
    assert binary_disagreements(random.Random(operation).sample(cases, len(cases) // 25)) == []


@pytest.mark.slow
@pytest.mark.parametrize("operation", BINARY)
def test_all_pairs_of_types(operation):
    assert binary_disagreements(binary_cases(operation)) == []


HALF = {
    "x * 0.1": lambda T, x, y: x * 0.1,
    "x + 0.3": lambda T, x, y: x + 0.3,
    "0.3 - y": lambda T, x, y: 0.3 - y,
    "x / 3.3": lambda T, x, y: x / 3.3,
    "x // 0.3": lambda T, x, y: x // 0.3,
    "x % 0.3": lambda T, x, y: x % 0.3,
    "x ** 1.3": lambda T, x, y: x.abs() ** 1.3,
    "x in place": lambda T, x, y: x.clone().mul_(0.1),
    "hypot": lambda T, x, y: T.hypot(x, y),
    "atan2": lambda T, x, y: T.atan2(x, y),
    "comparison": lambda T, x, y: x < 0.1,
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", HALF)
def test_half_precision_is_computed_in_float32(name, dtype):
    """To the last bit. Numbers are rounded to half precision before, but for products' sake."""
    values = np.random.default_rng(0).normal(size=(2, 1000)) * 2
    values[0, 0] = 0.1
    results = [
        HALF[name](T, *(T.tensor(v, dtype=getattr(T, dtype)) for v in values)).tolist()
        for T in (minitorch, torch)
    ]
    assert results[0] == results[1]
