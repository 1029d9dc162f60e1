"""Recurrent layers and packed sequences against PyTorch's."""

import copy

import numpy as np
import pytest
import torch

import minitorch

from .both import assert_same, in_minitorch, make_both, nn_of

LAYERS = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2, "batch_first": True}),
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "bias": False}),
    ("LSTM", {"proj_size": 2, "bidirectional": True, "batch_first": True}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("GRU", {"batch_first": True}),
]


def both(name, options, *sizes):
    ours, theirs = make_both(lambda T: getattr(nn_of(T), name)(*sizes, **options))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for got, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(got, expected, rtol=3e-7)
    ours.load_state_dict(in_minitorch(theirs.state_dict()))
    return ours.double(), theirs.double()


def flat(result) -> list:
    if isinstance(result, (tuple, list)):
        return [t for part in result for t in flat(part)]
    return [] if result is None else [result]


def compare(ours, theirs, make, leaves):
    """`make(layer, T, *leaves)`: its results, and all gradients of their weighted sum."""
    outcomes = []
    for T, layer in ((minitorch, ours), (torch, theirs)):
        inputs = [in_minitorch(x) if T is minitorch else x.clone() for x in leaves]
        inputs = [x.requires_grad_() for x in inputs]
        layer.zero_grad()
        results = flat(make(layer, T, *inputs))
        floats = [r for r in results if r.is_floating_point()]
        sum((r * (i + 1) * r).sum() for i, r in enumerate(floats)).backward()
        grads = [p.grad for p in (*inputs, *layer.parameters())]
        outcomes.append([*results, *grads])
    for got, expected in zip(*outcomes, strict=True):
        assert_same(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), LAYERS)
@pytest.mark.parametrize("kind", ["plain", "states", "single", "packed", "unsorted"])
def test_layers(name, options, kind):
    ours, theirs = both(name, options, 3, 5)
    rng = np.random.default_rng(0)
    batch_first = options.get("batch_first", False)
    x = torch.tensor(rng.normal(size=(4, 6, 3) if batch_first else (6, 4, 3)))
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    sizes = [options.get("proj_size", 5), 5] if name == "LSTM" else [5]
    states = [torch.tensor(rng.normal(size=(count, 4, n))) for n in sizes]
    lengths = [6, 4, 4, 1] if kind == "packed" else [2, 6, 1, 5]

    def run(layer, T, x, *states):
        hx = (tuple(states) if name == "LSTM" else states[0]) if states else None
        if kind in ("packed", "unsorted"):
            rnn = nn_of(T).utils.rnn
            packed = rnn.pack_padded_sequence(
                x, lengths, batch_first, enforce_sorted=kind == "packed"
            )
            out, last = layer(packed, hx)
            return *rnn.pad_packed_sequence(out, batch_first), last
        return layer(x, hx)

    if kind == "single":
        compare(ours, theirs, run, [x[0]])
    else:
        compare(ours, theirs, run, [x] if kind == "plain" else [x, *states])


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("options", [{}, {"bias": False}])
@pytest.mark.parametrize("batch", [(), (4,)])
def test_cells(name, options, batch):
    ours, theirs = both(name, options, 3, 5)
    rng = np.random.default_rng(0)
    shapes = [(*batch, 3), *[(*batch, 5)] * (2 if name == "LSTMCell" else 1)]
    leaves = [torch.tensor(rng.normal(size=shape)) for shape in shapes]

    def run(cell, T, x, *states):
        hx = (tuple(states) if name == "LSTMCell" else states[0]) if states else None
        return cell(x, hx)

    compare(ours, theirs, run, leaves)
    compare(ours, theirs, run, leaves[:1])


def test_second_derivatives_of_a_whole_lstm_layer():
    """They go by the steps: the layer's own backward is a kernel."""
    outcomes = []
    ours, theirs = both("LSTM", {}, 2, 3)
    data = torch.randn(4, 2, 2, dtype=torch.float64)
    for T, layer in ((minitorch, ours), (torch, theirs)):
        x = in_minitorch(data) if T is minitorch else data.clone()
        x.requires_grad_()
        out, (_, c) = layer(x, layer(x)[1])  # with a state that comes from the same weights
        leaves = [x, *layer.parameters()]
        first = T.autograd.grad((out * out).sum() + c.sum(), leaves, create_graph=True)
        outcomes.append(T.autograd.grad(sum((g * g).sum() for g in first), leaves))
    for got, expected in zip(*outcomes, strict=True):
        assert_same(got, expected, rtol=1e-9)


def test_dropout_between_layers():
    ours, theirs = both("LSTM", {"num_layers": 3, "dropout": 0.4}, 3, 5)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    results = []
    for T, layer in ((minitorch, ours), (torch, theirs)):
        T.manual_seed(1)
        results.append(layer(in_minitorch(x) if T is minitorch else x)[0])
    assert_same(*results, rtol=1e-9)
    assert_same(ours.eval()(in_minitorch(x))[0], theirs.eval()(x)[0], rtol=1e-9)


def test_padding_and_packing(T):
    rnn = nn_of(T).utils.rnn
    sequences = [T.arange(n * 2).reshape(n, 2).float() for n in (2, 4, 1)]
    padded = rnn.pad_sequence(sequences, batch_first=True, padding_value=-1.0)
    assert padded.shape == (3, 4, 2) and padded[2, 1:].eq(-1).all()
    left = rnn.pad_sequence(sequences, padding_side="left")
    assert left[:2, 0].eq(0).all() and left[2:, 0].tolist() == sequences[0].tolist()
    packed = rnn.pack_sequence(sequences, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]
    assert packed.sorted_indices.tolist() == [1, 0, 2]
    assert packed.unsorted_indices.tolist() == [1, 0, 2]
    assert packed.data[:3].tolist() == [[0, 1]] * 3
    back = rnn.unpack_sequence(packed)
    assert [s.tolist() for s in back] == [s.tolist() for s in sequences]
    again, lengths = rnn.pad_packed_sequence(packed, padding_value=7.0, total_length=5)
    assert again.shape == (5, 3, 2) and again[4].eq(7).all()
    assert lengths.tolist() == [2, 4, 1]
    assert copy.deepcopy(packed).batch_sizes.tolist() == [3, 2, 1, 1]


@pytest.mark.parametrize(
    ("lengths", "words"),
    [([2, 3], "sorted in decreasing order"), ([3, 0], "greater than 0"), ([3], "batch_size")],
)
def test_packing_errors(T, lengths, words):
    with pytest.raises(RuntimeError, match=words):
        nn_of(T).utils.rnn.pack_padded_sequence(T.ones(3, 2, 1), lengths)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_errors(T, name):
    nn = nn_of(T)
    for options, words in [
        ({"num_layers": 0}, "num_layers"),
        ({"num_layers": 2, "dropout": 1.5}, "dropout"),
    ]:
        with pytest.raises(ValueError, match=words):
            getattr(nn, name)(3, 5, **options)
    layer = getattr(nn, name)(3, 5)
    with pytest.raises(RuntimeError, match="input_size"):
        layer(T.ones(2, 2, 4))
    states = T.ones(1, 3, 5)
    with pytest.raises(RuntimeError, match="hidden"):
        layer(T.ones(2, 2, 3), (states, states) if name == "LSTM" else states)


def test_a_long_sequence_costs_time_in_proportion():
    """The steps are taken apart once: no step's gradient is as large as all of them."""
    layer = nn_of(minitorch).GRU(2, 3)
    sizes = []
    for length in (10, 20):
        out, _ = layer(minitorch.ones(length, 1, 2))
        nodes, stack = set(), [out.grad_fn]
        while stack:
            node = stack.pop()
            if node not in nodes:
                nodes.add(node)
                stack += [n for n, _ in node.next_functions if n is not None]
        names = [n.name() for n in nodes]
        assert not any("Getitem" in n or "Select" in n for n in names if names.count(n) > 5)
        sizes.append(len(nodes))
    assert sizes[1] < 2.2 * sizes[0]
