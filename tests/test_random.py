"""Random numbers against PyTorch's, for the same seed: the values and the state left behind."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch import random

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
seeds = st.integers(-(2**63), 2**64 - 1)
# Around the limits of the recipes: blocks of 16, tails, 64 (vectorised normals), pieces of 16384.
sizes = st.one_of(
    st.integers(0, 80), st.sampled_from([624, 1000, 16383, 16384, 16385, 16400, 33000])
)


def numpy_dtype(name):
    return pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)


def generators(seed):
    return random.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)


def as_numpy(tensor):
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
    return tensor.numpy()


def assert_same(ours, theirs, digits=0):
    """Equal bits; or, with `digits`, equal but for that many units in the last place of 1."""
    theirs = as_numpy(theirs)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if digits == 0:
        np.testing.assert_array_equal(ours, theirs)
    else:
        precision = digits * float(torch.finfo(getattr(torch, ours.dtype.name)).eps)
        got, expected = ours.astype(np.float64), theirs.astype(np.float64)
        np.testing.assert_allclose(got, expected, rtol=precision, atol=precision)


def assert_same_state(ours, theirs):
    """Both generators will go on alike: equal bytes, up to the spare normal's last digit."""
    got = ours.get_state().view(random.generator.STATE)[0]
    expected = theirs.get_state().numpy().view(random.generator.STATE)[0]
    for field in ("seed", "left", "seeded", "next", "normal_is_valid"):
        assert got[field] == expected[field], field
    np.testing.assert_array_equal(got["words"], expected["words"])
    assert got["normal_y"] == pytest.approx(expected["normal_y"], rel=1e-14, abs=1e-15)


# One line per call: ours(generator, array), theirs(tensor, generator), dtypes, and the digits that
# may be lost by doubles when there are many of them.
CALLS = {
    "rand": (random.uniform_, lambda t, g: t.uniform_(generator=g), FLOATS, 0),
    "uniform": (
        lambda g, a: random.uniform_(g, a, -0.31, 0.77),
        lambda t, g: t.uniform_(-0.31, 0.77, generator=g),
        FLOATS,
        0,
    ),
    "uniform_narrow": (
        lambda g, a: random.uniform_(g, a, 1.0, 1.0009765625),
        lambda t, g: t.uniform_(1.0, 1.0009765625, generator=g),
        FLOATS,
        0,
    ),
    "randn": (random.normal_, lambda t, g: t.normal_(generator=g), FLOATS, 8),
    "normal": (
        lambda g, a: random.normal_(g, a, 0.3, 1.7),
        lambda t, g: t.normal_(0.3, 1.7, generator=g),
        FLOATS,
        8,
    ),
    "randint": (
        lambda g, a: random.randint_(g, a, 3, 101),
        lambda t, g: t.random_(3, 101, generator=g),
        INTEGERS + FLOATS,
        0,
    ),
    "randint_negative": (
        lambda g, a: random.randint_(g, a, -100, 28),
        lambda t, g: t.random_(-100, 28, generator=g),
        ("int8", "int16", "int32", "int64", "float16", "float32"),
        0,
    ),
    "randint_two_words": (
        lambda g, a: random.randint_(g, a, -5, 2**28 - 5),
        lambda t, g: t.random_(-5, 2**28 - 5, generator=g),
        ("int32", "int64", "float64"),
        0,
    ),
    "randint_huge": (
        lambda g, a: random.randint_(g, a, -(2**63), 2**63 - 1),
        lambda t, g: t.random_(-(2**63), 2**63 - 1, generator=g),
        ("int64",),
        0,
    ),
    "random": (
        random.random_,
        lambda t, g: t.random_(generator=g),
        ("bool", *INTEGERS, *FLOATS),
        0,
    ),
    "bernoulli": (
        lambda g, a: random.bernoulli_(g, a, 0.3),
        lambda t, g: t.bernoulli_(0.3, generator=g),
        ("bool", *INTEGERS, *FLOATS),
        0,
    ),
    "exponential": (
        lambda g, a: random.exponential_(g, a, 1.5),
        lambda t, g: t.exponential_(1.5, generator=g),
        FLOATS,
        2,
    ),
    "geometric": (
        lambda g, a: random.geometric_(g, a, 0.2),
        lambda t, g: t.geometric_(0.2, generator=g),
        ("int64", *FLOATS),
        0,
    ),
    "log_normal": (
        lambda g, a: random.log_normal_(g, a, 0.3, 0.6),
        lambda t, g: t.log_normal_(0.3, 0.6, generator=g),
        FLOATS,
        8,
    ),
    "cauchy": (
        lambda g, a: random.cauchy_(g, a, 1.0, 2.0),
        lambda t, g: t.cauchy_(1.0, 2.0, generator=g),
        FLOATS,
        8192,
    ),
}
typed_calls = st.sampled_from([(name, dtype) for name in CALLS for dtype in CALLS[name][2]])


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("size", [0, 1, 5, 15, 16, 17, 100, 40000])
def test_values_and_state(name, size):
    ours, theirs, dtypes, digits = CALLS[name]
    for dtype in dtypes:
        a, b = generators(20)
        tensor = torch.empty(size, dtype=getattr(torch, dtype))
        got = ours(a, np.empty(size, numpy_dtype(dtype)))
        assert_same(got, theirs(tensor, b), lost(digits, dtype, size))
        assert_same_state(a, b)


def lost(digits, dtype, size):
    return digits if dtype == "float64" and size > random.rounding.FEW else 0


@given(seed=seeds, calls=st.lists(st.tuples(typed_calls, sizes), max_size=6))
@settings(max_examples=150, deadline=None)
def test_mixed_calls_stay_in_step(seed, calls):
    a, b = generators(seed)
    for (name, dtype), size in calls:
        ours, theirs, _, digits = CALLS[name]
        tensor = torch.empty(size, dtype=getattr(torch, dtype))
        got, expected = ours(a, np.empty(size, numpy_dtype(dtype))), theirs(tensor, b)
        assert_same(got, expected, lost(digits, dtype, size))
        assert_same_state(a, b)


@given(
    seed=seeds,
    call=st.sampled_from(["rand", "randn", "randint", "bernoulli", "log_normal"]),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_arrays_fill_in_memory_order(seed, call, shape, data):
    """Transposed arrays, slices and both together: a word goes where PyTorch puts it."""
    order = data.draw(st.permutations(range(len(shape))))
    steps = [data.draw(st.integers(1, 2)) for _ in shape]
    index = tuple(slice(None, None, step) for step in steps)
    array = np.zeros(shape, np.float32)
    tensor = torch.from_numpy(np.zeros(shape, np.float32))
    a, b = generators(seed)
    ours, theirs, _, _ = CALLS[call]
    assert_same(ours(a, array.transpose(order)[index]), theirs(tensor.permute(order)[index], b))
    assert_same(array, tensor)  # and nowhere else
    assert_same_state(a, b)


def test_normals_of_a_large_channels_last_array():
    a, b = generators(3)
    tensor = torch.empty(4, 32, 5, 5).to(memory_format=torch.channels_last)
    array = np.empty((4, 5, 5, 32), np.float32).transpose(0, 3, 1, 2)
    assert_same(random.normal_(a, array), tensor.normal_(generator=b))
    assert_same_state(a, b)


@pytest.mark.parametrize("name", ["randn", "exponential", "log_normal", "cauchy"])
def test_how_many_doubles_differ_in_the_last_digit(name):
    """What docs/random.md says of many: fewer than one in ten."""
    ours, theirs, _, _ = CALLS[name]
    a, b = generators(8)
    got = ours(a, np.empty(100_000))
    expected = theirs(torch.empty(100_000, dtype=torch.float64), b).numpy()
    assert np.mean(got != expected) <= 0.1
    np.testing.assert_allclose(got, expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("dtype", FLOATS)
def test_few_normals_are_exact(dtype):
    for size in range(16):
        a, b = generators(size)
        for _ in range(3):
            ours = random.normal_(a, np.empty(size, numpy_dtype(dtype)), 0.1, 0.7)
            theirs = torch.empty(size, dtype=getattr(torch, dtype)).normal_(0.1, 0.7, generator=b)
            assert_same(ours, theirs)
            np.testing.assert_array_equal(a.get_state(), b.get_state().numpy())


@given(seed=seeds, n=st.one_of(st.integers(0, 300), st.integers(2040, 2060), st.just(30_000)))
@settings(max_examples=60, deadline=None)
def test_randperm(seed, n):
    a, b = generators(seed)
    assert_same(random.randperm(a, n), torch.randperm(n, generator=b))
    assert_same_state(a, b)


@given(n=st.integers(2, 5000), data=st.data())
@settings(max_examples=40, deadline=None)
def test_swaps_in_rounds_are_swaps_in_turn(n, data):
    """Also for partners that collide much more than random ones do."""
    spread = data.draw(st.sampled_from([1, 2, 10, n]))
    seed = data.draw(st.integers(0, 1000))
    place = np.arange(n - 1)
    reach = np.minimum(spread, n - place)
    partner = place + np.random.default_rng(seed).integers(0, reach)
    np.testing.assert_array_equal(
        random.sampling._swap_in_rounds(n, partner),
        random.sampling._swap_in_turn(n, partner.tolist()),
    )


@pytest.mark.parametrize("p_dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(7,), (3, 40), (2, 3, 4)])
def test_bernoulli_with_an_array_of_probabilities(p_dtype, shape):
    a, b = generators(6)
    p = np.random.default_rng(0).random(shape[1:] if len(shape) > 1 else shape).astype(p_dtype)
    ours = random.bernoulli_(a, np.empty(shape[::-1], np.float32).T, p)
    theirs = (
        torch.empty(shape[::-1])
        .permute(*range(len(shape))[::-1])
        .bernoulli_(torch.from_numpy(p), generator=b)
    )
    assert_same(ours, theirs)
    assert_same_state(a, b)


@pytest.mark.parametrize("p", [0.0, 1.0, 0, 1, True, 1e-300, 1 - 2**-53])
def test_bernoulli_at_the_ends(p):
    a, b = generators(2)
    ours = random.bernoulli_(a, np.empty(1000, np.float32), p)
    assert_same(ours, torch.empty(1000).bernoulli_(p, generator=b))
    assert_same_state(a, b)


def test_bernoulli_compares_exactly():
    """k / 2**53 counts as 1 when it is below p, also for a p between two such numbers."""

    class Counting(random.Generator):
        def doubles(self, n):
            return np.arange(n) * 2.0**-53

    for p in (0.5, 1.0, 1.5, 2.0):
        got = random.bernoulli_(Counting(), np.empty(4), p * 2.0**-53)
        np.testing.assert_array_equal(got, np.arange(4) < p)


@given(seed=st.integers(0, 1000), p=st.floats(0.01, 0.99), size=st.integers(1, 2000))
@settings(max_examples=30, deadline=None)
def test_the_mask_of_dropout(seed, p, size):
    torch.manual_seed(seed)
    theirs = torch.nn.functional.dropout(torch.ones(size), p)
    generator = random.Generator().manual_seed(seed)
    mask = random.bernoulli_(generator, np.empty(size, np.float32), 1 - p)
    np.testing.assert_array_equal(mask != 0, theirs.numpy() != 0)
    np.testing.assert_array_equal(mask / np.float32(1 - p), theirs.numpy())


@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["float32", "float64", "float16"]),
    rows=st.sampled_from([(), (1,), (5,)]),
    categories=st.integers(1, 40),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_multinomial(seed, dtype, rows, categories, data):
    replacement = dtype == "float16" or data.draw(st.booleans())  # in float16 races end in ties
    n = data.draw(st.integers(1, 60 if replacement else categories))
    weights = np.random.default_rng(seed).random((*rows, categories)).astype(dtype) + 0.01
    weights = weights.astype(dtype)
    a, b = generators(seed)
    ours = random.multinomial(a, weights, n, replacement)
    assert_same(ours, torch.multinomial(torch.from_numpy(weights), n, replacement, generator=b))
    assert_same_state(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n,replacement", [(50_000, True), (500, False), (1, False)])
def test_multinomial_of_a_large_vocabulary(dtype, n, replacement):
    """So many that sums rounded in another type, or another order, would show."""
    a, b = generators(9)
    weights = np.random.default_rng(4).random(20_000).astype(dtype)
    ours = random.multinomial(a, weights, n, replacement)
    assert_same(ours, torch.multinomial(torch.from_numpy(weights), n, replacement, generator=b))
    assert_same_state(a, b)


@pytest.mark.parametrize("words", [0, 1, 5, 623, 624, 625, 2000])
@pytest.mark.parametrize("normals", [0, 1, 2])
def test_state_travels_both_ways(words, normals):
    a, b = generators(-12)
    random.uniform_(a, np.empty(words, np.float32))
    torch.rand(words, generator=b)
    random.normal_(a, np.empty(normals))
    torch.randn(normals, generator=b)
    np.testing.assert_array_equal(a.get_state(), b.get_state().numpy())

    from_torch = random.Generator().set_state(b.get_state().numpy())
    to_torch = torch.Generator()
    to_torch.set_state(torch.from_numpy(a.get_state()))
    expected = torch.randn(3, generator=b)
    assert_same(random.normal_(from_torch, np.empty(3, np.float32)), expected)
    assert torch.equal(torch.randn(3, generator=to_torch), expected)
    assert from_torch.initial_seed() == to_torch.initial_seed() == 2**64 - 12


def test_copies_continue_the_stream():
    a = random.Generator().manual_seed(5)
    random.normal_(a, np.empty(3))
    twins = [copy.deepcopy(a), pickle.loads(pickle.dumps(a)), a.clone_state()]
    expected = random.normal_(a, np.empty(700))
    for twin in twins:
        np.testing.assert_array_equal(random.normal_(twin, np.empty(700)), expected)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_seeds(seed):
    a, b = generators(seed)
    assert a.initial_seed() == b.initial_seed()
    assert_same_state(a, b)


def test_default_seeds():
    assert random.Generator().initial_seed() == torch.Generator().initial_seed()
    assert random.Generator().seed() != random.Generator().seed()
    assert random.manual_seed(7) is random.default_generator
    assert random.initial_seed() == 7
    assert random.seed() == random.initial_seed() != 7


@pytest.mark.parametrize("bad", [2**64, -(2**63) - 1, 1.5, "a", None, True])
def test_bad_seeds(bad):
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        torch.Generator().manual_seed(bad)
    with pytest.raises(type(theirs.value)) as ours:
        random.Generator().manual_seed(bad)
    assert str(ours.value).startswith(str(theirs.value))


@pytest.mark.parametrize(
    "state", [np.zeros(5056), np.zeros(5055, np.uint8), np.zeros(5056, np.uint8)]
)
def test_bad_states(state):
    with pytest.raises((TypeError, RuntimeError)) as theirs:
        torch.Generator().set_state(torch.from_numpy(state))
    with pytest.raises(type(theirs.value)) as ours:
        random.Generator().set_state(state)
    assert str(ours.value).startswith(str(theirs.value))


@pytest.mark.parametrize(
    "ours,theirs",
    [
        (lambda g, a: random.uniform_(g, a, 1, 0), lambda t: t.uniform_(1, 0)),
        (lambda g, a: random.normal_(g, a, 0, -1), lambda t: t.normal_(0, -1)),
        (lambda g, a: random.randint_(g, a, 5, 5), lambda t: t.random_(5, 5)),
        (lambda g, a: random.bernoulli_(g, a, 1.5), lambda t: t.bernoulli_(1.5)),
        (lambda g, a: random.bernoulli_(g, a, math.nan), lambda t: t.bernoulli_(math.nan)),
        (lambda g, a: random.exponential_(g, a, -1), lambda t: t.exponential_(-1)),
        (lambda g, a: random.geometric_(g, a, 0), lambda t: t.geometric_(0)),
        (lambda g, a: random.log_normal_(g, a, 0, 0), lambda t: t.log_normal_(0, 0)),
        (lambda g, a: random.cauchy_(g, a, 0, -1), lambda t: t.cauchy_(0, -1)),
        (lambda g, a: random.randperm(g, -1), lambda t: torch.randperm(-1)),
        (lambda g, a: random.multinomial(g, a, 3), lambda t: torch.multinomial(t, 3)),
        (lambda g, a: random.multinomial(g, a, 0), lambda t: torch.multinomial(t, 0)),
        (lambda g, a: random.multinomial(g, -a, 1), lambda t: torch.multinomial(-t, 1)),
        (lambda g, a: random.multinomial(g, 0 * a, 1), lambda t: torch.multinomial(0 * t, 1)),
        (lambda g, a: random.multinomial(g, a / 0, 1), lambda t: torch.multinomial(t / 0, 1)),
    ],
)
def test_bad_arguments(ours, theirs):
    with pytest.raises(RuntimeError) as expected:
        theirs(torch.ones(2))
    with pytest.raises(RuntimeError) as got, np.errstate(divide="ignore"):
        ours(random.Generator(), np.ones(2, np.float32))
    assert str(got.value) == str(expected.value).split("\n")[0]


def test_the_wrong_probability_is_named():
    p = np.array([[0.5, 0.1], [1.25, 2.0]])
    with pytest.raises(RuntimeError, match=r"in \[0, 1\], but got p=1.25"):
        random.bernoulli_(random.Generator(), np.empty((2, 2)), p)


def test_integers_that_the_type_cannot_hold():
    generator = random.Generator()
    with pytest.raises(RuntimeError, match="to - 1 is out of bounds for torch.uint8"):
        random.randint_(generator, np.empty(3, np.uint8), 0, 257)
    with pytest.raises(RuntimeError, match="from is out of bounds for torch.int8"):
        random.randint_(generator, np.empty(3, np.int8), -129, 0)
    with pytest.raises(RuntimeError, match="to - 1 is out of bounds for torch.float16"):
        random.randint_(generator, np.empty(3, np.float16), 0, 2**17)
    with pytest.warns(UserWarning, match="to - 1 is out of bounds .-16777216, 16777216"):
        random.randint_(generator, np.empty(3, np.float32), 0, 2**25)


@given(seed=seeds, dtype=st.sampled_from(FLOATS), bounds=st.data())
@settings(max_examples=100, deadline=None)
@pytest.mark.filterwarnings("ignore:.*out of bounds")
def test_integers_that_a_float_type_rounds(seed, dtype, bounds):
    """Bounds are moved to where nothing is rounded out of the range."""
    largest = min(int(torch.finfo(getattr(torch, dtype)).max), 2**62)
    low = bounds.draw(st.integers(-largest, largest - 1))
    high = bounds.draw(st.integers(low + 1, largest))
    a, b = generators(seed)
    tensor = torch.empty(20, dtype=getattr(torch, dtype))
    try:
        tensor.random_(low, high, generator=b)
    except RuntimeError as theirs:
        with pytest.raises(RuntimeError) as ours:
            random.randint_(a, np.empty(20, numpy_dtype(dtype)), low, high)
        assert str(ours.value)[:60] == str(theirs)[:60]
        return
    assert_same(random.randint_(a, np.empty(20, numpy_dtype(dtype)), low, high), tensor)
    assert_same_state(a, b)


def test_threads_share_a_generator():
    """No word is lost or given twice: together the threads draw what one alone would."""
    generator = random.Generator().manual_seed(1)
    drawn = []

    def draw():
        for _ in range(50):
            drawn.append(random.normal_(generator, np.empty(3)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one = random.Generator().manual_seed(1)
    expected = np.concatenate([random.normal_(one, np.empty(3)) for _ in range(200)])
    np.testing.assert_array_equal(np.sort(np.concatenate(drawn)), np.sort(expected))
