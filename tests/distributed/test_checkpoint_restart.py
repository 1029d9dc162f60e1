"""examples/train_with_restarts.py: whoever is killed, and whenever, the losses stay the same.

Invariant: a run that was disturbed leaves the same as one that was not, and nothing else.
Most processes here kill themselves at a chosen moment, so that each kill happens: the example is
run by a script that has first put a trap into one of the functions which it calls.
"""

import json
import os
import random
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.distributed.launching import (
    SOON,
    TORCHRUN,
    environment,
    launch,
    printed,
    started,
    wait_until,
    with_variable,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_with_restarts.py"
STEPS, SAVE_EVERY = 40, 5
IN_EPOCH = 15  # so that the steps cross two ends of epochs, and go on in the middle of some
OPTIONS = (f"--steps={STEPS}", f"--save-every={SAVE_EVERY}", f"--batch-size={2000 // IN_EPOCH}")

# KILLS has one entry for each attempt: the rank, the trap, in which call it snaps shut, and how
# many seconds later.
TRAPPED = """
import io, json, os, runpy, signal, sys, threading
import minitorch as torch

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def half_of_a_file(save, content, file):
    whole = io.BytesIO()
    save(content, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    die()

def die_later(step, *args):
    threading.Timer(seconds, die).start()
    return step(*args)

TRAPS = {
    "step": (torch.optim.SGD, "step", die_later),
    "half": (torch, "save", half_of_a_file),
    "before": (os, "replace", lambda replace, *args: die()),
    "after": (os, "replace", lambda replace, *args: (replace(*args), die())),
}
kills = json.loads(os.environ["KILLS"])[int(os.environ["TORCHELASTIC_RESTART_COUNT"]) :]
if kills and kills[0][0] == int(os.environ["RANK"]):
    _, trap, when, seconds = kills[0]
    owner, name, snap = TRAPS[trap]
    real, calls = getattr(owner, name), 0

    def trapped(*args):
        global calls
        calls += 1
        if calls > when + 1:
            die()  # the timer is late, and there might be no step left to begin again with
        return snap(real, *args) if calls == when else real(*args)

    setattr(owner, name, trapped)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def train(out, *launcher_options, example=EXAMPLE, **settings):
    result = launch(
        "--nproc_per_node=2", *launcher_options, str(example), *OPTIONS, f"--out={out}", **settings
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def train_with(kills, out, script, example=EXAMPLE, imports="minitorch as torch", **settings):
    """Train with these kills; returns for each attempt the step at which it began."""
    trapped = script(TRAPPED.replace("minitorch as torch", imports))
    result = train(
        out,
        f"--max-restarts={len(kills)}",
        trapped,
        example=example,
        env=environment(KILLS=json.dumps(kills)),
        timeout=200,
        **settings,
    )
    assert result.stdout.count(f"restart {len(kills)}\n") == 2
    starts = re.findall(r"process \d+: (?:begins|resumed) (?:at|from) step (\d+)", result.stdout)
    assert starts[::2] == starts[1::2]  # both ranks go back to the same
    return [int(step) for step in starts[::2]]


def check(out, expected):
    assert {path.name for path in out.iterdir()} == {"checkpoint.pt", "losses.txt"}
    assert (out / "losses.txt").read_bytes() == expected


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """What a run leaves that nobody disturbs."""
    out = tmp_path_factory.mktemp("finished")
    result = train(out)
    first, *_, curve = printed(result.stdout, 0)
    assert re.fullmatch(r"process \d+: begins at step 0, restart 0", first)
    assert re.fullmatch(r"loss 2\.\d+ █[▁▂▃▄▅▆▇█]{39} 0\.\d+", curve)
    return out


@pytest.fixture(scope="module")
def undisturbed(finished):
    losses = (finished / "losses.txt").read_bytes()
    assert len(losses.split()) == STEPS
    return losses


def random_kills(seed, count, most):
    """In training, of either rank, after up to `most` steps: sometimes before the next save."""
    chance = random.Random(seed)
    return [
        (chance.randrange(2), "step", chance.randint(1, most), chance.uniform(0, 0.02))
        for _ in range(count)
    ]


def test_killed_at_random_in_training(tmp_path, script, undisturbed):
    out = tmp_path / "out"
    starts = train_with(random_kills(5, 4, 12), out, script)
    assert starts == sorted(starts) and not any(start % SAVE_EVERY for start in starts)
    # What is hard is to begin in the middle of an epoch that is not the first.
    assert any(start > IN_EPOCH and start % IN_EPOCH for start in starts)
    check(out, undisturbed)


def test_killed_while_it_saves(tmp_path, script, undisturbed):
    out = tmp_path / "out"
    kills = [(0, "half", 1, 0), (0, "half", 2, 0), (0, "before", 1, 0), (0, "after", 1, 0)]
    assert train_with(kills, out, script) == [0, 0, 5, 5, 10]
    check(out, undisturbed)


def test_killed_with_its_launcher_and_started_by_hand(tmp_path, undisturbed):
    out, mark = tmp_path / "out", f"RUN={tmp_path}"
    command = ("--nproc_per_node=2", str(EXAMPLE), *OPTIONS, f"--out={out}")
    with started(*command, env=environment(RUN=str(tmp_path))) as launcher:
        assert wait_until((out / "checkpoint.pt").exists, 4 * SOON)
        launcher.kill()
        assert wait_until(lambda: not with_variable(mark))
    assert "resumed from step" in train(out).stdout
    check(out, undisturbed)


def test_another_number_of_ranks_is_refused(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    result = launch(str(EXAMPLE), *OPTIONS, f"--out={out}")
    assert result.returncode == 1
    assert "is of a run with 2 ranks, and this one has 1: start as many as then" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_many_random_kills_in_training(seed, tmp_path, script, undisturbed):
    train_with(random_kills(seed, 7, 7), tmp_path / "out", script)
    check(tmp_path / "out", undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ranks", [2, 3])
def test_killed_from_outside_at_any_moment(ranks, tmp_path):
    """While it imports, meets the others, loads, trains or saves."""
    options = (f"--nproc_per_node={ranks}", "--max-restarts=1000", str(EXAMPLE))
    options += ("--steps=600", "--save-every=3", "--batch-size=64")
    quiet, out, chance = tmp_path / "quiet", tmp_path / "out", random.Random(ranks)
    env = environment(MINITORCH_ALGORITHM="direct", RUN=str(tmp_path))
    assert launch(*options, f"--out={quiet}", env=env, timeout=200).returncode == 0
    kills = 0
    # Its output goes into files: nobody reads the pipes while it runs.
    logs = ("--redirects=3", f"--log-dir={tmp_path / 'logs'}")
    with started(*logs, *options, f"--out={out}", env=env) as launcher:
        while kills < 30 and launcher.returncode is None:
            time.sleep(chance.expovariate(1))
            ours = set(with_variable(f"RUN={tmp_path}"))
            for pid in ours & set(with_variable(f"RANK={chance.randrange(ranks)}")):
                os.kill(pid, 9)
                kills += 1
        _, errors = launcher.communicate(timeout=300)
        assert launcher.returncode == 0, errors
    assert kills >= 3
    assert 1 <= errors.count("all workers are started again") <= kills
    check(out, (quiet / "losses.txt").read_bytes())


@pytest.mark.slow
def test_under_pytorch_and_torchrun(tmp_path, script):
    """PyTorch's own losses: those of a run with kills, and those of one without."""
    example = tmp_path / EXAMPLE.name
    example.write_text(EXAMPLE.read_text().replace("minitorch", "torch"))
    (tmp_path / "data").symlink_to(EXAMPLE.parent / "data")
    train(tmp_path / "quiet", example=example, launcher=TORCHRUN)
    kills = [(1, "step", 7, 0.01), (0, "half", 1, 0), (0, "after", 1, 0)]
    train_with(kills, tmp_path / "out", script, example, "torch", launcher=TORCHRUN)
    check(tmp_path / "out", (tmp_path / "quiet" / "losses.txt").read_bytes())
