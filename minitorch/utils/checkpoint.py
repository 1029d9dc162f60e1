"""Checkpointing: save a part of the model's inputs only, and compute the rest again in backward.

Memory for time: what the operations of `function` would keep until backward is thrown away, and
comes from running `function` a second time, with the same random numbers, when backward gets there.

use_reentrant=False is built on saved_tensors_hooks: what would be saved becomes an empty `_Holder`;
the first to be unpacked starts the second run, in which the i-th tensor to be saved fills the i-th
holder. Invariant: the second run saves as many tensors as the first, and of the same shapes; it is
stopped as soon as all are there. use_reentrant=True is the older way: a Function whose backward
runs a forward and a backward of its own.
PyTorch: torch/utils/checkpoint.py.
"""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from .. import random
from ..autograd.differentiate import backward
from ..autograd.engine import current_pass, queue_callback
from ..autograd.function import Function
from ..autograd.grad_mode import enable_grad, mode
from ..autograd.saved import saved_tensors_hooks
from ..tensor import Tensor

_METADATA: dict[str, Callable] = {
    "default": lambda t: {"shape": t.shape, "dtype": t.dtype, "device": t.device},
    "none": lambda t: None,
}


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function did something else than the first."""


def noop_context_fn() -> tuple:
    """Two contexts that do nothing: one for forward, one for running it again."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function,
    *args,
    use_reentrant: bool | None = None,
    context_fn=noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs,
):
    """function(*args, **kwargs), which is run again in backward instead of saving what it computes.

    `use_reentrant`: False is recommended; True takes no kwargs, and only works for backward()
    without `inputs`. `preserve_rng_state`: dropout drops the same again. `context_fn`: gives two
    contexts, for the first run and for the second. `determinism_check`: "default" compares the
    shapes and types of both runs, "none" trusts them. `early_stop`: the second run ends as soon as
    nothing more is needed of it. Mirrors torch.utils.checkpoint.checkpoint.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. "
            "use_reentrant=False is recommended, but if you need to preserve the current default "
            "behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        if not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            warnings.warn(
                "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
            )
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    if determinism_check not in _METADATA:
        raise ValueError(
            f"determinism_check should be one of {list(_METADATA)}, but got {determinism_check}"
        )
    first_context, second_context = context_fn()
    if not mode.enabled:
        with first_context:
            return function(*args, **kwargs)

    def again(*args):
        with _same_random_numbers(state), second_context:
            function(*args, **kwargs)

    state = random.get_rng_state() if preserve_rng_state else None
    early_stop = early_stop if _early_stop is None else _early_stop
    region = _Region(again, args, _METADATA[determinism_check], early_stop)
    with saved_tensors_hooks(region.pack, region.unpack), first_context:
        return function(*args, **kwargs)


def checkpoint_sequential(functions, segments: int, input, use_reentrant=None, **kwargs):
    """A sequential model, all but the last of whose `segments` parts are checkpointed.

    `functions`: a Sequential, or a list of functions. Mirrors
    torch.utils.checkpoint.checkpoint_sequential.
    """
    preserve_rng_state = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions)
    size = len(functions) // segments

    def run(part: list):
        def forward(input):
            for function in part:
                input = function(input)
            return input

        return forward

    last = size * (segments - 1)
    for start in range(0, last, size):
        input = checkpoint(
            run(functions[start : start + size]),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
    return run(functions[last:])(input)


@contextlib.contextmanager
def _same_random_numbers(state):
    """Random numbers from `state` on (None: as ever); afterwards the generator is as before."""
    with random.fork_rng(enabled=state is not None):
        if state is not None:
            random.set_rng_state(state)
        yield


# use_reentrant=False


class _Holder:
    """The place of a tensor that was not saved."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self):
        self.tensor: Tensor | None = None


class _Stop(Exception):
    """Ends the second run: all that is needed is there."""


class _SaveInputs(Function):
    """Keeps arguments as the graph does: guarded, and packed by a checkpoint around this."""

    @staticmethod
    def forward(ctx, dummy, *args):
        ctx.save_for_backward(*[a if isinstance(a, Tensor) else None for a in args])
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        return Tensor()

    @staticmethod
    def backward(ctx, grad):
        raise AssertionError("not reached: nobody uses the result")


class _Region:
    """One call of a checkpointed function: its holders, and how to fill them."""

    def __init__(self, again, args: tuple, metadata, early_stop: bool):
        self.again, self.metadata, self.early_stop = again, metadata, early_stop
        self.inputs = _SaveInputs.apply(Tensor().requires_grad_(), *args).grad_fn
        self.holders: list[weakref.ref[_Holder]] = []
        self.expected: list = []  # the metadata of what the first run would have saved
        self.got: list = []

    def pack(self, tensor) -> _Holder:
        holder = _Holder()
        self.holders.append(weakref.ref(holder))
        self.expected.append(self.metadata(tensor))
        return holder

    def unpack(self, holder: _Holder) -> Tensor:
        if holder.tensor is None:
            self.run_again()
        tensor, holder.tensor = holder.tensor, None
        if tensor is None:
            raise CheckpointError(self.difference())
        return tensor

    def run_again(self) -> None:
        if current_pass() is not None:
            queue_callback(self.clear)
        saved, others = self.inputs.saved_tensors, self.inputs.others
        args = [other if t is None else t for t, other in zip(saved, others, strict=True)]
        self.got = []
        hooks = saved_tensors_hooks(self.fill_next, lambda tensor: tensor)
        with contextlib.suppress(_Stop), enable_grad(), hooks:
            self.again(*args)
        if self.got != self.expected:
            raise CheckpointError(self.difference())

    def fill_next(self, tensor) -> Tensor:
        """The second run saves `tensor`."""
        number = len(self.got)
        tensor = tensor.detach()
        self.got.append(self.metadata(tensor))
        holder = self.holders[number]() if number < len(self.holders) else None
        if holder is not None:
            holder.tensor = tensor
        if self.early_stop and number + 1 == len(self.holders):
            raise _Stop
        return tensor

    def clear(self) -> None:
        """Drop what this backward had no use for."""
        for reference in self.holders:
            holder = reference()
            if holder is not None:
                holder.tensor = None

    def difference(self) -> str:
        if len(self.got) != len(self.expected):
            return (
                "torch.utils.checkpoint: A different number of tensors was saved during the "
                "original forward and recomputation.\n"
                f"Number of tensors saved during forward: {len(self.expected)}\n"
                f"Number of tensors saved during recomputation: {len(self.got)}"
            )
        lines = [
            f"tensor at position {i}:\nsaved metadata: {expected}\nrecomputed metadata: {got}"
            for i, (expected, got) in enumerate(zip(self.expected, self.got, strict=True))
            if expected != got
        ]
        return (
            "torch.utils.checkpoint: Recomputed values for the following tensors have different "
            "metadata than during the forward pass.\n" + "\n".join(lines)
        )


_early_stop: bool | None = None


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool):
    """Whether the second runs of what is checkpointed inside stop early, whatever they were told.

    Mirrors torch.utils.checkpoint.set_checkpoint_early_stop.
    """
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


# use_reentrant=True


def detach_variable(inputs: tuple) -> tuple:
    """`inputs`, its tensors as leaves of a graph of their own."""
    return tuple(
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs
    )


class CheckpointFunction(Function):
    """A function whose backward computes it again, then carries the gradients through it."""

    @staticmethod
    def forward(ctx: Any, function, preserve_rng_state: bool, *args):
        ctx.function = function
        ctx.state = random.get_rng_state() if preserve_rng_state else None
        ctx.save_for_backward(*[a if isinstance(a, Tensor) else None for a in args])
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads):
        running = current_pass()
        if running is not None and running.sinks is not None:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(). To resolve this error, you can "
                "either set use_reentrant=False, or call .backward() without passing the `inputs` "
                "argument."
            )
        pairs = zip(ctx.saved_tensors, ctx.others, strict=True)
        inputs = detach_variable(tuple(other if t is None else t for t, other in pairs))
        with enable_grad(), _same_random_numbers(ctx.state):
            outputs = ctx.function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [
            (output, grad)
            for output, grad in zip(outputs, grads, strict=True)
            if isinstance(output, Tensor) and output.requires_grad
        ]
        if not wanted:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        backward(*zip(*wanted, strict=True))
        return None, None, *[x.grad if isinstance(x, Tensor) else None for x in inputs]
