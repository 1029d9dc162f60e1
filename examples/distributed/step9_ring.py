"""Step 9: all_reduce itself, of sends and receives.

minitorchrun -n 4 examples/distributed/step9_ring.py receive-first
minitorchrun -n 4 examples/distributed/step9_ring.py whole
minitorchrun -n 4 examples/distributed/step9_ring.py blocks
"""

from datetime import timedelta

from step2_nothing_shared import chosen, say

import minitorch as torch
import minitorch.distributed as dist


def receive_first(data):
    """Take the left neighbour's data, then give one's own to the right one. All wait for ever."""
    incoming = torch.empty_like(data)
    dist.recv(incoming, src=left)
    dist.send(data, dst=right)


def pass_on(outgoing, incoming):
    """Send to the right and receive from the left at the same time."""
    sending = dist.isend(outgoing, dst=right)
    dist.recv(incoming, src=left)
    sending.wait()
    global nbytes
    nbytes += outgoing.nbytes


def whole(data):
    """Everybody's data goes once round the ring, and each rank adds up what comes by."""
    passing, incoming = data.clone(), torch.empty_like(data)
    for _ in range(size - 1):
        pass_on(passing, incoming)
        data += incoming
        passing, incoming = incoming, passing


def blocks(data):
    """Each rank adds to the block that comes by, and passes on the sum: then it is complete on one
    rank, and goes round once more, to be copied."""
    block = data.tensor_split(size)
    for i in range(2 * (size - 1)):
        outgoing, own = block[(rank - 1 - i) % size], block[(rank - 2 - i) % size]
        incoming = torch.empty_like(own)
        pass_on(outgoing, incoming)
        own.copy_(own + incoming if i < size - 1 else incoming)


if __name__ == "__main__":
    ways = {"receive-first": receive_first, "whole": whole, "blocks": blocks}
    add_up = chosen(ways, __doc__)
    patience = timedelta(seconds=3 if add_up is receive_first else 60)
    dist.init_process_group(timeout=patience)
    rank, size, nbytes = dist.get_rank(), dist.get_world_size(), 0
    left, right = (rank - 1) % size, (rank + 1) % size
    torch.manual_seed(rank)
    data = torch.randn(1 << 20)
    expected = data.clone()
    dist.all_reduce(expected)
    add_up(data)
    high, low = data.clone(), data.clone()
    dist.all_reduce(high, dist.ReduceOp.MAX)
    dist.all_reduce(low, dist.ReduceOp.MIN)
    say(f"rank 0 sent {nbytes:,} bytes to add up {data.nbytes:,}")
    say(f"the result is that of dist.all_reduce: {torch.allclose(data, expected, atol=1e-5)}")
    say(f"the ranks differ by {(high - low).max():.1e}")
    dist.destroy_process_group()
