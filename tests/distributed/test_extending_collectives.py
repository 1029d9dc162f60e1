"""docs/extending-collectives.md is true: its algorithm, added as it says, works and is tested."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending-collectives.md").read_text()
CODE, SESSION = (re.search(rf"```{kind}\n(.*?)```", PAGE, re.S)[1] for kind in ("python", "pycon"))
EXPECTED = re.findall(r"^    (Arrays are not equal$|simulated / predicted time is)", PAGE, re.M)
TESTS = ["tests/distributed/test_algorithms.py", "tests/distributed/test_simulation.py"]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project in which the algorithm has been added."""
    unneeded = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "minitorch", tmp_path / "minitorch", ignore=unneeded)
    (tmp_path / "tests" / "distributed").mkdir(parents=True)
    for file in ("tests/distributed/__init__.py", "tests/distributed/simulated.py", *TESTS):
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    added(tmp_path).write_text(CODE)
    return tmp_path


def added(checkout):
    name = re.search(r"`minitorch/distributed/algorithms/(\w+\.py)`:", PAGE)[1]
    return checkout / "minitorch" / "distributed" / "algorithms" / name


def run(checkout, *command, **options):
    return subprocess.run(
        [sys.executable, *command],
        cwd=checkout, capture_output=True, text=True, timeout=240, **options,
    )  # fmt: skip


def suite(checkout):
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, "-k", "deal_and_share"]
    return run(checkout, *command)


def test_it_is_short():
    lines = [line for line in CODE.splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 12


def test_it_works_as_the_page_shows(checkout):
    code = "".join(line[4:] + "\n" for line in SESSION.splitlines() if line.startswith(">>> "))
    *statements, last = code.splitlines()
    statements += [f"print({last})", "assert all((array == 0).all() for array in data)"]
    done = run(checkout, "-c", "\n".join(statements))
    assert done.stdout.strip() == SESSION.splitlines()[-1], done.stderr


def test_the_suite_finds_and_tests_it(checkout):
    done = suite(checkout)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 25


@pytest.mark.parametrize(
    "right, wrong, expected",
    [
        ("yield from all_gather(link, blocks)", "pass", EXPECTED[0]),
        ("(t.N - 1) * 2 *", "(t.N - 1) *", EXPECTED[1]),
    ],
)
def test_the_suite_notices_the_mistakes(checkout, right, wrong, expected):
    assert right in CODE
    added(checkout).write_text(CODE.replace(right, wrong))
    done = suite(checkout)
    assert done.returncode == 1
    assert expected in done.stdout


def test_it_can_be_named_where_the_program_runs(checkout):
    script = """if True:
        import os
        from minitorch.distributed.algorithms import table, choice
        from minitorch.distributed.algorithms.costs import LAPTOP
        table.use(**table.names_in(os.environ["MINITORCH_ALGORITHM"]))
        print(choice("broadcast", 4, LAPTOP, (0, 0, 0)))
    """
    setting = re.search(r"MINITORCH_ALGORITHM=(\S+) python", PAGE)[1]
    done = run(checkout, "-c", script, env={"MINITORCH_ALGORITHM": setting})
    assert done.stdout.strip() == "deal_and_share", done.stderr
