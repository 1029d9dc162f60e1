"""Derivatives of functions: Jacobians, Hessians, and their products with vectors.

Why: `backward` differentiates what has been computed; these differentiate a function at a point.
All of it is made of one tool, `pullback`: the gradient of some outputs, weighted, with respect to
some inputs. There is no forward mode. A Jacobian times a vector is taken with two backward passes
instead: `u -> u J` is linear, so its own derivative, applied to v, is `J v`.
Invariant: the caller's tensors are not touched; functions run on copies that share their memory.
PyTorch: torch/autograd/functional.py.
"""

from __future__ import annotations

import numpy as np

from .. import devices
from ..tensor import Tensor, wrap
from .differentiate import grad
from .grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_STRATEGIES = ("forward-mode", "reverse-mode")


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), v J): the vector v times the Jacobian of func.

    `inputs`: a tensor or a tuple of them. `v`: like the outputs; may be left out for one output of
    one element. `strict`: an output that does not depend on an input is a RuntimeError, not zeros.
    Mirrors torch.autograd.functional.vjp.
    """
    with enable_grad():
        single_input, inputs = _inputs(inputs, "vjp", create_graph)
        single_output, outputs = _outputs(func(*inputs), "vjp", strict)
        v = _vector(v, outputs, single_output, "returns a single Tensor", create_graph)
    product = pullback(outputs, inputs, v, create_graph)
    product = _filled(product, inputs, strict, create_graph, "output", "input {}")
    return (
        _packed(outputs, single_output, create_graph),
        _packed(product, single_input, create_graph),
    )


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), J v): the Jacobian of func times the vector v, which is like the inputs.

    Other arguments as in `vjp`. Mirrors torch.autograd.functional.jvp.
    """
    with enable_grad():
        _, inputs = _inputs(inputs, "jvp", create_graph)
        v = _vector(v, inputs, len(inputs) == 1, _ONE_INPUT, create_graph)
        single_output, outputs = _outputs(func(*inputs), "jvp", strict)
        weights = _zeros_with_grad(outputs)
        gradients = pullback(outputs, inputs, weights, True)
        _require(gradients, strict, "The gradient with respect to input {} is independent of the "
                 "inputs of the user-provided function.")  # fmt: skip
    product = pullback(gradients, weights, v, create_graph)
    entry = "entry {} in the grad_outputs when using the double backward trick"
    product = _filled(product, outputs, strict, create_graph, "gradient", entry)
    return (
        _packed(outputs, single_output, create_graph),
        _packed(product, single_output, create_graph),
    )


def jacobian(
    func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"
):
    """The derivative of every element of func(*inputs) with respect to every element of `inputs`.

    One tensor of shape (*output.shape, *input.shape) for one output and one input; with several
    outputs or inputs a tuple, of tuples if there are several of both. `vectorize` and `strategy`
    are accepted and change nothing: one backward pass is made for each element of the outputs.
    Mirrors torch.autograd.functional.jacobian.
    """
    if strategy not in _STRATEGIES:
        raise AssertionError(f"expected strategy to be one of {_STRATEGIES}, got {strategy!r}")
    with enable_grad():
        single_input, inputs = _inputs(inputs, "jacobian", create_graph)
        single_output, outputs = _outputs(func(*inputs), "jacobian", strict)
        blocks = []
        for i, output in enumerate(outputs):
            rows: list[list] = [[] for _ in inputs]
            for weight in one_hot(output):
                gradients = pullback((output,), inputs, (weight,), create_graph, keep_graph=True)
                missing = any(g is None for g in gradients)
                what = f"output {i}" if missing else "jacobian"
                filled = _filled(gradients, inputs, strict, create_graph, what, "input {}")
                for row, gradient in zip(rows, filled, strict=True):
                    row.append(gradient)
            blocks.append(
                tuple(_stacked(row, output, input) for row, input in zip(rows, inputs, strict=True))
            )
    blocks = [_packed(block, single_input, create_graph) for block in blocks]
    return blocks[0] if single_output else tuple(blocks)


def hessian(
    func,
    inputs,
    create_graph=False,
    strict=False,
    vectorize=False,
    outer_jacobian_strategy="reverse-mode",
):
    """The second derivatives of func(*inputs), which is one tensor of one element.

    Shape (*input.shape, *input.shape), or for a tuple of inputs a tuple of tuples. Other arguments
    as in `jacobian`. Mirrors torch.autograd.functional.hessian.
    """
    if outer_jacobian_strategy not in _STRATEGIES:
        raise AssertionError(f"expected strategy to be one of {_STRATEGIES}")
    single_input = not isinstance(inputs, tuple)

    def gradient(*inputs):
        first = jacobian(lambda *x: _one_element(func(*x), "hessian", strict), inputs, True)
        _require(first, strict, _LINEAR)
        return first

    result = jacobian(gradient, inputs if not single_input else (inputs,), create_graph, strict)
    return result[0][0] if single_input else result


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), v H): v, which is like the inputs, times the Hessian of func.

    Half the work of `hvp`; the two differ only where the Hessian is not symmetric. Mirrors
    torch.autograd.functional.vhp.
    """
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), H v): the Hessian of func times v. Mirrors torch.autograd.functional.hvp."""
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def _hessian_product(name: str, func, inputs, v, create_graph: bool, strict: bool):
    with enable_grad():
        single_input, inputs = _inputs(inputs, name, create_graph)
        v = _vector(v, inputs, single_input, _ONE_INPUT, create_graph)
        output = _one_element(func(*inputs), name, strict, squeeze=False)
        gradients = pullback((output,), inputs, None, True)
        _require(gradients, strict, _LINEAR)
        if name == "hvp":  # from u H, which is linear in u, to H v
            weights = _zeros_with_grad(inputs)
            gradients, variables = pullback(gradients, inputs, weights, True), weights
        else:
            variables = inputs
    product = pullback(gradients, variables, v, create_graph)
    product = _filled(product, inputs, strict, create_graph, "jacobian", "input {}")
    return _packed((output,), True, create_graph), _packed(product, single_input, create_graph)


# What they share


def pullback(outputs, inputs, weights, create_graph: bool, keep_graph=None) -> tuple:
    """The gradient of sum(weight * output) for every input; None where nothing depends on it."""
    weights = (None,) * len(outputs) if weights is None else weights
    pairs = [
        (output, weight)
        for output, weight in zip(outputs, weights, strict=True)
        if output is not None and output.requires_grad
    ]
    if not pairs:
        return (None,) * len(inputs)
    outputs, weights = zip(*pairs, strict=True)
    return grad(outputs, inputs, weights, keep_graph, create_graph, allow_unused=True)


def one_hot(tensor: Tensor):
    """For each element of `tensor`, in order, zeros like it with a 1 in this element's place."""
    for index in np.ndindex(tensor.array.shape):
        with devices.guard(tensor.array):
            weight = np.zeros_like(tensor.array)
            weight[index] = 1
        yield wrap(weight)


def _stacked(rows: list[Tensor], output: Tensor, input: Tensor) -> Tensor:
    shape = (*output.shape, *input.shape)
    return np.stack(rows).reshape(shape) if rows else _zeros(shape, input)  # type: ignore


def _zeros(shape, like: Tensor) -> Tensor:
    return wrap(np.zeros_like(like.array, shape=shape))


def _zeros_with_grad(tensors) -> tuple:
    return tuple(_zeros(t.shape, t).requires_grad_() for t in tensors)


def _tensors(value, what: str, name: str) -> tuple[bool, tuple]:
    """Whether `value` is a single tensor, and it as a tuple. TypeError for what is no tensor."""
    single = not isinstance(value, tuple)
    tensors = (value,) if single else value
    for i, element in enumerate(tensors):
        if not isinstance(element, Tensor):
            which = f"the given {what} has" if single else f"the value at index {i} has"
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but "
                f"{which} type {type(element)}."
            )
    return single, tensors


def _inputs(inputs, name: str, create_graph: bool) -> tuple[bool, tuple]:
    single, tensors = _tensors(inputs, "inputs", name)
    return single, tuple(_own(t, create_graph, True) for t in tensors)


def _own(tensor: Tensor, create_graph: bool, requires_grad: bool) -> Tensor:
    """`tensor` with a place in the graph of its own, behind the old one if that matters."""
    if create_graph and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_(requires_grad)


def _outputs(value, name: str, strict: bool) -> tuple[bool, tuple]:
    single, outputs = _tensors(value, "outputs of the user-provided function", name)
    _require(outputs, strict, "Output {} of the user-provided function does not require gradients. "
             "The outputs must be computed in a differentiable manner from the input when running "
             "in strict mode.")  # fmt: skip
    return single, outputs


def _one_element(value, name: str, strict: bool, squeeze=True) -> Tensor:
    single, outputs = _outputs(value, name, strict)
    if not single:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {name} should contain a single element"
        )
    return outputs[0].squeeze() if squeeze else outputs[0]


_ONE_INPUT = "takes a single Tensor as its input,"
_LINEAR = (
    "While computing the hessian, found that the jacobian of the user-provided function with "
    "respect to input {} is independent of the input. The function must be twice differentiable, "
    "and not linear, in strict mode."
)


def _vector(v, like: tuple, single: bool, condition: str, create_graph: bool) -> tuple | None:
    """`v` as a tuple of tensors that look like those of `like`; None stands for 1."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"The vector v can only be None if the user-provided function {condition} with a "
                "single element."
            )
        return (wrap(np.ones_like(like[0].array)),)
    _, tensors = _tensors(v, "v", "the function")
    if len(tensors) != len(like):
        raise RuntimeError(
            "The given v should contain a single Tensor."
            if single
            else f"v is a tuple of invalid length: should be {len(like)} but got {len(tensors)}."
        )
    for i, (tensor, other) in enumerate(zip(tensors, like, strict=True)):
        if tensor.shape != other.shape:
            where = "" if single else f"Entry {i} in "
            raise RuntimeError(
                f"{where}v has invalid size: should be {other.shape} but got {tensor.shape}."
            )
    return tuple(_own(t, create_graph, False) for t in tensors)


def _require(tensors: tuple, strict: bool, message: str) -> None:
    """In strict mode, RuntimeError if one of the tensors is cut off from the graph."""
    for i, tensor in enumerate(tensors):
        if strict and (tensor is None or not tensor.requires_grad):
            raise RuntimeError(message.format(i) + " This is not allowed in strict mode.")


def _filled(gradients, like, strict: bool, create_graph: bool, what: str, of: str) -> tuple:
    """`gradients` with zeros for None; in strict mode that, and a constant, is a RuntimeError."""
    filled = []
    for i, (gradient, tensor) in enumerate(zip(gradients, like, strict=True)):
        if strict and (gradient is None or (create_graph and not gradient.requires_grad)):
            what = "jacobian" if gradient is not None else what
            raise RuntimeError(
                f"The {what} of the user-provided function is independent of {of.format(i)}. This "
                "is not allowed in strict mode"
                + (" when create_graph=True." if gradient is not None else ".")
            )
        filled.append(_zeros(tensor.shape, tensor) if gradient is None else gradient)
    return tuple(filled)


def _packed(tensors: tuple, single: bool, create_graph: bool):
    if not create_graph:
        tensors = tuple(t.detach() for t in tensors)
    return tensors[0] if single else tensors
