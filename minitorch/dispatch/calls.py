"""Short ways of calling operations: what stands between `x * y` and NumPy.

`declare.py` gives each op the shortest of these that its arguments allow. The hot path of small
tensors runs through `unary`, `binary` and `alone`: one Python call between the operator and NumPy,
no loops, no keyword arguments. Whatever is not plain goes the general way, `Op.__call__`.
PyTorch: the dispatcher (aten/src/ATen/core/dispatch).
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..autograd.grad_mode import mode
from ..tensor import Tensor, wrap
from . import errors
from .op import Op
from .out import fill
from .promotion import WEAK, promote
from .views import link_view

LARGE = kernels.LARGE
_FLOAT32 = np.dtype(np.float32)


def general(op: Op):
    def call(*args, **kwargs):
        if "out" in kwargs and (out := kwargs.pop("out")) is not None:
            return fill(out, call, args, kwargs)
        return op(*args, **kwargs)

    return call


def alone(op: Op):
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
        array = input.array
        if type(array) is not np.ndarray or (op.elementwise and array.size >= LARGE):
            return op(*args, **kwargs)
        try:
            result = wrap(forward(array, *args[1:], **kwargs))
        except (ValueError, TypeError, IndexError) as error:
            raise errors.translate(error, op, [input]) from error
        if view:
            link_view(result, input, op, args[1:], kwargs)
        if input._requires_grad and mode.enabled and op.inputs:
            op.record([*op.bind(args, kwargs), result], result)
        return result

    return call


def pair(op: Op):
    """The short way for two tensors and nothing else: products."""
    forward = op.forward

    def call(input, other, *, out=None):
        if out is not None:
            return fill(out, call, (input, other), {})
        if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
            return op(input, other)
        a, b = input.array, other.array
        if type(a) is not np.ndarray:
            return op(input, other)
        try:
            result = wrap(forward(a, b))
        except (ValueError, TypeError) as error:
            raise errors.translate(error, op, [input, other]) from error
        if (input._requires_grad or other._requires_grad) and mode.enabled:
            op.record((input, other, result), result)
        return result

    return call


def unary(op: Op):
    """The short way for one tensor: no loops, no keyword arguments."""
    forward, codes = op.forward, op.codes
    defaults, check = op.fill[1:], op.check
    usual = _FLOAT32 if "f" in codes else None

    def call(input, *args, **options):
        if type(input) is np.ndarray and not options:  # in a formula
            return op.forward(input, *args)
        if args or options or not isinstance(input, Tensor):
            return promoted_call(op, (input, *args), options, check)
        array = input.array
        dtype = array.dtype
        plain = dtype is usual or dtype.char in codes
        if not plain or array.size >= LARGE or type(array) is not np.ndarray:
            return promoted_call(op, (input,), options, check)
        result = wrap(forward(array))
        if input._requires_grad and mode.enabled and op.inputs:
            op.record((input, *defaults, result), result)
        return result

    return call


def binary(op: Op):
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
            return promoted_call(op, (input, other, *args), options, check)
        a, b = input, other
        if isinstance(a, Tensor):
            a = a.array
            dtype, large = a.dtype, a.size >= LARGE or type(a) is not np.ndarray
            if isinstance(b, Tensor):
                b = b.array
                plain = dtype is b.dtype and (dtype is usual or dtype.char in codes)
            else:
                kinds = weak_other.get(type(b), "")
                plain = kinds and (dtype is usual or dtype.char in kinds)
        elif isinstance(b, Tensor):
            b = b.array
            plain, large = b.dtype.char in weak_input.get(type(a), ""), b.size >= LARGE
            large = large or type(b) is not np.ndarray
        else:
            return promoted_call(op, (input, other), options, check)
        if large or not plain:
            return promoted_call(op, (input, other), options, check)
        try:
            result = wrap(forward(a, b))
        except OverflowError:  # an integer that this type does not hold: it wraps around
            return promoted_call(op, (input, other), options, check)
        except (ValueError, TypeError) as error:
            if type(b) is not np.ndarray and hasattr(b, "dtype"):  # a number of the CPU's, perhaps
                return promoted_call(op, (input, other), options, check)
            raise errors.translate(error, op, [input, other]) from error
        if (
            mode.enabled
            and op.inputs
            and (getattr(input, "_requires_grad", False) or getattr(other, "_requires_grad", False))
        ):
            op.record((input, other, *defaults, result), result)
        return result

    return call


def promoting(op: Op):
    return lambda *args, **options: promoted_call(op, args, options, op.check)


def promoted_call(op: Op, args: tuple, options: dict, check=None):
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
