"""Buckets: gradients that travel together, in one flat array.

Why: a message has a price of its own, whatever its size. One all-reduce for each of a hundred small
parameters would pay it a hundred times; one for all could not start before backward has ended.
Invariant: every element of a bucket's `flat` belongs to one parameter, whose `place` is a view of
it, so gradients that are written to the places need no packing before they are sent.
PyTorch: Bucket and compute_bucket_assignment_by_size in torch/csrc/distributed/c10d/reducer.cpp.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import devices
from ...distributed import GradBucket
from ...futures import Future
from ...tensor import Tensor, wrap


class Bucket:
    """Some parameters' gradients, and how far they are in this backward.

    `message` is what is sent: the gradients, `flat`, and behind them `tail` more numbers.
    """

    def __init__(self, index: int, parameters: list, tail: int = 0):
        self.index = index
        self.parameters = parameters
        like = parameters[0].array
        ends = np.cumsum([p.numel() for p in parameters]).tolist()
        with devices.guard(like):
            self.message = np.zeros(ends[-1] + tail, like.dtype, like=like)
        self.flat, self.tail = self.message[: ends[-1]], self.message[ends[-1] :]
        self.places = {  # parameter -> its part of `flat`, in its own shape
            p: self.flat[end - p.numel() : end].reshape(p.array.shape)
            for p, end in zip(parameters, ends, strict=True)
        }
        self.views = {p: wrap(place) for p, place in self.places.items()}
        self.pending: Any = None
        self.reset()

    def reset(self) -> None:
        """Make it empty for the next backward."""
        if self.pending is not None:  # left by a backward that failed: it still writes into `flat`
            with contextlib.suppress(RuntimeError):
                self.pending.wait()
        self.missing = set(self.parameters)
        self.pending = None  # the Work, or a hook's Future, of what is under way

    def put(self, parameter, divisor: int) -> None:
        """Copy the gradient of one of the parameters, divided, to its place; zeros for none."""
        place = self.places[parameter]
        with devices.guard(place):
            if parameter.grad is None:
                place[...] = 0
            else:
                factor: Any = 1.0 / divisor
                if place.itemsize == 2:  # else it would be rounded to 8 or 11 bits before
                    factor = np.float32(factor)
                np.multiply(parameter.grad.array, factor, out=place, casting="same_kind")
        self.missing.discard(parameter)

    def take(self, parameter, as_view: bool) -> None:
        """Let the .grad of one of the parameters be what is in its place, or have its values."""
        place = self.places[parameter]
        with devices.guard(place):
            if as_view:
                parameter.grad = self.views[parameter]
            elif parameter.grad is None:
                parameter.grad = wrap(place.copy())
            else:
                np.copyto(parameter.grad.array, place)
        parameter.grad._bump_version()

    def mark(self, positions: Sequence[int]) -> None:
        """Make these numbers of the tail 1, the others 0."""
        with devices.guard(self.tail):
            self.tail[...] = 0
            for position in positions:
                self.tail[position] = 1

    def hand_to(self, hook, state, is_last: bool) -> None:
        """Let a communication hook see to it."""
        shown = GradBucket(self.index, wrap(self.flat), self.parameters, is_last)
        self.pending = hook(state, shown)
        if not isinstance(self.pending, Future):
            got, self.pending = type(self.pending).__name__, None
            raise RuntimeError(
                "DDP communication hook's callback must return a torch.futures.Future object, but "
                f"got {got}: return bucket_future.then(...), or a Future with set_result(tensor)"
            )

    def wait(self) -> None:
        """Return when the places hold the ranks' common result."""
        result, self.pending = self.pending.wait(), None
        if result is True:  # of a Work, which has written it there
            return
        if not isinstance(result, Tensor) or result.numel() != self.flat.size:
            what = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else repr(result)
            raise RuntimeError(
                "the Future of a DDP communication hook must hold one tensor with as many elements "
                f"as bucket.buffer(), here {self.flat.size}; this one holds {what}"
            )
        if result.array is not self.flat:
            with devices.guard(self.flat):
                np.copyto(self.flat, result.array.reshape(-1), casting="same_kind")


def assign_buckets(parameters: Sequence, limits: Sequence[int]) -> list[list]:
    """Share `parameters`, in the given order, out to buckets: one dtype and device to each.

    A bucket is closed when it has reached its size: of each kind the first has `limits[0]` bytes,
    the next `limits[1]`, and all later ones the last limit. Buckets are ordered by the first
    parameter in them.
    """
    closed: list[tuple[int, list]] = []
    open_: dict[Any, tuple[int, list]] = {}
    numbers: dict[Any, int] = {}  # of each kind, how many have been closed
    for position, p in enumerate(parameters):
        kind = p.dtype, p.device
        members = open_.setdefault(kind, (position, []))[1]
        members.append(p)
        number = numbers.get(kind, 0)
        if sum([m.nbytes for m in members]) >= limits[min(number, len(limits) - 1)]:
            numbers[kind] = number + 1
            closed.append(open_.pop(kind))
    closed.extend(open_.values())
    return [members for _, members in sorted(closed, key=lambda item: item[0])]
