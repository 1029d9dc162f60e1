"""minitorchrun: no process, and no folder, is left behind."""

import os
import signal

import pytest

from tests.distributed.launching import (
    SOON,
    alive,
    environment,
    free_port,
    launch,
    printed,
    read,
    started,
    wait_until,
    with_variable,
)

FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("PIDS", os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def family(process, nproc):
    """The processes of all workers and their children."""
    pids = []
    for _ in range(nproc):
        pids += map(int, process.stdout.readline().split()[-2:])
    assert all(alive(pid) for pid in pids)
    return pids


@pytest.mark.parametrize("nproc", [1, 2])
def test_kill_9_of_the_launcher_leaves_nothing(script, nproc):
    temporary = os.path.dirname(script(""))
    path = script(FAMILY)
    with started(f"--nproc_per_node={nproc}", path) as process:
        pids = family(process, nproc)
        entries = read(f"/proc/{pids[0]}/environ").split("\0")
        variables = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        scratch = os.path.abspath(variables["TORCHELASTIC_ERROR_FILE"] + "/../../..")
        assert os.path.isdir(scratch) and scratch != temporary
        process.kill()
        assert wait_until(lambda: not any(alive(pid) for pid in pids))
        assert wait_until(lambda: not os.path.exists(scratch))


@pytest.mark.parametrize("nproc", [1, 2])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_ends_everything(script, nproc, signum):
    with started(f"--nproc_per_node={nproc}", script(FAMILY)) as process:
        pids = family(process, nproc)
        process.send_signal(signum)
        assert process.wait(SOON) == 128 + signum
        assert not any(alive(pid) for pid in pids)
        assert f"minitorchrun: was stopped by {signum.name}" in process.stderr.read()


@pytest.mark.parametrize(
    "options, signum",
    [([], signal.SIGTERM), (["--signals-to-handle=SIGUSR1,SIGTERM"], signal.SIGUSR1)],
)
def test_the_signal_is_forwarded_so_that_workers_can_end_in_order(script, options, signum):
    path = script(
        f"""
import signal, sys, time
def end(signum, frame):
    print("saved", flush=True)
    sys.exit(0)
signal.signal({int(signum)}, end)
print("ready", flush=True)
time.sleep(60)
"""
    )
    with started("-n2", *options, path) as process:
        ready = sorted(process.stdout.readline() for _ in range(2))
        assert ready == ["[rank0] ready\n", "[rank1] ready\n"]
        process.send_signal(signum)
        out, err = process.communicate(timeout=SOON)
    assert process.returncode == 128 + signum
    assert sorted(out.splitlines()) == ["[rank0] saved", "[rank1] saved"]
    assert f"was stopped by {signum.name}" in err


def test_what_a_worker_leaves_running_ends_with_it(script):
    path = script(
        """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid)
"""
    )
    result = launch("--nproc_per_node=2", path)
    assert result.returncode == 0
    assert not any(alive(int(printed(result.stdout, rank)[0])) for rank in range(2))


WAYS = {  # options, program, signal, exit code
    "success": ([], "print('x')", None, 0),
    "success with logs": (["-t3"], "print('x')", None, 0),
    "a worker fails": ([], "import sys; sys.exit(3)", None, 3),
    "restarts": (["--max-restarts=2"], "import sys; sys.exit(3)", None, 3),
    "a worker is killed": ([], "import os; os.kill(os.getpid(), 9)", None, 137),
    "Ctrl-C": ([], "print('x', flush=True); import time; time.sleep(60)", signal.SIGINT, 130),
    "no such port": (["--master_port=1", "--master_addr=1.2.3.4"], "", None, 1),
    "kill -9": ([], "print('x', flush=True); import time; time.sleep(60)", signal.SIGKILL, -9),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_behind(script, tmp_path, way):
    options, program, signum, code = WAYS[way]
    path = script(program)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = environment(TMPDIR=str(temporary), MARK=str(tmp_path))
    if way == "no such port":
        options = ["--master_port", str(free_port()), "--nnodes=2", "--node_rank=1", *options[1:]]
        options.append("--rdzv-conf=join_timeout=0.5")
    with started("-n2", *options, path, env=env) as process:
        if signum is not None:
            assert process.stdout.readline().endswith("x\n")
            process.send_signal(signum)
        process.communicate(timeout=60)
        assert process.returncode == code
        if way == "kill -9":  # then others have to clean up, which takes a moment
            assert wait_until(lambda: not with_variable(f"MARK={tmp_path}"))
            assert wait_until(lambda: not any(temporary.iterdir()))
        assert with_variable(f"MARK={tmp_path}") == []
        assert list(temporary.iterdir()) == []
