"""minitorch.functional: what OpInfo's samples leave open. The rest of it is in tests/opinfo."""

import ast
import re
from pathlib import Path

import pytest
import torch

import minitorch
from tests.ops.harness import assert_same

ROOT = Path(minitorch.__file__).parent


def test_it_has_what_torch_functional_has():
    left_out = {"istft", "lu", "pca_lowrank", "stft", "svd_lowrank"}  # docs/compatibility.md
    missing = {n for n in torch.functional.__all__ if not hasattr(minitorch.functional, n)}
    assert missing == left_out
    for name in set(torch.functional.__all__) - missing:
        assert getattr(minitorch, name) is getattr(minitorch.functional, name)


def imports_of(path, level):
    """The modules that a file imports relative to the package `level` - 1 above its own."""
    found = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    for n in found:
        if n.level == level:
            yield from [n.module.split(".")[0]] if n.module else [name.name for name in n.names]


@pytest.mark.parametrize("lower", ["dispatch", "ops"])
def test_floors(lower):
    """Functions stand upon operations, and these upon their machinery; nothing looks upwards."""
    upper = {"creation", "functional", "linalg", "nn"} | ({"ops"} if lower == "dispatch" else set())
    for path in (ROOT / lower).glob("*.py"):
        assert not upper & set(imports_of(path, 2)), path


def test_order_of_dispatch():
    """Each file builds upon those that the package's docstring names before it."""
    order = re.findall(r"^    (\w[\w, ]*?)  ", minitorch.dispatch.__doc__, re.M)
    before = set()
    for names in order:
        names = names.split(", ")
        for name in names:
            assert set(imports_of(ROOT / "dispatch" / f"{name}.py", 1)) <= before, name
        before |= set(names)
    assert before == {p.stem for p in (ROOT / "dispatch").glob("*.py")} - {"__init__"}


def test_questions():
    """What is answered in Python: the same answers, and the same refusals."""
    questions = "numel is_floating_point is_complex is_conj is_nonzero is_tensor".split()
    for name in questions:
        for value in ([], 0.0, [2], 1j, True, [0, 1]):
            answers = []
            for T in (minitorch, torch):
                try:
                    answers.append(getattr(T, name)(T.tensor(value)))
                except RuntimeError:
                    answers.append("refused")
            assert answers[0] == answers[1], (name, value)
    assert not minitorch.is_tensor([1.0])


def points(T, n, m):
    """Two sets of points that have the first three in common."""
    numbers = torch.randn(2, n + m, 4, generator=torch.Generator().manual_seed(0)).double()
    numbers[:, n : n + 3] = numbers[:, :3]
    return [
        T.tensor(part.tolist(), dtype=T.float64, requires_grad=True)
        for part in (numbers[:, :n], numbers[:, n:])
    ]


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3.5, float("inf")])
@pytest.mark.parametrize("size", [5, 40])
def test_cdist(p, size):
    """Gradients too, where points coincide; 40 of them take the way by a product of matrices."""
    found = []
    for T in (minitorch, torch):
        x, y = points(T, size, size + 1)
        out = T.cdist(x, y, p)
        weight = T.arange(out.numel(), dtype=T.float64).reshape(out.shape)
        found.append([out, *T.autograd.grad((out * weight).sum(), (x, y), allow_unused=True)])
    ours, theirs = found
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if p == 2 and size == 40:  # where the distance is 0, rounding decides on either side
            a, b = a.clone(), b.clone()
            same = (slice(None), range(3), range(3)) if i == 0 else (slice(None), slice(3))
            a[same] = 0
            b[same] = 0
        assert_same(a, b, f"result {i}")


def test_cdist_by_product_is_flat_at_zero():
    x = minitorch.ones(30, 4, requires_grad=True)
    out = minitorch.cdist(x, minitorch.ones(30, 4))
    out.sum().backward()
    assert not out.any() and not x.grad.any()


def test_cdist_wants_points_of_one_space():
    for x, y, p in (((2, 3), (2, 4), 2), ((3,), (2, 3), 2), ((2, 3), (2, 3), -1)):
        for T in (minitorch, torch):
            with pytest.raises(RuntimeError, match="cdist|columns"):
                T.cdist(T.ones(x), T.ones(y), p)


@pytest.mark.parametrize("N", [None, 0, 1, 2, 5])
@pytest.mark.parametrize("increasing", [False, True])
def test_vander(N, increasing):
    for values in ([1, 2, 3], [0.5, -2.0], [True, False]):
        ours, theirs = (T.vander(T.tensor(values), N, increasing) for T in (minitorch, torch))
        assert_same(ours, theirs, f"{values}")


def test_linalg_diagonal_is_a_view():
    x = minitorch.zeros(2, 3, 4)
    minitorch.linalg.diagonal(x, offset=1).fill_(1)
    expected = torch.zeros(2, 3, 4)
    torch.linalg.diagonal(expected, offset=1).fill_(1)
    assert_same(x, expected, "the matrices")


def test_unravel_index():
    """Numbers beyond the shape, too, and what is refused."""
    for numbers, shape in (([[5, 100], [-3, 0]], (3, 4)), (7, 9), ([], (2, 2)), ([3], ())):
        ours, theirs = (
            T.unravel_index(T.tensor(numbers, dtype=T.int64), shape) for T in (minitorch, torch)
        )
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b, "places")
    for T in (minitorch, torch):
        with pytest.raises(TypeError, match="integer dtype"):
            T.unravel_index(T.tensor([1.0]), (2,))
        with pytest.raises(ValueError, match="negative"):
            T.unravel_index(T.tensor([1]), (2, -1))


def test_renorm_in_place():
    found = []
    for T in (minitorch, torch):
        x = T.arange(6.0).reshape(2, 3).requires_grad_()
        y = (x * 2).renorm_(2, 0, 3.0)
        found.append((y, *T.autograd.grad((y * y).sum() + y.sum(), x)))
    for a, b in zip(*found, strict=True):
        assert_same(a, b, "renorm_")
