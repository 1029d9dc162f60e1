"""Messages through shared memory: slots are used again, and nobody waits for one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from .harness import run_ranks
from .launching import free_port, memory_files

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")


@pytest.fixture
def boxes():
    from minitorch.distributed.shared_memory import Inbox, Outbox

    outbox = Outbox()
    yield outbox, Inbox(outbox.address)
    outbox.close()


def bytes_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)


def test_what_is_put_in_is_seen(boxes):
    outbox, inbox = boxes
    for count in (1 << 15, 100_003, 1 << 20):
        slot = outbox.put(bytes_of(count))
        np.testing.assert_array_equal(inbox.look(slot, count), bytes_of(count))


def test_a_slot_is_free_when_nobody_looks_any_more(boxes):
    outbox, inbox = boxes
    first, second = outbox.put(bytes_of(40_000, 1)), outbox.put(bytes_of(40_000, 2))
    assert (first, second) == (0, 1)
    numbers = np.frombuffer(inbox.look(first, 40_000), np.float32)[10:]
    assert outbox.put(bytes_of(40_000, 3)) == 2, "an array made of it still looks into slot 0"
    np.testing.assert_array_equal(numbers.view(np.uint8), bytes_of(40_000, 1)[40:])
    del numbers
    assert outbox.put(bytes_of(40_000, 3)) == 0, "and now slot 0 is used again"
    inbox.look(second, 40_000)
    assert outbox.put(bytes_of(40_000, 3)) == 1


def test_what_must_go_another_way(boxes):
    outbox, _ = boxes
    assert outbox.put(bytes_of(1000)) is None, "small"
    assert outbox.put(bytes_of((1 << 20) + 1)) is None, "larger than a slot"
    taken = [outbox.put(bytes_of(40_000)) for _ in range(33)]
    assert taken == [*range(32), None], "all taken"


def test_a_reader_cannot_write(boxes):
    outbox, inbox = boxes
    with pytest.raises(TypeError, match="read-only"):
        inbox.look(outbox.put(bytes_of(40_000)), 40_000)[0] = 1


def test_nothing_else_is_taken_for_an_outbox(tmp_path):
    from minitorch.distributed.shared_memory import Inbox, Outbox

    outbox, other = Outbox(), Outbox()
    with pytest.raises(OSError, match="another outbox"):
        Inbox(f"{outbox.address.split()[0]} {other.address.split()[1]}")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="no outbox"):
        Inbox(f"{tmp_path / 'file'} {other.address.split()[1]}")
    for box in outbox, other:
        box.close()
        with pytest.raises(OSError):
            Inbox(box.address)
        box.close()


READER = """
import sys
from minitorch.distributed.shared_memory import Inbox
inbox = Inbox(sys.argv[1])
content = inbox.look(int(sys.argv[2]), 40_000)
print(sum(content), flush=True)
if sys.argv[3] == "die":
    import os
    os._exit(0)
"""


@pytest.mark.parametrize("end, free", [("leave", True), ("die", False)])
def test_another_process(boxes, end, free):
    outbox, _ = boxes
    slot = outbox.put(bytes_of(40_000))
    told = subprocess.run(
        [sys.executable, "-c", READER, outbox.address, str(slot), end],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(told.stdout) == bytes_of(40_000).sum()
    assert (outbox.put(bytes_of(40_000)) == slot) is free


def test_a_forked_child_frees_no_slot(boxes):
    outbox, inbox = boxes
    slot = outbox.put(bytes_of(40_000))
    content = inbox.look(slot, 40_000)
    if os.fork() == 0:
        del content
        os._exit(0)
    os.wait()
    assert outbox.put(bytes_of(40_000)) != slot, "we still look into it"


def test_an_outbox_that_cannot_be_mapped_leaves_no_file(monkeypatch):
    from minitorch.distributed import shared_memory

    def no_memory(*_):
        raise OSError("cannot allocate memory")

    monkeypatch.setattr(shared_memory.mmap, "mmap", no_memory)
    files = memory_files()
    with pytest.raises(OSError, match="cannot allocate"):
        shared_memory.Outbox()
    assert memory_files() == files


def crowd(rank, world_size):
    """More large operations at once than there are slots; returns the slots."""
    import minitorch.distributed as dist
    from minitorch.distributed import shared_memory

    used, put = [], shared_memory.Outbox.put

    def watched(outbox, payload):
        used.append(put(outbox, payload))
        return used[-1]

    shared_memory.Outbox.put = watched
    arrays = [np.full(700_000 + i, rank + i, np.float32) for i in range(12)]
    other, mine = np.empty(5_000_000), np.full(5_000_000, float(rank))
    dist.send(mine, (rank + 1) % world_size)
    dist.barrier()  # nobody has asked for it yet: it fills all slots, and then the socket
    works = [dist.all_reduce(array, async_op=True) for array in arrays[1:]]
    works.append(dist.irecv(other, (rank - 1) % world_size))
    for work in works:
        work.wait()
    dist.all_reduce(arrays[0])
    for i, array in enumerate(arrays):
        assert (array == sum(range(world_size)) + i * world_size).all()
    assert (other == (rank - 1) % world_size).all()
    return used


@pytest.mark.parametrize("transport", ["memory", "ipc", "tcp"])
def test_more_messages_than_slots(transport, monkeypatch):
    monkeypatch.setenv("MINITORCH_TRANSPORT", transport)
    for used in run_ranks(crowd, 3):
        if transport != "memory":
            assert not used
        else:
            assert used.count(None) and len(used) - used.count(None) > 32, "both ways, and again"


def without_a_view(rank, world_size, port):
    """Rank 1 cannot map the others' memory, as in another container."""
    import minitorch.distributed as dist
    from minitorch.distributed import data_paths

    class NoInbox:
        def __init__(self, address):
            raise OSError("not here")

    if rank == 1:
        data_paths.Inbox = NoInbox
    dist.init_process_group("zmq", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    array = np.full(3_000_000, rank, np.float32)
    dist.all_reduce(array)
    dist.destroy_process_group()
    return array.min(), array.max()


def test_a_rank_that_cannot_map_the_memory():
    results = run_ranks(without_a_view, 3, free_port(), process_group=False)
    assert results == [(3, 3)] * 3
