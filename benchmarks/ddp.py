"""A DDP step beside PyTorch's over Gloo, and what overlap hides: `python benchmarks/ddp.py`.

The same script trains the same model in both libraries, in processes that are all up during the
whole run and take turns, so that a disturbance meets both. Each rank computes with one thread.
Three steps are compared, in medians of rank 0:

- single: the step of one process without DDP, all ranks at the same time (so equally warm);
- overlap off: DDP, where a communication hook keeps all buckets until the last one is full;
- overlap on: DDP as it is.

What communication costs is off - single; what overlap hides of it is (off - on) / (off - single).
The last column compares the processor time of a step with overlap, of all threads, user and system:
where other programs disturb, it is steadier than wall time.

    --ranks N       2 by default
    --links A,B     memory (one host, our default transport), tcp (loopback), or a rate such as
                    1gbit: each rank in a network namespace of its own, with its sends slowed down
                    by tc (Linux, as root). Gloo uses tcp everywhere.
    --models A,B    mlp (3.2 million parameters), cnn (0.9), transformer (3.2)
    --batch N       so many times the usual batch: more backward to hide communication behind
    --bucket-mb N   25, as in PyTorch; the last bucket cannot be hidden, so small models want less
    --rounds N      how often the libraries and steps take turns (9)
    --markdown      print a table for the docs
"""

import argparse
import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import time
from statistics import median

LIBRARIES = ("minitorch", "torch")
STEPS = ("single", "off", "on")
MODELS = ("mlp", "cnn", "transformer")


# What runs on a rank: the same lines for both libraries.


def model_and_batch(torch, name: str, times: int):
    """A module, and the inputs and labels of a batch."""
    nn = torch.nn
    torch.manual_seed(0)
    if name == "mlp":
        layers = []
        for wide in (1024, 1024, 1024):
            layers += [nn.Linear(1024, wide), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(1024, 10)), torch.randn(512 * times, 1024)
    if name == "cnn":
        layers = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 8 * 8, 200), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(200, 10)), torch.randn(64 * times, 3, 32, 32)
    layers = [
        nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True) for _ in range(4)
    ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 256, 10)), torch.randn(
        16 * times, 32, 256
    )


def send_later(kept: list, bucket):
    """A communication hook that keeps the buckets until the last, and only then sends them."""
    library = importlib.import_module(type(bucket.buffer()).__module__.partition(".")[0])
    dist = library.distributed
    future = library.futures.Future()
    kept.append((future, bucket.buffer().div_(dist.get_world_size())))
    if bucket.is_last():
        works = [dist.all_reduce(buffer, async_op=True) for _, buffer in kept]
        for work, (done, buffer) in zip(works, kept, strict=True):
            work.wait()
            done.set_result(buffer)
        kept.clear()
    return future


def serve(library: str, model_name: str, times: str, bucket_mb: str) -> None:
    """A rank: reads (step, times) from standard input, answers with (wall, processor) seconds."""
    torch = importlib.import_module(library)
    importlib.import_module(f"{library}.distributed")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo" if library == "torch" else "zmq")

    def trainer(step: str):
        model, inputs = model_and_batch(torch, model_name, int(times))
        labels = torch.arange(inputs.shape[0]) % 10
        if step != "single":
            wrap = torch.nn.parallel.DistributedDataParallel
            model = wrap(model, bucket_cap_mb=float(bucket_mb))
        if step == "off":
            model.register_comm_hook([], send_later)
        loss_of = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

        def train() -> None:
            optimizer.zero_grad()
            loss_of(model(inputs), labels).backward()
            optimizer.step()

        return train

    trainers = {step: trainer(step) for step in STEPS}
    print("ready", flush=True)
    for line in sys.stdin:
        step, times = json.loads(line)
        torch.distributed.barrier()
        seconds = []
        for _ in range(times):
            wall, processor = time.perf_counter(), time.process_time()
            trainers[step]()
            seconds.append((time.perf_counter() - wall, time.process_time() - processor))
        print(json.dumps(seconds), flush=True)
    torch.distributed.destroy_process_group()


# What runs in the middle: networks, processes, and the table.


@contextlib.contextmanager
def network(link: str, ranks: int):
    """Where the ranks run: (their address of rank 0, the words before each rank's command)."""
    if link in ("memory", "tcp"):
        yield "127.0.0.1", [[]] * ranks
        return
    hub, names = f"ddp{os.getpid()}", [f"ddp{os.getpid()}-{rank}" for rank in range(ranks)]
    inside = ["ip", "netns", "exec"]
    try:
        run("ip", "netns", "add", hub)
        run(*inside, hub, "ip", "link", "add", "bridge", "type", "bridge")
        run(*inside, hub, "ip", "link", "set", "bridge", "up")
        for rank, name in enumerate(names):
            port = f"port{rank}"
            run("ip", "netns", "add", name)
            run(
                *("ip", "-n", hub, "link", "add", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", name),
            )
            run("ip", "-n", hub, "link", "set", port, "master", "bridge", "up")
            run("ip", "-n", name, "address", "add", f"10.77.0.{rank + 1}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
            shape = ("root", "tbf", "rate", link, "burst", "256kb", "latency", "50ms")
            run("tc", "-n", name, "qdisc", "add", "dev", "eth0", *shape)
        yield "10.77.0.1", [[*inside, name] for name in names]
    finally:
        for name in (*names, hub):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)


def run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or error
        sys.exit(
            f"cannot slow a link down: `{' '.join(command)}` failed: {reason}\nThis needs Linux, "
            "iproute2 and root; --links memory,tcp does not."
        )


class Ranks:
    """The processes of one library."""

    def __init__(self, library: str, what: list[str], link: str, address: str, places: list):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.processes = []
        for rank, place in enumerate(places):
            environment = {
                **os.environ,
                **{"RANK": str(rank), "WORLD_SIZE": str(len(places))},
                **{"MASTER_ADDR": address, "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
                **{"MINITORCH_TRANSPORT": "memory" if link == "memory" else "tcp"},
                "MINITORCH_ENCRYPT": "never",  # as Gloo
                "GLOO_SOCKET_IFNAME": "eth0" if place else "lo",
            }
            command = [*place, sys.executable, __file__, "--serve", library, *what]
            self.processes.append(
                subprocess.Popen(*(command, -1), stdin=-1, stdout=-1, text=True, env=environment)
            )
        for process in self.processes:
            self._answer(process)

    def measure(self, step: str, times: int) -> list[tuple[float, float]]:
        """Rank 0's (wall, processor) seconds for each of so many steps."""
        for process in self.processes:
            process.stdin.write(json.dumps([step, times]) + "\n")
            process.stdin.flush()
        seconds = [json.loads(self._answer(process)) for process in self.processes]
        return seconds[0]

    def _answer(self, process) -> str:
        line = process.stdout.readline()
        if not line:
            self.stop()
            sys.exit("a rank has ended; its error is above")
        return line

    def stop(self) -> None:
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def compare(what: list[str], link: str, ranks: int, rounds: int) -> dict[tuple[str, str], list]:
    """Median wall and processor seconds for each library and kind of step.

    `what`: model, batch, size of buckets.
    """
    with network(link, ranks) as (address, places):
        libraries = {name: Ranks(name, what, link, address, places) for name in LIBRARIES}
        try:
            for name in LIBRARIES:  # buckets are rebuilt after the first step, pages touched, ...
                for step in STEPS:
                    libraries[name].measure(step, 3)
            times: dict[tuple[str, str], list] = {(n, s): [] for n in LIBRARIES for s in STEPS}
            for _ in range(rounds):
                for step in STEPS:
                    for name in LIBRARIES:
                        times[name, step] += libraries[name].measure(step, 3)
        finally:
            for processes in libraries.values():
                processes.stop()
    return {
        what: [median(kind) for kind in zip(*both, strict=True)] for what, both in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--links", default="memory,tcp")
    parser.add_argument("--models", default="mlp")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--bucket-mb", default="25")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    bar = "|" if options.markdown else " "
    columns = ["model", "link", "library", "single ms", "off ms", "on ms", "hidden"]
    columns += ["to torch", "processor"]
    print(f"\nOne training step, {options.ranks} ranks; medians\n")
    print(bar + bar.join(f"{column:>11}" for column in columns) + bar)
    if options.markdown:
        print("|" + "---:|" * len(columns))
    for model in options.models.split(","):
        for link in options.links.split(","):
            what = [model, options.batch, options.bucket_mb]
            seconds = compare(what, link, options.ranks, options.rounds)
            for name in LIBRARIES:
                (single, _), (off, _), (on, busy) = [seconds[name, step] for step in STEPS]
                cells = [model, link, name, *[f"{1e3 * t:.1f}" for t in (single, off, on)]]
                # Where sending costs next to nothing, there is nothing to hide.
                cells += [f"{(off - on) / (off - single):.0%}" if off > 1.05 * single else "-"]
                torch_on, torch_busy = seconds["torch", "on"]
                cells += [f"{on / torch_on:.2f}", f"{busy / torch_busy:.2f}"]
                print(bar + bar.join(f"{cell:>11}" for cell in cells) + bar, flush=True)


if __name__ == "__main__":
    main()
