"""The public names of PyTorch, and which of them minitorch has not."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import types
import warnings

import torch

import minitorch

from . import twins

MODULES = """torch torch.Tensor torch.nn torch.nn.functional torch.nn.init torch.nn.utils
torch.nn.parallel torch.optim torch.optim.lr_scheduler torch.autograd torch.autograd.functional
torch.autograd.graph torch.linalg torch.fft torch.special torch.func torch.distributions
torch.distributed torch.distributed.tensor torch.distributed.tensor.parallel torch.utils
torch.utils.data torch.utils.checkpoint torch.cuda torch.accelerator torch.amp torch.random
torch.testing torch.multiprocessing""".split()


def public_names(module: str) -> list[str]:
    """The names of one of PyTorch's modules that are its own and documented."""
    if module == "torch.Tensor":
        return [name for name in dir(torch.Tensor) if name[0] != "_"]
    home = importlib.import_module(module)
    # Modules inside it are taken from the files: as attributes they come with whoever imports them.
    inside = {found.name for found in pkgutil.iter_modules(getattr(home, "__path__", ()))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        names = {name for name in dir(home) if _is_public(home, name)} | inside
    return sorted(name for name in names if name[0] != "_")


def _is_public(home: types.ModuleType, name: str) -> bool:
    value = getattr(home, name)
    if isinstance(value, types.ModuleType):
        return False
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return True
    if "torch_function" in name or not value.__doc__:  # PyTorch's own tools
        return False
    if name in getattr(home, "__all__", ()):
        return True
    owner = getattr(value, "__module__", None) or "torch._C"  # of a builtin function
    here = owner == home.__name__ or owner.startswith((home.__name__ + ".", "torch._"))
    return callable(value) and here


def left_out() -> dict[str, list[str]]:
    """{"torch.linalg": the names that minitorch.linalg has not}"""
    return {m: [n for n in public_names(m) if not is_here(m, n)] for m in MODULES}


def is_here(module: str, name: str) -> bool:
    path = module.partition(".")[2]
    home = twins.find(path) if path else minitorch
    if home is None:  # PyTorch does not import it by itself either: torch.optim.lr_scheduler
        with contextlib.suppress(ImportError):
            home = importlib.import_module("minitorch." + path)
    return hasattr(home, name)
