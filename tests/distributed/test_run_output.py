"""minitorchrun: what the workers print, on the console and in files."""

import os
import pty
import select
import subprocess
import time

from tests.distributed.launching import LAUNCHER, environment, launch, printed, read


def test_one_worker_is_not_prefixed_and_several_are(script):
    path = script("import sys; print('out'); print('err', file=sys.stderr)")
    alone = launch(path)
    assert (alone.stdout, alone.stderr) == ("out\n", "err\n")
    three = launch("--nproc-per-node", "3", path)
    assert sorted(three.stdout.splitlines()) == [f"[rank{rank}] out" for rank in range(3)]
    assert sorted(three.stderr.splitlines()) == [f"[rank{rank}] err" for rank in range(3)]


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
        end = time.monotonic() + 60
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
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(ours)


def test_a_line_does_not_name_its_rank_twice(script):
    path = script(
        """
from minitorch.distributed.log import logger
logger.warning("look out")
"""
    )
    result = launch("--nproc_per_node=2", path)
    assert sorted(result.stderr.splitlines()) == [
        f"[rank{rank}] warning: look out" for rank in range(2)
    ]


def test_the_prefix_can_be_chosen_as_for_torchrun(script):
    env = environment(TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE="${role_name}.${local_rank}/${rank}: ")
    result = launch("-n2", "--role=trainer", script("print('x')"), env=env)
    assert sorted(result.stdout.splitlines()) == ["trainer.0/0: x", "trainer.1/1: x"]


def test_who_only_lost_a_peer_says_so_in_one_line(script, tmp_path):
    path = script(
        """
import os
from minitorch.distributed.errors import DistNetworkError
def fail(error):
    raise error
fail(DistNetworkError("rank 1 has gone") if os.environ["RANK"] == "0" else ValueError("my own"))
"""
    )
    result = launch("-n2", f"--log-dir={tmp_path}/logs", "-t", "2", path)
    line = "minitorch.distributed.errors.DistNetworkError: rank 1 has gone"
    assert printed(result.stderr, 0) == [line]
    assert len(printed(result.stderr, 1)) == 6 and result.stderr.endswith("\nValueError: my own\n")
    assert len(log_files(tmp_path / "logs")["0/stderr.log"].splitlines()) == 6


def test_half_a_traceback_is_not_lost(script):
    path = script("import sys; print('Traceback (most recent call last):\\n  x', file=sys.stderr)")
    result = launch("-n2", path)
    assert printed(result.stderr, 0) == ["Traceback (most recent call last):", "  x"]


SAY = "import os, sys; print('out'); print('err', file=sys.stderr); sys.exit(int(sys.argv[1]))"


def log_files(folder):
    """{"1/stdout.log": its text} of the only run and attempt in this folder."""
    (attempt,) = folder.glob("*/attempt_0")
    return {str(path.relative_to(attempt)): path.read_text() for path in attempt.glob("*/*")}


def test_the_filter_chooses_who_reaches_the_console(script, tmp_path):
    logs = tmp_path / "logs"
    result = launch(
        *("-n3", "--local-ranks-filter=0,2", "-t=0:1,1:1", f"--log-dir={logs}"),
        *(script(SAY), "0"),
    )
    assert sorted(result.stdout.splitlines()) == ["[rank0] out", "[rank2] out"]
    assert sorted(result.stderr.splitlines()) == ["[rank0] err", "[rank2] err"]
    assert log_files(logs) == {"0/stdout.log": "out\n", "1/stdout.log": "out\n"}


def test_redirects_and_tee(script, tmp_path):
    logs = tmp_path / "logs"
    options = ["--nproc_per_node=2", "--redirects=0:3", "--tee=1:2", "--rdzv-id=job 1"]
    result = launch(*options, f"--log_dir={logs}", script(SAY), "0")
    assert (result.stdout, result.stderr) == ("[rank1] out\n", "[rank1] err\n")
    (run,) = logs.iterdir()
    assert run.name.startswith("job_1_")
    assert log_files(logs) == {
        "0/stdout.log": "out\n",
        "0/stderr.log": "err\n",
        "1/stderr.log": "err\n",
    }


def test_one_worker_can_be_redirected_too(script, tmp_path):
    logs = tmp_path / "logs"
    result = launch("-r", "1", f"--log_dir={logs}", script(SAY), "0")
    assert (result.stdout, result.stderr) == ("", "err\n")
    assert log_files(logs) == {"0/stdout.log": "out\n"}


def test_maps_take_local_ranks_of_any_size(script, tmp_path):
    logs = tmp_path / "logs"
    program = ["--no-python", "bash", "-c", "echo $LOCAL_RANK"]
    result = launch("-n12", "-r", "10:1,11:3", f"--log_dir={logs}", *program)
    assert len(result.stdout.splitlines()) == 10
    assert log_files(logs) == {
        "10/stdout.log": "10\n",
        "11/stdout.log": "11\n",
        "11/stderr.log": "",
    }


def test_what_a_failed_job_has_redirected_can_be_found(script, tmp_path):
    env = environment(TMPDIR=str(tmp_path))
    result = launch("-n2", "-r3", script(SAY), "5", env=env)
    assert result.returncode == 5 and result.stdout == ""
    *_, last = result.stderr.splitlines()
    folder = last.removeprefix("minitorchrun: the output of the workers is in ")
    assert read(os.path.join(folder, "attempt_0", "1", "stderr.log")) == "err\n"


def test_the_report_has_the_traceback_of_a_redirected_worker(script, tmp_path):
    path = script("import os\nif os.environ['RANK'] == '1': raise KeyError('here')")
    result = launch("-n2", "-r3", f"--log-dir={tmp_path}/logs", path)
    assert result.stderr.splitlines()[-1] == "KeyError: 'here'"
    assert "Traceback (most recent call last):" in result.stderr
