"""Small names that scripts use in passing, and what is said of those that are left out."""

import copy
import multiprocessing
import pickle
import subprocess
import sys

import pytest
import torch

import minitorch

BOTH = [minitorch, torch]
FORMATS = ["strided", "contiguous_format", "preserve_format", "channels_last", "channels_last_3d"]


@pytest.mark.parametrize("name", FORMATS)
def test_layouts_print_as_pytorchs(name):
    ours, theirs = getattr(minitorch, name), getattr(torch, name)
    assert repr(ours) == repr(theirs) == str(ours)
    assert type(ours).__name__ == type(theirs).__name__
    assert isinstance(ours, getattr(minitorch, type(theirs).__name__))
    assert pickle.loads(pickle.dumps(ours)) is copy.deepcopy(ours) is ours
    assert ours != next(getattr(minitorch, n) for n in FORMATS if n != name)


def test_a_tensors_layout(T):
    x = T.ones(2, 3, 4, 5)
    assert x.layout is T.strided
    assert T.zeros(2, layout=T.strided).layout == T.strided
    assert x.to(memory_format=T.channels_last).tolist() == x.tolist()
    assert T.empty_like(x, memory_format=T.preserve_format).shape == x.shape


def test_apply(T):
    x = T.tensor([[1, 2], [3, 4]])
    assert x.apply_(lambda n: n * n + 1) is x
    assert x.tolist() == [[2, 5], [10, 17]]
    part = x.t()[1:].apply_(lambda n: -n)
    assert part.tolist() == [[-5, -17]]
    assert x.tolist() == [[2, -5], [10, -17]]
    assert T.ones(0).apply_(lambda n: n).tolist() == []
    with pytest.raises(RuntimeError, match=r"Can't call apply_\(\) on Variable that requires grad"):
        T.ones(2, requires_grad=True).apply_(lambda n: n)


def test_typename():
    for name in ("zeros(2)", "zeros(2).long()", "nn.Linear(1, 1)", "nn.Linear"):
        ours, theirs = (eval(f"T.typename(T.{name})", {"T": T}) for T in BOTH)
        assert ours.replace("minitorch.", "torch.") == theirs
    for thing in (3, "a", [].append, int):
        assert minitorch.typename(thing) == torch.typename(thing)


def _write(x):
    x += 1


def test_shared_memory_is_seen_by_forked_processes(T):
    x = T.arange(3.0)
    assert not x.is_shared()
    assert x.share_memory_() is x
    assert x.is_shared() and x[1:].is_shared() and x.share_memory_() is x
    assert x.tolist() == [0, 1, 2]
    if T is minitorch:
        process = multiprocessing.get_context("fork").Process(target=_write, args=(x,))
        process.start()
        process.join()
        assert x.tolist() == [1, 2, 3]
        with pytest.raises(RuntimeError, match="call it on the base"):
            T.ones(3)[1:].share_memory_()


def test_a_device_is_a_context(T):
    with T.device("cpu") as device:
        x = T.ones(2)
    assert x.device == device == T.device("cpu")
    T.set_default_device("cpu")
    assert T.zeros(2).device.type == T.get_default_device().type == "cpu"


def test_a_device_that_is_not_here_is_no_context():
    with pytest.raises(RuntimeError, match="not available"), minitorch.device("cuda"):
        pass


LEFT_OUT = [
    ("from minitorch import jit", "torch.jit"),
    ("import minitorch.jit", "torch.jit"),
    ("from minitorch.sparse import mm", "torch.sparse"),
    ("from minitorch.utils.tensorboard import SummaryWriter", "torch.utils.tensorboard"),
    ("from minitorch.nn import LazyLinear", "torch.nn.LazyLinear"),
    ("from minitorch.special import airy_ai", "torch.special.airy_ai"),
    ("from minitorch.cuda import CUDAGraph", "torch.cuda.CUDAGraph"),
]


@pytest.mark.parametrize("line, name", LEFT_OUT)
def test_imports_of_what_is_left_out_say_so(line, name):
    with pytest.raises(ImportError, match=f"minitorch has no `{name}`: PyTorch has it, .* leaves"):
        exec(line)
    exec(line.replace("minitorch", "torch", 1)) if "tensorboard" not in line else None


@pytest.mark.parametrize("line", ["from minitorch import jig", "import minitorch.jig"])
def test_imports_of_what_nobody_has_are_pythons_errors(line):
    with pytest.raises(ImportError, match="cannot import name|No module named"):
        exec(line)


def test_a_script_may_ask_for_what_is_left_out():
    script = """
try:
    from minitorch.utils.tensorboard import SummaryWriter
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "torch.utils.tensorboard\n", done.stderr
