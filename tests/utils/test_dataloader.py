"""Datasets, collating and DataLoader against PyTorch's: batches, errors, random state."""

import collections
import itertools
import types

import numpy as np
import pytest
import torch
import torch.utils.data as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
import minitorch.utils.data as ours
from minitorch import random

Point = collections.namedtuple("Point", ["x", "y"])
LIBRARIES = ((minitorch, ours), (torch, theirs))


def seed_both(seed):
    random.manual_seed(seed)
    torch.manual_seed(seed)


def assert_same_state():
    got = np.asarray(random.default_generator.get_state())
    np.testing.assert_array_equal(got, torch.default_generator.get_state().numpy())


def plain(value):
    """Tensors of either library as (dtype, nested list), so that whole batches can be compared."""
    if isinstance(value, (minitorch.Tensor, torch.Tensor)):
        return str(value.dtype), tuple(value.shape), value.tolist()
    if isinstance(value, collections.abc.Mapping):
        return type(value).__name__, {key: plain(item) for key, item in value.items()}
    if isinstance(value, collections.abc.Sequence) and not isinstance(value, (str, bytes)):
        return type(value).__name__, [plain(item) for item in value]
    return value


def assert_same(got, expected):
    assert plain(got) == plain(expected)


def tensor_datasets(n):
    x = np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3)
    y = np.arange(n) % 7
    return [data.TensorDataset(lib.from_numpy(x), lib.from_numpy(y)) for lib, data in LIBRARIES]


@given(
    seed=st.integers(0, 2**63),
    n=st.integers(1, 40),
    batch_size=st.none() | st.integers(1, 12),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    own=st.booleans(),
    wrapped=st.sampled_from(["plain", "subset", "concat", "stack"]),
    stop=st.none() | st.integers(0, 3),
)
@settings(max_examples=120, deadline=None)
def test_epochs(seed, n, batch_size, shuffle, drop_last, own, wrapped, stop):
    """Whole and interrupted epochs: equal batches, and equal random numbers between them."""
    seed_both(seed)
    loaders = []
    for (lib, data), dataset in zip(LIBRARIES, tensor_datasets(n), strict=True):
        if wrapped == "subset":
            dataset = data.Subset(data.Subset(dataset, range(n)[::-1]), list(range(n)))
        elif wrapped == "concat":
            dataset = dataset + dataset
        elif wrapped == "stack":
            dataset = data.StackDataset(a=dataset, b=data.StackDataset(dataset, dataset))
        generator = lib.Generator().manual_seed(seed % 100) if own else None
        loaders.append(
            data.DataLoader(
                dataset,
                batch_size,
                shuffle,
                drop_last=drop_last and batch_size is not None,
                generator=generator,
            )
        )
    mine, torchs = loaders
    assert len(mine) == len(torchs)
    for _ in range(2):
        iterators = iter(mine), iter(torchs)
        assert len(iterators[0]) == len(iterators[1])
        assert_same_state()  # the base seed is drawn by iter() itself
        assert_same(*[list(itertools.islice(iterator, stop)) for iterator in iterators])
        assert_same_state()
        if own:
            got, expected = (np.asarray(loader.generator.get_state()) for loader in loaders)
            np.testing.assert_array_equal(got, expected)


def test_a_training_loop_sees_the_same_batches_and_masks():
    traces = []
    for (lib, data), dataset in zip(LIBRARIES, tensor_datasets(50), strict=True):
        lib.manual_seed(11)
        trace = []
        train, held_out = data.random_split(dataset, [0.8, 0.2])
        for _ in range(3):
            for x, y in data.DataLoader(train, 16, shuffle=True):
                trace.append((x.tolist(), y.tolist(), lib.rand(3).tolist()))
            trace.extend(x.tolist() for x, _ in data.DataLoader(held_out, 4))
        traces.append(trace)
    assert traces[0] == traces[1]


@pytest.mark.parametrize("wrap", ["plain", "subset"])
def test_batches_of_tensors_are_gathered_and_collated_alike(wrap):
    """The shortcut for TensorDataset gives what default_collate gives; batches are copies."""
    dataset, _ = tensor_datasets(20)
    if wrap == "subset":
        dataset = ours.Subset(dataset, list(range(19, -1, -2)))
    slow = ours.DataLoader(dataset, 3, collate_fn=lambda batch: ours.default_collate(batch))
    batches = list(ours.DataLoader(dataset, 3))
    assert_same(batches, list(slow))
    assert not np.shares_memory(batches[0][0].numpy(), tensor_datasets(20)[0].tensors[0].numpy())


def test_subclasses_of_tensor_dataset_are_asked_for_their_items():
    def make(data):
        class Doubled(data.TensorDataset):
            def __getitem__(self, index):
                return tuple(tensor * 2 for tensor in super().__getitem__(index))

        class Together(data.TensorDataset):
            def __getitems__(self, indices):
                return [self[i][0] for i in indices]

        return Doubled, Together

    for mine, torchs in zip(make(ours), make(theirs), strict=True):
        (a, b), rows = tensor_datasets(9), [0, 2, 5, 8]
        a, b = mine(*a.tensors), torchs(*b.tensors)
        assert_same(list(ours.DataLoader(a, 2)), list(theirs.DataLoader(b, 2)))
        a, b = ours.Subset(a, rows), theirs.Subset(b, rows)
        assert_same(list(ours.DataLoader(a, 3)), list(theirs.DataLoader(b, 3)))


def test_custom_samplers_and_keys():
    table = {"a": 1, "b": 2, "c": 3}

    def make(data):
        class Table(data.Dataset):
            def __getitem__(self, key):
                return table[key], key

        return [
            data.DataLoader(Table(), 2, sampler=["c", "a", "b"]),
            data.DataLoader(Table(), batch_sampler=[["a"], ["b", "c"]]),
            data.DataLoader(Table(), batch_size=None, sampler=["b", "a"]),
        ]

    for mine, torchs in zip(make(ours), make(theirs), strict=True):
        assert len(mine) == len(torchs)
        assert mine.batch_size == torchs.batch_size
        assert_same(list(mine), list(torchs))


@pytest.mark.parametrize("batch_size", [None, 1, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.filterwarnings("error")
def test_iterable_datasets(batch_size, drop_last):
    drop_last = drop_last and batch_size is not None

    def make(data):
        class Stream(data.IterableDataset):
            def __init__(self, n):
                self.n = n

            def __iter__(self):
                return iter(range(self.n))

            def __len__(self):
                return self.n

        return data.DataLoader(Stream(3) + Stream(7), batch_size, drop_last=drop_last)

    seed_both(4)
    mine, torchs = make(ours), make(theirs)
    assert len(mine) == len(torchs)
    for _ in range(2):
        assert_same(list(mine), list(torchs))
        assert_same_state()


def test_a_stream_longer_than_promised_is_noticed():
    class Stream(ours.IterableDataset):
        def __iter__(self):
            return iter(range(4))

        def __len__(self):
            return 3

    loader = ours.DataLoader(Stream(), batch_size=None)
    assert len(loader) == 3
    with pytest.warns(UserWarning, match="was reported to be 3 .* but 4 samples have been fetched"):
        assert list(loader) == [0, 1, 2, 3]


SAMPLES = {
    "floats": lambda lib: [1.5, 2.5],
    "ints": lambda lib: [1, 2, 3],
    "bools": lambda lib: [True, False],
    "strings": lambda lib: ["a", "bc"],
    "bytes": lambda lib: [b"a", b"bc"],
    "tensors": lambda lib: [lib.tensor([1.0, 2.0]), lib.tensor([3.0, 4.0])],
    "0-d tensors": lambda lib: [lib.tensor(1), lib.tensor(2)],
    "arrays": lambda lib: [np.ones((2, 3)), np.zeros((2, 3))],
    "0-d arrays": lambda lib: [np.array(1.5), np.array(2.5)],
    "float32 scalars": lambda lib: [np.float32(1.5), np.float32(2.5)],
    "float64 scalars": lambda lib: [np.float64(1.5), np.float64(2.5)],
    "int8 scalars": lambda lib: [np.int8(3), np.int8(4)],
    "bool scalars": lambda lib: [np.bool_(True), np.bool_(False)],
    "tuples": lambda lib: [(1, 2.0, "x"), (3, 4.0, "y")],
    "lists": lambda lib: [[1, 2.0], [3, 4.0]],
    "dicts": lambda lib: [{"a": 1, "b": [2.0]}, {"a": 3, "b": [4.0]}],
    "ordered dicts": lambda lib: [collections.OrderedDict(b=1, a=2)] * 2,
    "read-only mappings": lambda lib: [types.MappingProxyType({"a": 1})] * 2,
    "named tuples": lambda lib: [Point(1, 2.0), Point(3, 4.0)],
    "ranges": lambda lib: [range(2), range(2)],
    "deques": lambda lib: [collections.deque([1, 2.0]), collections.deque([3, 4.0])],
    "user dicts": lambda lib: [collections.UserDict(a=1, b=2.0)] * 2,
    "nested": lambda lib: [{"p": Point(lib.tensor(1), [np.float32(2), (3, "s")])}] * 3,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_default_collate(name):
    make = SAMPLES[name]
    assert_same(ours.default_collate(make(minitorch)), theirs.default_collate(make(torch)))


@pytest.mark.parametrize("name", SAMPLES)
def test_default_convert(name):
    make = SAMPLES[name]
    for mine, torchs in zip(make(minitorch), make(torch), strict=True):
        assert_same(ours.default_convert(mine), theirs.default_convert(torchs))


def test_collate_with_a_table():
    from torch.utils.data._utils.collate import collate as torchs

    from minitorch.utils.data.collate import collate as mine

    table = {
        int: lambda batch, *, collate_fn_map: sum(batch),
        (str, bytes): lambda batch, *, collate_fn_map: "-".join(batch),
        bool: lambda batch, *, collate_fn_map: all(batch),
    }
    batch = [{"a": (1, "x"), "b": True}, {"a": (2, "y"), "b": False}]
    assert mine(batch, collate_fn_map=table) == torchs(batch, collate_fn_map=table)
    assert mine(batch, collate_fn_map=table) == {"a": [3, "x-y"], "b": False}


@pytest.mark.parametrize(
    "batch",
    [
        [object()],
        [None, None],
        [np.array(["a"]), np.array(["b"])],
        [np.array([object()])],
        [[1, 2], [3]],
        [{1, 2}],
    ],
)
def test_what_cannot_be_collated(batch):
    with pytest.raises((TypeError, RuntimeError)) as expected:
        theirs.default_collate(batch)
    with pytest.raises(type(expected.value)) as got:
        ours.default_collate(batch)
    assert str(got.value) == str(expected.value)


def test_batches_carry_gradients():
    losses = []
    for lib, data in LIBRARIES:
        x = lib.arange(12.0).reshape(6, 2).requires_grad_()
        for (batch,) in data.DataLoader(data.TensorDataset(x), 4):
            (batch * batch).sum().backward()
        losses.append(x.grad.tolist())
    assert losses[0] == losses[1]


@given(
    seed=st.integers(0, 1000),
    n=st.integers(0, 50),
    fractions=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    by_length=st.booleans(),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore:Length of split")
def test_random_split(seed, n, fractions, by_length):
    seed_both(seed)
    parts = [f / sum(fractions) for f in fractions]
    if sum(parts) > 1:  # PyTorch takes no sum above one, not by a rounding error either
        parts[-1] -= 1e-9
    if by_length:
        parts = [int(n * part) for part in parts]
        parts[0] += n - sum(parts)
    got, expected = (data.random_split(range(n), parts) for _, data in LIBRARIES)
    assert [list(part.indices) for part in got] == [list(part.indices) for part in expected]
    assert_same_state()


@pytest.mark.parametrize("persistent_workers", [False, True])
def test_epochs_as_with_pytorchs_workers(persistent_workers):
    """A script that asks for workers sees the same batches, and the same random numbers after."""
    seed_both(6)
    options = {"shuffle": True, "num_workers": 1, "persistent_workers": persistent_workers}
    mine, torchs = (
        data.DataLoader(dataset, 4, **options)
        for (_, data), dataset in zip(LIBRARIES, tensor_datasets(10), strict=True)
    )
    for _ in range(3):
        assert_same(list(mine), list(torchs))
        assert_same_state()


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"num_workers": 1, "prefetch_factor": -1},
        {"persistent_workers": True},
        {"multiprocessing_context": "fork"},
        {"sampler": [0], "shuffle": True},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_sampler": [[0]], "drop_last": True},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
        {"batch_size": 1.5},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError) as expected:
        theirs.DataLoader(range(3), **options)
    with pytest.raises(ValueError) as got:
        ours.DataLoader(range(3), **options)
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}])
def test_streams_take_no_order(options):
    with pytest.raises(ValueError) as expected:
        theirs.DataLoader(theirs.ChainDataset([]), **options)
    with pytest.raises(ValueError) as got:
        ours.DataLoader(ours.ChainDataset([]), **options)
    assert str(got.value) == str(expected.value)


def test_a_timeout_needs_workers():
    for data in (theirs, ours):
        with pytest.raises(AssertionError, match="timeout"):
            iter(data.DataLoader(range(3), timeout=1))


def test_pinning_without_an_accelerator_is_said():
    for data in (theirs, ours):
        with pytest.warns(UserWarning, match="no accelerator is found"):
            list(data.DataLoader(range(3), pin_memory=True))


@pytest.mark.parametrize("name", ["batch_size", "sampler", "batch_sampler", "drop_last", "dataset"])
def test_some_attributes_are_final(name):
    for data in (theirs, ours):
        with pytest.raises(ValueError, match=f"{name} attribute should not be set"):
            setattr(data.DataLoader(range(3)), name, None)
    loader = ours.DataLoader(range(3))
    loader.collate_fn = sum
    assert list(loader) == [0, 1, 2]


def test_dataset_errors():
    a = minitorch.zeros(3)
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        ours.TensorDataset(a, minitorch.zeros(4))
    with pytest.raises(AssertionError, match="should not be an empty iterable"):
        ours.ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset"):
        ours.ConcatDataset([ours.ChainDataset([])])
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        list(ours.ChainDataset([[1]]))
    with pytest.raises(ValueError, match="absolute value of index"):
        ours.ConcatDataset([[1, 2]])[-3]
    with pytest.raises(ValueError, match="At least one dataset"):
        ours.StackDataset()
    with pytest.raises(ValueError, match="Size mismatch between datasets"):
        ours.StackDataset([1], [1, 2])
    with pytest.raises(ValueError, match="but both types are given"):
        ours.StackDataset([1], b=[1])
    with pytest.raises(ValueError, match="does not equal the length"):
        ours.random_split(range(5), [1, 2])
    with pytest.raises(NotImplementedError, match="__getitem__"):
        ours.Dataset()[0]
    with pytest.raises(NotImplementedError, match="overrides __getitem__ but not __getitems__"):
        type("Mine", (ours.Subset,), {"__getitem__": lambda self, i: 0})([1], [0])


def test_concat_dataset_indices():
    got, expected = (data.ConcatDataset(["ab", "", "cde"]) for _, data in LIBRARIES)
    assert [got[i] for i in range(-5, 5)] == [expected[i] for i in range(-5, 5)]
    assert got.cumulative_sizes == expected.cumulative_sizes
