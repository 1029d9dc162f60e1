"""minitorchrun: several launchers make one job. Here each "node" is a launcher on this machine."""

import glob
import os
import re
import signal
import socket

import pytest

from minitorch.distributed.store import TCPStore
from tests.distributed.launching import (
    SOON,
    finish,
    free_port,
    launch,
    nodes,
    printed,
    started,
    static,
    wait_until,
)

MEET = """
import os
from minitorch.distributed.rendezvous import rendezvous
store, rank, world_size = next(rendezvous("env://"))
names = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE".split()
names += "ROLE_NAME ROLE_RANK ROLE_WORLD_SIZE".split()
print(*[os.environ[name] for name in names])
"""
SLEEP = "import os, time; print('up', os.environ['WORLD_SIZE'], flush=True); time.sleep(60)"
FAST = "--rdzv-conf=last_call_timeout=1,keep_alive_interval=0.5,keep_alive_max_attempt=20"


def c10d(nnodes, port, *more):
    endpoint = f"--rdzv-endpoint=127.0.0.1:{port}"
    return [f"--nnodes={nnodes}", "--rdzv-backend=c10d", endpoint, FAST, *more]


def test_two_nodes_make_one_job(script):
    first, second = static(2)
    with nodes(
        script(MEET),
        [*second, "--nproc_per_node=1", "--role=other"],
        [*first, "--nproc_per_node=2"],
    ) as launchers:
        (code1, out1, err1), (code0, out0, err0) = finish(launchers)
    assert (code0, code1) == (0, 0), err0 + err1
    assert sorted(out0.splitlines()) == [
        "[rank0] 0 0 3 2 0 2 default 0 2",
        "[rank1] 1 1 3 2 0 2 default 1 2",
    ]
    assert out1 == "[rank2] 2 0 3 1 1 2 other 0 1\n"


def test_c10d_gives_the_ranks_itself_and_the_host_of_the_store_is_first(script):
    port = free_port()
    path = script(MEET)
    with started(*c10d("2", port, "--nproc_per_node=2"), path) as first:
        assert wait_until(lambda: listens(port))
        with started(*c10d("2", port), path) as second:
            (code0, out0, err0), (code1, out1, err1) = finish([first, second])
    assert (code0, code1) == (0, 0), err0 + err1
    assert [printed(out0, rank)[0][:11] for rank in range(2)] == ["0 0 3 2 0 2", "1 1 3 2 0 2"]
    assert printed(out1, 2)[0].startswith("2 0 3 1 1 2")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_min_max_begins_when_the_last_call_is_over(script):
    port = free_port()
    path = script(MEET)
    with nodes(path, *[c10d("2:3", port)] * 2) as launchers:
        results = finish(launchers)
    assert [code for code, _, _ in results] == [0, 0], results
    worlds = sorted(line.split()[3] for _, out, _ in results for line in out.splitlines())
    assert worlds == ["2", "2"]


def test_a_late_node_is_taken_in_with_a_new_round(script):
    port = free_port()
    path = script(
        """
import os, time
print(os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["WORLD_SIZE"], flush=True)
time.sleep(0 if os.environ["WORLD_SIZE"] == "2" else 60)
"""
    )
    with started(*c10d("1:2", port), path) as first:
        assert first.stdout.readline() == "0 1\n"
        with started(*c10d("1:2", port), path) as late:
            (code0, out0, err0), (code1, out1, _) = finish([first, late])
    assert (code0, code1) == (0, 0)
    assert (out0, out1) == ("[rank0] 1 2\n", "[rank1] 1 2\n")
    assert re.search(r"process \d+ on \S+ has joined: all workers are started again", err0)


@pytest.mark.slow
def test_a_node_too_many_waits_as_a_spare_and_takes_the_place_of_a_dead_one(script):
    port = free_port()
    path = script(SLEEP)
    options = c10d("2", port, "--max-restarts=1")
    with nodes(path, options, options) as two:
        for process in two:
            assert process.stdout.readline().endswith("up 2\n")
        with started(*options, path) as spare:
            line = spare.stderr.readline()
            assert re.search(r"waiting for a place in the job at .*, which has all its nodes", line)
            not_the_host(two, port).kill()
            assert spare.stdout.readline() == "[rank1] up 2\n"


def not_the_host(launchers, port):
    """The launcher that does not serve the store: no socket of its process listens at the port."""
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as file:
            for fields in map(str.split, file):
                if fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                    listening.add(f"socket:[{fields[9]}]")

    def hosts(process):
        links = glob.glob(f"/proc/{process.pid}/fd/*")
        return any(os.readlink(link) in listening for link in links if os.path.islink(link))

    return next(process for process in launchers if not hosts(process))


def test_a_node_too_many_is_turned_away_when_it_could_never_get_a_place(script):
    port = free_port()
    path = script(SLEEP)
    with started(*c10d("1", port), path) as first:
        assert first.stdout.readline() == "up 1\n"
        result = launch(*c10d("1", port), path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "has all its nodes, and no restarts left" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_spare_that_was_not_needed_has_not_failed(script):
    port = free_port()
    path = script(
        """
import os, time
print("up", flush=True)
while not os.path.exists(__file__ + ".end"):
    time.sleep(0.01)
"""
    )
    options = c10d("1", port, "--max-restarts=1")
    with started(*options, path) as first:
        assert first.stdout.readline() == "up\n"
        with started(*options, path) as spare:
            assert "waiting for a place" in spare.stderr.readline()
            script("", "script.py.end")
            _, err = spare.communicate(SOON)
            assert (spare.returncode, first.wait(SOON)) == (0, 0)
    assert err.splitlines()[-1] == "minitorchrun: the job has ended, and did not need this node"


def test_another_jobs_port_is_told(script):
    port = free_port()
    path = script(SLEEP)
    with started(*c10d("1", port, "--rdzv-id=one"), path) as first:
        assert first.stdout.readline() == "up 1\n"
        result = launch(*c10d("1", port, "--rdzv-id=two"), path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "for the job 'two', but the one there is 'one'" in result.stderr


# A node fails


def test_a_failure_on_one_node_ends_the_other_with_its_exit_code_and_traceback(script):
    path = script(
        """
import os, sys, time
if os.environ["RANK"] == "1":
    time.sleep(0.3)
    print("Traceback (most recent call last):\\nOSError: the reason", file=sys.stderr)
    sys.exit(7)
time.sleep(60)
"""
    )
    with nodes(path, *static(2)) as launchers:
        results = finish(launchers, SOON)
    for code, out, err in results:
        assert (code, out) == (7, "")
        assert re.search(r"rank 1 \(pid \d+\) on node 1 ended with exit code 7, saying:", err)
        assert err.splitlines()[-1] == "OSError: the reason"


@pytest.mark.parametrize("victim", [0, 1])
def test_kill_9_of_one_nodes_launcher_ends_the_other(script, victim):
    with nodes(script(SLEEP), *static(2)) as launchers:
        for process in launchers:
            assert process.stdout.readline().endswith("up 2\n")
        launchers[victim].kill()
        _, err = launchers[1 - victim].communicate(timeout=SOON)
        assert launchers[1 - victim].returncode == 1
    words = "the launcher that serves the store at" if victim == 0 else "the launcher of node 1"
    assert f"the job ended because {words}" in err and "is gone" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("victim", [0, 1])
def test_a_launcher_that_hangs_is_missed_within_seconds(script, victim):
    conf = "--rdzv-conf=keep_alive_interval=0.5,keep_alive_max_attempt=8"
    with nodes(script(SLEEP), *static(2), common=[conf]) as launchers:
        for process in launchers:
            assert process.stdout.readline().endswith("up 2\n")
        launchers[victim].send_signal(signal.SIGSTOP)
        _, err = launchers[1 - victim].communicate(timeout=SOON)
        assert launchers[1 - victim].returncode == 1
    assert ("is gone" if victim == 0 else "has given no sign of life for 4 s") in err


def test_ctrl_c_on_one_node_ends_the_other(script):
    with nodes(script(SLEEP), *static(2)) as launchers:
        for process in launchers:
            assert process.stdout.readline().endswith("up 2\n")
        launchers[1].send_signal(signal.SIGINT)
        (code0, _, err0), (code1, _, err1) = finish(launchers, SOON)
    assert (code0, code1) == (128 + signal.SIGINT,) * 2
    words = r"because the launcher of node 1 \(process \d+ on \S+\) was stopped by SIGINT"
    assert re.search(words, err0)
    assert err1.splitlines()[-1] == "minitorchrun: was stopped by SIGINT"


def test_the_exit_barrier_keeps_the_store_until_all_are_through(script):
    """Node 0 is through at once, and serves the store on for the worker of node 1."""
    path = script(
        """
import os, time
from minitorch.distributed.rendezvous import rendezvous
store, rank, world_size = next(rendezvous("env://"))
if rank == 1:
    time.sleep(2)  # rank 0 has ended
    store.set("late", "but there")
    print(store.get("late").decode())
"""
    )
    with nodes(path, *static(2)) as launchers:
        results = finish(launchers)
    assert [code for code, _, _ in results] == [0, 0], results
    assert results[1][1] == "[rank1] but there\n"


# Mistakes


def test_too_few_nodes_are_waited_for_aloud_and_then_named(script):
    first, _ = static(2, "--rdzv-conf=join_timeout=8")
    port = first[2].partition("=")[2]
    result = launch(*first, script("print('never')"))
    assert (result.returncode, result.stdout) == (1, "")
    waiting, end = result.stderr.splitlines()
    missing = f"1 of 2 nodes at 127.0.0.1:{port}: node 1"
    assert re.fullmatch(rf"minitorchrun: waiting for {missing}, [5-8] s", waiting)
    assert f"{missing} did not come within 8 s" in end


@pytest.mark.slow
def test_a_node_without_node_0_says_where_it_looks(script):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # so that no other test listens there
        port = f"--master_port={nobody.getsockname()[1]}"
        options = ["--nnodes=2", "--node_rank=1", port, "--rdzv-conf=join_timeout=6"]
        result = launch(*options, script("print('never')"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "no store answered at 127.0.0.1:" in result.stderr.splitlines()[-1]
    assert "Connection refused" in result.stderr and "Traceback" not in result.stderr


def test_nodes_that_disagree_are_told(script):
    path = script("print('never')")
    port = f"--master_port={free_port()}"
    with nodes(path, [port, "--nnodes=2"], [port, "--nnodes=3", "--node_rank=1"]) as launchers:
        for code, out, err in finish(launchers, SOON):
            assert (code, out) == (1, "") and "start all with the same --nnodes" in err
    first, second, _ = static(3)
    with nodes(path, first, second, second) as launchers:
        for code, out, err in finish(launchers, SOON):
            assert (code, out) == (1, "") and "node rank 1" in err and "is taken twice" in err


def test_started_twice_on_one_port(script):
    path = script(SLEEP)
    port = free_port()
    with started(f"--master_port={port}", path) as first:
        assert first.stdout.readline() == "up 1\n"
        result = launch(f"--master_port={port}", path)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.search(rf"process \d+ wanted to host a store at 127.0.0.1:{port}", result.stderr)
    assert f"Another launcher serves it: process {first.pid} on " in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_store_of_a_script_is_not_taken_for_a_launcher(script):
    store = TCPStore("127.0.0.1", 0, is_master=True)
    result = launch("--nnodes=2", "--node_rank=1", f"--master_port={store.port}", script(""))
    store.close()
    assert (result.returncode, result.stdout) == (1, "")
    assert f"the store at 127.0.0.1:{store.port} is no launcher's" in result.stderr


def test_a_port_taken_by_a_stranger_is_named(script):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = launch(f"--master_port={port}", script("print('never')"))
    assert (result.returncode, result.stdout) == (1, "")
    assert f"127.0.0.1:{port}" in result.stderr and "in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plain_launch_does_not_mind_that_29500_is_taken(script):
    try:
        taken = socket.create_server(("127.0.0.1", 29500))
    except OSError:  # by somebody else: just as good
        taken = socket.socket()
    with taken:
        result = launch(script("import os; print(os.environ['MASTER_PORT'])"))
    assert result.returncode == 0 and int(result.stdout) != 29500
