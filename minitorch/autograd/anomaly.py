"""Anomaly mode: when backward fails, say which line of the forward is to blame.

Every node that is recorded gets the stack of its recording as metadata; when its turn in backward
ends in an error, or in nan, a warning shows that stack before the error goes on its way.
PyTorch: torch/autograd/anomaly_mode.py, torch/csrc/autograd/anomaly_mode.cpp.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings

import numpy as np

from ..tensor import Tensor
from .grad_mode import Watcher, mode, set_watchers

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


class set_detect_anomaly(Watcher):
    """Switches anomaly mode on or off, for this thread, at once; in a `with` block until its end.

    `check_nan`: a gradient that is nan counts as an error. Slow: for finding a fault, not for
    training. Mirrors torch.autograd.set_detect_anomaly.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        self.check_nan = check_nan
        self.running = None  # the node whose turn in backward it is
        self.outer = active()
        _switch(self if mode else None)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        _switch(self.outer)

    def recorded(self, node) -> None:
        node.metadata["traceback_"] = _stack()
        if self.running is not None:  # under create_graph: recorded by the backward of another
            node.metadata["parent_"] = self.running

    def run(self, node, grad, call):
        outer, self.running = self.running, node
        try:
            results = call()
            if self.check_nan:
                _check(node, results)
        except Exception:
            _blame(node)
            raise
        finally:
            self.running = outer
        return results


class detect_anomaly(set_detect_anomaly):
    """Anomaly mode for a `with` block. Mirrors torch.autograd.detect_anomaly."""

    def __init__(self, check_nan: bool = True):
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )
        self.wanted = check_nan

    def __enter__(self):
        super().__init__(True, self.wanted)
        return self


def active() -> set_detect_anomaly | None:
    """The anomaly mode of this thread."""
    return next((w for w in mode.watchers if isinstance(w, set_detect_anomaly)), None)


def is_anomaly_enabled() -> bool:
    """Whether this thread is in anomaly mode. Mirrors torch.is_anomaly_enabled."""
    return active() is not None


def is_anomaly_check_nan_enabled() -> bool:
    """Whether nan counts as an error. Mirrors torch.is_anomaly_check_nan_enabled."""
    here = active()
    return here is not None and here.check_nan


def _switch(to: set_detect_anomaly | None) -> None:
    others = tuple(w for w in mode.watchers if not isinstance(w, set_detect_anomaly))
    set_watchers(others if to is None else (to, *others))


def _stack() -> traceback.StackSummary:
    """The calls that led here, without this package's own; its lines are read when it is shown."""
    frames = traceback.walk_stack(sys._getframe(1))
    users = [frame for frame in frames if not frame[0].f_code.co_filename.startswith(_PACKAGE)]
    return traceback.StackSummary.extract(iter(users[::-1]), lookup_lines=False)


def _check(node, results) -> None:
    for number, result in enumerate(results):
        array = result.array if isinstance(result, Tensor) else result
        if array is not None and array.dtype.kind in "fc" and np.isnan(array).any():
            raise RuntimeError(
                f"Function '{node.name()}' returned nan values in its {number}th output."
            )


def _blame(node) -> None:
    """Warn with the line of the forward that recorded `node`, and what that was recorded for."""
    stack = node.metadata.get("traceback_")
    if stack is None:
        warnings.warn(
            f"Error detected in {node.name()}. No forward pass information available. Enable "
            "detect anomaly during forward pass for more information.",
            stacklevel=3,
        )
        return
    warnings.warn(
        f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n"
        + "".join(stack.format()),
        stacklevel=3,
    )
    while (node := node.metadata.get("parent_")) is not None:
        warnings.warn(
            f"\n\nPrevious calculation was induced by {node.name()}. Traceback of forward call "
            "that induced the previous calculation:\n"
            + "".join(node.metadata.get("traceback_", traceback.StackSummary()).format()),
            stacklevel=3,
        )
