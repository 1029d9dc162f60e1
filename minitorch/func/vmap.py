"""vmap: a function for one example becomes a function for many.

The function runs once for every element of the mapped dimension, and the results are stacked. That
is exact, works for any function, and can be differentiated, for taking an element and stacking are
operations like others; but it is a Python loop: where speed matters, write the batch into the
function. (PyTorch gives every operation a second, batched form instead.)
PyTorch: torch/_functorch/vmap.py.
"""

from __future__ import annotations

import functools

import numpy as np

from ..tensor import Tensor
from .tree import flatten, spread, unflatten


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """The function that maps `func` over a dimension of its arguments and stacks what it returns.

    `in_dims`: which dimension, None for an argument that every call gets whole; one for all, or
    nested like the arguments. `out_dims`: where the new dimension goes; None: an output that is the
    same for all. `randomness`: "same" numbers for all elements, "different" ones, or an "error".
    `chunk_size` changes nothing. Keyword arguments are passed whole. Not vectorised.
    Raises ValueError for dimensions that do not fit. Mirrors torch.vmap.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", repr(func))

    def mapped(*args, **kwargs):
        arguments, structure, dims = _inputs(name, in_dims, args)
        sizes = [a.size(d) for a, d in zip(arguments, dims, strict=True) if d is not None]
        if not sizes:
            raise ValueError("vmap: Expected at least one Tensor to vmap over")
        if len(set(sizes)) > 1:
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got "
                f"sizes {sizes} for the mapped dimension"
            )
        if sizes[0] == 0:
            raise ValueError(f"vmap({name}): the mapped dimension is empty, so {name} cannot run")
        columns = [
            [a] * sizes[0] if d is None else a.unbind(d)
            for a, d in zip(arguments, dims, strict=True)
        ]
        rows = [unflatten(row, structure) for row in zip(*columns, strict=True)]
        return _stack(name, _run(func, rows, kwargs, randomness), out_dims)

    return functools.wraps(func)(mapped) if hasattr(func, "__name__") else mapped


def _inputs(name: str, in_dims, args: tuple) -> tuple[list, object, list]:
    """The leaves of the arguments, their structure, and for each leaf its dimension or None."""
    call = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{call}: expected `in_dims` to be int or a (potentially nested) tuple matching the "
            f"structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(f"vmap({name})(<inputs>): got no inputs to map over.")
    arguments, structure = flatten(args)
    dims = spread(in_dims, structure)
    if dims is None:
        raise ValueError(
            f"{call}: in_dims is not compatible with the structure of `inputs`, {structure}."
        )
    for argument, dim in zip(arguments, dims, strict=True):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise ValueError(
                f"{call}: Got in_dim={dim} for an input but in_dim must be either an integer "
                "dimension or None."
            )
        if not isinstance(argument, Tensor):
            raise ValueError(
                f"{call}: Got in_dim={dim} for an input but the input is of type "
                f"{type(argument)}. We cannot vmap over non-Tensor arguments, please use None as "
                "the respective in_dim"
            )
        if not -argument.dim() <= dim < argument.dim():
            raise ValueError(
                f"{call}: Got in_dim={dim} for some input, but that input is a Tensor of "
                f"dimensionality {argument.dim()}."
            )
    return arguments, structure, dims


def _run(func, rows: list, kwargs: dict, randomness: str) -> list:
    """func(*row) for all rows, with the random numbers that `randomness` says."""
    from ..creation import get_rng_state, set_rng_state

    start = get_rng_state()
    results = []
    for row in rows:
        if randomness == "same":
            set_rng_state(start)
        results.append(func(*row, **kwargs))
    if randomness == "error" and not np.array_equal(start.array, get_rng_state().array):
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the "
            "'same' or 'different' randomness flags on vmap or perform the randomness operation "
            "out of vmap"
        )
    return results


def _stack(name: str, results: list, out_dims):
    """One tree of stacked tensors, from a tree for each element."""
    structure = flatten(results[0])[1]
    dims = spread(out_dims, structure)
    if dims is None and isinstance(out_dims, tuple) and len(out_dims) == 1:
        dims = spread(out_dims[0], structure)  # (0,) for a single output
    if dims is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with "
            f"the structure of `outputs`, {structure}."
        )
    stacked = []
    for column, dim in zip(zip(*[flatten(r)[0] for r in results], strict=True), dims, strict=True):
        if dim is None:
            stacked.append(column[0])
            continue
        for value in column:
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"vmap({name}, ...): `{name}` must only return Tensors, got type "
                    f"{type(value)}. Did you mean to set out_dims= to None for output?"
                )
        stacked.append(np.stack(column, dim))
    return unflatten(stacked, structure)
