"""docs/random.md says which numbers are PyTorch's: here every cell of its table is tried.

    python -m tests.test_random_docs      # writes the table anew, from what is found

"identical": every bit of every number. "last digit": within a few units in the last place. Either
way the two generators are in the same state afterwards.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import minitorch

PAGE = Path(__file__).parents[1] / "docs" / "random.md"
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
SMALL = (0, 1, 2, 7, 15, 16, 17, 32, 100, 623, 1000, 1024)
LARGE = (1040, 5001, 70_001)


def like(T, n, dtype):
    """Numbers around 0 that both libraries have, without drawing any."""
    return ((T.arange(n, dtype=T.float64) * 37 % 23 - 11) / 4).to(getattr(T, dtype))


def empty(T, n, dtype):
    return T.empty(n, dtype=getattr(T, dtype))


def column(T, n, dtype):
    """Every second element of a tensor: not contiguous."""
    return T.empty(n, 2, dtype=getattr(T, dtype))[:, 0]


def chances(T, n, dtype):
    return (T.arange(n, dtype=T.float64) % 11 / 10).to(getattr(T, dtype))


# What is drawn, from which dtypes. Each is called as draw(library, n, dtype name).
ROWS = {
    "`rand`, `uniform_(0, 1)`": (lambda T, n, d: T.rand(n, dtype=getattr(T, d)), FLOATS),
    "`uniform_(a, b)`": (lambda T, n, d: empty(T, n, d).uniform_(-0.31, 0.77), FLOATS),
    "`randint`, `random_(a, b)`": (
        lambda T, n, d: T.randint(3, 120, (n,), dtype=getattr(T, d)),
        INTEGERS + FLOATS,
    ),
    "`randint` of 2^28 integers or more": (
        lambda T, n, d: T.randint(-5, 2**28, (n,), dtype=getattr(T, d)),
        ("int32", "int64", "float64"),
    ),
    "`random_()`": (lambda T, n, d: empty(T, n, d).random_(), ("bool", *INTEGERS, *FLOATS)),
    "`randperm`": (
        lambda T, n, d: T.randperm(n, dtype=getattr(T, d)),
        ("int32", "int64", "float32", "float64"),
    ),
    "`randn`, `normal_`": (lambda T, n, d: T.randn(n, dtype=getattr(T, d)), FLOATS),
    "`normal_(mean, std)`": (lambda T, n, d: empty(T, n, d).normal_(0.3, 1.7), FLOATS),
    "`normal_` of a tensor that is not contiguous": (
        lambda T, n, d: column(T, n, d).normal_(0.3, 1.7),
        FLOATS,
    ),
    "`normal` of tensors": (
        lambda T, n, d: T.normal(like(T, n, d), like(T, n, d).abs()),
        FLOATS,
    ),
    "`bernoulli_(p)`": (
        lambda T, n, d: empty(T, n, d).bernoulli_(0.3),
        ("bool", *INTEGERS, *FLOATS),
    ),
    "`bernoulli` of a tensor": (lambda T, n, d: T.bernoulli(chances(T, n, d)), FLOATS),
    "`dropout`": (lambda T, n, d: T.nn.functional.dropout(like(T, n, d), 0.3), FLOATS),
    "`dropout1d`, `dropout2d`, `dropout3d`": (
        lambda T, n, d: T.nn.functional.dropout1d(like(T, 3 * n, d).view(1, n, 3), 0.3),
        FLOATS,
    ),
    "`alpha_dropout`, `feature_alpha_dropout`": (
        lambda T, n, d: T.nn.functional.alpha_dropout(like(T, n, d), 0.3, True),
        FLOATS,
    ),
    "`multinomial` with replacement": (
        lambda T, n, d: T.multinomial(like(T, 50, d).abs(), max(n, 1), True),
        ("float32", "float64"),
    ),
    "`multinomial` without": (
        lambda T, n, d: T.multinomial(like(T, n + 1, d).abs() + 1, min(n // 2, 500) + 1),
        ("float32", "float64"),
    ),
    "`exponential_`": (lambda T, n, d: empty(T, n, d).exponential_(1.5), FLOATS),
    "`geometric_`": (lambda T, n, d: empty(T, n, d).geometric_(0.2), ("int64", *FLOATS)),
    "`log_normal_`": (lambda T, n, d: empty(T, n, d).log_normal_(0.3, 0.6), FLOATS),
    "`cauchy_`": (lambda T, n, d: empty(T, n, d).cauchy_(1.0, 2.0), FLOATS),
    "`poisson`": (lambda T, n, d: T.poisson(like(T, n, d).abs() * 8), FLOATS),
    "`rrelu` in training": (
        lambda T, n, d: T.nn.functional.rrelu(like(T, n, d), 0.1, 0.3, True),
        ("float32", "float64", "bfloat16"),
    ),
    "`gumbel_softmax`": (
        lambda T, n, d: T.nn.functional.gumbel_softmax(like(T, n, d), dim=0),
        ("float32", "float64"),
    ),
    "`init.kaiming_uniform_`, `xavier_uniform_`": (
        lambda T, n, d: T.nn.init.kaiming_uniform_(T.empty(1, n or 1, dtype=getattr(T, d))),
        FLOATS,
    ),
    "`init.kaiming_normal_`, `xavier_normal_`": (
        lambda T, n, d: T.nn.init.kaiming_normal_(T.empty(1, n or 1, dtype=getattr(T, d))),
        FLOATS,
    ),
    "`init.trunc_normal_`": (
        lambda T, n, d: T.nn.init.trunc_normal_(empty(T, n, d), std=1.5, a=-2, b=1),
        ("float32", "float64"),
    ),
    "`init.sparse_`": (
        lambda T, n, d: T.nn.init.sparse_(T.empty(n, 1, dtype=getattr(T, d)), 0.3),
        ("float32", "float64"),
    ),
    "`init.orthogonal_`": (
        lambda T, n, d: T.nn.init.orthogonal_(T.empty(3, n % 100 + 1, dtype=getattr(T, d))),
        ("float32", "float64"),
    ),
}
IDENTICAL, LAST_DIGIT, OTHER = "identical", "last digit", "not the same"


def as_numpy(tensor) -> np.ndarray:
    """Values as float64 or integers."""
    if str(tensor.dtype) in ("torch.float16", "torch.bfloat16"):
        tensor = tensor.float()
    return tensor.detach().numpy()


def compare(draw, n: int, dtype: str) -> str:
    """How the numbers of the two libraries agree; the streams must, or AssertionError."""
    results = []
    for T in (minitorch, torch):
        T.manual_seed(n + 5)
        results.append((draw(T, n, dtype), T.get_rng_state().numpy()))
    (ours, our_state), (theirs, their_state) = results
    assert str(ours.dtype) == str(theirs.dtype) and ours.shape == tuple(theirs.shape)
    np.testing.assert_array_equal(our_state[:5016], their_state[:5016], f"{n} {dtype}")
    got, expected = as_numpy(ours), as_numpy(theirs)
    if np.array_equal(got, expected, equal_nan=got.dtype.kind == "f"):
        return IDENTICAL
    assert got.dtype.kind == "f", (n, dtype)
    unit = 4 * float(torch.finfo(getattr(torch, dtype)).eps)
    scale = np.maximum(np.abs(expected), 1)
    return LAST_DIGIT if np.all(np.abs(got - expected) <= unit * scale) else OTHER


def found(name: str, dtype: str, sizes) -> str:
    draw, _ = ROWS[name]
    kinds = {compare(draw, n, dtype) for n in sizes}
    return next(kind for kind in (OTHER, LAST_DIGIT, IDENTICAL) if kind in kinds)


def table() -> str:
    """The table as it should be."""
    lines = ["| what | dtypes | up to 1,024 numbers a call | more |", "|---|---|---|---|"]
    for name, (_, dtypes) in ROWS.items():
        groups: dict = {}
        for dtype in dtypes:
            cells = found(name, dtype, SMALL), found(name, dtype, LARGE)
            groups.setdefault(cells, []).append(dtype)
        for cells, members in groups.items():
            lines.append(f"| {name} | {', '.join(members)} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def said():
    """(name, dtype, of up to 1,024, of more) for each dtype of each line of the page's table."""
    if not PAGE.exists():
        return []
    lines = re.findall(r"^\| (`.*) \| (.*) \| (.*) \| (.*) \|$", PAGE.read_text(), re.M)
    return [(name, d, *cells) for name, dtypes, *cells in lines for d in dtypes.split(", ")]


@pytest.mark.parametrize("name, dtype, small, large", said())
def test_the_table_is_true(name, dtype, small, large):
    """Or better: NumPy rounds like the C library on some processors."""
    kinds = [IDENTICAL, LAST_DIGIT]
    assert kinds.index(found(name, dtype, SMALL)) <= kinds.index(small)
    assert kinds.index(found(name, dtype, LARGE)) <= kinds.index(large)


def test_the_table_is_whole():
    in_page = {(name, dtype) for name, dtype, _, _ in said()}
    assert in_page == {(name, dtype) for name, (_, dtypes) in ROWS.items() for dtype in dtypes}


if __name__ == "__main__":
    page = re.sub(r"(?s)(?<=\n)\| what .*?\n(?=\n)", lambda _: table(), PAGE.read_text())
    PAGE.write_text(page)
