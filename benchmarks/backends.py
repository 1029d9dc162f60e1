"""all_reduce of the backends zmq and mpi beside PyTorch's Gloo, on this machine.

    mpirun -n 4 python benchmarks/backends.py

Each process is a rank of all three, and they are measured in turn, size by size and round by round,
so that a disturbance meets all. A call's time is that of rank 0; printed are medians over all
rounds, in microseconds. `raw` is MPI's blocking Allreduce through mpi4py, without minitorch.

    --sizes A,B    in bytes, for instance 4,64K,16M
    --rounds N     how often they take turns (7)
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.distributed
from mpi4py import MPI

from minitorch.distributed.backends.mpi import MpiProcessGroup
from minitorch.distributed.process_group import ZmqProcessGroup
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.store import FileStore

SIZES = "4,1K,16K,64K,256K,1M,4M,16M,64M"
ROUND_SECONDS = 0.15


def backends(folder: str, rank: int, ranks: int) -> dict:
    """name -> a function that reduces an array over all ranks."""
    zmq = ZmqProcessGroup.connect(FileStore(f"{folder}/zmq", ranks), rank, ranks, 60.0)
    mpi = MpiProcessGroup.connect(None, rank, ranks, 60.0)
    torch.set_num_threads(1)
    method = f"file://{folder}/gloo"
    torch.distributed.init_process_group("gloo", method, rank=rank, world_size=ranks)
    return {
        "zmq": lambda array: zmq.all_reduce(array, ReduceOp.SUM).wait(),
        "mpi": lambda array: mpi.all_reduce(array, ReduceOp.SUM).wait(),
        "gloo": lambda array: torch.distributed.all_reduce(torch.from_numpy(array)),
        "raw": lambda array: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, array),
    }


def measure(reduce, array: np.ndarray, calls: int) -> list[float]:
    """The seconds of each call."""
    MPI.COMM_WORLD.Barrier()
    times = [time.perf_counter()]
    for _ in range(calls):
        reduce(array)
        times.append(time.perf_counter())
    return list(np.diff(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    world = MPI.COMM_WORLD
    folder = world.bcast(tempfile.mkdtemp() if world.rank == 0 else None)
    libraries = backends(folder, world.rank, world.size)
    show = print if world.rank == 0 else lambda *_, **__: None
    show(f"all_reduce of float32, {world.size} ranks, microseconds")
    show(f"{'bytes':>10}", *[f"{name:>9}" for name in libraries])
    sys.path.insert(0, str(Path(__file__).parent))
    from allreduce import in_bytes

    for size in map(in_bytes, options.sizes.split(",")):
        array = np.zeros(max(1, size // 4), np.float32)
        slowest = max(median(measure(f, array, 3)) for f in libraries.values())
        calls = world.bcast(max(2, min(300, int(ROUND_SECONDS / slowest))))
        times: dict = {name: [] for name in libraries}
        for _ in range(options.rounds):
            for name, reduce in libraries.items():
                times[name] += measure(reduce, array, calls)
        row = [f"{median(seconds) * 1e6:>9.0f}" for seconds in times.values()]
        show(f"{array.nbytes:>10}", *row, flush=True)


if __name__ == "__main__":
    main()
