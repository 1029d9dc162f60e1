"""What every collective does, written so that it runs under PyTorch and under minitorch.

A case gets `torch` (either of them), its `dist`, the rank and the number of ranks, and returns what
this rank ended up with: tensors, numbers, lists, dicts. The test runs all cases in one start of
processes under each, and compares.
"""

import warnings
from typing import NamedTuple

import numpy as np

CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


def run_cases(torch, dist, rank, size):
    """{name: what it returned, without tensors}."""
    results = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, fn in CASES.items():
            results[name] = plain(fn(torch, dist, rank, size))
            dist.barrier()
    return results


def run_ours(rank, size):
    import minitorch as torch

    return run_cases(torch, torch.distributed, rank, size)


def run_gloo(rank, size, path):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=size)
    results = run_cases(torch, dist, rank, size)
    dist.destroy_process_group()
    return results


class Plain(NamedTuple):
    """A tensor of either package, as it was at some moment."""

    dtype: str
    array: np.ndarray


def plain(value):
    """The same with a Plain in place of each tensor."""
    if isinstance(value, Plain):
        return value
    if type(value).__name__ == "Tensor":
        dtype = str(value.dtype)
        return Plain(dtype, np.asarray(value.float() if "bfloat16" in dtype else value).copy())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def numbers(torch, rank, *shape, dtype="float32"):
    """Small integers, different on each rank."""
    count = int(np.prod(shape))
    flat = (np.arange(count) * 7 + rank * 3) % 11 + 1
    return torch.tensor(flat.reshape(shape).tolist()).to(getattr(torch, dtype))


LARGE = 400_003
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64"]
DTYPES += ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
OPS = ["SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR"]


def operand(rank, dtype):
    """NumPy's array of 20 elements for a reduction; exact in every dtype, whatever the order."""
    values = np.random.default_rng(rank).integers(0, 2 if dtype == "bool" else 4, 20)
    return values.astype("float32" if dtype == "bfloat16" else dtype)


@case
def reductions(torch, dist, rank, size):
    """Every op on every dtype: a tensor, or the error's name."""
    results = {}
    for dtype in DTYPES:
        for op in OPS:
            for name in ("all_reduce", "reduce"):
                tensor = torch.from_numpy(operand(rank, dtype)).to(getattr(torch, dtype))
                try:
                    if name == "all_reduce":
                        dist.all_reduce(tensor, op=getattr(dist.ReduceOp, op))
                    else:
                        dist.reduce(tensor, 0, op=getattr(dist.ReduceOp, op))
                except Exception as error:
                    tensor = error_name(error)
                if name == "all_reduce" or rank == 0 or isinstance(tensor, str):
                    results[name, dtype, op] = tensor
    return results


def error_name(error):
    """PyTorch's Dist*Errors are RuntimeErrors, as are ours."""
    return "RuntimeError" if isinstance(error, RuntimeError) else type(error).__name__


@case
def whole_tensors(torch, dist, rank, size):
    results = []
    for count in (1, 1000, LARGE):
        for root in range(size):
            tensor = numbers(torch, rank, count)
            assert dist.broadcast(tensor, root) is None
            results.append(tensor)
            tensor = numbers(torch, rank, count)
            dist.reduce(tensor, group_dst=root)
            results.append(tensor if rank == root else None)
        for op in ("SUM", "MAX", "AVG"):
            tensor = numbers(torch, rank, count)
            assert dist.all_reduce(tensor, getattr(dist.ReduceOp, op)) is None
            results.append(tensor)
    tensor = numbers(torch, rank, 2, 3)
    dist.broadcast(tensor, group_src=size - 1)
    return [*results, tensor, dist.barrier()]


@case
def gathering(torch, dist, rank, size):
    results = []
    for shape in ((), (1,), (5,), (2, 3), (LARGE,), (0,)):
        tensor = numbers(torch, rank, *shape)
        gathered = [torch.zeros(shape) for _ in range(size)]
        dist.all_gather(gathered, tensor)
        results.append(gathered)
        for root in range(size):
            gathered = [torch.zeros(shape) for _ in range(size)] if rank == root else None
            dist.gather(tensor, gathered, root)
            results.append(gathered)
            scattered = torch.zeros(shape)
            blocks = [numbers(torch, i + root, *shape) for i in range(size)]
            dist.scatter(scattered, blocks if rank == root else None, root)
            results.append(scattered)
    tensor = numbers(torch, rank, 4, 3)
    for name in ("all_gather_into_tensor", "all_gather_single", "_all_gather_base"):
        output = torch.zeros(4 * size, 3)
        getattr(dist, name)(output, tensor)
        results.append(output)
    gathered = [torch.zeros(4, 3) for _ in range(size)] if rank == 0 else None
    dist.gather(tensor, gathered)
    complexes = [torch.zeros(3, dtype=torch.complex64) for _ in range(size)]
    dist.all_gather(complexes, numbers(torch, rank, 3, dtype="complex64"))
    return [*results, gathered, complexes]


@case
def reduce_scattering(torch, dist, rank, size):
    results = []
    for count in (1, 7, LARGE // 4):
        for op in ("SUM", "MAX"):
            inputs = [numbers(torch, rank + i, count) for i in range(size)]
            output = torch.zeros(count)
            dist.reduce_scatter(output, inputs, getattr(dist.ReduceOp, op))
            results += [output, inputs]  # which must not have changed
            whole = numbers(torch, rank, count * size, 2)
            output = torch.zeros(count, 2)
            dist.reduce_scatter_tensor(output, whole, op=getattr(dist.ReduceOp, op))
            dist.reduce_scatter_single(output, whole, getattr(dist.ReduceOp, op))
            results += [output, whole]
    output = torch.zeros(2)
    dist._reduce_scatter_base(output, numbers(torch, rank, 2 * size))
    return [*results, output]


@case
def exchanging(torch, dist, rank, size):
    results = []
    for count in (1, 6, LARGE // 4):
        inputs = [numbers(torch, rank + 10 * i, count) for i in range(size)]
        outputs = [torch.zeros(count) for _ in range(size)]
        dist.all_to_all(outputs, inputs)
        output = torch.zeros(count * size, 2)
        dist.all_to_all_single(output, numbers(torch, rank, count * size, 2))
        sends = [(rank + 2 * i) % 3 * count for i in range(size)]
        receives = [(i + 2 * rank) % 3 * count for i in range(size)]
        uneven = torch.zeros(sum(receives), 2)
        dist.all_to_all_single(uneven, numbers(torch, rank, sum(sends), 2), receives, sends)
        results += [outputs, output, uneven]
    return results


@case
def messages(torch, dist, rank, size):
    right, left = (rank + 1) % size, (rank - 1) % size
    results = []
    for count in (1, LARGE):
        received = torch.zeros(count)
        work = dist.isend(numbers(torch, rank, count), right)
        results += [dist.recv(received, left), received, work.wait()]
        work = dist.irecv(torch.zeros(count), left)
        results += [dist.send(numbers(torch, rank, count), right), work.wait()]
    # Tags, in another order than sent.
    works = [dist.isend(numbers(torch, rank + tag, 3), right, tag=tag) for tag in range(3)]
    for tag in (2, 0, 1):
        dist.recv(received := torch.zeros(3), group_src=left, tag=tag)
        results.append(received)
    results += [work.wait() for work in works]
    # From any rank.
    if rank == 0:
        senders, total = [], torch.zeros(2)
        for _ in range(size - 1):
            received = torch.zeros(2)
            senders.append(dist.recv(received, tag=5))
            total += received
        results += [sorted(senders), total]
    else:
        dist.send(numbers(torch, rank, 2), 0, tag=5)
    # All with all, each in its own order.
    received = [torch.zeros(4) for _ in range(size)]
    operations = [dist.P2POp(dist.irecv, received[i], i) for i in range(size) if i != rank]
    operations += [
        dist.P2POp(dist.isend, numbers(torch, rank + i, 4), group_peer=i)
        for i in range(size)
        if i != rank
    ]
    for work in dist.batch_isend_irecv(operations[::-1] if rank % 2 else operations):
        work.wait()
    return [*results, received, [(op.peer, op.group_peer, op.tag) for op in operations]]


@case
def objects(torch, dist, rank, size):
    thing = {"rank": rank, "list": ["x" * 1000 * rank], "tensor": torch.full((rank,), 2.0)}
    everything = [None] * size
    dist.all_gather_object(everything, thing)
    gathered = [None] * size if rank == 1 else None
    dist.gather_object(thing, gathered, 1)
    at_zero = [None] * size if rank == 0 else None
    dist.gather_object(rank, at_zero)
    copied = [thing, rank, "x" * rank] if rank == 1 else [None] * 3
    dist.broadcast_object_list(copied, 1)
    from_zero = [rank]
    dist.broadcast_object_list(from_zero)
    part = [None, "stays"]
    dist.scatter_object_list(part, ["a", 2, None, [3] * 99][:size] if rank == 1 else None, 1)
    received = [None] * 2
    if rank == 0:
        dist.send_object_list([thing, "second"], 1)
    elif rank == 1:
        assert dist.recv_object_list(received, 0) == 0
    return [everything, gathered, at_zero, copied, from_zero, part, received]


@case
def groups(torch, dist, rank, size):
    last = dist.new_group([size - 1, 0])
    tensor = numbers(torch, rank, 3)
    result = [dist.get_rank(last), dist.get_world_size(last), dist.get_world_size()]
    if rank in (0, size - 1):
        dist.all_reduce(tensor, group=last)
        dist.broadcast(tensor, src=size - 1, group=last)
        result += [
            tensor,
            dist.get_process_group_ranks(last),
            dist.get_global_rank(last, 1),
            dist.get_group_rank(last, size - 1),
            last.rank(),
            last.size(),
            last.group_desc,
        ]
    else:
        result += [last is dist.GroupMember.NON_GROUP_MEMBER, dist.all_reduce(tensor, group=last)]
        result += [tensor, dist.destroy_process_group(last)]
    turned = dist.new_group(list(range(size))[::-1], sort_ranks=False, group_desc="turned")
    result += [turned.rank(), turned.group_desc, dist.get_process_group_ranks(turned)]
    single, all_of_them = dist.new_subgroups(1)
    result += [dist.get_process_group_ranks(single), len(all_of_them)]
    own, _ = dist.new_subgroups_by_enumeration([[0, 1]])
    result.append(None if own is None else dist.get_process_group_ranks(own))
    dist.destroy_process_group(turned)
    try:
        dist.get_backend(turned)
    except ValueError:
        result.append("gone")
    world = dist.group.WORLD
    result += [world.rank(), world.size(), world.group_name, world.group_desc]
    return [*result, dist.get_rank(world), dist.get_group_rank(world, 1), dist.get_pg_count() > 3]


@case
def works(torch, dist, rank, size):
    tensor = numbers(torch, rank, 4)
    blocks = [torch.zeros(4) for _ in range(size)]
    results = []
    for start in (
        lambda: dist.all_reduce(tensor, async_op=True),
        lambda: dist.broadcast(tensor, 0, async_op=True),
        lambda: dist.all_gather(blocks, tensor, async_op=True),
        lambda: dist.all_to_all(blocks, [tensor.clone() for _ in blocks], async_op=True),
        lambda: dist.all_to_all_single(torch.zeros(size), torch.ones(size), async_op=True),
        lambda: dist.scatter(tensor, blocks if rank == 0 else None, async_op=True),
        lambda: dist.barrier(async_op=True),
    ):
        work = start()
        results += [work.wait(), work.is_completed(), work.is_success(), work.exception()]
        results += plain([work.result(), work.get_future().wait()])
    for start in (
        lambda: dist.reduce(tensor.clone(), 0, async_op=True),
        lambda: dist.gather(tensor, blocks if rank == 0 else None, async_op=True),
        lambda: dist.all_gather_into_tensor(torch.zeros(4 * size), tensor, async_op=True),
    ):
        work = start()
        results += [work.wait(), work.is_completed(), work.is_success(), work.exception()]
    # Gloo's own Work of a reduce_scatter says that it is not complete after wait().
    results.append(dist.reduce_scatter_tensor(tensor, torch.ones(4 * size), async_op=True).wait())
    work = dist.reduce_scatter(tensor, [torch.ones(4) for _ in blocks], async_op=True)
    results.append(work.wait())
    work = dist.all_reduce(tensor, async_op=True)
    doubled = work.get_future().then(lambda future: future.value()[0] * 2)
    plus_one = doubled.then(lambda future: future.wait() + 1)
    results += [plus_one.wait(), doubled.done(), doubled.value()]
    dist.all_reduce_coalesced([tensor, blocks[0]])
    future = dist.all_reduce_coalesced([blocks[1]], async_op=True)
    results += [future.wait()[0], tensor, blocks[0]]
    lists = [[torch.zeros(4) for _ in range(2)] for _ in blocks]
    dist.all_gather_coalesced(lists, [tensor, tensor + 1])
    return [*results, lists]


@case
def errors(torch, dist, rank, size):
    """The names of the errors for wrong arguments; none of these calls communicates."""
    t, one_off = torch.ones(4), torch.ones(3)
    integers = torch.ones(4, dtype=torch.int32)
    right, me = (rank + 1) % size, rank
    full, few = [torch.zeros(4) for _ in range(size)], [torch.zeros(4)]
    wrong_dtype = [torch.zeros(4, dtype=torch.int32) for _ in range(size)]
    wrong_size = [torch.zeros(3) for _ in range(size)]
    nobody = dist.GroupMember.NON_GROUP_MEMBER
    results = {}
    for i, call in enumerate(
        [
            lambda: dist.all_reduce(5),
            lambda: dist.all_reduce(t, "sum"),
            lambda: dist.all_reduce(integers, dist.ReduceOp.AVG),
            lambda: dist.all_reduce(t, dist.ReduceOp.BAND),
            lambda: dist.all_reduce(t + 1j, dist.ReduceOp.MAX),
            lambda: dist.all_gather([], t),
            lambda: dist.all_gather(few, t),
            lambda: dist.all_gather(wrong_size, t),
            lambda: dist.all_gather(wrong_dtype, t),
            lambda: dist.all_gather(t, t),
            lambda: dist.all_gather(tuple(full), t),
            lambda: dist.all_gather([1] * size, t),
            lambda: dist.all_gather_into_tensor(one_off, t),
            lambda: dist.all_gather_into_tensor(torch.zeros(4 * size, dtype=torch.int32), t),
            lambda: dist.all_gather_into_tensor(3, t),
            lambda: dist.reduce_scatter(t, few),
            lambda: dist.reduce_scatter(t, wrong_dtype),
            lambda: dist.reduce_scatter(t, t),
            lambda: dist.all_to_all(few, few),
            lambda: dist.all_to_all(wrong_dtype, full),
            lambda: dist.all_to_all(t, full),
            lambda: dist.all_to_all_single(torch.zeros(size), torch.zeros(size), [2] * size, None),
            lambda: dist.all_to_all_single(one_off, one_off, [1] * 7, [1, 2]),
            lambda: dist.all_to_all_single(integers, t),
            lambda: dist.gather(t, None, me),
            lambda: dist.gather(t, full, right),
            lambda: dist.gather(t, few, me),
            lambda: dist.gather(t, wrong_size, me),
            lambda: dist.gather(t, wrong_dtype, me),
            lambda: dist.scatter(t, None, me),
            lambda: dist.scatter(t, full, right),
            lambda: dist.scatter(t, few, me),
            lambda: dist.scatter(t, wrong_size, me),
            lambda: dist.broadcast(t),
            lambda: dist.broadcast(t, 0, group_src=0),
            lambda: dist.reduce(t),
            lambda: dist.send(t, me),
            lambda: dist.send(3, right),
            lambda: dist.isend(t, right, tag=-1),
            lambda: dist.recv(t, 0, group_src=0),
            lambda: dist.P2POp(dist.send, t, right),
            lambda: dist.P2POp(dist.isend, 3, right),
            lambda: dist.P2POp(dist.isend, t),
            lambda: dist.batch_isend_irecv([]),
            lambda: dist.batch_isend_irecv([1]),
            lambda: dist.gather_object(1, None, me),
            lambda: dist.gather_object(1, [None] * size, right),
            lambda: dist.scatter_object_list([], [1, 2], 0),
            lambda: dist.scatter_object_list([None], None, me),
            lambda: dist.send_object_list([1], me),
            lambda: dist.monitored_barrier(timeout=5),
            lambda: dist.new_group([0, 0]),
            lambda: dist.new_group([9]),
            lambda: dist.new_group(list(range(9))),
            lambda: dist.new_group([0], timeout=3),
            lambda: dist.new_subgroups(),
            lambda: dist.new_subgroups(0),
            lambda: dist.new_subgroups(size + 1),
            lambda: dist.new_subgroups_by_enumeration([]),
            lambda: dist.split_group(),
            lambda: dist.get_group_rank(None, 99),
            lambda: dist.get_backend(nobody),
            lambda: dist.Backend(3),
            lambda: dist.init_process_group("gloo"),
        ]
    ):
        try:
            results[i] = call()
        except Exception as error:
            results[i] = error_name(error)
    dist.all_reduce(t)  # the group has survived all of them
    return [results, t]


@case
def names(torch, dist, rank, size):
    return [
        [dist.Backend("GLOO"), dist.Backend("Foo"), dist.Backend.NCCL],
        [dist.is_available(), dist.is_initialized(), dist.is_torchelastic_launched()],
        dist.is_gloo_available(),
        dist.get_default_backend_for_device("cuda"),
        [op for op in OPS if hasattr(dist.ReduceOp, op) and hasattr(dist.reduce_op, op)],
        dist.ReduceOp(dist.ReduceOp.MAX) == dist.ReduceOp.MAX,
        [dist.get_node_local_rank(7), dist.get_rank(dist.GroupMember.NON_GROUP_MEMBER)],
    ]
