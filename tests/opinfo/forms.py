"""One way of calling an op under one of the two packages, and what can be computed of it.

A `Form` is a function with a sample's arguments as that package's own objects. Everything that
check.py compares is a computation on forms, a function in this file, which does the same whichever
package the form belongs to: the comparison is of two runs of one program.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

import minitorch

from . import twins
from .compare import Result, array_of, flat, is_tensor


class Skip(Exception):
    """There is nothing to compare: no tensor, or nothing that requires a gradient."""


class Form:
    """One way of calling an op under one package T, on that package's inputs."""

    def __init__(self, T, call, sample: SampleInput):
        self.T, self.call = T, call
        self.process = sample.output_process_fn_grad  # what is unique of the result
        arguments = (sample.input, sample.args, sample.kwargs)
        if T is minitorch:
            arguments = twins.twin(arguments)
            self.process = twins.function(self.process)
        self.input, self.args, self.kwargs = arguments

    def run(self, **more):
        self.T.default_generator.manual_seed(0)
        return self.call(self.input, *self.args, **self.kwargs, **more)

    def differentiable(self) -> list:
        """The inputs that require a gradient, each once."""
        found: dict[int, Any] = {}
        _tensors((self.input, self.args, list(self.kwargs.values())), found)
        return [t for t in found.values() if t.requires_grad]


def _tensors(value, found: dict[int, Any]) -> None:
    if is_tensor(value):
        found.setdefault(id(value), value)
    elif isinstance(value, (list, tuple)):
        for v in value:
            _tensors(v, found)
    elif isinstance(value, dict):
        _tensors(list(value.values()), found)


def form_of(T, op: OpInfo, sample: SampleInput, variant="function", wrapped=False) -> Form:
    return Form(T, callable_of(T, op, variant, wrapped), sample)


def callable_of(T, op: OpInfo, variant: str, wrapped: bool):
    """The function, method or in-place method of `op` in package T.

    `wrapped`: as PyTorch's own derivative tests call it, with a matrix made symmetric first.
    """
    calls = {"function": op.op, "method": op.method_variant, "inplace": op.inplace_variant}
    call, wrapper = calls[variant], op.gradcheck_wrapper
    if T is minitorch:
        call = twins.function(call, op.name) if variant == "function" else twins.method(call)
        wrapper = twins.function(wrapper)
    if not wrapped:
        return call
    return lambda *args, **kwargs: wrapper(call, *args, **kwargs)


# What is computed


def cotangents(T, outputs: list, seed: int) -> list:
    """A gradient to start from for each output, the same numbers for both packages."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for out in outputs:
        dtype = getattr(torch, str(out.dtype).removeprefix("torch."))
        made.append(torch.randn(tuple(out.shape), generator=generator, dtype=dtype))
    return made if T is torch else twins.twin(made)


def traced(values) -> list:
    return [v for v in flat(values) if is_tensor(v) and v.requires_grad]


def values(f: Form) -> Result:
    result = f.run()
    return Result(result, f.process(result))


def values_or_ties(f: Form, position: int, only_indices: bool) -> Result:
    """Like `values`, for an op that may choose among equal elements.

    What is unique of its indices is the elements that they stand for. `position`: where among the
    arguments the dimension is.
    """
    result = f.run()
    *values, indices = flat(result)
    if f.kwargs.get("stable") or not (values or only_indices):
        return Result(result, result)
    dim = f.kwargs.get("dim", f.args[position] if len(f.args) > position else -1)
    with f.T.no_grad():
        if indices.ndim < f.input.ndim:  # not keepdim
            indices = indices.unsqueeze(dim)
        return Result(result, [*values, f.input.gather(dim, indices)])


def first_derivatives(f: Form) -> list:
    """Which outputs require a gradient, and the gradients of all inputs that do."""
    inputs = f.differentiable()
    if not inputs:
        raise Skip("no input requires a gradient")
    result = f.run()
    flags = [f"requires_grad={v.requires_grad}" for v in flat(result) if is_tensor(v)]
    return [*flags, *gradients(f, result, inputs)]


def with_first_derivatives(f: Form) -> Result:
    inputs = f.differentiable()
    result = f.run()
    grads = gradients(f, result, inputs)
    return Result([result, *grads], [f.process(result), *grads])


def gradients(f: Form, result, inputs: list) -> tuple:
    outputs = traced(f.process(result))
    if not outputs or not inputs:
        return ()
    start = cotangents(f.T, outputs, 1)
    return f.T.autograd.grad(outputs, inputs, start, materialize_grads=True)


def second_derivatives(f: Form, create_graph=False) -> list:
    """The derivatives of the gradients by the inputs and by the cotangents; zeros where none."""
    T, inputs = f.T, f.differentiable()
    outputs = traced(f.process(f.run()))
    if not inputs or not outputs:
        raise Skip("nothing requires a gradient")
    start = [c.requires_grad_() for c in cotangents(T, outputs, 1)]
    first = T.autograd.grad(outputs, inputs, start, create_graph=True, materialize_grads=True)
    recorded = [g for g in first if g.requires_grad]
    wanted = [*inputs, *start]
    seeds = cotangents(T, first, 2)
    seeds = [s for s, g in zip(seeds, first, strict=True) if g.requires_grad]
    if recorded:
        second = T.autograd.grad(
            recorded, wanted, seeds, create_graph=create_graph, materialize_grads=True
        )
    else:
        second = [T.zeros_like(w) for w in wanted]
    return [*first, *second]


def in_place(f: Form):
    """The input as changed by the in-place form, which must return it."""
    with f.T.no_grad():
        f.input = f.input.clone()
        returned = f.run()
        assert returned is f.input, "the in-place form did not return the tensor itself"
        return returned


def in_place_with_derivatives(f: Form) -> list:
    inputs = f.differentiable()
    f.input = f.input.clone()
    returned = f.run()
    assert returned is f.input, "the in-place form did not return the tensor itself"
    return [returned, *gradients(f, returned, inputs)]


def into_out(f: Form) -> Result:
    """The result written into out=, which must be what is returned."""
    with f.T.no_grad():
        result = f.run()
        targets = [f.T.full_like(t, 1) for t in flat(result)]
        out = targets[0] if is_tensor(result) else tuple(targets)
        returned = f.run(out=out)
        assert all(a is b for a, b in zip(flat(returned), targets, strict=True)), (
            "what was returned is not what was given as out="
        )
        if f.T is torch and not _same(targets, flat(result)):
            raise Skip("PyTorch itself does not write into it")  # fft.ihfft2
        return Result(out, f.process(out))


def _same(targets: list, results: list) -> bool:
    pairs = zip(targets, results, strict=True)
    return all(np.array_equal(array_of(a), array_of(b), equal_nan=True) for a, b in pairs)


def shares_memory(f: Form) -> list:
    """For each output, whether it shares memory with the input."""
    with f.T.no_grad():
        outputs = tensors_of(f.run())
        if f.T is torch:
            here = f.input.untyped_storage().data_ptr()
            shared = [o.untyped_storage().data_ptr() == here and o.numel() > 0 for o in outputs]
        else:
            with minitorch.devices.guard(f.input.array):
                here = f.input.array
                alike = [type(o.array) is type(here) for o in outputs]
                shared = [
                    known and np.may_share_memory(o.array, here)
                    for o, known in zip(outputs, alike, strict=True)
                ]
        return ["a view of the input" if s else "memory of its own" for s in shared]


def strides(f: Form) -> list:
    """The strides of the outputs, in the dimensions where they matter."""
    with f.T.no_grad():
        outputs = [o for o in tensors_of(f.run()) if o.numel()]
    pairs = [zip(o.stride(), o.shape, strict=True) for o in outputs]
    return [str([step for step, extent in pair if extent > 1]) for pair in pairs]


def tensors_of(result) -> list:
    found = [r for r in flat(result) if is_tensor(r)]
    if not found:
        raise Skip("the result is no tensor")
    return found
