"""Arrays of a GPU, in a backend whose messages are sent from the host's memory.

A collective of theirs runs on copies in page-locked memory, which a GPU fills and empties by itself
while the processor does other things. Each GPU has one stream for these copies, beside the one on
which it computes:

    the call       copy stream: behind what has been computed so far, GPU -> host
    it arrived     the event loop starts the operation, on the host's copies
    it is over     copy stream: host -> GPU
    wait()         the computing stream waits for that copy; the program goes on at once

So while one bucket of gradients travels, the next one is copied, and backward computes a third.

Invariant: what a copy reads or writes is kept until it is done: before the operation by its Stage,
afterwards by the Copier.
PyTorch: AsyncAllreduceCUDAWork in torch/csrc/distributed/c10d/ProcessGroupGloo.cpp.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minitorch import devices
from minitorch.cuda import runtime
from minitorch.distributed.link import Link, Steps


class Copier:
    """The stream of one GPU on which arrays come to the host and go back."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._cuda = runtime.library().cuda
        with device:
            self._stream = self._cuda.Stream(non_blocking=True)
        self._returning: deque[tuple[Any, Any]] = deque()  # event, and what is kept until then

    def fetch(self, array: Any) -> tuple[np.ndarray, Any, Any]:
        """Start to copy an array: the copy, the event of its end, and what to keep until then."""
        host = devices.empty_pinned(array.shape, array.dtype)
        with self._device:
            whole = array if array.flags.c_contiguous else array.copy(order="C")
            self._stream.wait_event(self._cuda.get_current_stream().record())
            whole.get(stream=self._stream, out=host, blocking=False)
            return host, self._stream.record(), whole

    def free(self) -> Any:
        """The event of all that the GPU has been asked for: till then an array may be in use."""
        with self._device:
            return self._cuda.get_current_stream().record()

    def bring_back(self, host: np.ndarray, array: Any, free: Any) -> Any:
        """Start to copy the host's values to an array, once it is free; the event of the end."""
        while self._returning and self._returning[0][0].done:
            self._returning.popleft()
        with self._device, self._stream:
            self._stream.wait_event(free)
            if array.flags.c_contiguous:
                array.set(host)
            else:
                array[...] = runtime.library().asarray(host)
            event = self._stream.record()
        self._returning.append((event, (host, array)))
        return event


@functools.cache
def _copier(device: int) -> Copier:
    return Copier(runtime.library().cuda.Device(device))


class Stage:
    """The arrays of one call as the host has them. NumPy's are passed on as they are."""

    __slots__ = ("_arrivals", "_kept", "_results", "_returns")

    def __init__(self) -> None:
        self._arrivals: list = []  # events of copies to the host
        self._kept: list = []  # what they read
        # The host's copies, the arrays where they belong, and the events from which these are free.
        self._results: list[tuple[np.ndarray, Any, Any]] = []
        self._returns: list = []  # arrays of a GPU, and events of copies to them

    def read(self, array: Any) -> np.ndarray:
        """An array that the call sends."""
        if type(array) is np.ndarray:
            return array
        host, event, kept = _copier(array.device.id).fetch(array)
        self._arrivals.append(event)
        self._kept.append(kept)
        return host

    def fill(self, array: Any) -> np.ndarray:
        """An array that the call overwrites."""
        if type(array) is np.ndarray:
            return array
        host = devices.empty_pinned(array.shape, array.dtype)
        self._results.append((host, array, _copier(array.device.id).free()))
        return host

    def change(self, array: Any) -> np.ndarray:
        """An array that the call sends, and overwrites."""
        host = self.read(array)
        if host is not array:
            self._results.append((host, array, self._arrivals[-1]))
        return host

    def read_all(self, arrays: Sequence) -> list[np.ndarray]:
        return [self.read(array) for array in arrays]

    def fill_all(self, arrays: Sequence) -> list[np.ndarray]:
        return [self.fill(array) for array in arrays]

    @property
    def is_needed(self) -> bool:
        """Whether there is an array of a GPU."""
        return bool(self._arrivals or self._results)

    def has_arrived(self) -> bool:
        """Whether the host has all that the call sends."""
        return all([event.done for event in self._arrivals])

    def await_arrival(self) -> None:
        for event in self._arrivals:
            event.synchronize()

    def around(self, steps: Callable[[Link], Steps]) -> Callable[[Link], Steps]:
        """An algorithm, after which the results go back to the GPU."""

        def whole(link: Link) -> Steps:
            yield from steps(link)
            for host, array, free in self._results:
                event = _copier(array.device.id).bring_back(host, array, free)
                self._returns.append((array, event))
            self._kept, self._results = [], []

        return whole

    def has_returned(self) -> bool:
        """Whether the GPU has the results of a call that is over."""
        return all([event.done for _, event in self._returns])

    def hand_over(self) -> None:
        """Let what is computed from now on wait for the results of a call that is over."""
        for array, event in self._returns:
            with array.device:
                runtime.library().cuda.get_current_stream().wait_event(event)
