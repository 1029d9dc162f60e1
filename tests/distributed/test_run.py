"""minitorchrun: tiny scripts started as real processes.

Where torchrun does the same, it is started beside and compared. The bar for failures: every
process gone, the root cause's own exit code, and its traceback the last thing printed.
"""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from minitorch.distributed.launcher.nodes import Nodes

LAUNCHER = [sys.executable, "-m", "minitorch.distributed.run"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
OURS = re.compile(
    r"^(RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE|MASTER|TORCHELASTIC|OMP|PET|TORCH_NCCL)_.*)$"
)

PRINT_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def script(tmp_path):
    """Writes a script and returns its path."""

    def write(text, name="script.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def environment(**more):
    """The environment without what a launcher or a test runner may have put into it."""
    kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    return kept | more


def launch(*arguments, launcher=LAUNCHER, env=None, timeout=60, **settings):
    return subprocess.run(
        [*launcher, *arguments],
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        **settings,
    )


@contextlib.contextmanager
def started(*arguments, **settings):
    """A launcher that runs while the test does something to it."""
    process = subprocess.Popen(
        [*LAUNCHER, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_until(condition, seconds=6.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read(path):
    with open(path) as file:
        return file.read()


def printed(output, rank):
    """What one rank printed, without its prefix."""
    prefix = f"[rank{rank}] "
    return [line.removeprefix(prefix) for line in output.splitlines() if line.startswith(prefix)]


# Starting


@pytest.mark.parametrize("nproc", [1, 2])
def test_environment_is_torchruns(script, nproc):
    path = script(
        """
import json, os, sys
with open(f"{sys.argv[1]}.{os.environ['RANK']}", "w") as file:
    json.dump(dict(os.environ), file)
"""
    )
    seen = {}
    for launcher, name in ((LAUNCHER, "ours"), (TORCHRUN, "theirs")):
        out = path + name
        result = launch(f"--nproc_per_node={nproc}", path, out, launcher=launcher)
        assert result.returncode == 0, result.stderr
        seen[name] = [json.loads(read(f"{out}.{rank}")) for rank in range(nproc)]
    by_chance = {"MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_ERROR_FILE", "MASTER_ADDR"}
    for ours, theirs in zip(seen["ours"], seen["theirs"], strict=True):
        ours = {name: value for name, value in ours.items() if OURS.match(name)}
        theirs = {name: value for name, value in theirs.items() if OURS.match(name)}
        assert ours.keys() == theirs.keys()
        assert {n: ours[n] for n in ours.keys() - by_chance} == {
            n: theirs[n] for n in theirs.keys() - by_chance
        }
        assert ours["MASTER_ADDR"] == "127.0.0.1" and theirs["MASTER_ADDR"] == "localhost"
        assert not os.path.exists(os.path.dirname(ours["TORCHELASTIC_ERROR_FILE"])), "left behind"
    assert len({ours["MASTER_PORT"] for ours in seen["ours"]}) == 1


def test_omp_num_threads_is_kept_when_set(script):
    path = script("import os; print(os.environ['OMP_NUM_THREADS'])")
    result = launch("--nproc_per_node=2", path, env=environment(OMP_NUM_THREADS="3"))
    assert sorted(result.stdout.splitlines()) == ["[rank0] 3", "[rank1] 3"]


def test_one_worker_is_not_prefixed_and_several_are(script):
    path = script("import sys; print('out'); print('err', file=sys.stderr)")
    alone = launch(path)
    assert (alone.stdout, alone.stderr) == ("out\n", "err\n")
    three = launch("--nproc-per-node", "3", path)
    assert sorted(three.stdout.splitlines()) == [f"[rank{rank}] out" for rank in range(3)]
    assert sorted(three.stderr.splitlines()) == [f"[rank{rank}] err" for rank in range(3)]


def test_arguments_after_the_script_are_the_scripts(script):
    path = script("import sys; print(sys.argv[1:])")
    arguments = ["--nproc_per_node", "7", "-m", "--lr=0.1", "--", "x"]
    result = launch("--standalone", path, *arguments)
    assert result.stdout == f"{arguments}\n"


def test_module_and_no_python(script, tmp_path):
    script("import sys; print('module', sys.argv[1:])", "some_module.py")
    result = launch("-m", "some_module", "-a", env=environment(PYTHONPATH=str(tmp_path)))
    assert result.stdout == "module ['-a']\n"
    result = launch(
        "--no-python", "--nproc-per-node=2", "bash", "-c", "echo $LOCAL_RANK $1", "_", "a"
    )
    assert sorted(result.stdout.splitlines()) == ["[rank0] 0 a", "[rank1] 1 a"]


def test_pet_variables_are_defaults_that_the_command_line_overrides(script):
    path = script("import os; print(os.environ['WORLD_SIZE'])")
    env = environment(PET_NPROC_PER_NODE="2", PET_STANDALONE="1")
    assert sorted(launch(path, env=env).stdout.splitlines()) == ["[rank0] 2", "[rank1] 2"]
    assert launch("--nproc_per_node=1", path, env=env).stdout == "1\n"


def test_nproc_cpu_and_gpu(script):
    path = script("import os; print(os.environ['WORLD_SIZE'])")
    result = launch("--nproc_per_node=cpu", path)
    assert len(result.stdout.splitlines()) == os.cpu_count()
    result = launch("--nproc_per_node=gpu", path, env=environment(CUDA_VISIBLE_DEVICES="4,7"))
    assert sorted(result.stdout.splitlines()) == ["[rank0] 2", "[rank1] 2"]
    result = launch("--nproc_per_node=gpu", path, env=environment(CUDA_VISIBLE_DEVICES=""))
    assert result.returncode == 2 and "no GPU is visible" in result.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["no_such_script.py"], "no such script: 'no_such_script.py'"),
        (["--no_python", "no-such-program"], "no such program: 'no-such-program'"),
        (["-m", "--no_python", "x"], "--no_python excludes it"),
        (["--nproc_per_node=many", __file__], "must be a number above 0, auto, cpu or gpu"),
        (["--nproc_per_node=0", __file__], "must be a number above 0, auto, cpu or gpu"),
        (["--nnodes=1:4", __file__], "--nnodes must be a fixed number"),
        (["--nnodes=2", "--node_rank=2", __file__], "from 0 to 1, got 2"),
        (["--rdzv_backend=c10d", __file__], "unrecognized arguments: --rdzv_backend=c10d"),
        ([], "training_script"),
    ],
)
def test_mistakes_on_the_command_line_are_named(arguments, words):
    result = launch(*arguments)
    assert result.returncode == 2
    assert words in result.stderr and "Traceback" not in result.stderr


def test_a_real_pytorch_script_runs(script):
    path = script(
        """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
total = torch.tensor([float(rank + 1)])
dist.all_reduce(total)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
model(torch.ones(1, 2) * rank).sum().backward()
print(total.item(), model.module.weight.grad.tolist())
dist.destroy_process_group()
"""
    )
    result = launch("--nproc_per_node=2", path)
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == [f"[rank{r}] 3.0 [[0.5, 0.5]]" for r in range(2)]


@pytest.mark.parametrize("launcher", [LAUNCHER, TORCHRUN], ids=["minitorchrun", "torchrun"])
def test_our_rendezvous_works_under_either_launcher(script, launcher):
    path = script(
        """
import os
from minitorch.distributed.rendezvous import rendezvous
store, rank, world_size = next(rendezvous("env://"))
store.add("sum", rank + 1)
store.add("here", 1)
while int(store.get("here")) < world_size:
    pass
with open(f"{__file__}.{rank}", "w") as file:
    file.write(store.get("sum").decode())
"""
    )
    result = launch("--nproc_per_node=3", path, launcher=launcher)
    assert result.returncode == 0, result.stderr
    assert [read(f"{path}.{rank}") for rank in range(3)] == ["6"] * 3


# Output


def test_lines_are_never_torn(script):
    path = script(
        """
import os, sys
for i in range(300):
    for part in (os.environ["RANK"], ":", str(i), ":", "x" * 2000):
        sys.stdout.write(part)
        sys.stdout.flush()
    sys.stdout.write("\\n")
"""
    )
    result = launch("--nproc_per_node=3", path)
    for rank in range(3):
        assert printed(result.stdout, rank) == [f"{rank}:{i}:{'x' * 2000}" for i in range(300)]
    assert len(result.stdout.splitlines()) == 900


def test_in_a_file_a_progress_bar_is_its_last_state(script):
    path = script(
        """
import sys
for i in range(5):
    sys.stderr.write(f"\\rstep {i}")
    sys.stderr.flush()
sys.stderr.write("\\n")
print("no newline at the end", end="")
"""
    )
    result = launch("--nproc_per_node=2", path)
    assert printed(result.stderr, 0) == printed(result.stderr, 1) == ["step 4"]
    assert printed(result.stdout, 0) == ["no newline at the end"]
    assert "\r" not in result.stderr


def test_on_a_terminal_a_progress_bar_shows_at_once_and_lines_go_above_it(script):
    path = script(
        """
import os, sys, time
if os.environ["RANK"] == "0":
    for i in range(3):
        sys.stderr.write(f"\\r{i} of 3 done")
        time.sleep(0.1)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    sys.stderr.write("\\r3 of 3 done\\n")
else:
    while not os.path.exists(sys.argv[1] + ".hello"):
        time.sleep(0.01)
    sys.stdout.write("hel")  # takes the bar's place until the line is finished
    time.sleep(0.2)
    sys.stdout.write("lo\\n")
"""
    )
    go_on = path + ".go"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*LAUNCHER, "--nproc_per_node=2", path, go_on],
        env=environment(COLUMNS="80"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""

    def read_until(text):
        nonlocal written
        end = time.monotonic() + 20
        while text not in written and time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                written += os.read(ours, 1 << 16)
        assert text in written, written

    try:
        read_until(b"\r\x1b[K[rank0] 2 of 3 done")  # before its newline
        open(go_on + ".hello", "w").close()
        read_until(b"\r\x1b[K[rank1] hello\r\n\r\x1b[K[rank0]")  # taken away, drawn again below
        open(go_on, "w").close()
        read_until(b"\r\x1b[K[rank0] 3 of 3 done\r\n")
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(ours)


# Failing


def test_traceback_of_the_failing_rank_is_whole_and_last(script):
    path = script(
        """
import os, sys, time
def inner():
    raise KeyError("deep inside")
if os.environ["RANK"] == "2":
    try:
        inner()
    except KeyError as error:
        raise ValueError("the real reason") from error
print("busy", file=sys.stderr)
try:
    time.sleep(60)
finally:
    print("cleaning up", file=sys.stderr)
"""
    )
    start = time.monotonic()
    result = launch("--nproc_per_node=4", path)
    assert time.monotonic() - start < 6
    assert result.returncode == 1
    report = result.stderr[result.stderr.index("minitorchrun: ") :]
    head, *traceback = report.splitlines()
    assert re.fullmatch(r"minitorchrun: rank 2 \(pid \d+\) ended with exit code 1, saying:", head)
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback.count("Traceback (most recent call last):") == 2  # the cause is part of it
    assert any("KeyError: 'deep inside'" in line for line in traceback)
    assert traceback[-1] == "ValueError: the real reason"
    assert "Traceback" not in "".join(printed(result.stderr, 0))


@pytest.mark.parametrize("nproc", [1, 2])
def test_exit_code_is_the_workers(script, nproc):
    path = script(
        "import os, sys, time\nif os.environ['RANK'] == '0': sys.exit(77)\ntime.sleep(60)"
    )
    assert launch(f"--nproc_per_node={nproc}", path).returncode == 77


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_worker_is_named_with_its_signal(script, signum):
    path = script(
        f"""
import os, time
if os.environ["RANK"] == "1":
    time.sleep(0.3)
    os.kill(os.getpid(), {int(signum)})
time.sleep(60)
"""
    )
    start = time.monotonic()
    result = launch("--nproc_per_node=3", path)
    assert time.monotonic() - start < 6
    assert result.returncode == 128 + signum
    assert re.search(rf"rank 1 \(pid \d+\) was killed by {signum.name}", result.stderr)


def test_a_complaint_about_a_peer_is_not_the_root_cause(script):
    """Rank 1 fails, but takes its time to end; rank 0 ends first, complaining about rank 1."""
    path = script(
        """
import os, sys, time, traceback
from minitorch.distributed.errors import DistBackendError
if os.environ["RANK"] == "0":
    raise DistBackendError("rank 1 died during all_reduce")
try:
    raise ZeroDivisionError("the root cause")
except ZeroDivisionError:
    traceback.print_exc()
time.sleep(0.7)
sys.exit(5)
"""
    )
    result = launch("--nproc_per_node=2", path)
    assert result.returncode == 5
    assert "rank 0" in result.stderr and "exit code 1 as well" in result.stderr
    assert result.stderr.splitlines()[-1] == "ZeroDivisionError: the root cause"


def test_a_complaint_about_a_peer_counts_when_there_is_no_other_failure(script):
    path = script(
        """
import os, time
from minitorch.distributed.errors import DistBackendError
if os.environ["RANK"] == "0":
    raise DistBackendError("rank 1 is late")
time.sleep(60)
"""
    )
    result = launch("--nproc_per_node=2", path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith("DistBackendError: rank 1 is late")


def test_a_peer_says_in_which_operation_a_killed_worker_died(script):
    path = script("""
import os, signal
import numpy as np
import minitorch.distributed as dist
dist.init_process_group()
data = np.ones(1 << 20, np.float32)
for step in range(1000):
    if step == 20 and dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(data, dist.ReduceOp.AVG)
""")
    start = time.monotonic()
    done = launch("--nproc_per_node", "3", path)
    assert done.returncode == 128 + signal.SIGKILL
    assert time.monotonic() - start < 15
    *_, blame, words = done.stderr.splitlines()
    assert re.match(r"minitorchrun: rank 1 \(pid \d+\) was killed by SIGKILL", blame)
    assert re.search(r"rank [02]: .*all_reduce #\d+ .*rank 1\b", words)


def test_shutdown_timeout_ends_with_sigkill(script):
    path = script(
        """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
if os.environ["RANK"] == "0":
    time.sleep(0.5)
    sys.exit(9)
time.sleep(60)
"""
    )
    start = time.monotonic()
    result = launch("--nproc_per_node=2", "--shutdown_timeout=0.5", path)
    assert time.monotonic() - start < 6
    assert result.returncode == 9
    assert not alive(int(printed(result.stdout, 1)[0]))


# No process is left behind

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
        scratch = os.path.dirname(variables["TORCHELASTIC_ERROR_FILE"])
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
        assert process.wait(6) == 128 + signum
        assert not any(alive(pid) for pid in pids)
        assert f"minitorchrun: was stopped by {signum.name}" in process.stderr.read()


def test_the_signal_is_forwarded_so_that_workers_can_end_in_order(script):
    path = script(
        """
import signal, sys, time
def end(signum, frame):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""
    )
    with started("--nproc_per_node=2", path) as process:
        assert sorted(process.stdout.readline() for _ in range(2)) == [
            "[rank0] ready\n",
            "[rank1] ready\n",
        ]
        process.terminate()
        output, _ = process.communicate(timeout=6)
        assert sorted(output.splitlines()) == ["[rank0] saved", "[rank1] saved"]
        assert process.returncode == 128 + signal.SIGTERM


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


# Several nodes


def nodes(path, port, *settings):
    """Start one launcher for each tuple of options."""
    common = ["--master_addr=127.0.0.1", f"--master_port={port}"]
    return [
        subprocess.Popen(
            [*LAUNCHER, *common, *options, path],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for options in settings
    ]


def finish(launchers, timeout=20):
    """Exit code, stdout and stderr of each."""
    try:
        results = [process.communicate(timeout=timeout) for process in launchers]
    finally:
        for process in launchers:
            process.kill()
    return [(p.returncode, *result) for p, result in zip(launchers, results, strict=True)]


def test_two_nodes_make_one_job(script):
    path = script(
        """
import os
from minitorch.distributed.rendezvous import rendezvous
store, rank, world_size = next(rendezvous("env://"))
names = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE".split()
print(*[os.environ[name] for name in names])
"""
    )
    launchers = nodes(
        path,
        free_port(),
        ["--nnodes=2", "--node_rank=1", "--nproc_per_node=1"],
        ["--nnodes=2", "--node_rank=0", "--nproc_per_node=2"],
    )
    (code1, out1, err1), (code0, out0, err0) = finish(launchers)
    assert (code0, code1) == (0, 0), err0 + err1
    assert sorted(out0.splitlines()) == ["[rank0] 0 0 3 2 0 2", "[rank1] 1 1 3 2 0 2"]
    assert out1 == "2 0 3 1 1 2\n"


def test_node_0_serves_the_store_until_the_others_have_left():
    port = free_port()
    seats = {}

    def sit(rank):
        seats[rank] = Nodes(rank, 2, 1, "127.0.0.1", port, timedelta(seconds=20))

    threads = [threading.Thread(target=sit, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    leaving = threading.Thread(target=seats[0].close)
    leaving.start()
    leaving.join(0.5)
    assert leaving.is_alive()
    seats[1].succeeded()  # still has somebody to tell
    seats[1].close()
    leaving.join(6)
    assert not leaving.is_alive()


def test_a_failure_on_one_node_ends_the_other_with_its_exit_code(script):
    path = script(
        """
import os, sys, time
if os.environ["RANK"] == "1":
    time.sleep(0.3)
    sys.exit(7)
time.sleep(60)
"""
    )
    start = time.monotonic()
    launchers = nodes(
        path, free_port(), ["--nnodes=2", "--node_rank=0"], ["--nnodes=2", "--node_rank=1"]
    )
    results = finish(launchers)
    assert time.monotonic() - start < 6
    for code, out, err in results:
        assert (code, out) == (7, "")
        assert re.search(r"because rank 1 \(pid \d+\) ended with exit code 7 on node 1", err)


def test_kill_9_of_one_nodes_launcher_ends_the_other(script):
    path = script("import time; print('up', flush=True); time.sleep(60)")
    launchers = nodes(
        path, free_port(), ["--nnodes=2", "--node_rank=0"], ["--nnodes=2", "--node_rank=1"]
    )
    for process in launchers:
        assert process.stdout.readline() == "up\n"
    launchers[0].kill()
    (_, (code, _, err)) = finish(launchers, timeout=6)
    assert code == 1 and "the launcher of node 0 is gone" in err


def test_nodes_that_disagree_are_told(script):
    path = script("print('never')")
    settings = [["--nnodes=2", "--node_rank=0"], ["--nnodes=3", "--node_rank=1"]]
    for code, out, err in finish(nodes(path, free_port(), *settings), timeout=6):
        assert (code, out) == (1, "") and "start all with the same number" in err
    settings = [["--nnodes=3", "--node_rank=0"], *[["--nnodes=3", "--node_rank=1"]] * 2]
    for code, out, err in finish(nodes(path, free_port(), *settings), timeout=6):
        assert (code, out) == (1, "") and "node rank 1" in err and "is taken twice" in err


def test_a_taken_master_port_is_named(script):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = launch(f"--master_port={port}", script("print('never')"))
    assert result.returncode == 1 and result.stdout == ""
    assert f"127.0.0.1:{port}" in result.stderr and "in use" in result.stderr
    assert "Traceback" not in result.stderr
