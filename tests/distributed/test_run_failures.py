"""minitorchrun: a worker fails. The bar: every process gone, the root cause's own exit code, and
its traceback the last thing printed.
"""

import re
import signal
import time

import pytest

from minitorch.distributed.launcher.arguments import job_from
from minitorch.distributed.run import parse_args
from tests.distributed.launching import SOON, alive, launch, printed, started


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
    assert time.monotonic() - start < SOON
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
    assert time.monotonic() - start < SOON
    assert result.returncode == 128 + signum
    assert re.search(rf"rank 1 \(pid \d+\) was killed by {signum.name}", result.stderr)


def test_a_complaint_about_a_peer_is_not_the_root_cause(script):
    """Rank 1 fails, but takes its time to end; rank 0 ends first, complaining about rank 1."""
    path = script(
        """
import os, sys, time, traceback
from minitorch.distributed.errors import DistBackendError
if os.environ["RANK"] == "0":
    os.symlink(str(os.getpid()), __file__ + ".pid")
    raise DistBackendError("rank 1 died during all_reduce")
try:
    raise ZeroDivisionError("the root cause")
except ZeroDivisionError:
    traceback.print_exc()
while not os.path.lexists(__file__ + ".pid"):
    time.sleep(0.01)
other = os.readlink(__file__ + ".pid")
while os.path.exists(f"/proc/{other}"):  # until the launcher has noticed its end
    time.sleep(0.01)
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
    assert time.monotonic() - start < SOON
    *_, blame, words = done.stderr.splitlines()
    assert re.match(r"minitorchrun: the cause: rank 1 \(pid \d+\) was killed by SIGKILL", blame)
    assert re.search(r"rank [02]: .*all_reduce #\d+ .*rank 1\b", words)


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
there = __file__ + os.environ["TORCHELASTIC_RESTART_COUNT"]
if os.environ["RANK"] == "1":
    open(there, "w").close()
elif len(sys.argv) > 1:
    while not os.path.exists(there):
        time.sleep(0.01)
    sys.exit(9)
time.sleep(60)
"""


@pytest.mark.parametrize("attempts", [1, 2])
def test_shutdown_timeout_is_honoured_after_a_failure_and_before_a_restart(script, attempts):
    start = time.monotonic()
    options = ["--nproc_per_node=2", "--shutdown_timeout=0.5", f"--max-restarts={attempts - 1}"]
    result = launch(*options, script(STUBBORN), "fail")
    assert time.monotonic() - start < SOON
    assert result.returncode == 9
    pids = printed(result.stdout, 1)
    assert len(pids) == attempts and not any(alive(int(pid)) for pid in pids)


def test_shutdown_timeout_is_honoured_after_a_signal(script):
    with started("--nproc_per_node=2", "--shutdown_timeout=0.5", script(STUBBORN)) as process:
        pids = [int(process.stdout.readline().split()[1]) for _ in range(2)]
        process.terminate()
        assert process.wait(SOON) == 128 + signal.SIGTERM
        assert not any(alive(pid) for pid in pids)


def test_shutdown_timeout_has_torchruns_variable(monkeypatch):
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "7")
    assert job_from(parse_args([__file__])).shutdown_timeout == 7
    assert job_from(parse_args(["--shutdown-timeout=2", __file__])).shutdown_timeout == 2


def test_the_error_file_goes_into_the_report(script):
    """What `record` has written counts more than what else is on stderr."""
    path = script(
        """
import json, os, sys, time
if os.environ["RANK"] == "1":
    stack = "Traceback (most recent call last):\\nValueError: from the file"
    message = {"message": "x", "extraInfo": {"py_callstack": stack, "timestamp": "1"}}
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as file:
        json.dump({"message": message}, file)
    print("Traceback (most recent call last):\\nOSError: later", file=sys.stderr)
    sys.exit(4)
time.sleep(60)
"""
    )
    result = launch("-n2", path)
    assert result.returncode == 4
    assert result.stderr.splitlines()[-2:] == [
        "Traceback (most recent call last):",
        "ValueError: from the file",
    ]


def test_an_exception_on_rank_3_of_8(script):
    path = script(
        """
import os, time
if os.environ["RANK"] == "3":
    raise RuntimeError("rank 3 has had enough")
time.sleep(60)
"""
    )
    result = launch("-n8", path)
    own = [line for line in result.stderr.splitlines() if not line.startswith("[rank3] ")]
    assert result.returncode == 1
    assert re.fullmatch(r"minitorchrun: rank 3 \(pid \d+\) ended with exit code 1, saying:", own[0])
    assert own[-1] == "RuntimeError: rank 3 has had enough" and len(own) == 5
