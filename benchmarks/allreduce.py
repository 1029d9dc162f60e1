"""Collectives beside PyTorch's Gloo, on this machine: `python benchmarks/allreduce.py`.

Both libraries have their processes up during the whole run and are measured in turn, size by size
and round by round, so that a disturbance meets both. A call's time is that of rank 0; printed are
medians over all rounds. As in nccl-tests, the size is that of the whole data, algbw is size over
time, and busbw is what each rank then moves in each direction: algbw x 2(N-1)/N for all_reduce,
x (N-1)/N for reduce_scatter and all_gather, x 1 for broadcast.

    --collectives A,B  all_reduce by default; also reduce_scatter, all_gather, broadcast
    --ranks N,M        2 by default
    --sizes A,B        in bytes, for instance 4,64K,16M
    --rounds N         how often the libraries take turns (7)
    --transport T      memory (default), ipc or tcp within this host (Gloo always uses tcp)
    --encrypted        measure a third time with what goes through sockets encrypted, which is our
                       default; the first time it is not, as Gloo cannot
    --markdown         print tables for the docs

Where other work keeps the processors busy, times say little. Therefore the last columns have the
processors' milliseconds that a call takes on all ranks together.
"""

import argparse
import multiprocessing
import os
import time
from statistics import median

import numpy as np

SIZES = "4,64,1K,4K,16K,64K,256K,1M,4M,16M,64M,128M"
ROUND_SECONDS = 0.15  # about how long one library is measured before the other's turn
BUS_FACTOR = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1,
}


def serve(library: str, rank: int, ranks: int, port: int, pipe) -> None:
    """A rank: on request, (collective, elements, calls) -> seconds of each call, and of the
    processors for all."""
    os.environ["MINITORCH_ENCRYPT"] = "always" if library == "encrypted" else "never"
    if library == "gloo":
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        tensor_of = torch.from_numpy
    else:
        import minitorch.distributed as dist

        def tensor_of(array):
            return array

    def prepared(collective: str, elements: int):
        whole = tensor_of(np.zeros(elements, np.float32))
        part = tensor_of(np.zeros(elements // ranks, np.float32))
        return {
            "all_reduce": lambda: dist.all_reduce(whole),
            "reduce_scatter": lambda: dist.reduce_scatter_single(part, whole),
            "all_gather": lambda: dist.all_gather_single(whole, part),
            "broadcast": lambda: dist.broadcast(whole, 0),
        }[collective]

    backend = "gloo" if library == "gloo" else "zmq"
    dist.init_process_group(backend, f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    pipe.send("ready")
    last, call = None, None
    while (request := pipe.recv()) is not None:
        *what, calls = request
        if what != last:
            last, call = what, prepared(*what)
        seconds = []
        busy = time.process_time()
        for _ in range(calls):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        pipe.send((seconds, time.process_time() - busy))
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

    def measure(self, collective: str, elements: int, calls: int) -> tuple[list[float], float]:
        """Rank 0's seconds for each of so many calls, and all ranks' processor seconds for one."""
        for pipe in self.pipes:
            pipe.send((collective, elements, calls))
        answers = [pipe.recv() for pipe in self.pipes]
        return answers[0][0], sum(busy for _, busy in answers) / calls

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


def in_words(nbytes: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= size:
            return f"{nbytes / size:g} {unit}"
    return f"{nbytes} B"


def compare(
    libraries: dict[str, Library], collective: str, nbytes: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """The median seconds and processor seconds of each library."""
    elements = nbytes // 4
    first = [median(lib.measure(collective, elements, 3)[0]) for lib in libraries.values()]
    calls = max(2, min(300, int(ROUND_SECONDS / max(first))))
    times: dict[str, list] = {name: [] for name in libraries}
    busy: dict[str, list] = {name: [] for name in libraries}
    for _ in range(rounds):
        for name, library in libraries.items():
            seconds, processors = library.measure(collective, elements, calls)
            times[name] += seconds
            busy[name].append(processors)
    return {name: (median(times[name]), median(busy[name])) for name in libraries}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--collectives", default="all_reduce")
    parser.add_argument("--ranks", default="2")
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--transport", default="memory", choices=("memory", "ipc", "tcp"))
    parser.add_argument("--encrypted", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    os.environ["MINITORCH_TRANSPORT"] = options.transport
    names = ["minitorch", "gloo", *(["encrypted"] if options.encrypted else [])]
    columns = ["bytes", *[f"{name} us" for name in names], "ratio", "algbw GB/s", "busbw GB/s"]
    columns += [f"{name} cpu" for name in names]
    bar = "|" if options.markdown else " "

    for ranks in map(int, options.ranks.split(",")):
        libraries = {name: Library(name, ranks) for name in names}
        for collective in options.collectives.split(","):
            print(f"\n{collective} of float32, {ranks} ranks, {options.transport}; medians\n")
            print(bar + bar.join(f"{name:>13}" for name in columns) + bar)
            if options.markdown:
                print("|" + "---:|" * len(columns))
            for size in map(in_bytes, options.sizes.split(",")):
                whole = 4 * ranks if collective in ("reduce_scatter", "all_gather") else 4
                nbytes = max(whole, size - size % whole)
                found = compare(libraries, collective, nbytes, options.rounds)
                ours, theirs = found["minitorch"][0], found["gloo"][0]
                algbw = nbytes / ours / 1e9
                cells = (
                    in_words(nbytes),
                    *[f"{found[name][0] * 1e6:.0f}" for name in names],
                    f"{ours / theirs:.2f}",
                    f"{algbw:.2f}",
                    f"{algbw * BUS_FACTOR[collective](ranks):.2f}",
                    *[f"{found[name][1] * 1e3:.2f}" for name in names],
                )
                print(bar + bar.join(f"{cell:>13}" for cell in cells) + bar, flush=True)
        for library in libraries.values():
            library.stop()


if __name__ == "__main__":
    main()
