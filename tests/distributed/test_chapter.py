"""docs/how-distributed-training-works.md: every command in it runs, and prints what stands there.

Times, process numbers, and rounding errors differ from machine to machine; all else is compared.
"..." in the page stands for lines that are left out.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .launching import TORCHRUN, environment, free_port, launch

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-distributed-training-works.md").read_text()
STEPS = sorted((ROOT / "examples" / "distributed").glob("step*.py"))
ROUNDING = 1e-6  # smaller differences are not reproducible, but whether there is any

MEASURED = [
    (re.compile(r" +-?[\d.]+ ms\b"), " # ms"),
    (re.compile(r"-?\d+% of"), "#% of"),
    (re.compile(r"\(pid \d+\)"), "(pid #)"),
    (re.compile(r"File \".*/"), 'File "'),
]
IN_CIRCLE = re.compile(r"^\[rank\d\].*timed out.*waiting for.*$")  # whoever is first to complain
FLOAT = re.compile(r"\d+\.\d+(?:e[+-]\d+)?")


def commands():
    """(the commands of a block, the lines below them), in the order of the page."""
    for block in re.findall(r"(?:^    .*\n)+", PAGE, re.M):
        lines = [line[4:] for line in block.splitlines()]
        if lines[0].startswith("$ "):
            typed = [line[2:] for line in lines if line.startswith("$ ")]
            yield typed, [line for line in lines if not line.startswith("$ ")]


def normal(line):
    """A line without what differs from run to run, and its numbers with a point."""
    if IN_CIRCLE.match(line):
        line = re.sub(r"(rank ?)\d", r"\1#", line)
    for pattern, replacement in MEASURED:
        line = pattern.sub(replacement, line)
    return FLOAT.sub("#", line).rstrip(), [float(number) for number in FLOAT.findall(line)]


def close(a, b):
    tiny = 0 < a < ROUNDING and 0 < b < ROUNDING * 10
    return tiny or a == pytest.approx(b, rel=0.02)


def check(output, expected):
    """Every line of the page has been printed, and if nothing was left out, no other."""
    printed = [normal(line) for line in output.splitlines() if line.strip()]
    for line in expected:
        text, numbers = normal(line)
        found = [n for t, n in printed if t == text]
        assert line == "..." or any(all(map(close, numbers, n)) for n in found), (line, output)
    assert "..." in expected or len(printed) == len(expected), output


def can_make_networks():
    made = subprocess.run(["ip", "netns", "add", "probe"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "delete", "probe"], capture_output=True, check=False)
    return made.returncode == 0


def run(typed, folder):
    """What a shell would print. minitorchrun comes from a process that has imported it."""
    words = shlex.split(typed[0])
    if len(typed) == 1 and words[0] == "minitorchrun":
        done = launch(*words[1:], cwd=ROOT)
        return done.stdout + done.stderr
    script = "\n".join([*typed, "wait"]).replace("29500", str(free_port()))
    script = script.replace("/tmp/trace", str(folder))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=ROOT,
        env=environment(PATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def with_slow_link(typed):
    return any("slow_link" in line for line in typed)


def same_with_pytorch(typed):
    """Not what is meant to fail, for Gloo fails in other words. (After a restart it sometimes finds
    the addresses of the attempt before in the store, and fails as well.)"""
    others = "slow_link viz simulated what-is-there fewer as-ready receive-first kill restart"
    return len(typed) == 1 and not any(word in typed[0] for word in others.split())


BLOCKS = [pytest.param(*block, id=block[0][-1]) for block in commands()]


@pytest.mark.parametrize("typed, expected", [b for b in BLOCKS if not with_slow_link(b.values[0])])
def test_prints_what_the_page_says(typed, expected, tmp_path):
    check(run(typed, tmp_path), expected)


@pytest.mark.slow
@pytest.mark.skipif(not can_make_networks(), reason="needs root and iproute2")
@pytest.mark.parametrize("typed, expected", [b for b in BLOCKS if with_slow_link(b.values[0])])
def test_with_a_slow_link(typed, expected, tmp_path):
    check(run(typed, tmp_path), expected)


def drawn(folder, *options):
    """The pictures that the page shows, made in the same way."""
    from minitorch.viz.timeline import main

    assert main([str(folder), "--svg", str(folder / "picture.svg"), *options]) == 0
    return {path.name: path.read_text() for path in folder.glob("*.svg")}


def test_step_8_and_its_pictures(tmp_path):
    script = "examples/distributed/step8_overlap.py"
    done = launch("-n", "2", script, "2", cwd=ROOT, env=environment(MINITORCH_TRACE=str(tmp_path)))
    assert re.search(r"average while: +[\d.]+ ms", done.stdout), done.stderr
    bucket = 'z" fill="var(--bucket)"'
    after = drawn(tmp_path, "--backward", "4")["picture.svg"]
    assert after.count("<title>all_reduce") > 8 and bucket not in after
    assert bucket in drawn(tmp_path, "--backward", "5")["picture.svg"]


def test_the_picture_of_the_ring(tmp_path):
    script = ["examples/distributed/step9_ring.py", "blocks"]
    env = environment(MINITORCH_TRACE=str(tmp_path), MINITORCH_ALGORITHM="ring")
    done = launch("-n", "4", *script, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    pictures = drawn(tmp_path, "--collective", "all_reduce #1")
    assert list(pictures) == ["picture-rounds.svg"]  # there is no backward to be drawn
    ring = (ROOT / "docs" / "distributed-ring.svg").read_text()
    assert pictures["picture-rounds.svg"] == ring


def test_every_step_is_in_the_page():
    typed = " ".join([line for block in BLOCKS for line in block.values[0]])
    assert STEPS
    assert [path.name for path in STEPS if path.name not in typed] == []


@pytest.mark.slow
@pytest.mark.parametrize("typed, expected", [b for b in BLOCKS if same_with_pytorch(b.values[0])])
def test_the_same_with_pytorch(typed, expected, tmp_path):
    folder = tmp_path / "distributed"
    folder.mkdir()
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    for path in STEPS:
        (folder / path.name).write_text(path.read_text().replace("minitorch", "torch"))
    text = typed[0].replace("examples/distributed", str(folder))
    text = re.sub("^python", sys.executable, text)
    text = re.sub("^minitorchrun -n", f"{shlex.join(TORCHRUN)} --standalone --nproc-per-node", text)
    done = subprocess.run(
        shlex.split(text),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    check(done.stdout, [line.removeprefix("[rank0] ") for line in expected])
