"""minitorchrun: what it starts, and what its command line means.

Where torchrun does the same, it is started beside and compared; scripts of either package under the
other's launcher are in test_interop.py. What users complain of in torchrun,
and what is better here, has these tests:

| complaint | test |
|---|---|
| no traceback of the real error | test_run_failures: test_traceback_of_the_failing_rank_... |
| exit code always 1 | test_run_failures: test_exit_code_is_the_workers, test_killed_worker_... |
| root cause by local clocks | test_run_coordinator: test_failures_are_ordered_as_the_store... |
| lines mixed, no prefix, no filter | test_run_output: test_one_worker_is_not_prefixed_and..., \
  test_lines_are_never_torn, test_the_filter_chooses_who_reaches_the_console |
| EADDRINUSE on 29500 | test_run_nodes: test_a_plain_launch_does_not_mind_that_29500_is_taken, \
  test_started_twice_on_one_port |
| 30 s wait for SIGTERM cannot be changed | test_run_failures: test_shutdown_timeout_... |
| local ranks of two digits in maps | test_run_output: test_maps_take_local_ranks_of_any_size |
| temporary folders left behind | test_run_processes: test_nothing_is_left_behind |
| orphans after kill -9 of the launcher | test_run_processes: test_kill_9_of_the_launcher_... |
"""

import json
import os
import sys

import pytest

from minitorch.distributed.launcher.arguments import job_from
from minitorch.distributed.run import get_args_parser, parse_args
from tests.distributed.launching import LAUNCHER, OURS, TORCHRUN, environment, launch, read, started


@pytest.mark.parametrize("nproc", [pytest.param(1, marks=pytest.mark.slow), 2])
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
        (["-m", "--no_python", "x"], "--no-python excludes it"),
        (["--nproc_per_node=many", __file__], "must be a number above 0, auto, cpu or gpu"),
        (["--nproc_per_node=0", __file__], "must be a number above 0, auto, cpu or gpu"),
        (["--nnodes=1:4", __file__], "leaves the number of nodes open, which needs"),
        (["--nnodes=4:1", __file__], "a number of at least 1, or MIN:MAX"),
        (["--nnodes=2", "--node_rank=2", __file__], "from 0 to 1, got 2"),
        (["--rdzv_backend=etcd", __file__], "must be static or c10d, got 'etcd'"),
        (["--rdzv_conf=join_timeout", __file__], "must be key=value,key=value"),
        (["--rdzv_conf=join_timeout=x", __file__], "join_timeout must be a number, got 'x'"),
        (["--rdzv_endpoint=host:p", "--rdzv_backend=c10d", __file__], "must be host:port"),
        (["--redirects=4", __file__], "--redirects must be 0, 1 (stdout), 2 (stderr), 3 (both)"),
        (["--tee=0:1,b:2", __file__], "--tee must be 0, 1 (stdout)"),
        (["--local_ranks_filter=a", __file__], "must be local ranks, as in 0,3; got 'a'"),
        (["--signals_to_handle=SIGFOO", __file__], "'SIGFOO' is no signal that can be handled"),
        (["--nproc-per-nod=2", __file__], "'--nproc-per-nod=2'; did you mean --nproc-per-node?"),
        (["--max_restarts=-1", __file__], "--max-restarts must be at least 0"),
        (["--max_restarts=two", __file__], "invalid int value: 'two'"),
        ([os.path.join(os.path.dirname(__file__), "test_rum.py")], "test_run.py?"),
        ([], "training_script"),
    ],
)
def test_mistakes_on_the_command_line_are_named(arguments, words):
    result = launch(*arguments)
    assert result.returncode == 2
    assert words in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_every_option_has_both_spellings_and_a_variable(monkeypatch):
    """As torchrun's parser has them, with the same defaults."""
    from torch.distributed.run import get_args_parser as theirs

    for name in [name for name in os.environ if name.startswith("PET_")]:
        monkeypatch.delenv(name)
    ours = get_args_parser()
    flags = {flag for action in ours._actions for flag in action.option_strings}
    wanted = {flag for action in theirs()._actions for flag in action.option_strings}
    left_out = ["duplicate-stdout-filters", "duplicate-stderr-filters"]
    spelled = {f"--{name}" for name in left_out}
    spelled |= {f"--{name.replace('-', '_')}" for name in left_out}
    assert wanted - flags == spelled
    expected = vars(theirs().parse_args(["x.py"]))
    defaults = vars(ours.parse_args(["x.py"]))
    assert {n: v for n, v in expected.items() if n in defaults} == {
        n: v for n, v in defaults.items() if n in expected
    }
    for action in ours._actions:
        if action.option_strings and action.dest != "help":
            switch = action.nargs == 0
            monkeypatch.setenv(f"PET_{action.dest.upper()}", "1" if switch else "7")
            wanted = True if switch else (action.type or str)("7")
            assert getattr(get_args_parser().parse_args(["x.py"]), action.dest) == wanted
            monkeypatch.delenv(f"PET_{action.dest.upper()}")


@pytest.mark.parametrize("options, given", [([], ["--local-rank=0"]), (["--use-env"], [])])
def test_launch_tells_the_local_rank_as_an_argument(script, options, given):
    path = script("import os, sys; print(os.environ['LOCAL_RANK'], sys.argv[1:])")
    module = [sys.executable, "-m", "minitorch.distributed.launch"]
    result = launch("--nproc_per_node=1", *options, path, "-x", launcher=module)
    assert result.stdout == f"0 {[*given, '-x']}\n"


def test_local_rank_can_stand_in_the_arguments(script):
    path = script("import sys; print(sys.argv[1:])")
    result = launch("-n", "2", path, "gpu=${local_rank}")
    assert sorted(result.stdout.splitlines()) == ["[rank0] ['gpu=0']", "[rank1] ['gpu=1']"]


@pytest.mark.parametrize("how", ["script", "module"])
def test_no_spawn_runs_in_the_launchers_own_process(script, how, tmp_path):
    path = script(
        """
import os, sys
import minitorch.distributed as dist
dist.init_process_group()
print(__name__, os.getppid(), dist.get_rank(), dist.get_world_size(), sys.argv[1:])
sys.exit(3)
"""
    )
    program = [path] if how == "script" else ["-m", "script"]
    with started("--no_spawn", *program, "-a", launcher=LAUNCHER, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=120)
    assert (out, err) == (f"__main__ {os.getpid()} 0 1 ['-a']\n", "")
    assert process.returncode == 3


def test_no_spawn_is_one_process_whatever_else_is_asked_for(script):
    result = launch("-n", "4", "--no-spawn", script("import os; print(os.environ['WORLD_SIZE'])"))
    assert result.stdout == "1\n" and "one process, whatever else is asked for" in result.stderr


def test_run_path(script):
    path = script("import sys; print(__name__, __file__, sys.argv, [sys.path[0]])")
    result = launch("--run-path", path, "x")  # unlike python, runpy leaves sys.path alone
    assert result.stdout == f"__main__ {path} {[path, 'x']} ['']\n"


def test_virtual_local_rank(script):
    path = script("import os; print(os.environ['LOCAL_RANK'], os.environ['CUDA_VISIBLE_DEVICES'])")
    env = environment(CUDA_VISIBLE_DEVICES="4,7")
    result = launch("-n2", "--virtual-local-rank", path, env=env)
    assert sorted(result.stdout.splitlines()) == ["[rank0] 0 4", "[rank1] 0 7"]
    result = launch("-n3", "--virtual-local-rank", path, env=env)
    assert result.returncode == 2 and "each of 3 workers a GPU of its own" in result.stderr


def test_torchruns_line_for_several_nodes_is_understood():
    args = "--nnodes=2 --nproc_per_node=4 --node_rank=1 --master_addr=10.1.1.1 --master_port=1234"
    job = job_from(parse_args([*args.split(), __file__, "--epochs", "3"]))
    assert (job.max_nodes, job.nproc, job.node_rank) == (2, 4, 1)
    assert (job.host, job.port) == ("10.1.1.1", 1234)
    assert job.command(0)[1:] == ["-u", __file__, "--epochs", "3"]
    args = (
        "--nnodes=1:4 --rdzv-backend=c10d --rdzv-endpoint=[::1]:77 --rdzv-conf=is_host=0,timeout=9"
    )
    job = job_from(parse_args([*args.split(), __file__]))
    assert (job.min_nodes, job.max_nodes, job.host, job.port) == (1, 4, "::1", 77)
    assert (job.is_host, job.timeouts.join, job.node_rank) == (False, 9, None)
    args = "--nnodes=2 --rdzv-backend=c10d --rdzv-endpoint=node1.example"
    assert job_from(parse_args([*args.split(), __file__])).port == 29400
    assert job_from(parse_args(["--nnodes=2", __file__])).port == 29500
