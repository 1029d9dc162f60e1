"""Messages over pipes and plain TCP connections: in pieces, when the kernel is full, at the end."""

import logging
import os
import select
import socket
import threading
import time

import numpy as np
import pytest

from minitorch.distributed.gate import Gate, call
from minitorch.distributed.message import HEADER_BYTES
from minitorch.distributed.progress import Progress
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.streams import NO_SLOT, Reader, Writer, open_pipe, write_to_pipe

from .harness import run_ranks
from .launching import wait_until
from .strangers import throw_garbage
from .threads import job, on_all

needs_pipes = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="Linux only")
HEADER = bytes(range(HEADER_BYTES))


def pipe():
    reader, address = open_pipe()
    return reader, write_to_pipe(address)


def connection():
    gate = Gate("127.0.0.1", b"password")
    file = call(gate.address, b"password", 60)
    return Reader(gate.admit(60)), Writer(file)


@pytest.fixture(params=[pytest.param(pipe, marks=needs_pipes), connection])
def stream(request):
    reader, writer = request.param()
    yield reader, writer
    for end in reader, writer:
        os.fstat(end.file)
        end.close()


def next_of(reader, writer=None):
    end = time.monotonic() + 60
    while (message := reader.receive()) is None and time.monotonic() < end:
        if writer is not None:
            writer.flush()
    return message


def test_messages_arrive_as_they_were_sent(stream):
    reader, writer = stream
    assert reader.receive() is None
    for size in (0, 1, 12, 1000):
        writer.send(HEADER, np.arange(size).astype(np.uint8))
    writer.send(bytes(HEADER_BYTES), np.zeros(70_000, np.uint8), slot=7)  # in shared memory
    for size in (0, 1, 12, 1000):
        header, payload, slot, length = next_of(reader)
        assert (header, slot, length) == (HEADER, NO_SLOT, size)
        np.testing.assert_array_equal(payload, np.arange(size).astype(np.uint8))
    header, payload, slot, length = next_of(reader)
    assert (header, payload.nbytes, slot, length) == (bytes(HEADER_BYTES), 0, 7, 70_000)
    assert reader.receive() is None and not reader.ended


def test_a_payload_goes_where_the_receiver_wants_it(stream):
    reader, writer = stream
    asked, target = [], np.zeros(1 << 14, np.uint8)

    def place(header, size):
        asked.append((header, size))
        return target.data if size == target.size else None

    sizes = (12, 1 << 14, (1 << 14) + 1)  # too small to ask, wanted, not wanted
    for size in sizes:
        writer.send(HEADER, np.full(size, 7, np.uint8))
    for size in sizes:
        while (message := reader.receive(place)) is None:
            writer.flush()
        assert bytes(message[1]) == bytes([7]) * size
        assert np.shares_memory(message[1], target) == (size == target.size)
    assert asked == [(HEADER, size) for size in sizes[1:]]


def test_an_array_that_was_let_go_is_left_alone(stream):
    reader, writer = stream
    target = np.zeros(20_000_000, np.uint8)  # more than the kernel takes
    writer.send(HEADER, np.ones(len(target), np.uint8))
    assert reader.receive(lambda header, size: target.data) is None
    reader.let_go()
    before = target.copy()
    assert before.any() and not before.all()
    assert next_of(reader, writer)[0] == HEADER
    np.testing.assert_array_equal(target, before)
    writer.send(HEADER, np.arange(50, dtype=np.uint8))
    assert bytes(next_of(reader, writer)[1]) == bytes(range(50))


def test_a_full_kernel(stream):
    """Nothing is lost, mixed up, or still looked at when `send` has returned."""
    reader, writer = stream
    rng = np.random.default_rng(0)
    sent = []
    for i in range(12):
        payload = rng.integers(0, 256, int(rng.integers(1, 3_000_000)), dtype=np.uint8)
        sent.append(payload.copy())
        writer.send(bytes([i] * HEADER_BYTES), payload)
        payload[:] = 0
    assert writer.unsent
    for i, expected in enumerate(sent):
        header, payload, *_ = next_of(reader, writer)
        assert header == bytes([i] * HEADER_BYTES)
        np.testing.assert_array_equal(payload, expected)
    assert not writer.unsent


def test_a_message_in_pieces(stream):
    reader, writer = stream
    other, copy = pipe() if os.path.exists("/proc/self/fd") else connection()
    copy.send(HEADER, np.arange(50, dtype=np.uint8))
    raw = os.read(other.file, 1000)
    for i in range(len(raw)):
        os.write(writer.file, raw[i : i + 1])
        message = reader.receive() if i < len(raw) - 1 else next_of(reader)
        assert (message is None) == (i < len(raw) - 1)
    np.testing.assert_array_equal(message[1], np.arange(50))
    other.close()
    copy.close()


def test_the_last_words_are_read_and_then_it_has_ended(stream):
    reader, writer = stream
    writer.send(HEADER, np.ones(5, np.uint8))
    ending = os.open(os.devnull, os.O_WRONLY)
    os.dup2(ending, writer.file)  # closes the stream, and leaves a file to be closed
    os.close(ending)
    assert next_of(reader)[0] == HEADER
    end = time.monotonic() + 60
    while not reader.ended and time.monotonic() < end:
        assert reader.receive() is None
    assert reader.ended


def test_what_is_written_to_nobody_is_dropped(stream):
    reader, writer = stream
    ending = os.open(os.devnull, os.O_RDONLY)
    os.dup2(ending, reader.file)
    os.close(ending)
    for _ in range(50):
        writer.send(HEADER, np.ones(100_000, np.uint8))
        time.sleep(0.001)
    writer.flush()
    assert not writer.unsent


@needs_pipes
def test_another_file_is_no_pipe_of_ours(tmp_path):
    reader, address = open_pipe()
    other, _ = open_pipe()
    with pytest.raises(OSError, match="another file"):
        write_to_pipe(f"/proc/{os.getpid()}/fd/{other.file} {address.split()[1]}")
    reader.close()
    other.close()
    with pytest.raises(OSError):
        write_to_pipe(address)


def test_a_gate_lets_in_who_knows_the_password_and_says_once_that_others_came(caplog):
    with caplog.at_level(logging.WARNING):
        gate = Gate("127.0.0.1", b"the password of this pair")
        host, port = gate.address.split()
        kept = throw_garbage(f"tcp://{host}:{port}", 1)
        kept.append(socket.create_connection((host, int(port))))  # never says anything
        kept[-1].setblocking(False)
        assert gate.admit(1) is None
        assert len([r for r in caplog.records if "not of this job" in r.getMessage()]) == 1
    with pytest.raises(OSError):
        call(gate.address, b"the password of this pair", 1)  # its time is over
    for visitor in kept:
        visitor.close()


def test_a_gate_under_siege():
    gate = Gate("127.0.0.1", b"the password of this pair")
    host, port = gate.address.split()
    kept = throw_garbage(f"tcp://{host}:{port}", 2)
    caller = threading.Timer(0.2, lambda: kept.append(call(gate.address, gate._password, 60)))
    caller.start()
    file = gate.admit(60)
    caller.join()
    os.write(kept[-1], b"hello")
    assert select.select([file], [], [], 60)[0] and os.read(file, 100) == b"hello"
    os.close(file)
    os.close(kept.pop())
    for visitor in kept:
        visitor.close()


def late(rank, world_size, folder):
    """Rank 1 is busy while the others send it more than the kernel takes, and then do nothing."""
    import minitorch.distributed as dist

    mine = np.full(6_000_000, float(rank + 1))
    if rank == 1:
        assert wait_until(lambda: (folder / "0").exists() and (folder / "2").exists())
        got = np.empty(6_000_000)
        for peer in (0, 2):
            dist.recv(got, peer)
            assert (got == peer + 1).all()
        (folder / "done").touch()
        return True
    dist.send(mine, 1)  # returns before rank 1 takes it
    mine[:] = 0
    (folder / str(rank)).touch()
    return wait_until((folder / "done").exists)


@pytest.mark.parametrize("transport", ["memory", "tcp"])
def test_a_send_does_not_wait_and_leaves_in_the_background(transport, monkeypatch, tmp_path):
    monkeypatch.setenv("MINITORCH_TRANSPORT", transport)
    monkeypatch.setenv("MINITORCH_ENCRYPT", "never")
    assert run_ranks(late, 3, tmp_path, group_timeout=60) == [True] * 3


def leave(rank, world_size):
    """Rank 0 sends and leaves at once; the others take what it sent."""
    import minitorch.distributed as dist

    array = np.full(3_000_000, 5.0) if rank == 0 else np.empty(3_000_000)
    if rank == 0:
        for peer in range(1, world_size):
            dist.send(array, peer)
    else:
        time.sleep(0.3)
        dist.recv(array, 0)
    return array.min(), array.max()


@pytest.mark.parametrize("transport", ["memory", "tcp"])
def test_what_was_sent_arrives_though_the_sender_leaves(transport, monkeypatch):
    monkeypatch.setenv("MINITORCH_TRANSPORT", transport)
    monkeypatch.setenv("MINITORCH_ENCRYPT", "never")
    assert run_ranks(leave, 3) == [(5, 5)] * 3


@pytest.mark.parametrize(
    "transport, encrypt, streams",
    [
        ("memory", "always", 1),
        ("memory", "never", 1),
        ("ipc", "never", 0),
        ("tcp", "always", 0),
        ("tcp", "network", 1),
        ("tcp", "never", 1),
    ],
)
def test_when_there_are_streams(transport, encrypt, streams, monkeypatch):
    monkeypatch.setenv("MINITORCH_TRANSPORT", transport)
    monkeypatch.setenv("MINITORCH_ENCRYPT", encrypt)

    def play():
        with job(2) as groups:
            for group in groups:
                ways = group._progress.transport
                assert len(ways._readers) == len(ways._writers) == streams
            array = np.ones(300_000, np.float32)
            on_all(groups, lambda group: group.all_reduce(array.copy(), ReduceOp.SUM).wait())

    play()
    files = len(os.listdir("/proc/self/fd"))
    play()
    # ZeroMQ closes its own in the background.
    assert wait_until(lambda: len(os.listdir("/proc/self/fd")) <= files), "files are left open"


def test_what_is_not_combined_comes_straight_into_the_result(monkeypatch):
    monkeypatch.setenv("MINITORCH_TRANSPORT", "tcp")
    monkeypatch.setenv("MINITORCH_ENCRYPT", "never")
    taken = []
    place = Progress._place

    def watched(progress, peer, header, size):
        into = place(progress, peer, header, size)
        taken.append(into is not None)
        return into

    monkeypatch.setattr(Progress, "_place", watched)

    def gather(group):
        outputs = [np.zeros(3_000_000, np.float32) for _ in range(3)]
        group.all_gather(outputs, np.full(3_000_000, group.rank() + 1, np.float32)).wait()
        total = np.full(3_000_000, group.rank() + 1, np.float32)
        group.all_reduce(total, ReduceOp.SUM).wait()
        return [*outputs, total]

    with job(3) as groups:
        for arrays in on_all(groups, gather):
            for array, value in zip(arrays, (1, 2, 3, 6), strict=True):
                np.testing.assert_array_equal(array, value)
    assert any(taken) and not all(taken)
