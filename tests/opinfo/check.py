"""Runs the samples of one OpInfo under both packages and compares everything that can be compared.

What is compared is called a kind: the values ("forward"), first and second derivatives ("grad",
"gradgrad"), the "method", the "inplace" form, the result written into "out", values and derivatives
on "strided" inputs with gaps in memory, whether the result is a "view" of the input; the op's other
names ("aliases"), the "errors" for wrong arguments and, for information, the result's "strides".
`check` returns a `Tally`: for each kind and dtype, how many agree of how many, and a text for each
that does not. Invariant: PyTorch goes first, and what it cannot do is not compared; but an in-place
form that is an error there is an error here.
"""

from __future__ import annotations

import builtins
import contextlib
import random
import signal
import time
import warnings
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

import minitorch

from . import scope, twins
from .compare import call_text, difference, dtypes_of, is_tensor
from .forms import (
    Form,
    Skip,
    first_derivatives,
    form_of,
    in_place,
    in_place_with_derivatives,
    into_out,
    second_derivatives,
    shares_memory,
    strides,
    values,
    values_or_ties,
    with_first_derivatives,
)

# What is compared in each dtype.
KINDS = {
    "float64": ("forward", "grad", "gradgrad", "strided", "method", "inplace", "view", "strides"),
    "float32": ("forward", "grad", "out"),
    "float16": ("forward",),
    "bfloat16": ("forward",),
    "int64": ("forward", "inplace"),
    "bool": ("forward",),
    "complex64": ("forward",),
    "complex128": ("forward", "grad"),
}
EVERY_KIND = {"aliases", "errors"}.union(*KINDS.values())
INFORMATION = ("strides",)  # a sample that differs in these agrees nevertheless
SAMPLE_SECONDS, OP_SECONDS = 20, 240


class Failure(NamedTuple):
    kind: str
    dtype: str
    wrong: str  # what is wrong; its first line is a summary
    arguments: str = ""

    def __str__(self):
        return f"{self.kind} {self.dtype}".rstrip() + f": {self.wrong}\n      {self.arguments}"


class Tally:
    """Of one op: {(kind, dtype): [agreeing, all]}, and the failures."""

    def __init__(self, op: OpInfo):
        self.name = scope.full_name(op)
        self.counts: dict[tuple[str, str], list[int]] = {}
        self.samples: dict[str, list[int]] = {}  # dtype: [agreeing in all kinds, all]
        self.failures: list[Failure] = []
        self.seconds = 0.0

    def add(self, kind: str, dtype: str, wrong: str | None, sample: SampleInput) -> bool:
        count = self.counts.setdefault((kind, dtype), [0, 0])
        count[0] += wrong is None
        count[1] += 1
        if wrong is not None:
            self.failures.append(Failure(kind, dtype, wrong, call_text(sample)))
        return wrong is None

    def total(self) -> tuple[int, int]:
        counts = self.counts.values()
        return sum(c[0] for c in counts), sum(c[1] for c in counts)


def every_op(in_scope: bool = True) -> list[OpInfo]:
    return [op for op in op_db if not in_scope or scope.excluded(op) is None]


def names_of_every_op() -> set[str]:
    """The names under which functions and methods are found here, aliases included."""
    ops = [op for op in every_op() if not scope.is_missing(op)]
    found = {op.name for op in ops} | {alias.name for op in ops for alias in op.aliases}
    return found | {name.rpartition(".")[2] for name in found}


def check(op: OpInfo, dtypes=tuple(KINDS), limit: int | None = None, kinds=None) -> Tally:
    """Compare the samples of `op`, or `limit` of each dtype spread over them all."""
    tally = Tally(op)
    start = time.monotonic()
    for dtype in dtypes:
        if getattr(torch, dtype) not in op.dtypes:
            continue
        chosen = [k for k in KINDS[dtype] if kinds is None or k in kinds]
        differentiable = getattr(torch, dtype) in op.supported_backward_dtypes("cpu")
        grad = op.supports_autograd and differentiable and "grad" in KINDS[dtype]
        for sample in spread(samples_of(op, dtype, grad), limit):
            if time.monotonic() > start + OP_SECONDS:
                tally.add("forward", dtype, "the time for this op was over", sample)
                break
            with quiet():
                _check_sample(tally, op, sample, dtype, chosen, grad)
    with quiet():
        if kinds is None or "aliases" in kinds:
            _check_aliases(tally, op)
        if kinds is None or "errors" in kinds:
            _check_errors(tally, op, limit)
    tally.seconds = time.monotonic() - start
    return tally


def run_ours(op: OpInfo, limit: int = 4) -> None:
    """Run some samples under minitorch alone, with the second derivatives recorded as well."""
    if op.supports_autograd and torch.float64 in op.supported_backward_dtypes("cpu"):
        for sample in spread(samples_of(op, "float64", True), limit):
            with quiet():
                form = attempt(form_of, minitorch, op, sample)
                attempt(second_derivatives, form, True)


def spread(items, limit: int | None):
    """`limit` of the items, always the same ones, not just the first, which are often alike."""
    if limit is None:
        return items
    items = list(islice(items, 64))
    return random.Random(0).sample(items, min(limit, len(items)))


def samples_of(op: OpInfo, dtype: str, requires_grad: bool):
    return seeded(partial(op.sample_inputs_func, op, "cpu", getattr(torch, dtype), requires_grad))


def seeded(make):
    """The items that `make` gives, each made with the same state of the random numbers.

    `OpInfo.sample_inputs` does that as well, but takes a millisecond to seed all kinds of devices,
    and far longer to look through the stack for the test that it is called from.
    """

    def seed() -> None:
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)

    with quiet():
        seed()
        for item in make():
            yield item
            seed()


@contextlib.contextmanager
def quiet():
    """PyTorch warns of many things that are not the matter here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def time_limit(seconds: float = SAMPLE_SECONDS):
    """TimeoutError from whatever takes longer."""

    def stop(*_):
        raise TimeoutError(f"took longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)  # pytest-timeout has one as well
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, previous)


def attempt(function, *args):
    """The result of function(*args), or the exception that it raises, or that one of `args` is."""
    failed = [a for a in args if isinstance(a, Exception)]
    if failed:
        return failed[0]
    try:
        with time_limit():
            return function(*args)
    except Exception as error:
        return error


# One sample


def _check_sample(tally: Tally, op: OpInfo, sample: SampleInput, dtype: str, kinds, grad) -> None:
    tolerances = overrides(op, dtype)
    agreeing = []
    for kind, (make, computation) in _computations(op, sample, grad).items():
        if kind not in kinds:
            continue
        ours = attempt(make, minitorch)  # first, as PyTorch may write into its arguments
        expected = attempt(computation, attempt(make, torch))
        if isinstance(expected, Skip) or (isinstance(expected, Exception) and kind != "inplace"):
            continue
        got = attempt(computation, ours)
        if isinstance(got, twins.NotHere) or not all(map(twins.has_dtype, dtypes_of(expected))):
            continue
        if isinstance(expected, Exception):
            wrong = wrong_error(got, expected)
        elif isinstance(got, Exception):
            wrong = f"raised {type(got).__name__}: {got}".partition("\n")[0]
        else:
            known = op.name not in scope.UNINITIALISED
            wrong = difference(got, expected, tolerances, values=known)
        agrees = tally.add(kind, dtype, wrong, sample)
        if kind not in INFORMATION:
            agreeing.append(agrees)
    if agreeing:
        count = tally.samples.setdefault(dtype, [0, 0])
        count[0] += all(agreeing)
        count[1] += 1


def _computations(op: OpInfo, sample: SampleInput, grad: bool) -> dict:
    """{kind: (how to make the form of a package, what to compute of it)}"""
    plain = partial(form_of, op=op, sample=sample)
    result: Any = values
    if op.name in scope.TIES:
        alone = op.name == "argsort"
        result = partial(values_or_ties, position=scope.TIES[op.name], only_indices=alone)
    found: dict = {"forward": (plain, result)}
    if grad:
        found["grad"] = plain, first_derivatives
        if op.supports_gradgrad:
            found["gradgrad"] = partial(plain, wrapped=True), second_derivatives
    found["strided"] = (
        lambda T: form_of(T, op, sample.noncontiguous()),
        with_first_derivatives if grad else result,
    )
    if op.method_variant is not None:
        found["method"] = partial(plain, variant="method"), result
    if op.inplace_variant is not None:
        differentiable = grad and op.supports_inplace_autograd and not sample.broadcasts_input
        computation = in_place_with_derivatives if differentiable else in_place
        found["inplace"] = partial(plain, variant="inplace"), computation
    if op.supports_out:
        found["out"] = plain, into_out
    if is_tensor(sample.input):
        found["view"] = plain, shares_memory
    if not op.name.startswith("linalg."):  # LAPACK's results are column by column
        found["strides"] = plain, strides
    return found


def wrong_error(got, expected: Exception) -> str | None:
    """None if `got` is an exception of the same builtin type as `expected`, or a kind of it."""
    kind = next(c for c in type(expected).__mro__ if c.__module__ == builtins.__name__)
    if isinstance(got, kind) and not isinstance(got, TimeoutError):
        return None
    message = str(expected).split("\n")[0]
    if isinstance(got, Exception):
        return f"raised {type(got).__name__} ({got}), expected {kind.__name__}: {message}"
    return f"no error, expected {kind.__name__}: {message}"


def overrides(op: OpInfo, dtype: str) -> tuple[float, float]:
    """The largest relative and absolute tolerance that the OpInfo asks for on a CPU."""
    rtol = atol = 0.0
    for info in op.decorators:
        if getattr(info, "device_type", None) not in (None, "cpu"):
            continue
        for decorator in getattr(info, "decorators", [info]):
            found = getattr(decorator, "d", {}).get(getattr(torch, dtype), 0.0)
            if isinstance(found, float):  # precisionOverride: an absolute one
                atol = max(atol, found)
            else:  # toleranceOverride: both
                rtol, atol = max(rtol, found.rtol), max(atol, found.atol)
    return rtol, atol


# Once for an op


def _check_errors(tally: Tally, op: OpInfo, limit: int | None) -> None:
    if op.error_inputs_func is None:
        return
    for item in spread(seeded(partial(op.error_inputs_func, op, "cpu")), limit):
        sample = item.sample_input
        if op.name[:2] == "__" and not is_tensor(sample.input):
            continue  # Tensor.__radd__(2, 3): nobody calls it so
        ours = attempt(form_of, minitorch, op, sample)
        expected = attempt(Form.run, form_of(torch, op, sample))
        if isinstance(expected, Exception):
            got = attempt(Form.run, ours)
            if not isinstance(got, twins.NotHere):
                tally.add("errors", "", wrong_error(got, expected), sample)


def _check_aliases(tally: Tally, op: OpInfo) -> None:
    """Other names: the function gives the same, and there are the same forms of it."""
    dtype = next((d for d in KINDS if getattr(torch, d) in op.dtypes), None)
    for alias in op.aliases if dtype else ():
        sample = next(iter(samples_of(op, dtype, False)))
        call = twins.resolve(alias.name)
        got = attempt(Form(minitorch, call, sample).run)
        if call is None or isinstance(got, Exception):
            wrong = f"minitorch has no {alias.name}" if call is None else f"raised {got!r}"
        else:
            wrong = difference(got, Form(torch, alias.op, sample).run())
        for variant, end in ((alias.method_variant, ""), (alias.inplace_variant, "_")):
            if callable(variant) and not hasattr(minitorch.Tensor, alias.name + end):
                wrong = wrong or f"minitorch has no method {alias.name + end}"
        tally.add("aliases", "", wrong, sample)
