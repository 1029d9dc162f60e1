"""--numa-binding: which processors each worker gets, on machines that are made up of files."""

import os
import subprocess
import sys

import pytest

from minitorch.distributed.launcher import numa

from .launching import launch, printed

GPUS = {"0000:17:00.0": 1, "0000:65:00.0": 0, "0000:ca:00.0": 1}  # PCI address -> NUMA node


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Two sockets of one node each, with 4 cores of 2 threads; a cache for every 2 or 4 threads."""

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")

    for cpu in range(16):  # 0-7 on node 0, 8-15 on node 1; threads of a core are neighbours
        node, core = cpu // 8, cpu // 2
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        write(f"{folder}/topology/physical_package_id", str(node))
        write(f"{folder}/topology/thread_siblings_list", f"{2 * core}-{2 * core + 1}")
        first = {0: 0, 1: 2, 2: 4, 3: 4}[core % 4] + 8 * node
        last = {0: 1, 1: 3, 2: 7, 3: 7}[core % 4] + 8 * node
        write(f"{folder}/cache/index3/shared_cpu_list", f"{first}-{last}")
    write("sys/devices/system/node/node0/cpulist", "0-3,4-7")
    write("sys/devices/system/node/node1/cpulist", "8-15")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)) - {15})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def add_gpus():
        for address, node in GPUS.items():
            write(f"proc/driver/nvidia/gpus/{address}/information", "")
            write(f"sys/bus/pci/devices/{address}/numa_node", str(node))

    machine = lambda mode, nproc: [  # noqa: E731
        numa.processors(mode, rank, nproc, str(tmp_path)) for rank in range(nproc)
    ]
    machine.add_gpus = add_gpus
    return machine


FIRST, SECOND = set(range(8)), set(range(8, 15))


def test_without_gpus_the_nodes_are_shared_out(machine):
    assert machine("node", 4) == machine("socket", 4) == [FIRST, FIRST, SECOND, SECOND]
    assert machine("exclusive", 2) == [FIRST, SECOND]
    assert machine("exclusive", 4) == [{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}, {12, 13, 14}]
    # The largest cache first, and again from the front when there are no more.
    caches = [{4, 5, 6, 7}, {0, 1}, {2, 3}, {4, 5, 6, 7}]
    assert machine("core-complex", 8)[:4] == caches


def test_too_few_cores(machine):
    with pytest.raises(ValueError, match="5 workers share NUMA node 0, which has 4 cores"):
        machine("exclusive", 10)


def test_near_the_gpus(machine, monkeypatch):
    machine.add_gpus()
    assert machine("node", 3) == [SECOND, FIRST, SECOND]
    assert machine("exclusive", 3) == [{8, 9, 10, 11}, FIRST, {12, 13, 14}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert machine("node", 2) == [SECOND, SECOND]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone binds processes")
def test_what_is_started_inherits_the_processors(monkeypatch):
    before = os.sched_getaffinity(0)
    chosen = {max(before)}
    monkeypatch.setattr(numa, "processors", lambda *args: chosen)
    show = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"]
    with numa.bound("node", 0, 1):
        assert subprocess.check_output(show, text=True) == f"{chosen}\n"
    assert os.sched_getaffinity(0) == before
    with numa.bound(None, 0, 1):
        assert os.sched_getaffinity(0) == before


def test_the_launcher_binds_its_workers(script):
    try:
        expected = [sorted(numa.processors("exclusive", rank, 2)) for rank in range(2)]
    except ValueError as error:
        pytest.skip(str(error))
    path = script("import os; print(sorted(os.sched_getaffinity(0)))")
    result = launch("-n2", "--numa-binding=exclusive", path)
    assert result.returncode == 0, result.stderr
    assert [printed(result.stdout, rank) for rank in range(2)] == [[str(e)] for e in expected]


@pytest.mark.parametrize(
    "option, words",
    [
        ("--numa-binding=near", "must be one of node (all processors of the GPU's NUMA node)"),
        ("--event-log-handler=console", "no log handlers are registered here"),
        ("--logs-specs=mine", "use --log-dir, --redirects, --tee"),
    ],
)
def test_what_is_refused(script, option, words):
    result = launch(option, script(""))
    assert result.returncode == 2 and words in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 2
