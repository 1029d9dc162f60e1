"""--numa-binding: which processors a worker may run on.

Why: each socket of a large machine has memory and GPUs of its own, and those of another are further
away. A worker that keeps to the processors near its GPU stays near its memory, too, which is taken
from the node where it runs first. Without GPUs, the nodes are shared out evenly.

How: a process inherits the processors of the thread that starts it. So the launcher's thread takes
them on while it starts the worker, which then never runs a single instruction elsewhere.

PyTorch: torch/numa/binding.py
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

MODES = {
    "node": "all processors of the GPU's NUMA node",
    "socket": "all of its socket",
    "exclusive": "its own share of the node's cores",
    "core-complex": "some that share a cache",
}


@contextlib.contextmanager
def bound(mode: str | None, local_rank: int, nproc: int) -> Iterator[None]:
    """What this thread starts inside runs on the processors for this worker, of `nproc` here."""
    if mode is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors(mode, local_rank, nproc))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def processors(mode: str, local_rank: int, nproc: int, root: str = "/") -> set[int]:
    """The processors for a worker, as the files of /sys and /proc below `root` describe them.

    Raises ValueError if there are too few cores for each worker to have its own.
    """
    machine = Machine(Path(root))
    nodes = [machine.node_of_worker(rank, nproc) for rank in range(nproc)]
    node = nodes[local_rank]
    cpus = machine.nodes[node]
    place, sharers = nodes[:local_rank].count(node), nodes.count(node)
    if mode == "node":
        return cpus
    if mode == "socket":
        socket = machine.about(min(cpus), "topology/physical_package_id")
        everywhere = set().union(*machine.nodes.values())
        return {c for c in everywhere if machine.about(c, "topology/physical_package_id") == socket}
    if mode == "exclusive":
        cores = machine.grouped(cpus, "topology/thread_siblings_list")
        if len(cores) < sharers:
            raise ValueError(
                f"--numa-binding exclusive: {sharers} workers share NUMA node {node}, which has "
                f"{len(cores)} cores for them"
            )
        share = slice(len(cores) * place // sharers, len(cores) * (place + 1) // sharers)
        return set().union(*cores[share])
    caches = machine.grouped(cpus, "cache/index3/shared_cpu_list")
    caches.sort(key=len, reverse=True)
    return caches[place % len(caches)]


class Machine:
    """The processors that this process may use, `nodes`: {NUMA node: its processors}."""

    def __init__(self, root: Path):
        self._root = root
        allowed = os.sched_getaffinity(0)
        folder = root / "sys/devices/system/node"
        nodes = {
            int(path.parent.name[4:]): _numbers(path.read_text()) & allowed
            for path in folder.glob("node[0-9]*/cpulist")
        }
        self.nodes = {n: cpus for n, cpus in sorted(nodes.items()) if cpus} or {0: set(allowed)}

    def about(self, cpu: int, what: str) -> str:
        """A file on one processor; empty where there is none, as in some virtual machines."""
        path = self._root / f"sys/devices/system/cpu/cpu{cpu}" / what
        return path.read_text() if path.exists() else ""

    def grouped(self, cpus: set[int], what: str) -> list[set[int]]:
        """The processors in groups for which a file says the same."""
        groups: dict[str, set[int]] = {}
        for cpu in sorted(cpus):
            groups.setdefault(self.about(cpu, what), set()).add(cpu)
        return list(groups.values())

    def node_of_worker(self, local_rank: int, nproc: int) -> int:
        """That of its GPU, or its share of the nodes."""
        gpus = sorted((self._root / "proc/driver/nvidia/gpus").glob("*"))  # by PCI address
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if visible != [""] and all(number.strip().isdigit() for number in visible):
            gpus = [gpus[int(number)] for number in visible if int(number) < len(gpus)]
        if len(gpus) >= nproc:
            path = self._root / "sys/bus/pci/devices" / gpus[local_rank].name / "numa_node"
            node = int(path.read_text())  # -1 on a machine with one
            if node in self.nodes:
                return node
        return list(self.nodes)[local_rank * len(self.nodes) // nproc]


def _numbers(text: str) -> set[int]:
    """0-3,8,10-11 as the kernel writes it."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers
