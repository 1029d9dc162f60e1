"""What DistributedDataParallel does beside training right (test_ddp_numerics.py does that): when it
sends, what it refuses, what it says, and that nothing of a failed step is left in the next.

Each scenario is a function of two ranks. All run one after the other in one pair of processes, so
each also shows that those before it have left the process group in order.
"""

import contextlib
import copy
import functools
import inspect
import pickle
import tempfile
import warnings

import numpy as np
import pytest

from . import ddp_cases
from .harness import run_ranks

SCENARIOS = {}


def on_two_ranks(scenario):
    """`scenario(torch, DDP, rank)`; its test finds both ranks' results in `results[scenario]`."""
    SCENARIOS[scenario.__name__] = scenario
    return scenario


def play(rank, world_size, names):
    import minitorch as torch
    import minitorch.distributed as dist

    warnings.simplefilter("ignore")
    results = {}
    for name in names:
        dist.barrier()
        torch.manual_seed(rank)  # so that equal parameters are DDP's doing
        ddp = functools.partial(torch.nn.parallel.DistributedDataParallel, bucket_cap_mb=0.0002)
        results[name] = SCENARIOS[name](torch, ddp, rank)
    return results


@pytest.fixture(scope="module")
def results():
    both = run_ranks(play, 2, list(SCENARIOS), timeout=240, method="forkserver")

    class Results:
        def __getitem__(self, scenario):
            return [result[scenario.__name__] for result in both]

    return Results()


@pytest.fixture
def alone():
    """A process group of this process alone."""
    import minitorch as torch
    import minitorch.distributed as dist

    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(init_method=f"file://{folder}/store", rank=0, world_size=1)
        yield torch
        dist.destroy_process_group()


def gradients(model):
    return [p.grad.detach().double().numpy().copy() for p in model.parameters()]


def parameters(model):
    return [p.detach().double().numpy().copy() for p in model.parameters()]


def equal(these, those):
    return all(np.array_equal(a, b) for a, b in zip(these, those, strict=True))


def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def inputs(torch, rank, n=8):
    return torch.arange(2.0 * n).reshape(2, n) / 10 + rank


def mean_of(*losses, build, n=8):
    """What one process gets as the mean over two ranks, with a model seeded as on rank 0."""
    import minitorch as torch

    torch.manual_seed(0)
    model = build(torch)
    for rank in range(2):
        for loss in losses:
            (loss(model, inputs(torch, rank, n)) / 2).backward()
    return gradients(model)


def loss_of(model, x):
    return model(x).square().sum()


# Construction


@on_two_ranks
def begin(torch, DDP, rank):
    model = ddp_cases.mixed(torch)
    for p in model.parameters():
        p.data += rank
    model.register_buffer("numbers", torch.arange(5) + rank)
    DDP(model)
    return parameters(model), model.numbers.tolist()


def test_ranks_begin_with_the_parameters_and_buffers_of_rank_0(results):
    """In four dtypes, and integers: the sizes of messages count elements, not bytes."""
    (first, numbers), (second, others) = results[begin]
    assert equal(first, second)
    assert numbers == others == [0, 1, 2, 3, 4]
    assert first[0][0] < 2  # one is rank 1's


@on_two_ranks
def differ(torch, DDP, rank):
    Linear, Sequential = torch.nn.Linear, torch.nn.Sequential

    def frozen():
        model = Linear(3, 3)
        model.bias.requires_grad = rank == 0
        return model

    def buffered(dtype):
        model = Linear(3, 3)
        model.register_buffer("seen", torch.zeros(2 + rank, dtype=dtype))
        return model

    models = {
        "shape": lambda: Linear(3, 3 + rank),
        "count": lambda: Sequential(Linear(3, 3), *[Linear(3, 3)] * rank),
        "dtype": lambda: Linear(3, 3).to(torch.float64 if rank else torch.float32),
        "frozen": frozen,
        "buffer": lambda: buffered(torch.int64),
        "many": lambda: Sequential(*[Linear(3, 3 + rank) for _ in range(9)]),
    }
    errors = {name: error_of(lambda make=make: DDP(make())) for name, make in models.items()}
    errors["argument"] = error_of(lambda: DDP(Linear(3, 3), static_graph=bool(rank)))
    return errors


def test_models_that_differ_are_named_on_every_rank(results):
    first, second = results[differ]
    assert first == second
    expected = {
        "shape": "parameter weight: shape (4, 3), torch.float32, requires_grad=True on rank 1, "
        "shape (3, 3), torch.float32, requires_grad=True on rank 0",
        "count": "parameter 1.weight: shape (3, 3), torch.float32, requires_grad=True on rank 1, "
        "there is none on rank 0",
        "dtype": "torch.float64, requires_grad=True on rank 1",
        "frozen": "parameter bias: shape (3,), torch.float32, requires_grad=False on rank 1",
        "buffer": "buffer seen: shape (3,), torch.int64 on rank 1, shape (2,)",
        "many": "and 13 more",
        "argument": "argument static_graph: True on rank 1, False on rank 0",
    }
    for name, words in expected.items():
        assert first[name].startswith("RuntimeError: DistributedDataParallel needs the same model")
        assert words in first[name], first[name]


def test_what_cannot_be_wrapped(alone):
    torch, nn = alone, alone.nn
    DDP = nn.parallel.DistributedDataParallel
    cases = [
        ({"module": nn.ReLU()}, RuntimeError, "doesn't have any parameter that requires"),
        ({"device_ids": [0]}, ValueError, "device_ids and output_device arguments only work"),
        ({"device_ids": [0, 1]}, ValueError, "can only be None or contain a single element"),
        ({"output_device": 1}, ValueError, "only work with single-device"),
        ({"delay_all_reduce_named_params": []}, ValueError, "need to be set at the same time"),
        ({"mixed_precision": torch.float16}, NotImplementedError, "fp16_compress_hook"),
        ({"process_group": torch.distributed.GroupMember.NON_GROUP_MEMBER}, ValueError, "no part"),
        (
            {"process_group": torch.distributed.group.WORLD, "device_mesh": "mesh"},
            RuntimeError,
            "Cannot specify both",
        ),
        (
            {"delay_all_reduce_named_params": [], "param_to_hook_all_reduce": torch.ones(1)},
            ValueError,
            "param_to_hook_all_reduce is not",
        ),
    ]
    for arguments, error, words in cases:
        with pytest.raises(error, match=words):
            DDP(**{"module": nn.Linear(2, 2)} | arguments)
    assert DDP(nn.Linear(2, 2), device_ids=[]).device_ids is None
    with pytest.warns(FutureWarning, match="forward_sync_buffers"):
        assert DDP(nn.Linear(2, 2), broadcast_buffers=False).forward_sync_buffers is False
    with pytest.warns(FutureWarning, match="check_reduction"):
        DDP(nn.Linear(2, 2), check_reduction=True)


def test_without_a_process_group():
    import minitorch as torch

    with pytest.raises(ValueError, match="has not been initialized"):
        torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))


def test_public_surface_is_that_of_pytorch(alone):
    import torch as theirs

    ours, real = (t.nn.parallel.DistributedDataParallel for t in (alone, theirs))
    signature = {
        name: [(p.name, p.default, p.kind) for p in inspect.signature(cls).parameters.values()]
        for name, cls in (("ours", ours), ("real", real))
    }
    assert signature["ours"] == signature["real"]
    own = {name for name in dir(real) if not name.startswith("_")} - set(dir(theirs.nn.Module))
    assert {name for name in own if not hasattr(ours, name)} == set()
    for name in own:
        if inspect.isfunction(getattr(real, name)):
            mine = inspect.signature(getattr(ours, name)).parameters
            assert list(mine) == list(inspect.signature(getattr(real, name)).parameters), name
    bucket = {name for name in dir(theirs.distributed.GradBucket) if not name.startswith("_")}
    assert bucket == {name for name in dir(alone.distributed.GradBucket) if name[0] != "_"}


def test_bucket_assignment():
    import minitorch as torch
    from minitorch.nn.parallel.buckets import Bucket, assign_buckets

    def parameter(n, dtype=torch.float32):
        return torch.nn.Parameter(torch.zeros(n, dtype=dtype))

    small, large = [parameter(64) for _ in range(4)], parameter(1000)
    buckets = assign_buckets([*small, large, parameter(1)], [500, 1000])
    assert [len(members) for members in buckets] == [2, 3, 1]  # 512 B; 512 + 4000 B; the rest
    mixed = [parameter(8), parameter(8, torch.float64), parameter(8)]
    buckets = assign_buckets(mixed, [1 << 20])
    assert [[p.dtype for p in members] for members in buckets] == [
        [torch.float32, torch.float32],
        [torch.float64],
    ]
    bucket = Bucket(0, buckets[0], tail=3)
    place = bucket.places[mixed[2]]
    place += 1
    assert bucket.message.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_gradients_are_divided_as_in_pytorch(dtype):
    import torch as theirs

    import minitorch as torch
    from minitorch.nn.parallel.buckets import Bucket

    values = np.random.default_rng(0).standard_normal(1000)
    p = torch.nn.Parameter(torch.zeros(1000, dtype=getattr(torch, dtype)))
    p.grad = torch.tensor(values, dtype=p.dtype)
    bucket = Bucket(0, [p])
    bucket.put(p, 3)
    expected = theirs.tensor(values, dtype=getattr(theirs, dtype)) * (1 / 3)
    assert bucket.views[p].double().tolist() == expected.double().tolist()


# When it sends


def watched(torch, events):
    """A context in which every all_reduce is noted among `events`."""

    @contextlib.contextmanager
    def context():
        dist = torch.distributed
        launch = dist.all_reduce
        dist.all_reduce = lambda *a, **k: (events.append("launch"), launch(*a, **k))[1]
        try:
            yield
        finally:
            dist.all_reduce = launch

    return context()


@on_two_ranks
def launches(torch, DDP, rank):
    model = ddp_cases.reversed_order(torch)
    events = []
    for name, p in model.named_parameters():
        p.register_post_accumulate_grad_hook(lambda p, name=name: events.append(name))
    ddp = DDP(model, bucket_cap_mb=0.00026)  # weight and bias of a layer
    steps = []
    for _ in range(2):
        events.clear()
        with watched(torch, events):
            loss_of(ddp, inputs(torch, rank)).backward()
        steps.append(list(events))
    return steps


def test_buckets_leave_while_backward_runs(results):
    """From the second backward on: after the first, buckets have the order of the gradients."""
    for first, second in results[launches]:
        assert first[0].startswith("layers.0")
        assert first.index("launch") > first.index("layers.4.weight"), "the first guess was right"
        # Each layer is a bucket, and leaves before the gradients of the next layer come.
        layers = [name.split(".")[1] if name != "launch" else "launch" for name in second]
        order = [name for i, name in enumerate(layers) if i == 0 or layers[i - 1] != name]
        assert order == [thing for i in range(5) for thing in (str(i), "launch")]


@on_two_ranks
def orders(torch, DDP, rank):
    """The ranks use the layers in opposite order; what is sent is in that of rank 0."""
    model = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(4)])

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = model

        def forward(self, x):
            for layer in list(self.layers)[:: -1 if rank else 1]:
                x = torch.tanh(layer(x))
            return x

    ddp = DDP(Net())
    for _ in range(2):
        ddp.zero_grad()
        loss_of(ddp, inputs(torch, rank)).backward()
    return ddp._get_ddp_logging_data()["rebuilt_per_bucket_param_indices"], gradients(model)


def test_buckets_are_rebuilt_in_the_order_of_rank_0(results):
    (order, grads), (other, others) = results[orders]
    assert order == other
    assert order[0] in "67", "the layer that rank 0 used last"
    assert equal(grads, others)


@on_two_ranks
def delayed(torch, DDP, rank):
    model = ddp_cases.mlp(torch)
    ddp = DDP(model, **ddp_cases.last_layer_last(model))
    for _ in range(2):
        loss_of(ddp, inputs(torch, rank)).backward()
    return ddp._get_ddp_logging_data()["rebuilt_per_bucket_param_indices"].split(", ")


def test_delayed_parameters_share_the_last_bucket(results):
    for buckets in results[delayed]:  # bias and weight of each of three layers, the last one first
        assert buckets[-1].split() == ["4", "5"], buckets
        assert {"0", "1"} <= {p for bucket in buckets[:-1] for p in bucket.split()}, buckets


@on_two_ranks
def quiet(torch, DDP, rank):
    """What sends nothing, and so may be done by one rank alone."""
    model = torch.nn.Linear(8, 4)
    model.register_buffer("seen", torch.full((2,), float(rank)))
    ddp = DDP(model)
    at_first = model.seen.tolist()
    model.seen.fill_(rank + 1)
    loss_of(ddp, inputs(torch, rank)).backward()
    after_training = model.seen.tolist()
    model.seen.fill_(rank + 1)
    if rank == 0:
        with torch.no_grad():
            ddp(inputs(torch, rank))
        with ddp.no_sync():
            loss_of(ddp, inputs(torch, rank)).backward()
        ddp.eval()
        ddp(inputs(torch, rank))
    return at_first, after_training, model.seen.tolist()


def test_buffers_follow_rank_0_in_training_only(results):
    for rank, (at_first, after_training, after_evaluation) in enumerate(results[quiet]):
        assert at_first == [0.0, 0.0]
        assert after_training == [1.0, 1.0]
        assert after_evaluation == [rank + 1.0] * 2


@on_two_ranks
def forward_decides(torch, DDP, rank):
    ddp = DDP(torch.nn.Linear(8, 4))
    with contextlib.suppress(KeyError), ddp.no_sync():
        raise KeyError
    left_on = not ddp.require_backward_grad_sync
    with ddp.no_sync():
        loss = loss_of(ddp, inputs(torch, rank))
    loss.backward()
    local = gradients(ddp)
    ddp.zero_grad()
    loss = loss_of(ddp, inputs(torch, rank))
    with ddp.no_sync():
        loss.backward()
    return left_on, local, gradients(ddp)


def test_no_sync_is_decided_by_the_forward_and_ends_with_its_block(results):
    (left_on, local, mean), (_, other_local, other_mean) = results[forward_decides]
    assert not left_on
    assert not equal(local, other_local)
    assert equal(mean, other_mean)


@on_two_ranks
def used_under_no_sync(torch, DDP, rank):
    """A branch that only a forward under no_sync has used."""
    model = ddp_cases.branches(torch)
    ddp = DDP(model, find_unused_parameters=True)
    with ddp.no_sync():
        loss_of(lambda x: ddp(x, 0), inputs(torch, rank)).backward()
    local = gradients(model.ways[0])
    loss_of(lambda x: ddp(x, 1), inputs(torch, rank)).backward()
    return local, gradients(model.ways[0]), model.idle.weight.grad


def test_gradients_of_no_sync_are_averaged_by_the_next_backward(results):
    (first, mean, _), (second, other_mean, idle) = results[used_under_no_sync]
    assert equal(mean, other_mean) and idle is None
    for got, a, b in zip(mean, first, second, strict=True):
        np.testing.assert_allclose(got, (a + b) / 2, rtol=1e-6)


@on_two_ranks
def each_backward(torch, DDP, rank):
    """Two forwards, then two backwards; and backward through a graph of derivatives."""
    ddp = DDP(torch.nn.Linear(8, 4))
    first, second = (loss_of(ddp, x) for x in (inputs(torch, rank), inputs(torch, rank) * 2))
    first.backward()
    second.backward()
    twice = gradients(ddp)
    ddp.zero_grad()
    loss = loss_of(ddp, inputs(torch, rank))
    loss.backward(inputs=list(ddp.parameters()), create_graph=True)
    return twice, gradients(ddp)


def test_every_backward_averages(results):
    def build(torch):
        return torch.nn.Linear(8, 4)

    twice = mean_of(loss_of, lambda m, x: loss_of(m, x * 2), build=build)
    once = mean_of(loss_of, build=build)
    assert equal(results[each_backward][0][0], results[each_backward][1][0])
    for both, single in results[each_backward]:
        for got, expected in zip([*both, *single], [*twice, *once], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5)


@on_two_ranks
def weights(torch, DDP, rank):
    ddp = DDP(ddp_cases.mlp(torch))
    before = parameters(ddp)
    loss_of(ddp, inputs(torch, rank)).backward()
    return equal(before, parameters(ddp))


def test_backward_averages_gradients_and_not_weights(results):
    assert results[weights] == [True, True]


# What goes wrong


@on_two_ranks
def left_out(torch, DDP, rank):
    """After a step in which all take part rank 1 leaves a branch out, both another; then all."""
    model = ddp_cases.branches(torch)
    del model.ways[2]
    ddp = DDP(model)
    x = inputs(torch, rank)
    loss_of(lambda x: ddp(x, 0) + ddp(x, 1) + model.idle(x), x).backward()
    errors = [error_of(loss_of(lambda x: ddp(x, 0) + (ddp(x, 1) if not rank else 0), x).backward)]
    ddp.zero_grad()
    loss_of(lambda x: ddp(x, 0) + ddp(x, 1) + model.idle(x), x).backward()
    return errors[0], gradients(model)


def test_a_missing_gradient_is_named_on_every_rank_in_that_backward(results):
    (first, grads), (second, others) = results[left_out]
    for error, here in ((first, "not on this one"), (second, "also on this one")):
        assert error.startswith("RuntimeError: backward left 4 parameter(s) without a gradient: ")
        assert f"idle.bias, idle.weight, ways.1.bias (on 1 of 2 ranks, {here})" in error
        assert "trunk" not in error
        assert "find_unused_parameters=True" in error
    assert equal(grads, others), "the step after it was wrong"


@on_two_ranks
def twice_in_one_backward(torch, DDP, rank):
    cases = (ddp_cases.shared_checkpoints, {}), (ddp_cases.checkpointed, ddp_cases.UNUSED)
    errors = []
    for build, options in cases:
        ddp = DDP(build(torch), **options)
        errors += [error_of(loss_of(ddp, inputs(torch, rank)).backward)]
        errors += [error_of(ddp._check_reducer_finalized)]
    return errors


def test_a_gradient_that_comes_twice(results):
    """Under two checkpoints; or once, but the outer backward did not know that it would come."""
    for errors in results[twice_in_one_backward]:
        for error, unfinished in (errors[:2], errors[2:]):
            assert "RuntimeError: Expected to mark a variable ready only once" in error
            assert "layer.bias" in error or "layer.weight" in error or "layers." in error
            assert "static_graph=True" in error
            assert "Expected to have finished reduction in the prior iteration" in unfinished


@on_two_ranks
def changing_graph(torch, DDP, rank):
    """Static graphs that come to use less, and more, than the first."""
    errors = []
    for first, second in ((1, 0), (0, 1)):
        ddp = DDP(ddp_cases.branches(torch), static_graph=True)
        for way in (first, first, second):
            loss = ddp(inputs(torch, rank), way).square().sum()
            error = error_of(loss.backward)
        errors.append(error)
    return errors


def test_a_static_graph_that_changes(results):
    for errors in results[changing_graph]:
        for error in errors:
            assert "training graph has changed" in error
            assert "ways.0" in error or "ways.1" in error


def deep(torch):
    return torch.nn.Sequential(*[torch.nn.Linear(256, 256) for _ in range(4)])


@on_two_ranks
def after_an_exception(torch, DDP, rank):
    """A backward that fails after its first buckets have left, then at once one that does not."""
    model = deep(torch)
    ddp = DDP(model)
    x = inputs(torch, rank, 256) / 100
    hidden = {}

    def fail(grad):
        raise KeyError("on purpose")

    model[1].register_forward_hook(lambda module, args, out: hidden.update(out=out))
    failing = loss_of(ddp, -3 * x)
    hidden["out"].register_hook(fail)
    loss = loss_of(ddp, x)
    with contextlib.suppress(KeyError):
        failing.backward()
    model.zero_grad()
    loss.backward()
    return gradients(model)


def test_the_backward_after_a_failed_one_is_right(results):
    expected = mean_of(lambda m, x: loss_of(m, x / 100), build=deep, n=256)
    for grads in results[after_an_exception]:
        for got, wanted in zip(grads, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)


@on_two_ranks
def taken_away(torch, DDP, rank):
    """Hooks of the user's that take gradients away before they are averaged."""
    model = torch.nn.Linear(8, 4)
    model.bias.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    ddp = DDP(model)
    loss_of(ddp, inputs(torch, rank)).backward()
    return gradients(model)


def test_a_gradient_that_was_taken_away_counts_as_zero(results):
    for _, bias in results[taken_away]:
        assert bias.tolist() == [0.0] * 4


# Communication hooks


@on_two_ranks
def bad_hooks(torch, DDP, rank):
    GradBucket, Future = torch.distributed.GradBucket, torch.futures.Future

    def done(value):
        future = Future()
        future.set_result(value)
        return future

    def no_future(state, bucket: GradBucket):
        return bucket.buffer()

    def too_long(state, bucket) -> Future[torch.Tensor]:
        return done(torch.cat([bucket.buffer()] * 2))

    def no_tensor(state, bucket) -> Future:
        return done(3)

    def of_an_int(state, bucket: int):
        return done(bucket)

    def to_an_int(state, bucket) -> int:
        return 3

    errors = {}
    for hook in (no_future, too_long, no_tensor):
        ddp = DDP(torch.nn.Linear(8, 4))
        ddp.register_comm_hook(None, hook)
        errors[hook.__name__] = error_of(loss_of(ddp, inputs(torch, rank)).backward)
        errors["second"] = error_of(lambda ddp=ddp: ddp.register_comm_hook(None, no_future))
    ddp = DDP(torch.nn.Linear(8, 4))
    for hook in (3, of_an_int, to_an_int, lambda state: 3):
        name = getattr(hook, "__name__", "three")
        errors[name] = error_of(lambda hook=hook: ddp.register_comm_hook(None, hook))
    return errors


def test_hooks_that_are_wrong(results):
    for errors in results[bad_hooks]:
        assert "RuntimeError: DDP communication hook's callback must return" in errors["no_future"]
        assert "here 36; this one holds shape (72,)" in errors["too_long"]
        assert "this one holds 3" in errors["no_tensor"]
        assert "RuntimeError: register_comm_hook" in errors["second"]
        assert "TypeError: Communication hook must be callable" in errors["three"]
        assert "TypeError: Communication hook must take" in errors["<lambda>"]
        assert "ValueError: Communication hook: bucket annotation" in errors["of_an_int"]
        assert "ValueError: Communication hook: return annotation" in errors["to_an_int"]


@on_two_ranks
def seen_by_hook(torch, DDP, rank):
    ddp = DDP(ddp_cases.mlp(torch))
    seen = []

    def hook(state, bucket):
        shapes = [tuple(g.shape) for g in bucket.gradients()]
        seen.append((bucket.index(), bucket.is_last(), shapes, bucket.buffer().numpy().copy()))
        assert [p.shape for p in bucket.parameters()] == [g.shape for g in bucket.gradients()]
        work = torch.distributed.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(lambda future: future.value()[0] / 2)

    ddp.register_comm_hook(None, hook)
    with ddp.no_sync():
        loss_of(ddp, inputs(torch, rank)).backward()
    local = gradients(ddp)
    ddp.zero_grad()
    loss_of(ddp, inputs(torch, rank)).backward()
    idle = DDP(ddp_cases.branches(torch))
    idle.register_comm_hook(None, hook)
    missing = error_of(lambda: loss_of(lambda x: idle(x, 0), inputs(torch, rank)).backward())
    return seen, local, gradients(ddp), missing


def test_what_a_hook_sees(results):
    """The rank's own gradients, not divided; and missing ones are reported with a hook, too."""
    for seen, local, _, missing in results[seen_by_hook]:
        first = seen[: [last for _, last, *_ in seen].index(True) + 1]  # of one backward
        assert [index for index, *_ in first] == list(range(len(first)))
        sent = np.sort(np.concatenate([flat for *_, flat in first]))
        own = np.sort(np.concatenate([g.reshape(-1) for g in local]))
        np.testing.assert_array_equal(sent, own)
        assert "idle.bias, idle.weight, ways.1.bias" in missing
    assert equal(results[seen_by_hook][0][2], results[seen_by_hook][1][2])


# What else it has


@on_two_ranks
def views(torch, DDP, rank):
    ddp = DDP(ddp_cases.mlp(torch), gradient_as_bucket_view=True)
    loss_of(ddp, inputs(torch, rank)).backward()
    loss_of(ddp, inputs(torch, rank)).backward()
    flats = [bucket.flat for bucket in ddp.reducer.buckets]
    return [any(np.shares_memory(p.grad.array, f) for f in flats) for p in ddp.parameters()]


def test_gradients_are_views_of_the_buckets_if_asked_for(results):
    assert results[views] == [[True] * 6] * 2


@on_two_ranks
def ignored(torch, DDP, rank):
    model = ddp_cases.mlp(torch)
    model.register_buffer("own", torch.full((1,), float(rank)))
    names = ["0.weight", "own"]
    cls = torch.nn.parallel.DistributedDataParallel
    cls._set_params_and_buffers_to_ignore_for_model(model, names)
    ddp = DDP(model)
    loss_of(ddp, inputs(torch, rank)).backward()
    return parameters(model), gradients(model), model.own.item()


def test_ignored_parameters_stay_with_their_rank(results):
    (weights_0, grads_0, own_0), (weights_1, grads_1, own_1) = results[ignored]
    assert not np.array_equal(weights_0[0], weights_1[0]) and equal(weights_0[1:], weights_1[1:])
    assert not np.array_equal(grads_0[0], grads_1[0]) and equal(grads_0[1:], grads_1[1:])
    assert (own_0, own_1) == (0, 1)


@on_two_ranks
def statistics(torch, DDP, rank):
    ddp = DDP(ddp_cases.mlp(torch))
    for _ in range(3):
        loss_of(ddp, inputs(torch, rank)).backward()
    ddp._check_reducer_finalized()
    return ddp._get_ddp_logging_data()


THEIR_KEYS = (
    "backend_name bucket_sizes cuda_visible_devices device_ids dtypes master_addr master_port "
    "module_name prev_iteration_grad_ready_order_indices rebuilt_bucket_sizes "
    "rebuilt_per_bucket_param_indices avg_backward_comm_time "
    "avg_backward_compute_comm_overlap_time avg_backward_compute_time avg_forward_compute_time "
    "backward_comm_time backward_comm_time_end backward_comm_time_start "
    "backward_compute_comm_overlap_time backward_compute_time backward_compute_time_end "
    "backward_compute_time_start broadcast_buffers bucket_cap_bytes find_unused_parameters "
    "forward_compute_time forward_compute_time_start gradient_as_bucket_view has_rebuilt_buckets "
    "has_sync_bn is_multi_device_module iteration num_buckets_reduced num_parameter_tensors "
    "output_device rank total_parameter_size_bytes unused_parameter_size world_size"
).split()


def test_statistics(results):
    for rank, data in enumerate(results[statistics]):
        assert set(THEIR_KEYS) <= set(data), set(THEIR_KEYS) - set(data)
        assert (data["rank"], data["world_size"], data["iteration"]) == (rank, 2, 3)
        assert data["total_parameter_size_bytes"] == 4 * (8 * 16 + 16 + 16 * 16 + 16 + 64 + 4)
        rebuilt = data["rebuilt_per_bucket_param_indices"].replace(",", "").split()
        assert sorted(rebuilt) == list("012345")
        start, end = data["backward_comm_time_start"], data["backward_comm_time_end"]
        assert data["backward_compute_time_start"] <= start <= data["backward_compute_time_end"]
        assert end - start == data["backward_comm_time"] > 0
        assert 0 < data["backward_compute_comm_overlap_time"] <= data["backward_compute_time"]


@on_two_ranks
def copies(torch, DDP, rank):
    ddp = DDP(torch.nn.Linear(8, 4), static_graph=True)
    loss_of(ddp, inputs(torch, rank)).backward()
    other, third = copy.deepcopy(ddp), pickle.loads(pickle.dumps(ddp))
    for twin in (other, third):
        twin.zero_grad()
        loss_of(twin, inputs(torch, rank)).backward()
    third.load_state_dict(ddp.state_dict())
    group = torch.distributed.new_group([0, 1])
    error = error_of(lambda: pickle.dumps(DDP(torch.nn.Linear(2, 2), process_group=group)))
    return list(ddp.state_dict()), gradients(ddp), gradients(other), gradients(third), error


def test_copies_and_pickles_train_as_well(results):
    for keys, first, other, third, error in results[copies]:
        assert keys == ["module.weight", "module.bias"]
        assert equal(first, other) and equal(first, third)
        assert equal(first, results[copies][0][1])
        assert "RuntimeError: DDP Pickling/Unpickling are only supported" in error


@on_two_ranks
def wrapped_twice(torch, DDP, rank):
    model = torch.nn.Linear(8, 4)
    ddp = DDP(model)
    loss_of(ddp, inputs(torch, rank)).backward()
    del ddp
    ddp = DDP(model)
    events = []
    with watched(torch, events):
        loss_of(model, inputs(torch, rank)).backward()
        before = len(events)
        loss_of(ddp, inputs(torch, rank)).backward()
        ddp._remove_autograd_hooks()
        loss_of(ddp, inputs(torch, rank)).backward()
        return before, len(events)


def test_hooks_go_with_the_wrapper_and_wait_for_its_forward(results):
    assert results[wrapped_twice] == [(0, 1), (0, 1)]


@on_two_ranks
def subgroups(torch, DDP, rank):
    groups = [torch.distributed.new_group([i]) for i in range(2)]
    ddp = DDP(torch.nn.Linear(8, 4), process_group=groups[rank])
    loss_of(ddp, inputs(torch, rank)).backward()
    error = error_of(lambda: DDP(torch.nn.Linear(8, 4), process_group=groups[1 - rank]))
    return gradients(ddp), error


def test_a_group_of_some_ranks(results):
    (first, error), (second, _) = results[subgroups]
    assert not equal(first, second)
    assert "ValueError" in error and "no member of process_group" in error


@on_two_ranks
def joined(torch, DDP, rank):
    """Rank 1 has one batch, rank 0 has three."""
    ends = []
    for by_all in (True, False):
        model = ddp_cases.normalised(torch)
        ddp = DDP(model)
        optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
        grads = []
        with ddp.join(divide_by_initial_world_size=by_all):
            for _ in range(1 if rank else 3):
                optimizer.zero_grad()
                with ddp.no_sync() if len(grads) == 1 else contextlib.nullcontext():
                    loss_of(ddp, inputs(torch, rank)).backward()
                grads.append(gradients(ddp))
                optimizer.step()
        ends.append((parameters(model), [b.tolist() for b in model.buffers()], grads))
    return ends


def test_uneven_inputs(results):
    for (ends, buffers, grads), (others, other_buffers, _) in zip(*results[joined], strict=True):
        assert equal(ends, others) and buffers == other_buffers
        assert len(grads) == 3 and buffers[-1] == 3
    (_, _, by_all), (_, _, by_some) = results[joined][0]
    assert not equal(by_all[2], by_some[2])


@on_two_ranks
def naively(torch, DDP, rank):
    from minitorch.nn.parallel.naive import NaiveDistributedDataParallel

    grads = []
    for wrap in (DDP, NaiveDistributedDataParallel):
        torch.manual_seed(rank)
        model = wrap(ddp_cases.mlp(torch))
        loss_of(model, inputs(torch, rank)).backward()
        if wrap is not DDP:
            model.average_gradients()
        grads.append(gradients(model))
    return grads


def test_the_naive_one_has_the_same_gradients(results):
    assert equal(results[naively][0][0], results[naively][1][0])
    for real, naive in results[naively]:
        assert equal(real, naive)
