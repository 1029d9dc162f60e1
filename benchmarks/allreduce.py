"""all_reduce beside PyTorch's Gloo, on this machine: `python benchmarks/allreduce.py`.

Both libraries have their processes up during the whole run and are measured in turn, size by size
and round by round, so that a disturbance meets both. A call's time is that of rank 0; printed are
medians over all rounds. As in nccl-tests, algbw is the size over the time, and busbw is
algbw x 2(N-1)/N, what a ring moves in each direction.

    --ranks N      2 by default
    --sizes A,B    in bytes, for instance 4,64K,16M
    --rounds N     how often the libraries take turns (7)
    --tcp          tcp also within this host (Gloo always uses it)
"""

import argparse
import multiprocessing
import os
import time
from statistics import median

import numpy as np

SIZES = "4,64,1K,4K,16K,64K,256K,1M,4M,16M,64M"
ROUND_SECONDS = 0.15  # about how long one library is measured before the other's turn


def serve(library: str, rank: int, ranks: int, port: int, pipe) -> None:
    """A rank: run all_reduce on request, (elements, calls) -> seconds of each call."""
    if library == "gloo":
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        tensor_of = torch.from_numpy
    else:
        import minitorch.distributed as dist

        def tensor_of(array):
            return array

    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    pipe.send("ready")
    tensors = {}
    while (request := pipe.recv()) is not None:
        elements, calls = request
        if elements not in tensors:
            tensors.clear()
            tensors[elements] = tensor_of(np.zeros(elements, np.float32))
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            dist.all_reduce(tensors[elements])
            seconds.append(time.perf_counter() - start)
        pipe.send(seconds)
    dist.destroy_process_group()


class Library:
    """The processes of one library."""

    def __init__(self, name: str, ranks: int) -> None:
        context = multiprocessing.get_context("spawn")
        port = free_port()
        self.pipes, self.processes = [], []
        for rank in range(ranks):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve, args=(name, rank, ranks, port, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        for pipe in self.pipes:
            pipe.recv()

    def measure(self, elements: int, calls: int) -> list[float]:
        """Rank 0's seconds for each of so many calls."""
        for pipe in self.pipes:
            pipe.send((elements, calls))
        seconds = [pipe.recv() for pipe in self.pipes]
        return seconds[0]

    def stop(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(10)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def in_bytes(size: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(size[:-1]) * units[size[-1]] if size[-1] in units else int(size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tcp", action="store_true")
    options = parser.parse_args()
    if options.tcp:
        os.environ["MINITORCH_TRANSPORT"] = "tcp"

    libraries = {name: Library(name, options.ranks) for name in ("minitorch", "gloo")}
    print(f"all_reduce of float32, {options.ranks} ranks, medians; the bandwidths are minitorch's")
    print("     bytes  minitorch us    gloo us  ratio       algbw       busbw")
    for size in map(in_bytes, options.sizes.split(",")):
        elements = max(1, size // 4)
        first = {name: median(lib.measure(elements, 3)) for name, lib in libraries.items()}
        calls = max(2, min(300, int(ROUND_SECONDS / max(first.values()))))
        times = {name: [] for name in libraries}
        for _ in range(options.rounds):
            for name, library in libraries.items():
                times[name] += library.measure(elements, calls)
        ours, theirs = median(times["minitorch"]), median(times["gloo"])
        algbw = elements * 4 / ours / 1e9
        busbw = algbw * 2 * (options.ranks - 1) / options.ranks
        row = f"{elements * 4:>10} {ours * 1e6:>13.0f} {theirs * 1e6:>10.0f} "
        row += f"{ours / theirs:>6.2f} "
        print(f"{row}{algbw:>6.2f} GB/s {busbw:>6.2f} GB/s", flush=True)
    for library in libraries.values():
        library.stop()


if __name__ == "__main__":
    main()
