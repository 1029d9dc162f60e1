"""Gradients through collectives: against finite differences over the whole world of ranks, to the
second order, and against PyTorch's own over Gloo.

What is differentiated is the sum of all ranks' losses, so the ranks move one element of one rank's
input, and watch that sum.
"""

import tempfile

import numpy as np
import pytest

from .harness import run_ranks, try_ranks

ROOT = 2  # a global rank, which is not its place in the group below
SIZES = [[1, 0, 2], [2, 1, 0], [0, 2, 1]]  # all_to_all: rows sent [by][to]


def uneven(F, T, x, rank):
    sent, received = SIZES[rank], [row[rank] for row in SIZES]
    parts = [x.new_empty(n, 2) for n in received]
    return T.cat(F.all_to_all(parts, list(x.split(sent)), group=GROUP))


def uneven_single(F, T, x, rank):
    sent, received = SIZES[rank], [row[rank] for row in SIZES]
    return F.all_to_all_single(x.new_empty(sum(received), 2), x, received, sent, group=GROUP)


GROUP = None  # set in each process

# name -> what each rank computes of its x, (3, 2); the same for minitorch and PyTorch
OPS = {
    "broadcast": lambda F, T, x, rank: F.broadcast(x, ROOT, GROUP),
    "gather": lambda F, T, x, rank: T.stack(F.gather(x, ROOT, GROUP)),
    "scatter": lambda F, T, x, rank: F.scatter(list(x.unbind()), ROOT, GROUP),
    "all_gather": lambda F, T, x, rank: T.stack(F.all_gather(x, GROUP)),
    "all_to_all": lambda F, T, x, rank: T.stack(
        F.all_to_all([x.new_empty(2) for _ in x], list(x.unbind()), GROUP)
    ),
    "uneven all_to_all": uneven,
    "all_to_all_single": uneven_single,
    "_all_gather_base": lambda F, T, x, rank: F._all_gather_base(x.new_empty(9, 2), x, GROUP),
}
for _op in ("SUM", "AVG", "MAX", "MIN", "PRODUCT"):
    OPS |= {
        f"reduce {_op}": lambda F, T, x, rank, op=_op: F.reduce(
            x, ROOT, getattr(T.distributed.ReduceOp, op), GROUP
        ),
        f"all_reduce {_op}": lambda F, T, x, rank, op=_op: F.all_reduce(
            x, getattr(T.distributed.ReduceOp, op), GROUP
        ),
        f"reduce_scatter {_op}": lambda F, T, x, rank, op=_op: F.reduce_scatter(
            x.new_empty(2), list(x.unbind()), getattr(T.distributed.ReduceOp, op), GROUP
        ),
    }


def values(rank, shape=(3, 2)):
    return np.random.default_rng(rank).uniform(0.5, 2, shape)


def loss_of(F, T, name, x, rank):
    """A rank's loss, in which no two elements weigh the same."""
    result = OPS[name](F, T, x, rank)
    weights = T.from_numpy(values(10 + rank, tuple(result.shape)))
    return (weights * result**2).sum()


def both_orders(rank, world_size):
    """{op: its analytic and numerical gradients, of the first and of the second order}

    On ranks 1 to 3 of 4: a group's ranks are not the world's.
    """
    global GROUP
    import minitorch as torch
    import minitorch.distributed as dist
    from minitorch.distributed.nn import functional as F

    group = dist.new_group([1, 2, 3])
    if rank == 0:
        return {}
    GROUP, place = group, group.rank()
    start = values(place)

    def total(value):
        value = value.detach().clone()
        dist.all_reduce(value, group=group)
        return value.item()

    def first(name, array):
        return loss_of(F, torch, name, torch.from_numpy(array), place)

    def gradient(name, array):
        x = torch.from_numpy(array).requires_grad_()
        loss = loss_of(F, torch, name, x, place)
        return x, torch.autograd.grad(loss, x, create_graph=True)[0]

    def second(name, array):
        return (gradient(name, array)[1] ** 2).sum()

    found = {}
    for name in OPS:
        x, grad = gradient(name, start)
        analytic = [grad.detach().numpy(), torch.autograd.grad((grad**2).sum(), x)[0].numpy()]
        numerical = [np.empty_like(start), np.empty_like(start)]
        for owner in range(3):
            for at in np.ndindex(start.shape):
                step = np.zeros_like(start)
                step[at] = 1e-5 * (owner == place)
                for f, into in zip((first, second), numerical, strict=True):
                    change = total(f(name, start + step)) - total(f(name, start - step))
                    if owner == place:
                        into[at] = change / 2e-5
        found[name] = analytic, numerical
    return found


def test_derivatives_are_those_of_the_sum_of_all_losses():
    for rank, found in enumerate(run_ranks(both_orders, 4, method="forkserver", timeout=200)[1:]):
        assert list(found) == list(OPS)
        for name, (analytic, numerical) in found.items():
            for order, a, n in zip(("first", "second"), analytic, numerical, strict=True):
                np.testing.assert_allclose(
                    a, n, rtol=1e-5, atol=1e-6, err_msg=f"{name}, {order} order, rank {rank}"
                )


# PyTorch's backward takes MAX, MIN and PRODUCT of the gradients, too. Over Gloo it has no averages,
# no uneven all_to_all and no backward of _all_gather_base.
UNLIKE = ("AVG", "MAX", "MIN", "PRODUCT", "_base")
COMPARED = [name for name in OPS if not name.endswith(UNLIKE) and not name.startswith("uneven")]


def forward_and_backward(torch, F, rank):
    found = {}
    for name in COMPARED:
        x = torch.from_numpy(values(rank)).requires_grad_()
        result = OPS[name](F, torch, x, rank)
        loss_of(F, torch, name, x, rank).backward()
        found[name] = result.detach().numpy(), x.grad.numpy()
    return found


def ours(rank, world_size):
    import minitorch as torch
    from minitorch.distributed.nn import functional as F

    return forward_and_backward(torch, F, rank)


def theirs(rank, world_size, path):
    import warnings

    import torch
    import torch.distributed as dist
    from torch.distributed.nn import functional as F

    warnings.simplefilter("ignore")  # deprecated, with compilers in mind
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    return forward_and_backward(torch, F, rank)


def test_as_pytorch_over_gloo():
    with tempfile.TemporaryDirectory() as folder:
        expected = run_ranks(theirs, 3, f"{folder}/store", process_group=False, timeout=120)
    for rank, (mine, other) in enumerate(
        zip(run_ranks(ours, 3, method="forkserver"), expected, strict=True)
    ):
        for name in COMPARED:
            what = f"{name} on rank {rank}"
            if name != "reduce SUM" or rank == ROOT:  # Gloo leaves garbage on the others
                np.testing.assert_allclose(mine[name][0], other[name][0], err_msg=what)
                np.testing.assert_allclose(mine[name][1], other[name][1], err_msg=what)


def others(rank, world_size):
    """Integers, complex numbers, half precision; inputs stay as they were; names in the graph."""
    import minitorch as torch
    from minitorch.distributed import ReduceOp
    from minitorch.distributed.nn import functional as F

    bits = F.all_reduce(torch.tensor([1 << rank]), ReduceOp.BOR)
    z = torch.tensor([1 + 2j * rank], requires_grad=True)
    total = F.all_reduce(z)
    (total.real**2 + 3 * total.imag).sum().backward()
    x = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    y = F.all_reduce(x)
    y.sum().backward()
    assert x.tolist() == [1, 1] and y.dtype is torch.bfloat16
    return bits.item(), z.grad.tolist(), x.grad.tolist(), type(y.grad_fn).__name__


def test_other_dtypes():
    for bits, complex_grad, half_grad, name in run_ranks(others, 2, method="forkserver"):
        assert (bits, half_grad, name) == (3, [2, 2], "_AllReduceBackward")
        assert complex_grad == [2 * (2 * 2 + 3j)]  # both ranks' losses, each 2 re + 3i


def bad_calls(rank, world_size):
    import minitorch as torch
    from minitorch.distributed import ReduceOp
    from minitorch.distributed.nn import functional as F

    with pytest.raises(ValueError, match=r"must have one shape, got \[\(2,\), \(3,\)\]"):
        F.scatter([torch.ones(2), torch.ones(3)])
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="BAND"):
        F.all_reduce(x, ReduceOp.BAND)
    # Only rank 0's loss depends on what was sent: rank 1 goes on to something else.
    y = F.all_reduce(x)
    if rank == 0:
        y.sum().backward()
    else:
        torch.distributed.barrier()


def test_errors():
    for outcome in try_ranks(bad_calls, 2, method="forkserver", destroy=False):
        assert "all_reduce" in outcome.error and "barrier" in outcome.error
