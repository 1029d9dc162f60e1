"""Python's own multiprocessing, whose queues, pipes and pools also carry tensors; and `spawn`.

Everything of the standard module is here under its name. What is added: tensors that
`share_memory_()` has moved stay shared on their way to another process (`reductions`), and a job of
several processes can be started from a script, and ends as one (`spawn`).

PyTorch: torch/multiprocessing/__init__.py.
"""

from multiprocessing import *  # noqa: F403

from . import reductions
from .spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

_strategies = {"file_descriptor", "file_system"}
_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names that `set_sharing_strategy` takes. Mirrors torch's function."""
    return _strategies


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted for PyTorch's scripts, and changes nothing: memory is always shared by descriptor.

    Scripts choose "file_system" where queues full of tensors use up the descriptors. Here only
    tensors that `share_memory_()` was called on have any. Mirrors torch's function.
    """
    global _strategy
    if new_strategy not in _strategies:
        raise AssertionError(
            f"invalid sharing strategy {new_strategy!r}, expected one of {sorted(_strategies)}"
        )
    _strategy = new_strategy


def get_sharing_strategy() -> str:
    """The name last set. Mirrors torch's function."""
    return _strategy
