"""Samplers against PyTorch's: the same indices, and the same random state left behind."""

import itertools
import warnings

import numpy as np
import pytest
import torch
import torch.utils.data as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch
import minitorch.utils.data as ours
from minitorch import random

seeds = st.integers(0, 2**63)


def both(seed):
    """Seed both default generators; a pair of seeded generators for those who take one."""
    random.manual_seed(seed)
    torch.manual_seed(seed)
    return random.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)


def assert_same_state(a=None, b=None):
    got = (a or random.default_generator).get_state()
    expected = (b or torch.default_generator).get_state().numpy()
    np.testing.assert_array_equal(np.asarray(got), expected)


@given(
    seed=seeds,
    n=st.integers(1, 100),
    replacement=st.booleans(),
    num_samples=st.none() | st.integers(1, 250),
    own=st.booleans(),
    stop=st.none() | st.integers(0, 40),
)
@settings(max_examples=150, deadline=None)
def test_random_sampler(seed, n, replacement, num_samples, own, stop):
    a, b = both(seed)
    mine = ours.RandomSampler(range(n), replacement, num_samples, a if own else None)
    torchs = theirs.RandomSampler(range(n), replacement, num_samples, b if own else None)
    for _ in range(2):
        iterators = iter(mine), iter(torchs)
        assert_same_state()
        # A training loop may stop in the middle: nothing must have been drawn ahead.
        got, expected = (list(itertools.islice(it, stop)) for it in iterators)
        assert got == expected and all(type(i) is int for i in got)
        assert_same_state()
        assert_same_state(a, b)
    assert len(mine) == len(torchs)


@given(seed=seeds, indices=st.lists(st.integers(), max_size=50), own=st.booleans())
@settings(max_examples=50, deadline=None)
def test_subset_random_sampler(seed, indices, own):
    a, b = both(seed)
    got = ours.SubsetRandomSampler(indices, a if own else None)
    expected = theirs.SubsetRandomSampler(indices, b if own else None)
    assert list(got) == list(expected) and len(got) == len(expected)
    assert_same_state()
    assert_same_state(a, b)


@given(seed=seeds, n=st.integers(1, 30), replacement=st.booleans(), own=st.booleans())
@settings(max_examples=50, deadline=None)
def test_weighted_random_sampler(seed, n, replacement, own):
    a, b = both(seed)
    weights = np.random.default_rng(n).random(n).tolist()
    count = 70 if replacement else (n + 1) // 2
    got = ours.WeightedRandomSampler(weights, count, replacement, a if own else None)
    expected = theirs.WeightedRandomSampler(weights, count, replacement, b if own else None)
    assert list(got) == list(expected) and len(got) == len(expected)
    assert_same_state()
    assert_same_state(a, b)


@given(n=st.integers(0, 40), batch_size=st.integers(1, 12), drop_last=st.booleans())
def test_batch_sampler(n, batch_size, drop_last):
    got = ours.BatchSampler(ours.SequentialSampler(range(n)), batch_size, drop_last)
    expected = theirs.BatchSampler(theirs.SequentialSampler(range(n)), batch_size, drop_last)
    assert list(got) == list(expected) and len(got) == len(expected)


@given(
    n=st.integers(1, 60),
    replicas=st.integers(1, 9),
    shuffle=st.booleans(),
    seed=st.integers(0, 1000),
    drop_last=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_distributed_sampler(n, replicas, shuffle, seed, drop_last):
    both(1)
    for rank in range(replicas):
        arguments = (range(n), replicas, rank, shuffle, seed, drop_last)
        got = ours.DistributedSampler(*arguments)
        expected = theirs.DistributedSampler(*arguments)
        assert len(got) == len(expected) and got.total_size == expected.total_size
        for epoch in range(3):
            got.set_epoch(epoch)
            expected.set_epoch(epoch)
            assert list(got) == list(expected)
    assert_same_state()  # it has its own generators


def test_distributed_sampler_asks_the_process_group(monkeypatch):
    monkeypatch.setattr(minitorch.distributed, "get_world_size", lambda: 4, raising=False)
    monkeypatch.setattr(minitorch.distributed, "get_rank", lambda: 3, raising=False)
    sampler = ours.DistributedSampler(range(10), shuffle=False)
    assert list(sampler) == list(theirs.DistributedSampler(range(10), 4, 3, shuffle=False))


@pytest.mark.parametrize("rank", [-1, 4])
def test_distributed_sampler_rejects_other_ranks(rank):
    with pytest.raises(ValueError) as expected:
        theirs.DistributedSampler(range(10), 4, rank)
    with pytest.raises(ValueError) as got:
        ours.DistributedSampler(range(10), 4, rank)
    assert str(got.value) == str(expected.value)


def test_a_forgotten_set_epoch_is_said_once():
    sampler = ours.DistributedSampler(range(10), 2, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch in range(3):
            sampler.set_epoch(epoch)
            list(sampler)
    with pytest.warns(UserWarning, match=r"without set_epoch\(epoch\).*epoch 2"):
        list(sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(sampler)
        unshuffled = ours.DistributedSampler(range(10), 2, 0, shuffle=False)
        assert list(unshuffled) == list(unshuffled)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.RandomSampler(range(3), replacement=1),
        lambda m: m.RandomSampler(range(3), num_samples=0),
        lambda m: m.RandomSampler(range(3), num_samples=1.5),
        lambda m: m.RandomSampler([]),
        lambda m: m.WeightedRandomSampler([1.0, 2.0], 0),
        lambda m: m.WeightedRandomSampler([1.0, 2.0], True),
        lambda m: m.WeightedRandomSampler([1.0, 2.0], 2, replacement=0),
        lambda m: m.WeightedRandomSampler([[1.0, 2.0]], 2),
        lambda m: m.BatchSampler(range(3), 0, False),
        lambda m: m.BatchSampler(range(3), True, False),
        lambda m: m.BatchSampler(range(3), 2, 0),
    ],
)
def test_bad_arguments(make):
    with pytest.raises((ValueError, TypeError)) as expected:
        make(theirs)
    with pytest.raises(type(expected.value)) as got:
        make(ours)
    assert str(got.value) == str(expected.value)
