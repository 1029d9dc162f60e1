"""docs/extending-ops.md is true: its operation, added as the page says, works and is tested."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending-ops.md").read_text()
CODE, SESSION = (re.search(rf"```{kind}\n(.*?)```", PAGE, re.S)[1] for kind in ("python", "pycon"))


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project in which the operation has been added."""
    without = shutil.ignore_patterns("__pycache__", ".*", "distributed")
    for part in ("minitorch", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=without if part == "tests" else None)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with open(tmp_path / "minitorch" / "ops" / "elementwise.py", "a") as file:
        file.write("\n\n" + CODE)
    return tmp_path


def run(checkout, *command):
    return subprocess.run(
        [sys.executable, *command], cwd=checkout, capture_output=True, text=True, timeout=240
    )


def suite(checkout):
    files = ("tests/ops/test_own.py", "tests/ops/test_table.py")
    return run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k",
               "softcap or is_tested")  # fmt: skip


def test_the_operation_is_short():
    lines = [line for line in CODE.splitlines() if line.strip() and '"""' not in line]
    assert len(lines) < 10


def test_it_works_as_the_page_shows(checkout):
    code = "".join(line[4:] + "\n" for line in SESSION.splitlines() if line.startswith(">>> "))
    *statements, last = code.splitlines()
    script = "\n".join(["import minitorch as torch", *statements, f"print({last})"])
    script += "\ny = torch.ones(2).softcap_(cap=2.0); print(torch.softcap(y, out=torch.empty(2)))"
    done = run(checkout, "-c", script)
    assert done.returncode == 0, done.stderr
    assert SESSION.splitlines()[-1] in done.stdout


def test_the_suite_finds_and_tests_it(checkout):
    done = suite(checkout)
    assert done.returncode == 0, done.stdout
    names = run(checkout, "-m", "pytest", "-q", "--collect-only", "tests/ops/test_own.py")
    assert "test_own_op[softcap]" in names.stdout


def test_the_suite_notices_the_mistake(checkout):
    source = checkout / "minitorch" / "ops" / "elementwise.py"
    text = source.read_text()
    assert "(out / cap) ** 2" in text
    source.write_text(text.replace("(out / cap) ** 2", "out / cap"))
    done = suite(checkout)
    assert done.returncode == 1
    expected = re.search(r"^    (Jacobian mismatch.*)$", PAGE, re.M)[1]
    assert expected in done.stdout
