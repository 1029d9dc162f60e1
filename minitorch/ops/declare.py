"""Declaring operations: the decorators, and the functions that users call.

A decorator makes an `Op` of a forward function, wraps it in the shortest way of calling that the op
allows, and registers that. The hot path of small tensors runs through `_unary`, `_binary` and
`_alone`: one Python call between the operator and NumPy, no loops, no keyword arguments.
Invariant: `promote` is the only place where the arguments of an operation change their types.
PyTorch: the code generated from aten/src/ATen/native/native_functions.yaml.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from .. import dtypes, kernels
from ..autograd.grad_mode import mode
from ..tensor import Tensor, numpy_twins, wrap
from . import errors
from .op import TORCH_NAMES, Op
from .views import link_view

functions: dict[str, Any] = {}  # what `import minitorch` offers, by name

LARGE = kernels.LARGE
_FLOAT32 = np.dtype(np.float32)

# NumPy's one-letter codes of the types of each category. Half precision is not among them ("e",
# and "E" for bfloat16): it is computed in float32, which is the business of `_promoted_call`.
_CODES = {dtypes.BOOL: "?", dtypes.INTEGER: "bBhilq", dtypes.FLOATING: "fd", dtypes.COMPLEX: "FD"}
WEAK = "fdFD"  # those beside which NumPy lets a Python number keep the type


def op(forward=None, *, alone=False, pair=False, view=False, outputs=("out",), many=False, **entry):
    """An operation on whole tensors: reductions, products, shapes, layers.

    `alone`: only the first argument is ever a tensor; `pair`: there are two, and no other
    arguments. `view`, `outputs`, `many`: see `Op`. `entry`: see `register`.
    """
    if forward is None:
        return functools.partial(
            op, alone=alone, pair=pair, view=view, outputs=outputs, many=many, **entry
        )
    made = Op(forward, view=view, outputs=outputs, many=many)
    short_cut = _alone if alone or made.view else _pair if pair else _general
    return register(functools.wraps(forward)(short_cut(made)), made, **entry)


def view_op(forward=None, **options):
    """An op whose result shares its first argument's memory wherever NumPy can make it so."""
    return op(forward, view=True, **options)


def elementwise(
    forward=None,
    *,
    floating=False,
    kinds="bifc",
    widened=True,
    promoted=(),
    numbers=None,
    check=None,
    numpy=(),
    inplace=None,
    **entry,
):
    """An op that broadcasts its arguments and brings them to one type.

    `floating`: integers become floats first. `kinds`: what it takes after that; "b" is bool, "i"
    integers, "f" floating and "c" complex types. `widened`: half precision is computed in float32
    and rounded once, at the end, as PyTorch does. `promoted`: the arguments that take part.
    `numbers`: those of the arguments that may be Python numbers; by default all may.
    `check`: a function of the arguments, as given, that raises where PyTorch does not take them.
    `inplace`: by default there is an in-place form, which is NumPy's ufunc where `numpy` is one.
    The rest: see `register`.
    """
    if forward is None:
        return functools.partial(
            elementwise,
            floating=floating,
            kinds=kinds,
            widened=widened,
            promoted=promoted,
            numbers=numbers,
            check=check,
            numpy=numpy,
            inplace=inplace,
            **entry,
        )
    made = Op(forward, floating=floating)
    made.elementwise = True
    made.promoted = list(promoted) or made.promoted
    made.kinds = {"bifc".index(kind) for kind in kinds}
    made.numbers = made.parameters if numbers is None else numbers
    made.check = check if numbers is None else errors.only_tensors(made, check)
    accepted = made.kinds - {dtypes.BOOL, dtypes.INTEGER} if floating else made.kinds
    made.codes = "".join(_CODES[category] for category in accepted)
    required = made.fill[: made.positional].count(())
    short_cut = {1: _unary, 2: _binary}.get(required, _promoting)
    call = made.call = functools.wraps(forward)(short_cut(made))
    if widened:  # the short cuts never meet half precision, and keep the plain forward
        made.forward = _in_float32(forward)
    if inplace is None:
        straight = isinstance(numpy, np.ufunc) and "f" in kinds and numbers is None
        inplace = numpy if straight else True
        made.ufunc = numpy if straight else None
    register(call, made, inplace=inplace, **entry)
    # NumPy's functions take numbers everywhere.
    lenient = call if numbers is None else lambda *args, **kw: _promoted_call(made, args, kw)
    numpy_twins.update(dict.fromkeys(numpy if isinstance(numpy, tuple) else (numpy,), lenient))
    return call


def _in_float32(forward):
    """`forward`, with half precision computed in float32 and rounded once."""

    def call(*args, **options):
        halves = [a.dtype for a in args if hasattr(a, "dtype") and a.dtype.char in "eE"]
        if not halves:
            return forward(*args, **options)
        wide = [a.astype(np.float32) if getattr(a, "dtype", None) in halves else a for a in args]
        result = forward(*wide, **options)
        return result.astype(halves[0]) if result.dtype.char == "f" else result

    return call


def of_function(names: str, function, meaning: str, /, *formulas, **options) -> Any:
    """An elementwise op that is a ufunc, or a kernel of one argument, and nothing more.

    `names`: its name, and its aliases. `meaning` becomes its docstring. `formulas`: its derivatives
    by `input` and `other`. `options` go to `elementwise`.
    """
    name, *aliases = names.split()
    several = isinstance(function, np.ufunc) and function.nin > 1

    def unary(input):
        return function(input)

    def binary(input, other):
        return function(input, other)

    forward = binary if several else unary
    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"{meaning}{', broadcast' * several}. Mirrors torch.{name}."
    twin = function if isinstance(function, np.ufunc) else ()
    call = elementwise(forward, numpy=twin, aliases=aliases, **options)
    call.op.ufunc = twin or None
    if formulas:
        call.derivatives(**dict(zip(("input", "other"), formulas, strict=False)))
    return call


def composite(forward=None, *, out=False, **entry):
    """Register a function that is made of other ops, and so needs no derivatives of its own.

    `out`: it takes out=. `entry`: see `register`.
    """
    if forward is None:
        return functools.partial(composite, out=out, **entry)
    if not out:
        return register(forward, None, **entry)

    @functools.wraps(forward)
    def with_out(*args, out=None, **kwargs):
        if kwargs:
            kwargs = {TORCH_NAMES.get(k, k): v for k, v in kwargs.items()}
        if out is None:
            return forward(*args, **kwargs)
        return fill(out, forward, args, kwargs)

    return register(with_out, None, **entry)


def in_namespace(forward):
    """A composite that only a namespace shows: minitorch.linalg, minitorch.fft."""
    return composite(forward, out=True, function=False, method=False)


def register(
    call,
    made: Op | None,
    *,
    numpy=(),
    function=True,
    method=True,
    inplace=False,
    aliases=(),
    node="",
):
    """Enter a user-facing function into the tables under its own name.

    `function`, `method`: whether it is a function of the package and a method of Tensor.
    `inplace`: whether there is a method `name_`; a ufunc here is one that can write straight into
    the memory. `aliases`: other names for all of these. `numpy`: NumPy's function of the same
    meaning, or several. `node`: PyTorch's name for it in the graph, where that is another.
    """
    name = call.__name__
    if made is not None:
        call.op = made
        call.derivatives = made.derivatives
        call.joint_derivative = made.joint_derivative
        call.defined_by = made.defined_by
        if node:
            made.node_name = node + "Backward0"
    for known in (name, *aliases):
        if function:
            functions[known] = call
        if method:
            setattr(Tensor, known, call)
            if inplace:
                setattr(Tensor, known + "_", _in_place(call, known, inplace))
    for twin in numpy if isinstance(numpy, tuple) else (numpy,):
        numpy_twins[twin] = call
    return call


def _in_place(call, name: str, ufunc):
    from .inplace import inplace  # which declares an op itself

    return inplace(call, name, ufunc if isinstance(ufunc, np.ufunc) else None)


def fill(out, operation, args: tuple, options: dict):
    """`operation(*args, **options)`, its result put into `out`: a tensor, or a tuple of them.

    As in PyTorch `out` takes on the result's shape, keeps its own dtype, and autograd stays out of
    it: RuntimeError if something requires grad. Returns `out`.
    """
    from .inplace import check_writable  # which declares an op itself

    targets = out if isinstance(out, (tuple, list)) else (out,)
    asked = [t for t in (*args, *options.values(), *targets) if isinstance(t, Tensor)]
    if mode.enabled and any(t._requires_grad for t in asked):
        raise RuntimeError(
            f"{operation.__name__}(): functions with out=... arguments don't support automatic "
            "differentiation, but one of the arguments requires grad."
        )
    result = operation(*args, **options)
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(targets):
        raise TypeError(f"{operation.__name__}(): out must be {len(results)} tensors")
    for target, value in zip(targets, results, strict=True):
        if target.array.shape != value.array.shape:
            if target.array.size:
                warnings.warn(
                    f"An output with one or more elements was resized since it had shape "
                    f"{list(target.shape)}, which does not match the required output shape "
                    f"{list(value.shape)}. Give it that shape, or out.resize_(0) first.",
                    stacklevel=3,
                )
            target.array = np.empty(value.array.shape, target.array.dtype)
        check_writable(target, False, asked)
        write(target, value.array)
    return (
        out if len(targets) == 1 else type(result)(*targets) if hasattr(result, "_fields") else out
    )


def write(target: Tensor, array) -> None:
    """Put `array`, of a type and shape that fit, into the memory of `target`."""
    here = target.array
    if array.dtype != here.dtype:
        got, expected = dtypes.of(array), target.dtype
        if got.category > expected.category:
            raise RuntimeError(
                f"result type {got.legacy_name} can't be cast to the desired output type "
                f"{expected.legacy_name}"
            )
    if array.shape != here.shape:
        raise RuntimeError(
            f"output with shape {list(here.shape)} doesn't match the broadcast shape "
            f"{list(array.shape)}"
        )
    np.copyto(here, array, casting="unsafe")
    target._storage.version += 1


def _general(op: Op):
    def call(*args, **kwargs):
        if "out" in kwargs and (out := kwargs.pop("out")) is not None:
            return fill(out, call, args, kwargs)
        return op(*args, **kwargs)

    return call


def _alone(op: Op):
    """The short way for one tensor and arguments that are none: sums, views."""
    forward, view, many = op.forward, op.view, op.many

    def call(*args, **kwargs):
        if kwargs:
            if "out" in kwargs and (out := kwargs.pop("out")) is not None:
                return fill(out, call, args, kwargs)
            args, kwargs = op.arrange(args, kwargs)
        input = args[0]
        if type(input) is np.ndarray:  # in a formula
            return forward(*args, **kwargs)
        if many or not isinstance(input, Tensor):
            return op(*args, **kwargs)
        if op.elementwise and input.array.size >= LARGE:
            return op(*args, **kwargs)
        try:
            result = wrap(forward(input.array, *args[1:], **kwargs))
        except (ValueError, TypeError, IndexError) as error:
            raise errors.translate(error, op, [input]) from error
        if view:
            link_view(result, input, op, args[1:], kwargs)
        if input._requires_grad and mode.enabled and op.inputs:
            op.record([*op.bind(args, kwargs), result], result)
        return result

    return call


def _pair(op: Op):
    """The short way for two tensors and nothing else: products."""
    forward = op.forward

    def call(input, other, *, out=None):
        if out is not None:
            return fill(out, call, (input, other), {})
        if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
            return op(input, other)
        try:
            result = wrap(forward(input.array, other.array))
        except (ValueError, TypeError) as error:
            raise errors.translate(error, op, [input, other]) from error
        if (input._requires_grad or other._requires_grad) and mode.enabled:
            op.record((input, other, result), result)
        return result

    return call


def _unary(op: Op):
    """The short way for one tensor: no loops, no keyword arguments."""
    forward, codes = op.forward, op.codes
    defaults, check = op.fill[1:], op.check
    usual = _FLOAT32 if "f" in codes else None

    def call(input, *args, **options):
        if type(input) is np.ndarray and not options:  # in a formula
            return op.forward(input, *args)
        if args or options or not isinstance(input, Tensor):
            return _promoted_call(op, (input, *args), options, check)
        array = input.array
        dtype = array.dtype
        if (dtype is not usual and dtype.char not in codes) or array.size >= LARGE:
            return _promoted_call(op, (input,), options, check)
        result = wrap(forward(array))
        if input._requires_grad and mode.enabled and op.inputs:
            op.record((input, *defaults, result), result)
        return result

    return call


def _binary(op: Op):
    """The short way for two tensors of one type, or a float tensor and a number."""
    forward, codes = op.forward, op.codes
    # The types beside which a Python number is no more than its value, if it may stand there.
    floats = "".join(code for code in codes if code in WEAK)
    weak = {float: floats, int: codes.replace("?", "")}
    weak_input, weak_other = [weak if name in op.numbers else {} for name in op.parameters[:2]]
    defaults, check = op.fill[2:], op.check
    usual = _FLOAT32 if "f" in codes else None

    def call(input, other, *args, **options):
        if args or options:
            return _promoted_call(op, (input, other, *args), options, check)
        a, b = input, other
        if isinstance(a, Tensor):
            a = a.array
            dtype, large = a.dtype, a.size >= LARGE
            if isinstance(b, Tensor):
                b = b.array
                plain = dtype is b.dtype and (dtype is usual or dtype.char in codes)
            else:
                kinds = weak_other.get(type(b), "")
                plain = kinds and (dtype is usual or dtype.char in kinds)
        elif isinstance(b, Tensor):
            b = b.array
            plain, large = b.dtype.char in weak_input.get(type(a), ""), b.size >= LARGE
        else:
            return _promoted_call(op, (input, other), options, check)
        if large or not plain:
            return _promoted_call(op, (input, other), options, check)
        try:
            result = wrap(forward(a, b))
        except OverflowError:  # an integer that this type does not hold: it wraps around
            return _promoted_call(op, (input, other), options, check)
        except (ValueError, TypeError) as error:
            raise errors.translate(error, op, [input, other]) from error
        if (
            mode.enabled
            and op.inputs
            and (getattr(input, "_requires_grad", False) or getattr(other, "_requires_grad", False))
        ):
            op.record((input, other, *defaults, result), result)
        return result

    return call


def _promoting(op: Op):
    return lambda *args, **options: _promoted_call(op, args, options, op.check)


def _promoted_call(op: Op, args: tuple, options: dict, check=None):
    """The general way for elementwise ops: bring the arguments to one type, then call."""
    if options:
        if "out" in options and (out := options.pop("out")) is not None:
            return fill(out, op.call, args, options)
        for i in range(len(args), op.positional):  # other=2 is an argument as well
            args = (*args, options.pop(op.parameters[i], op.fill[i]))
    if any(isinstance(value, Tensor) for value in args):
        if check is not None:
            check(*args)
        args = promote(op, args)
    else:
        errors.check_array(op, args)
    return op(*args, **options)


# Types


def promote(op: Op, args: tuple) -> tuple:
    """`args` with all tensors of one dtype, the one PyTorch's rules give. The one place for it.

    Python numbers stay numbers: NumPy lets them take part as weakly as PyTorch does.
    """
    taking_part = [v for n, v in zip(op.parameters, args, strict=False) if n in op.promoted]
    kinds = {v.array.dtype if isinstance(v, Tensor) else type(v) for v in taking_part}
    kinds -= {int, float, type(None)}
    if len(kinds) == 1 and (code := getattr(kinds.pop(), "char", "?")) in WEAK and code in op.codes:
        return args  # one floating type, and numbers that it takes in: nothing to do
    tensors, numbers = [], []
    for value in taking_part:
        if value is None:
            continue
        if isinstance(value, Tensor):
            tensors.append((value.dtype, value.array.ndim))
        elif isinstance(value, np.ndarray):
            tensors.append((dtypes.of(value), value.ndim))
        else:
            numbers.append(value)
    common = dtypes.combine(tensors, numbers)
    if op.floating and common.category < dtypes.FLOATING:
        common = dtypes.get_default_dtype()
    if common.category not in op.kinds:
        raise NotImplementedError(f"\"{op.name}\" not implemented for '{common.legacy_name}'")
    weak = common.numpy.char in WEAK or (op.exact and common.category == dtypes.FLOATING)
    return tuple(
        _as_type(value, common, weak) if name in op.promoted else value
        for name, value in zip(op.parameters, args, strict=False)
    )


def _as_type(value, common: dtypes.dtype, weak: bool):
    """A tensor or an array of type `common`; a number too, unless it may stay what it is."""
    if isinstance(value, Tensor):
        return value if value.array.dtype == common.numpy else value.to(common)
    if isinstance(value, np.ndarray):
        return value.astype(common.numpy, copy=False)
    if value is None or weak:
        return value.item() if isinstance(value, np.generic) else value
    return np.array(value).astype(common.numpy)  # integers wrap around as PyTorch's do
