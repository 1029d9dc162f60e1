"""Views, in-place changes and backward in any order, with PyTorch as the oracle.

The machine keeps pairs of tensors, minitorch's and PyTorch's, all float64, and lets hypothesis
choose what happens next: leaves are made, views taken, tensors and views changed in place, with
gradients recorded or not, and backward runs. Both packages must do the same at every step: raise,
or not; and afterwards *every* tensor that is still held must have the same values, version,
requires_grad, is_leaf and .grad, and be a view of the same base. The last point is what finds bugs:
a change of one tensor that is not seen in its base, or in another view of it.

What PyTorch computes is what counts, with two exceptions. A view made under no_grad requires a
gradient, as its base does, but PyTorch throws the gradient away; here it gets it. And PyTorch
notices that a view is stale when the view is next used after *any* change of its base, minitorch
only after a change that autograd recorded. So views that may not be changed (of split, or made
under no_grad) are dropped once their memory has been changed without recording.
"""

import contextlib
import warnings

import numpy as np
import torch
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import minitorch
from minitorch.dispatch.views import Stale

SHAPES = [(4,), (2, 3), (2, 2, 2), (1, 3), (6,), ()]
MOST = 8  # tensors

# (name, function of the tensor, a dimension and a small number); all make views.
VIEWS = {
    "view(-1)": lambda x, d, n: x.view(-1),
    "reshape(-1)": lambda x, d, n: x.reshape(-1),
    "T": lambda x, d, n: x.permute(tuple(range(x.ndim))[::-1]),
    "transpose": lambda x, d, n: x.transpose(d, 0),
    "select": lambda x, d, n: x.select(d, n),
    "[n]": lambda x, d, n: x[n],
    "[n:]": lambda x, d, n: x[n:],
    "[..., ::2]": lambda x, d, n: x[..., ::2],
    "[None]": lambda x, d, n: x[None],
    "[...]": lambda x, d, n: x[...],
    "narrow": lambda x, d, n: x.narrow(d, n, 1),
    "unsqueeze": lambda x, d, n: x.unsqueeze(d),
    "squeeze": lambda x, d, n: x.squeeze(),
    "expand": lambda x, d, n: x.expand(2, *x.shape),
    "diagonal": lambda x, d, n: x.diagonal(n),
    "unfold": lambda x, d, n: x.unfold(d, 2, 1),
    "as_strided": lambda x, d, n: x.as_strided((2,), (1,), n),
    "unflatten": lambda x, d, n: x.unflatten(d, (-1, 2)),
    "movedim": lambda x, d, n: x.movedim(d, 0),
    "split": lambda x, d, n: x.split(2, d)[0],
    "chunk": lambda x, d, n: x.chunk(2, d)[-1],
    "unbind": lambda x, d, n: x.unbind(d)[n],
    "tensor_split": lambda x, d, n: x.tensor_split(2, d)[0],
    "view_as": lambda x, d, n: x.view_as(x),
    "flatten": lambda x, d, n: x.flatten(),
}
OUT_OF_PLACE = {
    "clone": lambda x, y: x.clone(),
    "mul": lambda x, y: x * y,
    "square": lambda x, y: x * x,
    "exp": lambda x, y: (x * 0.1).exp(),
    "add": lambda x, y: x + y,
    "index": lambda x, y: x[[0, 0]],
    "sum": lambda x, y: x.sum(),
    "cat": lambda x, y: (x.reshape(-1), y.reshape(-1))[0],
    "contiguous": lambda x, y: x.contiguous(),
}
IN_PLACE = {
    "mul_(2)": lambda x, y: x.mul_(2),
    "mul_": lambda x, y: x.mul_(y),
    "add_": lambda x, y: x.add_(y),
    "sub_": lambda x, y: x.sub_(y, alpha=2),
    "copy_": lambda x, y: x.copy_(y),
    "zero_": lambda x, y: x.zero_(),
    "fill_": lambda x, y: x.fill_(1.5),
    "sin_": lambda x, y: x.sin_(),
    "sigmoid_": lambda x, y: x.sigmoid_(),
    "clamp_": lambda x, y: x.clamp_(-1, 1),
    "masked_fill_": lambda x, y: x.masked_fill_(x > 0.5, 0.25),
    "[0] =": lambda x, y: x.__setitem__(0, y),
    "[...] =": lambda x, y: x.__setitem__(Ellipsis, y),
    "[1:] = [:-1]": lambda x, y: x.__setitem__(slice(1, None), x[:-1]),
    "[[0, -1]] =": lambda x, y: x.__setitem__([0, -1], 3.0),
    "[mask] =": lambda x, y: x.__setitem__(x > 0, -0.5),
    "[0] *=": lambda x, y: x.__setitem__(0, x[0].mul_(2)),
    "index_fill_": lambda x, y: x.index_fill_(0, index(x, 0), 2.0),
    "addcmul_": lambda x, y: x.addcmul_(y, y, value=0.5),
}
# These change what the tensor looks like, not what it holds.
RESHAPING = {
    "unsqueeze_": lambda x, y: x.unsqueeze_(0),
    "transpose_": lambda x, y: x.transpose_(0, -1),
    "requires_grad_": lambda x, y: x.requires_grad_(),
}


# Their memory may be that of y as well, if both have no gaps: then PyTorch knows what to say of it.
OVERLAP_CHECKED = ("mul_", "add_", "sub_", "copy_", "[1:] = [:-1]")
# PyTorch lets these change expanded memory, some with a warning; here that is an error for all.
ALLOWED_THERE = ("fill_", "zero_", "[[0, -1]] =", "[mask] =", "masked_fill_", "index_fill_")
# Parts of messages that must be the same.
MESSAGES = (
    "a leaf Variable that requires grad",
    "a view of a leaf Variable",
    "more than one element of the written-to tensor",
    "some elements of the input tensor and the written-to",
    "is being modified inplace",
    "its base or another view of its base has been modified inplace",
    "this use case is ambiguous",
    "returns multiple views",
    "has been modified by an inplace operation",
)


class Pair:
    """A tensor of each package, that are meant to be the same."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs

    def of(self, T):
        return self.ours if T is minitorch else self.theirs


def index(x, *numbers):
    return (minitorch if isinstance(x, minitorch.Tensor) else torch).tensor(numbers)


def places(x) -> list[int]:
    """The addresses of the elements of a torch tensor, in order."""
    grid = np.full(tuple(x.shape), x.data_ptr())
    for d, step in enumerate(x.stride()):
        grid += np.arange(x.shape[d]).reshape(-1, *[1] * (x.ndim - d - 1)) * step * 8
    return grid.reshape(-1).tolist()


def is_dense(x) -> bool:
    """Whether the elements lie side by side, in whatever order."""
    found = places(x)
    return not found or len(set(found)) == len(found) == (max(found) - min(found)) / 8 + 1


def is_undefined(name: str, x, y) -> bool:
    """Whether what comes out depends on the order in which PyTorch visits the elements."""
    target, source = places(x), places(y)
    if len(set(target)) < len(target) and (0 not in x.stride() or name in ALLOWED_THERE):
        return True
    if name == "[1:] = [:-1]" and x.ndim:
        x, y = x[1:], x[:-1]
        target, source = places(x), places(y)
    if set(target).isdisjoint(source):
        return False
    if target == source and x.shape == y.shape:
        return False
    return name not in OVERLAP_CHECKED or not (is_dense(x) and is_dense(y))


class Views(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.pairs: list[Pair] = []

    def both(self, what: str, call, recorded=True):
        """`call` for both packages: both raise the same kind of error, or neither does."""
        note(what if recorded else what + " under no_grad")
        results: list = []
        for T in (minitorch, torch):
            mode = contextlib.nullcontext() if recorded else T.no_grad()
            with warnings.catch_warnings(), mode:
                warnings.simplefilter("ignore")
                try:
                    results.append(call(T))
                except Exception as error:
                    results.append(error)
        ours, theirs = results
        got, expected = (isinstance(r, Exception) for r in results)
        assert got == expected, f"{what}: minitorch gives {ours!r}, PyTorch {theirs!r}"
        if not expected:
            return ours, theirs
        note(f"    both raise {theirs}")
        mine, torchs = ({m for m in MESSAGES if m in str(e)} for e in results)
        # Where two things are wrong, sizes as well, each may name another one first.
        assert mine == torchs or not (mine and torchs), f"{what}: {ours} / {theirs}"
        assert mine or torchs or isinstance(ours, type(theirs)), f"{what}: {ours!r} / {theirs!r}"
        return None

    def keep(self, results) -> None:
        if results is not None:
            note(f"    t{len(self.pairs)} = {results[1]}")
            self.pairs.append(Pair(*results))

    def draw_pair(self, data, label="tensor") -> int:
        return data.draw(st.integers(0, len(self.pairs) - 1), label)

    def has_views(self, pair: Pair) -> bool:
        return any(p.theirs._base is pair.theirs for p in self.pairs)

    # What can happen

    @initialize(shape=st.sampled_from(SHAPES))
    def begin(self, shape):
        self.leaf(shape, True)
        self.keep(self.both("clone(t0)", lambda T: self.pairs[0].of(T).clone()))

    @precondition(lambda self: len(self.pairs) < 4)
    @rule(shape=st.sampled_from(SHAPES), requires_grad=st.booleans())
    def leaf(self, shape, requires_grad):
        values = np.linspace(-1, 1.5, int(np.prod(shape)) + 2)[1:-1].reshape(shape)
        self.keep(
            self.both(
                f"leaf{shape}, requires_grad={requires_grad}",
                lambda T: T.tensor(values.tolist(), dtype=T.float64, requires_grad=requires_grad),
            )
        )

    @precondition(lambda self: len(self.pairs) < MOST)
    @rule(
        data=st.data(),
        name=st.sampled_from(sorted(VIEWS)),
        dim=st.integers(-1, 1),
        n=st.integers(0, 1),
        recorded=st.sampled_from([True, True, False]),
    )
    def view(self, data, name, dim, n, recorded):
        i = self.draw_pair(data)
        call = VIEWS[name]
        if name == "as_strided" and not self.pairs[i].theirs.is_contiguous():
            return
        self.keep(
            self.both(
                f"t{i} viewed by {name}, d={dim}, n={n}",
                lambda T: call(self.pairs[i].of(T), dim, n),
                recorded,
            )
        )

    @precondition(lambda self: len(self.pairs) < MOST)
    @rule(data=st.data(), name=st.sampled_from(sorted(OUT_OF_PLACE)))
    def out_of_place(self, data, name):
        i, j = self.draw_pair(data), self.draw_pair(data)
        call = OUT_OF_PLACE[name]
        x, y = self.pairs[i], self.pairs[j]
        self.keep(self.both(f"{name}(t{i}, t{j})", lambda T: call(x.of(T), y.of(T)).contiguous()))

    @precondition(lambda self: len(self.pairs) < MOST)
    @rule(data=st.data(), name=st.sampled_from(["detach", "data"]))
    def outside_of_the_graph(self, data, name):
        i = self.draw_pair(data)
        x = self.pairs[i]
        take = (lambda t: t.detach()) if name == "detach" else (lambda t: t.data)
        self.keep(self.both(f"t{i}.{name}", lambda T: take(x.of(T))))

    @rule(
        data=st.data(),
        name=st.sampled_from(sorted(IN_PLACE)),
        recorded=st.sampled_from([True, True, True, False]),
    )
    def in_place(self, data, name, recorded):
        i, j = self.draw_pair(data), self.draw_pair(data)
        call = IN_PLACE[name]
        x, y = self.pairs[i], self.pairs[j]
        if is_undefined(name, x.theirs, y.theirs) or (name == "[mask] =" and not x.theirs.ndim):
            return
        apart = x.ours._storage is not y.ours._storage  # one is .data of the other, or unrelated
        if apart and not set(places(x.theirs)).isdisjoint(places(y.theirs)):
            return
        before = x.theirs._version
        self.both(f"{name} of t{i} with t{j}", lambda T: (call(x.of(T), y.of(T)), 0)[1], recorded)
        if x.theirs._version != before:
            self.drop_fragile_views(x.theirs)

    def drop_fragile_views(self, changed) -> None:
        """Those of which PyTorch, but not minitorch, will say that they are stale."""
        here = changed.untyped_storage().data_ptr()
        self.pairs = [
            p
            for p in self.pairs
            if p.theirs.untyped_storage().data_ptr() != here
            or not (p.ours._view and p.ours._view[2])
            or isinstance(p.ours._node, Stale)
        ]

    @rule(data=st.data(), name=st.sampled_from(sorted(RESHAPING)))
    def reshaping(self, data, name):
        i = self.draw_pair(data)
        x = self.pairs[i]
        if self.has_views(x) or x.theirs.retains_grad:
            return
        call, before = RESHAPING[name], x.theirs._version
        self.both(f"{name} of t{i}", lambda T: (call(x.of(T), x.of(T)), 0)[1])
        if x.theirs._version != before:
            self.drop_fragile_views(x.theirs)

    @rule(data=st.data())
    def backward(self, data):
        self.backward_from(self.draw_pair(data))

    def backward_from(self, i: int) -> None:
        x = self.pairs[i]

        def run(T):
            (x.of(T) * x.of(T)).sum().backward(retain_graph=True)

        done = self.both(f"backward from t{i}", run)
        if done is None:  # what had been added to .grad before the error is left open
            for pair in self.pairs:
                pair.ours.grad = pair.theirs.grad = None

    def teardown(self):
        """In the end all graphs are compared, by the gradients that come out of them."""
        for i in range(len(self.pairs)):
            self.backward_from(i)
            self.all_tensors_agree()

    @rule(data=st.data())
    def retain_grad(self, data):
        i = self.draw_pair(data)
        if self.pairs[i].theirs._is_view():  # PyTorch may have given it another node by now
            return
        self.both(f"t{i}.retain_grad()", lambda T: self.pairs[i].of(T).retain_grad())

    # What must be true all the time

    @invariant()
    def all_tensors_agree(self):
        for i, pair in enumerate(self.pairs):
            ours, theirs = pair.ours, pair.theirs
            self.same(f"t{i}", ours, theirs)
            assert ours._version == theirs._version, f"t{i}: versions differ"
            assert ours.requires_grad == theirs.requires_grad, f"t{i}: requires_grad differs"
            assert ours._is_view() == theirs._is_view(), f"t{i}: _is_view differs"
            for j, other in enumerate(self.pairs):
                assert (ours._base is other.ours) == (theirs._base is other.theirs), (
                    f"whether t{i} has the base t{j} differs"
                )
            try:
                is_leaf = theirs.is_leaf
            except RuntimeError:  # a stale view
                continue
            assert ours.is_leaf == is_leaf, f"t{i}: is_leaf differs"
            if (is_leaf and not theirs._is_view()) or theirs.retains_grad:
                a, b = ours.grad, theirs.grad
                assert (a is None) == (b is None), f"t{i}: .grad is {a}, PyTorch's {b}"
                if b is not None:
                    self.same(f"t{i}.grad", a, b, layout=False)

    def same(self, what: str, ours, theirs, layout=True) -> None:
        a, b = ours.array, theirs.detach().numpy()
        assert a.shape == b.shape and np.allclose(a, b, 1e-9, 1e-12, equal_nan=True), (
            f"{what} differs:\n{a}\n{b}"
        )
        if b.size and layout:
            steps = zip(ours.stride(), theirs.stride(), theirs.shape, strict=True)
            assert all(n == m for n, m, extent in steps if extent > 1), f"{what}: strides differ"


Views.TestCase.settings = settings(
    max_examples=5 * settings.default.max_examples,
    stateful_step_count=20,
    report_multiple_bugs=False,
)
TestViews = Views.TestCase
