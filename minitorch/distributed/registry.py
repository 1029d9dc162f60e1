"""The names of backends, and what makes a process group for each.

Why: a script chooses its backend by a word, and one that is written elsewhere can be given a word
of its own. Backends are imported when they are first asked for, as they need packages that most
machines do not have.

PyTorch: `Backend` in torch/distributed/distributed_c10d.py.
"""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from minitorch.cuda import runtime
from minitorch.distributed.backend import ProcessGroup
from minitorch.distributed.log import logger

# (store, rank, world size, time-out) -> the group of all ranks
Maker = Callable[[Any, int, int, timedelta], ProcessGroup]

# name -> module and class, and the package that it needs
_OURS = {
    "zmq": ("process_group", "ZmqProcessGroup", "zmq"),
    "gloo": ("process_group", "ZmqProcessGroup", "zmq"),  # the same, for PyTorch's scripts
    "mpi": ("backends.mpi", "MpiProcessGroup", "mpi4py"),
    "nccl": ("backends.nccl", "NcclProcessGroup", "cupy"),
}
_registered: dict[str, Maker] = {}


class Backend(str):
    """The name of a backend, in lower case: `Backend("GLOO") == Backend.GLOO == "gloo"`.

    Mirrors `torch.distributed.Backend`. Raises ValueError for what is no string.
    """

    __slots__ = ()

    UNDEFINED = "undefined"
    ZMQ = "zmq"
    GLOO = "gloo"
    NCCL = "nccl"
    MPI = "mpi"
    UCC = "ucc"
    XCCL = "xccl"

    backend_list = [UNDEFINED, *_OURS]
    default_device_backend_map = {"cpu": ZMQ, "cuda": NCCL}

    def __new__(cls, name: str):
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish, got {name!r}")
        return str.__new__(cls, name.lower())

    @classmethod
    def register_backend(
        cls,
        name: str,
        func: Maker,
        extended_api: bool = False,
        devices: str | list[str] | None = None,
    ) -> None:
        """Let `init_process_group(name)` call `func(store, rank, size, timeout)`, which returns a
        ProcessGroup (backend.py). Mirrors torch's method."""
        setattr(cls, name.upper(), name.lower())
        _registered[name.lower()] = func
        if name.lower() not in cls.backend_list:
            cls.backend_list.append(name.lower())


def maker_of(backend: str) -> Maker:
    """What makes the group of all ranks for a backend, or for PyTorch's "cpu:gloo,cuda:nccl".

    Raises ValueError for an unknown name, RuntimeError if it cannot be used on this machine.
    """
    name = _for_cpu(backend)
    if name in _registered:
        return _registered[name]
    if name not in _OURS:
        known = ", ".join([*_OURS, *_registered])
        raise ValueError(f"no backend {backend!r}; there are: {known}")
    module, class_, package = _engine(name)
    if not is_backend_available(name):
        raise RuntimeError(
            f"the backend {name!r} cannot be used here: it needs the package {package}. The "
            "backend 'zmq' runs everywhere."
        )
    made = getattr(importlib.import_module(f"minitorch.distributed.{module}"), class_)

    def make(store: Any, rank: int, size: int, timeout: timedelta) -> ProcessGroup:
        if name != "zmq" and module == _OURS["zmq"][0] and rank == 0:
            _say_who_does_it(name)
        return made.connect(store, rank, size, timeout.total_seconds())

    return make


def is_backend_available(backend: str) -> bool:
    """Whether a backend can be used here. Mirrors `torch.distributed.is_backend_available`."""
    name = _for_cpu(backend)
    if name not in _OURS:
        return name in _registered
    module, _, package = _engine(name)
    needed = (f"minitorch.distributed.{module}", package)
    return all(importlib.util.find_spec(part) is not None for part in needed)


def is_gloo_available() -> bool:
    """True: the name is accepted, and stands for zmq. Mirrors torch's function."""
    return True


def is_nccl_available() -> bool:
    """Whether the backend nccl can be used. Mirrors `torch.distributed.is_nccl_available`."""
    return is_backend_available("nccl")


def is_mpi_available() -> bool:
    """Whether the backend mpi can be used. Mirrors `torch.distributed.is_mpi_available`."""
    return is_backend_available("mpi")


def is_ucc_available() -> bool:
    """False. Mirrors `torch.distributed.is_ucc_available`."""
    return False


def is_xccl_available() -> bool:
    """False. Mirrors `torch.distributed.is_xccl_available`."""
    return False


def get_default_backend_for_device(device: Any) -> str:
    """The backend for tensors of a device, or of a device's name. Mirrors torch's function.

    Raises ValueError for a device that has none.
    """
    name = str(getattr(device, "type", device)).split(":")[0]
    if name not in Backend.default_device_backend_map:
        raise ValueError(f"Default backend not registered for device : {device}")
    return Backend.default_device_backend_map[name]


@functools.cache  # once
def _say_who_does_it(name: str) -> None:
    logger.warning("backend %s: minitorch's own backend, zmq, takes its place", name)


def _engine(name: str) -> tuple[str, str, str]:
    """The entry of a backend. Emulated GPUs have no NCCL, so ours takes its place there."""
    return _OURS["zmq" if name == "nccl" and os.environ.get(runtime.VARIABLE) else name]


def _for_cpu(backend: str) -> str:
    if ":" not in backend:
        return backend.lower()
    parts = dict(part.lower().split(":", 1) for part in backend.split(","))
    return parts.get("cpu") or parts.get("cuda", "")
