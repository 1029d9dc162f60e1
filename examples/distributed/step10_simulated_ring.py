"""Step 10: the ring with as many ranks as one likes, in one process; its bytes and its time.

    python examples/distributed/step10_simulated_ring.py

Here an algorithm is a generator: it yields the rank whose message it needs, and is sent that
message. The functions in minitorch/distributed/algorithms are of this kind. (PyTorch has no such
thing.)
"""

import numpy as np

from minitorch.distributed.algorithms import doubling
from minitorch.distributed.simulation import InMemoryNetwork


def ring(link, data, combine):
    """Step 9's `blocks`."""
    block = np.array_split(data, link.size)
    for i in range(2 * (link.size - 1)):
        outgoing = block[(link.rank - 1 - i) % link.size]
        own = block[(link.rank - 2 - i) % link.size]
        link.send((link.rank + 1) % link.size, outgoing)
        incoming = yield (link.rank - 1) % link.size
        if i < link.size - 1:
            combine(own, incoming, out=own)
        else:
            own[...] = incoming


def simulate(algorithm, ranks, elements):
    """The bytes that each rank sends, and the seconds that it takes by the model of costs."""
    data = [np.full(elements, float(rank), np.float32) for rank in range(ranks)]
    network = InMemoryNetwork(ranks)
    network.run(lambda link: algorithm(link, data[link.rank], link.priced(np.add)))
    assert all((part == sum(range(ranks))).all() for part in data)
    return network.bytes_sent(0), max(network.seconds)


if __name__ == "__main__":
    for elements in 1 << 20, 1 << 10:
        print(f"all_reduce of {4 * elements:,} bytes: sent by each rank, time in the model")
        for ranks in 2, 4, 16, 64:
            line = f"{ranks:4} ranks"
            for name, algorithm in {"ring": ring, "doubling": doubling.all_reduce}.items():
                nbytes, seconds = simulate(algorithm, ranks, elements)
                line += f"   {name}: {nbytes:>10,} bytes {1e3 * seconds:6.2f} ms"
            print(line)
