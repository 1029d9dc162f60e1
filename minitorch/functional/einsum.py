"""einsum: products and sums of tensors, said with one letter for each dimension; and tensordot.

Every operand has a list of labels, one for each dimension. Two operands at a time become one: their
labels fall into four groups (in both and wanted later: a batch; in both and not: summed; in one
alone: its rows or its columns), and with the dimensions in that order the two are a batch of
matrices, so that one `matmul` does it.
PyTorch: torch/functional.py, aten/src/ATen/native/Linear.cpp.
"""

from __future__ import annotations

import math
import string

import numpy as np

from ..dispatch.declare import composite
from ..dispatch.dims import axes
from ..dispatch.errors import require
from ..ops.linalg import matmul
from ..tensor import Tensor


@composite(method=False)
def einsum(*args):
    """Sums of products, as the equation says: einsum("bij,bjk->bik", x, y).

    A letter is a dimension; one that is not in the result is summed over; "..." stands for more
    dimensions, which broadcast. Without "->" the result has the letters that occur once, in
    alphabetical order. Also einsum(x, [0, 1], y, [1, 2], [0, 2]). Raises RuntimeError for an
    equation that does not fit the tensors. Mirrors torch.einsum (torch/functional.py).
    """
    equation, operands = _as_equation(args)
    inputs, output = _parse(equation, operands)
    pairs = [_diagonals(t, labels) for t, labels in zip(operands, inputs, strict=True)]
    tensor, labels = pairs[0]
    for i, (other, others) in enumerate(pairs[1:], 1):
        wanted = set(output).union(*[later for _, later in pairs[i + 1 :]])
        tensor, labels = _contract(tensor, labels, other, others, wanted)
    tensor, labels = _sum_out(tensor, labels, set(output))
    return _in_order(tensor, labels, output)


# Steps that need not be taken are left out, for each is a node in the graph.


def _in_order(tensor, labels: list, order: list):
    same = labels == order
    return tensor if same else tensor.permute([labels.index(label) for label in order])


def _in_shape(tensor, shape: list):
    return tensor if list(tensor.shape) == shape else tensor.reshape(shape)


def _as_equation(args) -> tuple[str, list]:
    """Either way of calling, as an equation and the tensors."""
    if isinstance(args[0], str):
        operands = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
        return args[0], list(operands)

    def letters(sublist) -> str:
        for n in sublist:
            known = n is Ellipsis or 0 <= n < 52
            require(known, "einsum(): subscript {} is not within the range [0, 52)", n)
        return "".join("..." if n is Ellipsis else _LETTERS[n] for n in sublist)

    equation = ",".join(letters(labels) for labels in args[1::2])
    return equation + ("->" + letters(args[-1]) if len(args) % 2 else ""), list(args[:-1:2])


_LETTERS = string.ascii_uppercase + string.ascii_lowercase


def _parse(equation: str, operands: list) -> tuple[list[list], list]:
    """The labels of each operand and of the result: letters, and negative numbers for "..."."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    require(operands, "einsum(): must provide at least one operand")
    require(
        len(terms) == len(operands),
        "einsum(): the equation {!r} has {} operands, {} tensors were given",
        *(equation, len(terms), len(operands)),
    )
    extra = [t.ndim - len(term.replace("...", "")) for t, term in zip(operands, terms, strict=True)]
    inputs = [_labels(term, n, t.shape) for term, n, t in zip(terms, extra, operands, strict=True)]
    most = max([n for n, term in zip(extra, terms, strict=True) if "..." in term], default=0)
    if arrow:
        output = _labels(right, most if "..." in right else 0)
    else:
        every = [label for labels in inputs for label in labels if isinstance(label, str)]
        output = [*range(-most, 0), *sorted([x for x in every if every.count(x) == 1])]
    for label in output:
        require(
            output.count(label) == 1 and any(label in labels for labels in inputs),
            "einsum(): output subscript {} must appear once in the result, and in an operand, of "
            "{!r}",
            *(label, equation),
        )
    return inputs, output


def _labels(term: str, extra: int, shape="") -> list:
    """Those of one operand, where "..." stands for `extra` dimensions."""
    head, dots, tail = term.partition("...")
    require(
        extra == 0 or (extra > 0 and dots),
        "einsum(): the number of subscripts in {!r} does not match the number of dimensions of the "
        "operand {}",
        *(term, shape),
    )
    letters = not head + tail or (head + tail).isalpha()
    require(letters, "einsum(): subscripts must be letters of the alphabet, got {!r}", term)
    return [*head, *(range(-extra, 0) if dots else ()), *tail]


def _diagonals(tensor, labels: list):
    """A label that is there twice means the diagonal of its two dimensions."""
    for label in sorted(set(labels), key=str):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            n, m = tensor.shape[i], tensor.shape[j]
            require(
                n == m,
                "einsum(): subscript {} is repeated for one operand but the sizes don't match, {} "
                "!= {}",
                *(label, m, n),
            )
            tensor = tensor.diagonal(0, i, j)
            labels = [x for k, x in enumerate(labels) if k not in (i, j)] + [label]
    return tensor, labels


def _sum_out(tensor, labels: list, wanted: set):
    over = [i for i, label in enumerate(labels) if label not in wanted]
    if over:
        tensor = tensor.sum(over)
    return tensor, [label for label in labels if label in wanted]


def _contract(a, labels_a: list, b, labels_b: list, wanted: set):
    """Two operands as one, with the labels that they have between them and that are `wanted`."""
    a, labels_a = _sum_out(a, labels_a, wanted | set(labels_b))
    b, labels_b = _sum_out(b, labels_b, wanted | set(labels_a))
    both = [label for label in labels_a if label in labels_b]
    a, b = _same_extents(a, labels_a, b, labels_b, both)
    batch = [label for label in both if label in wanted]
    summed = [label for label in both if label not in wanted]
    rows = [label for label in labels_a if label not in labels_b]
    columns = [label for label in labels_b if label not in labels_a]

    def arranged(tensor, labels, *groups):
        tensor = _in_order(tensor, labels, [label for group in groups for label in group])
        extents = iter(tensor.shape)
        shapes = [[next(extents) for _ in group] for group in groups]
        return _in_shape(tensor, [math.prod(shape) for shape in shapes]), shapes

    a, (batch_shape, row_shape, _) = arranged(a, labels_a, batch, rows, summed)
    b, (_, _, column_shape) = arranged(b, labels_b, batch, summed, columns)
    product = matmul(a, b) if summed else a * b  # (b, n, 1) * (b, 1, m) broadcasts
    shape = [*batch_shape, *row_shape, *column_shape]
    return _in_shape(product, shape), batch + rows + columns


def _same_extents(a, labels_a, b, labels_b, both):
    """Dimensions of extent 1 stretched to the other operand's."""
    if not any(a.shape[labels_a.index(x)] != b.shape[labels_b.index(x)] for x in both):
        return a, b
    shape_a, shape_b = list(a.shape), list(b.shape)
    for label in both:
        i, j = labels_a.index(label), labels_b.index(label)
        n, m = shape_a[i], shape_b[j]
        fits = n == m or 1 in (n, m)
        require(fits, "einsum(): subscript {} has sizes {} and {}, no broadcast", label, n, m)
        shape_a[i] = shape_b[j] = m if n == 1 else n
    return a.expand(shape_a), b.expand(shape_b)


@composite(out=True, method=False, numpy=np.tensordot)
def tensordot(a, b, dims=2):
    """Sums of products over `dims`: how many, or which of `a` with which of `b`.

    Mirrors torch.tensordot.
    """
    dims = dims.tolist() if isinstance(dims, Tensor) else dims
    if isinstance(dims, int):
        there = 0 <= dims <= min(a.ndim, b.ndim)
        require(there, "tensordot expects dims >= 0, and that many, but got dims={}", dims)
        dims = (range(a.ndim - dims, a.ndim), range(dims))
    over_a, over_b = (
        axes(tuple(d), t.ndim) if len(d) else () for d, t in zip(dims, (a, b), strict=True)
    )
    same = len(over_a) == len(over_b)
    require(same, "both dimension lists should have same length, but got {} and {}", *dims)
    labels_a = list(range(a.ndim))
    labels_b = list(range(a.ndim, a.ndim + b.ndim))
    for i, j in zip(over_a, over_b, strict=True):
        labels_b[j] = i
    return _contract(a, labels_a, b, labels_b, {*labels_a, *labels_b} - set(over_a))[0]


@composite(out=True)
def inner(input, other):
    """Sums of products along the last dimensions: (..., k), (..., k). Mirrors torch.inner."""
    if not input.ndim or not other.ndim:
        return input * other
    require(
        input.shape[-1] == other.shape[-1],
        "inner() the last dimension must match on both input tensors but got shapes {} and {}",
        *(list(input.shape), list(other.shape)),
    )
    return tensordot(input, other, ([-1], [-1]))
