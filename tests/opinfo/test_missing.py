"""What minitorch leaves out of PyTorch is an error that says so, and nothing else notices."""

import copy
import pickle

import pytest

import minitorch
from minitorch.missing import left_out

from . import names


@pytest.mark.parametrize("module", names.MODULES)
def test_every_name_is_here_or_listed(module):
    """If this fails for a name that was taken out on purpose: python -m tests.opinfo --write."""
    absent = {n for n in names.public_names(module) if not names.is_here(module, n)}
    assert sorted(absent - left_out()[module]) == []


@pytest.mark.parametrize(
    ("owner", "path"),
    [
        (minitorch, "torch.sparse_coo_tensor"),
        (minitorch.nn, "torch.nn.LazyLinear"),
        (minitorch.linalg, "torch.linalg.ldl_solve"),
        (minitorch.distributed, "torch.distributed.rpc"),
        (minitorch.tensor(1.0), "torch.Tensor.to_sparse"),
        (minitorch.nn.Parameter(minitorch.ones(2)), "torch.Tensor.coalesce"),
    ],
)
def test_a_name_that_is_left_out(owner, path):
    name = path.rpartition(".")[2]
    assert not hasattr(owner, name)
    if not isinstance(owner, type(minitorch)):
        assert name not in dir(owner)
    with pytest.raises(AttributeError, match=f"minitorch has no `{path}`: PyTorch has it"):
        getattr(owner, name)


def test_a_name_that_nobody_has():
    with pytest.raises(AttributeError, match=r"no attribute 'zeroes'. Did you mean: 'zeros'\?"):
        _ = minitorch.zeroes
    with pytest.raises(AttributeError, match=r"'minitorch' has no attribute 'qqq'$"):
        _ = minitorch.qqq
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'nunpy'"):
        _ = minitorch.ones(2).nunpy


def test_tensors_are_otherwise_as_before():
    """Attributes of one's own may have these names; copies and pickles do not mind."""
    tensor = minitorch.ones(2)
    tensor.coalesce = 3
    assert tensor.coalesce == 3
    assert copy.deepcopy(tensor).tolist() == pickle.loads(pickle.dumps(tensor)).tolist() == [1, 1]
    assert not hasattr(minitorch.Tensor, "__getattr__")  # it would slow down every attribute
