"""minitorchrun --max-restarts: after a failure all workers start again, on all nodes."""

import re

from tests.distributed.launching import finish, launch, nodes, printed, static

FAIL_ONCE = """
import os, sys, time
import numpy as np
import minitorch.distributed as dist
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
dist.init_process_group()
total = np.array([dist.get_rank() + 1.0])
dist.all_reduce(total)
print("attempt", attempt, "of", os.environ["TORCHELASTIC_MAX_RESTARTS"], total, flush=True)
if attempt < int(sys.argv[1]) and dist.get_rank() == 1:
    raise ValueError("not yet")
dist.barrier()
dist.destroy_process_group()
"""


def test_all_workers_start_again_and_meet_again(script):
    result = launch("--nproc_per_node=3", "--max-restarts=2", script(FAIL_ONCE), "2")
    assert result.returncode == 0, result.stderr
    for rank in range(3):
        assert printed(result.stdout, rank) == [f"attempt {n} of 2 [6.]" for n in range(3)]
    own = [line for line in result.stderr.splitlines() if line.startswith("minitorchrun: ")]
    assert len(own) == 2
    pattern = (
        r"minitorchrun: rank 1 \(pid \d+\) ended with exit code 1 \(ValueError: not yet\): "
        r"all workers are started again, restart 1 of 2"
    )
    assert re.fullmatch(pattern, own[0])


def test_when_the_restarts_are_used_up_the_job_fails_as_usual(script):
    path = script("import os, sys; print(os.getpid()); sys.exit(6)")
    result = launch("--max-restarts=2", path)
    assert result.returncode == 6
    assert len(set(result.stdout.splitlines())) == 3
    assert result.stderr.count("all workers are started again") == 2


def test_a_failure_restarts_the_other_node_too(script):
    with nodes(script(FAIL_ONCE), *static(2, "--max_restarts=1"), last=["1"]) as launchers:
        results = finish(launchers)
    for rank, (code, out, err) in enumerate(results):
        assert code == 0, err
        assert printed(out, rank) == [f"attempt {n} of 1 [3.]" for n in range(2)]
        assert re.search(r"rank 1 \(pid \d+\) on node 1 ended .*restart 1 of 1", err)


def test_each_attempt_has_log_files_of_its_own(script, tmp_path):
    path = script(
        """
import os, sys, time
attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
sys.stdout.write(attempt + "\\n")
open(f"{__file__}.{attempt}.{os.environ['RANK']}", "w").close()
while not all(os.path.exists(f"{__file__}.{attempt}.{rank}") for rank in range(2)):
    time.sleep(0.01)
sys.exit(attempt == "0")
"""
    )
    result = launch("-n2", "-r1", "--max-restarts=1", f"--log-dir={tmp_path}/logs", path)
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "logs").iterdir()
    for attempt in range(2):
        for rank in range(2):
            log = run / f"attempt_{attempt}" / str(rank) / "stdout.log"
            assert log.read_text() == f"{attempt}\n"
