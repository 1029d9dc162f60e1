"""Recording a run: what is written, by whom, and what becomes of it when a process is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

import minitorch as torch
from minitorch import tracing
from minitorch.distributed.algorithms.table import ALGORITHMS
from minitorch.viz import timeline
from minitorch.viz.overlap import overlap
from minitorch.viz.recording import messages, read
from minitorch.viz.rounds import collectives

from .distributed.harness import run_ranks
from .distributed.launching import wait_until

ELEMENTS = 600_000  # 2.4 MB: the ring cuts each block into segments


@pytest.fixture
def recorded(tmp_path):
    """Start with `tracing.start(folder)`; ends with the test."""
    yield tmp_path / "run"
    tracing.stop()


def events_in(folder):
    tracing.stop()
    (process,) = read(folder).processes
    return process.events


def network():
    w = torch.ones(10, requires_grad=True)
    return w, (w * 2).exp().sum()


# One process


def test_nothing_is_recorded_by_default():
    assert not tracing.on
    tracing.mark("bucket", "bucket 0")  # without effect, and no error
    with tracing.region("forward", "forward"):
        pass


def test_backward_records_every_node(recorded):
    tracing.start(recorded)
    _, loss = network()
    nodes = [loss.grad_fn]
    while nodes[-1].next_functions:
        nodes.append(nodes[-1].next_functions[0][0])
    loss.backward()
    events = events_in(recorded)
    ops, passes = ([e for e in events if e.kind == kind] for kind in ("op", "backward"))
    assert [e.name for e in ops] == [node.name() for node in nodes[:-1]] + ["AccumulateGrad"]
    assert ops[-1].details == {"shape": [10]}
    (whole,) = passes
    assert all(whole.start <= e.start <= e.end <= whole.end for e in ops)
    assert all(a.end <= b.start for a, b in pairwise(ops))


def test_gradients_are_the_same(recorded):
    w, loss = network()
    loss.backward(create_graph=True)
    tracing.start(recorded)
    v, loss = network()
    (first,) = torch.autograd.grad(loss, v, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), v)
    assert np.array_equal(first.detach().numpy(), w.grad.detach().numpy())
    assert np.allclose(second.numpy(), 2 * first.detach().numpy())


def test_an_own_region(recorded):
    tracing.start(recorded)
    with tracing.region("forward", "encoder", layer=3):
        time.sleep(0.01)
    (event,) = events_in(recorded)
    assert event[:2] == ("forward", "encoder") and event.details == {"layer": 3}
    assert 10_000_000 <= event.end - event.start < 10_000_000_000


def test_the_list_and_the_file_are_bounded(recorded, monkeypatch):
    monkeypatch.setattr(tracing, "MOST_EVENTS", 1000)
    monkeypatch.setattr(tracing, "MOST_UNWRITTEN", 100)
    tracing.start(recorded)
    most = 0
    for _ in range(1500):
        tracing.mark("x", "y")
        if tracing._recorder is not None:
            most = max(most, len(tracing._recorder.events))
    assert not tracing.on and most < 100
    recording = read(recorded)
    assert recording.count == 1001
    assert recording.notes[0].startswith("1000 events: process")


def test_a_full_disk_does_not_end_the_training(recorded, capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full, a device that is always full")
    tracing.start(recorded)
    tracing._recorder.path = "/dev/full"
    for _ in range(3):
        tracing.mark("x", "y")
    assert not tracing.on
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "/dev/full ends here" in told and "No space" in told


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="MINITORCH_TRACE=.*file/run is no folder to write a trace"):
        tracing.start(tmp_path / "file" / "run")
    assert not tracing.on


def test_a_forked_child_leaves_its_parents_file_alone(recorded):
    tracing.start(recorded)
    tracing.mark("x", "parent")
    child = os.fork()
    if not child:
        tracing.mark("x", "child")
        tracing.stop()
        os._exit(0)
    os.waitpid(child, 0)
    tracing.mark("x", "parent again")
    tracing.stop()
    names = {p.about["pid"]: [e.name for e in p.events] for p in read(recorded).processes}
    assert names == {os.getpid(): ["parent", "parent again"], child: ["child"]}


def test_what_was_recorded_before_a_kill_is_there(tmp_path):
    program = (
        "import time; from minitorch import tracing\n"
        "for i in range(100): tracing.mark('x', str(i))\n"
        "time.sleep(600)"  # nothing else is recorded: the file is written by a clock
    )
    environment = os.environ | {"MINITORCH_TRACE": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        assert wait_until(lambda: any('"99"' in p.read_text() for p in tmp_path.iterdir()))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [e.name for e in read(tmp_path).processes[0].events] == [str(i) for i in range(100)]


# Several ranks


def play_all(rank, world_size):
    """Each all-reduce there is, and the other collectives that can be replayed."""
    import minitorch.distributed as dist
    from minitorch.distributed.algorithms import table

    names = []
    for algorithm in table.ALGORITHMS["all_reduce"]:
        table.use(all_reduce=algorithm)
        tensor = torch.full((ELEMENTS,), float(rank + 1))
        dist.all_reduce(tensor)
        assert tensor[0] == tensor[-1] == world_size * (world_size + 1) / 2
        names.append(algorithm)
    table.use(broadcast="binomial", all_gather="ring", reduce_scatter="ring")
    dist.broadcast(torch.ones(1000), 1)
    dist.all_gather([torch.ones(4) for _ in range(world_size)], torch.ones(4))
    dist.reduce_scatter(torch.ones(5), [torch.ones(5)] * world_size)
    dist.all_to_all_single(torch.ones(world_size), torch.ones(world_size))
    dist.barrier()
    return names


@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_collective_is_recorded_and_replayed(tmp_path, monkeypatch, size):
    monkeypatch.setenv("MINITORCH_TRACE", str(tmp_path))
    algorithms = run_ranks(play_all, size, method="spawn", timeout=240)[0]
    assert set(algorithms) == set(ALGORITHMS["all_reduce"])
    recording = read(tmp_path)
    assert [p.rank for p in recording.processes] == list(range(size)) and not recording.notes
    names = [f"rank{r}.jsonl" for r in range(size)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names

    sends = [e for p in recording.processes for e in p.events if e.kind == "send"]
    received = list(messages(recording.processes))
    assert len(received) == len(sends) > 0
    assert all(e.start <= f.start and e.details["bytes"] == f.details["bytes"]
               for _, e, _, f in received)  # fmt: skip

    found = {c.name: c for c in collectives(recording)}
    everybody = set(range(size))
    for number, _ in enumerate(algorithms, 1):
        collective = found[f"all_reduce #{number}"]
        assert collective.nbytes == 4 * ELEMENTS
        assert all(held == everybody for row in collective.states()[-1].values() for held in row)
    broadcast, gather, scatter = (
        next(c for c in found.values() if c.op == op)
        for op in ("broadcast", "all_gather", "reduce_scatter")
    )
    assert {held for row in broadcast.states()[-1].values() for held in row} == {frozenset([1])}
    assert list(gather.states()[-1].values()) == [[{r} for r in range(size)]] * size
    for rank, row in scatter.states()[-1].items():
        assert row[rank] == everybody

    ring = found[f"all_reduce #{1 + algorithms.index('ring')}"]
    assert len(ring.rounds) == 2 * size - 2
    assert all(len(moves) == size for moves in ring.rounds)
    for rank in range(size):
        nbytes = [m.nbytes for moves in ring.rounds for m in moves if m.source == rank]
        assert sum(nbytes) == pytest.approx(2 * (size - 1) / size * 4 * ELEMENTS, abs=100)


def train(rank, world_size):
    from minitorch import nn
    from minitorch.nn.parallel import DistributedDataParallel

    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(300, 300) for _ in range(4)])
    model[0].weight.register_hook(lambda grad: time.sleep(0.2))  # for which nobody else waits
    model = DistributedDataParallel(model, bucket_cap_mb=0.3)
    for _ in range(3):
        model(torch.ones(64, 300)).sum().backward()


def test_a_step_of_ddp_shows_its_buckets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINITORCH_TRACE", str(tmp_path))
    run_ranks(train, 2, method="spawn", timeout=240)
    recording = read(tmp_path)
    for process in recording.processes:
        assert 0 <= overlap(process).share <= 1
        passes = [e for e in process.events if e.kind == "backward"]
        assert len(passes) == 3
        for step in passes:
            inside = [e for e in process.events if step.start <= e.start <= e.end <= step.end]
            buckets = [e for e in inside if e.kind == "bucket"]
            reduced = [e for e in inside if e.kind == "collective"]
            ops = [e for e in inside if e.kind == "op"]
            assert len(buckets) >= 3 and len(reduced) >= len(buckets)
            # The first bucket leaves while there is backward left to hide it.
            assert min(e.start for e in reduced) < ops[-1].start
    assert json.loads(json.dumps(timeline.chrome_trace(recording)))
    assert len(timeline.page_data(recording)["backwards"]) == 3
