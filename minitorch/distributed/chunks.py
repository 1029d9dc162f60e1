"""What a trace says of one operation: when it ran, and which part of the data each message carried.

An algorithm sends and combines views of the data, and says nothing about where in it they lie. So
whoever starts it shows the data first (`watched`), and a view's place follows from its address.
tracing.py keeps the record, viz/rounds.py replays it.

Events, all named after the call (`all_reduce #3`) and with the `group`'s number:
    send, receive   marks: `peer` (global rank), `bytes`, and of a send `place`, the first byte's
                    number in the data, or None where the data was not shown
    combine         span: a message was combined into the own bytes from `place` on. A message that
                    is received and not combined is copied to the place it came from.
    collective      span, from the call to the end of it, on whatever thread
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minitorch import tracing

if TYPE_CHECKING:
    from minitorch.distributed.operation import Operation


def watched(link: Any, blocks: Sequence[np.ndarray], combine: Callable | None = None) -> Any:
    """Show the data of a call: flat arrays, which count as lying one behind the other.

    Returns the function to combine with, which leaves a record if there is a trace.
    """
    chunks: Chunks | None = link.chunks
    return combine if chunks is None else chunks.watch(blocks, combine)


class Chunks:
    """The record of one operation."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._start = time.perf_counter_ns()
        self._addresses: list[int] = []  # of the blocks that were shown, ascending
        self._places: list[int] = []  # of each, its first byte's number
        self._name = name_of(operation)

    def watch(self, blocks: Sequence[np.ndarray], combine: Callable | None) -> Callable | None:
        place, known = 0, []
        for block in blocks:
            if block.nbytes:  # an empty one has the address of another
                known.append((_address(block), place))
                place += block.nbytes
        known.sort()
        self._addresses = [address for address, _ in known]
        self._places = [place for _, place in known]
        if combine is None:
            return None

        def recorded(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
            start = time.perf_counter_ns()
            result = combine(left, right, out=out)
            self._span("combine", start, place=self._place(out), bytes=out.nbytes)
            return result

        return recorded

    def sent(self, peer: int, array: np.ndarray) -> None:
        self._mark("send", peer, array.nbytes, place=self._place(array))

    def received(self, peer: int, array: np.ndarray) -> None:
        self._mark("receive", peer, array.nbytes)

    def finished(self) -> None:
        operation = self._operation
        call = operation.call
        self._span(
            "collective" if operation.is_collective else "message",
            self._start,
            op=call.op,
            number=call.number,
            dtype=call.dtype,
            bytes=call.elements * np.dtype(operation.dtype).itemsize,
            reduce=None if call.reduce_op is None else call.reduce_op.name,
            root=None if call.root is None else operation.members[call.root],
            members=list(operation.members),
            failed=operation.error is not None,
        )

    def waited(self, start_ns: int) -> None:
        """A thread has slept for the operation since then, or has driven it itself."""
        self._span("wait", start_ns)

    def _mark(self, kind: str, peer: int, nbytes: int, **details: Any) -> None:
        peer = self._operation.members[peer]
        group = self._operation.call.group
        tracing.mark(kind, self._name, peer=peer, bytes=nbytes, group=group, **details)

    def _span(self, kind: str, start_ns: int, **details: Any) -> None:
        group = self._operation.call.group
        end_ns = time.perf_counter_ns()
        tracing.span(kind, self._name, start_ns, end_ns, group=group, **details)

    def _place(self, array: np.ndarray) -> int | None:
        address = _address(array)
        i = bisect_right(self._addresses, address) - 1
        if i < 0 or not array.nbytes:
            return None
        return self._places[i] + address - self._addresses[i]


def name_of(operation: Operation) -> str:
    """`all_reduce #3`, `send tag 0`: what tells the calls of a group apart."""
    call = operation.call
    return f"{call.op} #{call.number}" if call.number >= 0 else f"{call.op} tag {-1 - call.number}"


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
