"""What NumPy has and CuPy 14.2 has not: an emulated GPU refuses it, or it would hide the lack.

Read off CuPy itself: where it is installed a test compares (tests/cuda/test_strictness.py).
"""

from __future__ import annotations

import functools
import inspect

# Functions that NumPy hands to arrays of other kinds, and whole ufuncs.
FUNCTIONS = frozenset(
    "block busday_count busday_offset datetime_as_string einsum_path geomspace "
    "histogram_bin_edges insert is_busday isnat matvec nanpercentile nanquantile polyder polydiv "
    "polyint spacing unstack vecdot vecmat linalg.diagonal linalg.matrix_norm linalg.multi_dot "
    "linalg.outer linalg.svdvals linalg.tensordot linalg.trace linalg.vecdot "
    "linalg.vector_norm".split()
)

# A parameter: the functions (and methods) that have it in NumPy and not in CuPy.
_REDUCTIONS = "amax amin max min nanmax nanmin nanprod nansum prod sum"
_SPREADS = "nanstd nanvar std var"
_FOURIER = "fft fft2 fftn hfft ifft ifft2 ifftn ihfft irfft irfft2 irfftn rfft rfft2 rfftn"
_PARAMETERS = {
    "axis": "lexsort trim_zeros",
    "correction": _SPREADS,
    "count": "unpackbits",
    "device": "astype empty_like full_like linspace ones_like zeros_like ones full eye identity",
    "hermitian": "matrix_rank pinv svd",
    "initial": _REDUCTIONS,
    "keepdims": "count_nonzero",
    "kind": "argpartition isin partition",
    "max": "clip",
    "mean": _SPREADS,
    "min": "clip",
    "mode": "take",
    "order": "argpartition argsort partition sort",
    "out": _FOURIER,
    "rtol": "matrix_rank pinv",
    "sorted": "unique",
    "stable": "argsort sort",
    "subok": "broadcast_arrays broadcast_to copy",
    "upper": "cholesky",
    "weights": "percentile quantile",
    "where": f"{_REDUCTIONS} {_SPREADS} all any mean nanmean",
}
PARAMETERS = {name: frozenset(functions.split()) for name, functions in _PARAMETERS.items()}

# Of ufuncs: what their methods are there for, and which know no complex numbers.
METHODS = {
    "reduce": {"add", "multiply"},
    "accumulate": {"add", "multiply"},
    "at": {"add", "maximum", "minimum"},  # the others of CuPy's take integers alone
}
ATOMIC = "ilqILQfd"  # NumPy's codes of the types that `at` takes
NOT_COMPLEX = {"logical_and", "logical_not", "logical_or", "logical_xor"}
UFUNC_OPTIONS = {"out", "dtype", "casting", "axis", "keepdims"}


# What makes float32 of bfloat16.
WIDENING = {"around", "clip", "round", "tril", "triu", "where"}


def check_ufunc(ufunc, method: str, inputs, options: dict, out) -> None:
    """Raise what CuPy raises for a call of a ufunc that it lacks."""
    name = ufunc.__name__
    dtypes = [a.dtype for a in inputs if hasattr(a, "device")]
    check_operands(name, inputs)
    if method != "__call__" and name not in METHODS.get(method, ()):
        raise NotImplementedError(f"`cupy_{name}.{method}` is not supported yet")
    if method == "at" and dtypes and dtypes[0].char not in ATOMIC:
        raise TypeError(f"cupy.{name}.at does not support {dtypes[0]} as data type")
    if name in FUNCTIONS:
        raise TypeError(f"CuPy has no {name}")
    if not options.keys() <= UFUNC_OPTIONS:
        raise TypeError(f"Wrong arguments {options}")
    if out is not None and len(out) != 1:
        raise ValueError("The 'out' parameter must have exactly one array value")
    if name in NOT_COMPLEX and any(dtype.kind == "c" for dtype in dtypes):
        raise TypeError(f"Wrong type ({list(dtypes)}) of arguments for cupy_{name}")


def check_operands(name: str, operands) -> None:
    """Raise TypeError for lists and their like, of which NumPy makes arrays and CuPy does not."""
    for operand in operands:
        if isinstance(operand, (list, range, tuple)):
            raise TypeError(f"Unsupported type {type(operand)} in {name}")


def check_function(function, args: tuple, options: dict) -> None:
    """Raise TypeError for one of NumPy's functions, or an argument of it, that CuPy lacks."""
    name = function.__name__
    space = function.__module__.removeprefix("numpy").removeprefix(".")
    if (f"{space}.{name}" if space else name) in FUNCTIONS:
        raise TypeError(f"CuPy has no {function.__module__}.{name}")
    given = {**dict(zip(_parameters(function), args, strict=False)), **options}
    check_options(name, given)


def check_options(name: str, given) -> None:
    """Raise TypeError for a parameter that CuPy's function or method of this name lacks."""
    for parameter in given:
        # NumPy itself passes device=None on from np.ones(n, like=array) and its kin.
        if name in PARAMETERS.get(parameter, ()):
            raise TypeError(f"{name}() got an unexpected keyword argument '{parameter}'")
    if name in ("sort", "argsort") and given.get("kind") not in (None, "stable"):
        raise TypeError("kind can only be None or 'stable'")


@functools.cache
def _parameters(function) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except ValueError:  # written in C, without a signature
        return ()
