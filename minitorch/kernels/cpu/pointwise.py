"""Any function that takes arrays element by element, on large arrays: in blocks, by all threads.

An operation's forward and its derivatives are plain NumPy expressions, `grad * (1 - out * out)`.
NumPy runs them one loop after the other, on one core, each writing an array as large as the inputs.
As long as these fit into the cache that is as good as it gets on one core. But whatever works
element by element may as well be given a piece of the arrays at a time: then threads share out the
pieces, and what the loops hand on to each other never leaves the cache. The expression need not
know.

The price is one copy, of each piece of the result to its place. A ufunc writes it there itself, and
goes through memory only once anyhow: it is cut into one piece a thread, and no further.
PyTorch: aten/src/ATen/native/cpu/Loops.h over TensorIterator::for_each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .blocking import blocks, rows_unbuffered
from .threads import get_num_threads, parallel_for

LARGE = 1 << 17
"""Elements from which `pointwise` is worth calling at all."""

PIECE = 1 << 18
"""Elements of a piece, and the least for which to wake a thread, which takes some 50 us."""

IN_CACHE = 1 << 21
"""Elements up to which one thread is quickest with the arrays as they are, in the L3 cache."""


def pointwise(function: Callable, *args, **options) -> Any:
    """function(*args, **options), for a function that works element by element and broadcasts.

    Arrays of the full extent along the first dimension are handed over in pieces, anything else as
    it is. If the function hands back one of its arguments, so does this.
    """
    arrays = [a for a in args if type(a) is np.ndarray and a.ndim]
    largest: Any = max(arrays, key=lambda a: a.size, default=None)
    one_pass = isinstance(function, np.ufunc)
    if largest is None or largest.size < LARGE:
        return function(*args, **options)
    shape, width = largest.shape, 1
    flat = all(a.shape == shape and a.flags.c_contiguous for a in arrays)
    row = 0 if flat else shape[-1]
    if get_num_threads() == 1 and (one_pass or largest.size <= IN_CACHE):
        with rows_unbuffered(row):
            return function(*args, **options)

    if flat:
        parts = [a.reshape(-1) if type(a) is np.ndarray and a.ndim else a for a in args]
        cut = [type(a) is np.ndarray and a.ndim > 0 for a in args]
    else:
        if np.broadcast_shapes(*[a.shape for a in arrays]) != shape:
            return function(*args, **options)
        parts, width = list(args), largest.size // len(largest)
        cut = [np.ndim(a) == len(shape) and len(a) == len(largest) for a in args]

    def of(piece: slice) -> list:
        return [part[piece] if c else part for part, c in zip(parts, cut, strict=True)]

    first = of(slice(0, 1))
    sample = function(*first, **options)  # of what type is the result?
    for arg, part in zip(args, first, strict=True):
        if sample is part:
            return arg
    if type(sample) is not np.ndarray or sample.shape != (1, *shape[1:])[: 1 if flat else None]:
        return function(*args, **options)
    out = np.empty(shape, sample.dtype)
    target = out.reshape(-1) if flat else out

    def work(start, stop):
        if one_pass:
            function(*of(slice(start, stop)), out=target[start:stop])
            return
        for piece in blocks(start, stop, PIECE // width):
            target[piece] = function(*of(piece), **options)

    with rows_unbuffered(row):
        parallel_for(len(target), work, PIECE // width)
    return out
